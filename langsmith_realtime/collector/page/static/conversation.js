// One conversation: what its parts share, which moment, turn and event are chosen, and the address that names them.

import { byId, h } from "./dom.js";
import { Details } from "./details.js";
import { day, latency, ms, time } from "./format.js";
import { Header } from "./header.js";
import { Keys } from "./keys.js";
import { Peaks } from "./peaks.js";
import { Player } from "./player.js";
import { lineWith, problemsOf, slowestTurns } from "./problems.js";
import { Score } from "./score.js";
import { Stream } from "./stream.js";
import { isSpoken, Transcript } from "./transcript.js";
import { Transport } from "./transport.js";

// A longer conversation is not shown whole, but in a window, both in seconds.
const LONGEST_WHOLE_S = 150;
const WINDOW_S = 60;
const slow = Number(new URLSearchParams(location.search).get("slow")) || null;

class Page {
  constructor(id) {
    this.id = id;
    this.shape = null;
    this.turn = null;
    this.run = null;
    this.follow = true;
    this.player = new Player();
    this.peaks = new Peaks(id, () => this.heardMore());
    this.score = new Score(this);
    this.transcript = new Transcript(this);
    this.details = new Details(this);
    this.header = new Header(this);
    this.transport = new Transport(this);
    this.keys = new Keys(this);
    this.asked = false;
    const address = `/view/api/conversations/${encodeURIComponent(id)}`;
    const parameters = slow ? `?slow=${slow}` : "";
    this.stream = new Stream({
      path: () => address + parameters,
      stream: () => `${address}/changes${parameters}`,
      take: (shape, changed) => changed.size && this.take(shape, changed),
      missing: () => this.missing(),
    });
    for (const name of ["play", "pause", "error"]) this.player.addEventListener(name, () => this.played(name));
  }

  // --- loading

  missing() {
    if (this.shape) return false;
    document.querySelector("main").replaceChildren(h("div", { class: "note" }, h("h1", {}, "This conversation is not in the store"), h("p", {}, "The page shows conversations that langsmith_realtime traced. Other traces are read by LangSmith's client only."), h("a", { href: "/view/" }, "All conversations")));
    return true;
  }

  take(shape, changed) {
    const before = this.shape;
    const view = before && this.view();
    this.shape = { ...shape, duration_s: Math.max(shape.duration_s, shape.live ? this.peaks.seconds : 0) };
    const { recording } = shape;
    if (recording.url) this.player.load(recording.url);
    if (recording.state === "growing") this.peaks.grow();
    else if (recording.decoding) this.peaks.stop();
    else if (recording.state !== "ready") this.peaks.clear();
    else if (!this.asked) {
      this.asked = true;
      this.peaks.load();
    }
    if (!before) this.open();
    else this.keepUp(view);
    this.render(changed);
    if (before) this.goToEnd();
  }

  // The waveform of a running conversation may reach further than its latest event.
  heardMore() {
    const { shape } = this;
    if (shape?.live && this.peaks.seconds > shape.duration_s) {
      const view = this.view();
      this.shape = { ...shape, duration_s: this.peaks.seconds };
      this.keepUp(view);
      this.header.renderBar();
      this.transport.render();
      this.goToEnd();
    }
    if (shape) this.renderLanes();
    this.score.draw();
  }

  view() { return { showsAll: this.score.showsAll, span: this.score.to - this.score.from }; }

  get followsEnd() { return this.shape.live && this.follow && !this.player.playing; }

  // While a conversation grows, the window shows all of it, or its end.
  keepUp({ showsAll, span }) {
    const end = this.shape.duration_s;
    if (showsAll && end <= LONGEST_WHOLE_S) this.score.showAll();
    else if (this.followsEnd) this.score.show(end - Math.min(span, WINDOW_S), end);
  }

  goToEnd() {
    if (this.followsEnd) this.seek(this.shape.duration_s, { silent: true });
  }

  open() {
    const { shape } = this;
    const hash = new URLSearchParams(location.hash.slice(1));
    const hit = hash.has("find") ? lineWith(shape, hash.get("find")) : null;
    const hasTime = Boolean(hit) || hash.has("t");
    const t = hit ? hit.from : Number(hash.get("t"));
    this.score.from = 0;
    this.score.to = Math.max(1, shape.duration_s);
    if (shape.duration_s > LONGEST_WHOLE_S) this.score.to = WINDOW_S;
    this.player.at = hasTime && t >= 0 ? Math.min(t, shape.duration_s) : shape.live ? shape.duration_s : 0;
    this.run = hash.get("run");
    // Without a moment in the address no turn is chosen, and the details show the slowest.
    this.turn = hit ? hit.turn : hash.has("turn") ? Number(hash.get("turn")) : hasTime ? this.turnAt(this.player.at).n : null;
    if (hit) history.replaceState(null, "", `#${this.moment()}`);
    if (hasTime || shape.live) this.score.reveal(this.player.at);
    document.body.dataset.tab = "transcript";
    const says = shape.turns.find((turn) => turn.say)?.say ?? "Conversation";
    document.title = `${says.slice(0, 60)} · ${day(shape.start)} ${time(shape.start)}`;
  }

