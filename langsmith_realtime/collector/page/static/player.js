// Plays the recording: both sides in both ears, or one side alone.

// A position this close to the end, in seconds, is the end.
const ENDED_S = 0.01;

export class Player extends EventTarget {
  constructor() {
    super();
    this.audio = new Audio();
    this.audio.preload = "metadata";
    this.audio.preservesPitch = true;
    this.side = "both";
    this.at = 0;
    this.source = null;
    for (const name of ["play", "pause", "ended", "error"]) {
      this.audio.addEventListener(name, () => this.dispatchEvent(new Event(name === "ended" ? "pause" : name)));
    }
  }

  load(url) {
    if (this.source === url) return;
    this.source = url;
    this.audio.src = url;
  }

  get canPlay() {
    return this.source !== null && !this.audio.error;
  }

  get playing() {
    return this.canPlay && !this.audio.paused && !this.audio.ended;
  }

  get time() {
    return this.playing ? this.audio.currentTime : this.at;
  }

  seek(t) {
    this.at = t;
    if (this.source) this.audio.currentTime = t;
  }

  // It plays from `at`, wherever the element stands. It counts as playing at once, before its sound has arrived.
  async toggle() {
    if (!this.canPlay) return;
    if (this.playing) {
      this.at = this.audio.currentTime;
      this.audio.pause();
    } else {
      this.route();
      this.context.resume();
      if (this.at >= this.audio.duration - ENDED_S) this.at = 0;
      this.audio.currentTime = this.at;
      // A pause before the sound arrived refuses the promise, and is no error.
      await this.audio.play().catch((error) => error.name !== "AbortError" && this.dispatchEvent(new Event("error")));
    }
  }

  pauseAt() {
    this.at = this.audio.currentTime;
  }

  speed(rate) {
    this.audio.playbackRate = rate;
  }

  hear(side) {
    this.side = side;
    if (this.context) this.mix();
  }

  // A browser lets a page make sound only after a click or a key, so this waits for the first play.
  route() {
    if (this.context) return;
    this.context = new AudioContext();
    const splitter = this.context.createChannelSplitter(2);
    const mixer = this.context.createGain();
    mixer.channelCount = 1;
    mixer.channelCountMode = "explicit";
    this.gains = [0, 1].map((channel) => {
      const gain = this.context.createGain();
      splitter.connect(gain, channel);
      gain.connect(mixer);
      return gain;
    });
    this.context.createMediaElementSource(this.audio).connect(splitter);
    mixer.connect(this.context.destination);
    this.mix();
  }

  mix() {
    this.gains[0].gain.value = this.side === "agent" ? 0 : 1;
    this.gains[1].gain.value = this.side === "user" ? 0 : 1;
  }
}