  render(changed) {
    this.header.render();
    this.transport.render();
    this.renderLanes();
    this.transcript.render();
    this.details.render(changed);
    const slider = this.score.element;
    slider.setAttribute("aria-valuemax", this.shape.duration_s.toFixed(1));
    this.score.draw();
    this.moved();
    if (this.first === undefined) {
      if (this.run) this.details.reveal(this.run);
      else this.details.revealTurn(this.turn);
      if (location.hash || this.shape.live) this.transcript.scroll();
    }
    this.first = false;
  }

  renderLanes() {
    const hidden = this.shape.recording.hidden ?? [];
    for (const side of ["user", "agent"]) {
      const lane = document.querySelector(`.lanes .${side}`);
      const name = side === "user" ? "User" : "Agent";
      const why = hidden.includes(side) ? "hidden" : this.peaks.ready || this.shape.recording.state === "ready" ? "" : "from events";
      lane.replaceChildren(name, why && h("small", {}, why));
    }
  }

  // --- playing

  played(name) {
    if (name === "pause") this.player.pauseAt();
    const isPlaying = this.player.playing;
    this.transport.showPlaying(isPlaying);
    if (name === "error" && this.shape) this.transport.render();
    if (isPlaying && !this.ticking) this.tick();
  }

  tick() {
    this.ticking = this.player.playing;
    if (!this.ticking) {
      this.moved();
      return;
    }
    const t = this.time;
    if (this.follow) this.score.reveal(t, { glide: true });
    if (this.gapEnd && t >= this.gapEnd) {
      this.gapEnd = null;
      this.player.toggle();
    }
    const turn = this.turnAt(t);
    const chosen = this.shape.turns.find((each) => each.n === this.turn);
    const isHeard = chosen && chosen.from <= t && t < chosen.cut_at; // while the user interrupts it, its turn stays chosen
    if (this.follow && turn.n !== this.turn && !isHeard) {
      this.run = null;
      this.choose(turn.n, { quiet: true });
    }
    this.moved();
    requestAnimationFrame(() => this.tick());
  }

  // --- position and turns

  get time() { return this.player.time; }

  moved() {
    const t = this.time;
    this.transport.showTime(t);
    this.header.showTime(t);
    this.score.moveHeads();
    this.transcript.mark();
    const slider = this.score.element;
    if (slider.getAttribute("aria-valuenow") === t.toFixed(1) && this.player.playing) return;
    const line = this.shape.lines.findLast?.((each) => isSpoken(each) && each.from <= t && each.to >= t);
    slider.setAttribute("aria-valuenow", t.toFixed(1));
    slider.setAttribute("aria-valuetext", `${t.toFixed(1)} s, turn ${this.turnAt(t).n}${line ? `, ${line.agent ?? line.who}` : ""}`);
  }

  turnAt(t) {
    return this.shape.turns.findLast((turn) => turn.from <= t + 0.01) ?? this.shape.turns[0] ?? { n: 0 };
  }

  choose(n, { quiet = false } = {}) {
    if (n === this.turn) return;
    this.turn = n;
    this.score.draw();
    if (!quiet || !this.follow) this.transcript.mark();
    this.details.revealTurn(n);
  }

  seek(t, { play = false, turn = null, zoom = false, silent = false, run = null } = {}) {
    const at = Math.max(0, Math.min(this.shape.duration_s, t));
    this.gapEnd = null;
    this.player.seek(at);
    if (!silent) this.run = run; // an event that was opened stays while the conversation grows
    this.choose(turn ?? this.turnAt(at).n);
    if (zoom && this.score.to - this.score.from > 40 && this.shape.duration_s > 60) this.score.show(at - 8, at + 22);
    this.score.reveal(at);
    if (!silent) this.setFollow(true, { quiet: true });
    this.moved();
    this.transcript.scroll();
    if (play && !this.player.playing) this.player.toggle();
  }

  // Goes to a moment that something went wrong at, with its turn beside it.
  goToFinding(t, turn) {
    this.showTab(innerWidth <= 860 ? "transcript" : "turns");
    this.seek(t, { turn, zoom: true });
  }

  goToTurn(n, { atWait = false } = {}) {
    const turn = this.shape.turns.find((each) => each.n === n);
    if (!turn) return;
    const t = atWait && turn.user_to !== null ? Math.max(turn.from, turn.user_to) : turn.from;
    this.seek(t, { turn: n, zoom: true });
    this.say(`Turn ${n}${latency(turn) === null ? "" : `, ${ms(latency(turn))}`}`);
  }

  stepTurn(step) {
    const { turns } = this.shape;
    const at = turns.findIndex((turn) => turn.n === this.turnAt(this.time + 0.02).n);
    const next = turns[Math.max(0, Math.min(turns.length - 1, at + step))];
    if (next) this.goToTurn(next.n);
  }

  stepFinding(step) {
    const problems = problemsOf(this.shape);
    if (!problems.length) return this.say("Nothing went wrong");
    const t = this.time;
    const onOne = problems.findIndex((each) => Math.abs(each.t - t) < 0.02 && each.turn === this.turn);
    let next;
    if (onOne >= 0) next = (onOne + step + problems.length) % problems.length;
    else if (step > 0) next = problems.findIndex((each) => each.t > t + 0.01);
    else next = problems.findLastIndex((each) => each.t < t - 0.01);
    const problem = problems[next < 0 ? (step > 0 ? 0 : problems.length - 1) : next];
    this.goToFinding(problem.t, problem.turn);
    this.say(`Turn ${problem.turn}, ${problem.what}`);
  }

  stepWorst() {
    const order = slowestTurns(this.shape);
    if (!order.length) return;
    const at = order.findIndex((turn) => turn.n === this.turn && Math.abs((turn.user_to ?? turn.from) - this.time) < 0.05);
    this.goToTurn(order[(at + 1) % order.length].n, { atWait: true });
  }

  playGap(turn) {
    this.seek(Math.max(0, turn.user_to - 1), { turn: turn.n });
    this.gapEnd = (turn.heard_from ?? turn.first_audio ?? turn.to) + 0.6;
    if (!this.player.playing) this.player.toggle();
  }

  zoomToTurn(turn) {
    const margin = Math.max(0.3, (turn.to - turn.from) * 0.04);
    this.choose(turn.n);
    this.score.show(turn.from - margin, turn.to + margin);
  }

  // --- panes

  showTab(name) {
    document.body.dataset.tab = innerWidth <= 860 ? name : "transcript";
    if (name !== "transcript") this.details.tab = name;
    this.details.renderTabs();
    if (name === "events" && this.turn !== null && !this.details.openGroups.size) this.details.followEvents(this.turn);
  }

  openEvent(run) {
    const event = this.shape.events.find((each) => each.id === run);
    if (!event) return;
    this.seek(event.t, { turn: event.turn, run, zoom: true });
    this.details.reveal(run);
  }

  openRun(line) { this.openEvent(line.run); }
  showEventsOf(n) { this.details.revealGroup(n); }

  point(line) {
    this.score.pointed = line;
    this.score.draw();
  }

  scrolledAway() {
    if (this.player.playing || this.shape?.live) this.setFollow(false);
  }

  setFollow(on, { quiet = false } = {}) {
    if (this.follow === on) return;
    this.follow = on;
    this.transport.showFollow(on);
    if (!on || quiet) return;
    if (this.shape.live) this.seek(this.shape.duration_s, { silent: true });
    this.score.reveal(this.time);
    this.transcript.scroll();
  }

  say(text) { byId("status").textContent = text; }

  // The part of the address that names the playhead's moment, the chosen turn and the chosen event.
  moment() {
    const hash = new URLSearchParams({ t: this.time.toFixed(1) });
    if (this.turn !== null) hash.set("turn", this.turn);
    if (this.run) hash.set("run", this.run);
    return hash;
  }

  async copy() {
    history.replaceState(null, "", `#${this.moment()}`);
    try {
      await navigator.clipboard.writeText(location.href);
      this.say("Link copied");
    } catch {
      this.say("The link is in the address");
    }
  }
}

history.scrollRestoration = "manual"; // the address says which moment is shown
const page = new Page(decodeURIComponent(location.pathname.split("/").pop()));
window.conversation = page; // for the console, and for tests
addEventListener("hashchange", () => {
  const hash = new URLSearchParams(location.hash.slice(1));
  if (page.shape && hash.has("t")) page.seek(Number(hash.get("t")), { turn: hash.has("turn") ? Number(hash.get("turn")) : null });
});
addEventListener("resize", () => page.shape && page.details.renderTabs());
page.stream.open();
