// The peaks of the recording: ten points a second at once, finer levels in tiles as they are looked at.
// Of a recording that is still being written, they are read part by part, from the begin to the end and again, because
// what is silenced later changes earlier parts; and the latest part is read every second.

const GROWING = 100; // points a second
const PART_S = 120;
const LATEST_S = 40; // truncations and silences change sound that is younger than this
const EVERY_MS = 1000;
const TILE_S = { 100: 120, 800: 20 };

export class Peaks {
  constructor(id, changed) {
    this.url = `/view/api/conversations/${encodeURIComponent(id)}/peaks`;
    this.changed = changed;
    this.levels = { 10: null };
    this.tiles = new Map();
    this.growing = null; // the timer
    this.next = 0; // begin of the next part to be read, in seconds
    this.seconds = 0; // how far the growing recording reaches
  }

  // Reads a recording that is being written until it is stopped.
  grow() {
    if (this.growing !== null) return;
    this.levels[GROWING] = new Uint8Array(0);
    const read = async () => {
      let wait = EVERY_MS;
      if (!document.hidden) {
        const latest = Math.max(0, Math.floor(this.seconds) - LATEST_S);
        const isWholePart = await this.readPart(latest);
        if (isWholePart) wait = 0; // there is more already
        else if (this.next < latest) {
          await this.readPart(this.next);
          this.next += PART_S;
        } else this.next = 0;
      }
      if (this.growing !== null) this.growing = setTimeout(read, wait);
    };
    this.growing = 0;
    read();
  }

  stop() {
    clearTimeout(this.growing);
    this.growing = null;
  }

  clear() {
    this.stop();
    this.levels = { 10: null };
    this.seconds = 0;
  }

  // Reads a part of the growing recording; true if the recording has all of that part.
  async readPart(from) {
    const answer = await fetch(`${this.url.replace("/peaks", "/growing")}?from=${from}&to=${from + PART_S}`, { cache: "no-store" }).catch(() => null);
    if (!answer?.ok || this.growing === null) return false;
    const part = new Uint8Array(await answer.arrayBuffer());
    if (!part.length || this.growing === null) return false;
    const points = part.length / 4;
    this.put(GROWING, from * GROWING, part);
    const coarse = new Uint8Array(Math.ceil((points * 10) / GROWING) * 4);
    const out = [0, 0, 0, 0];
    for (let at = 0; at < coarse.length / 4; at++) {
      out.fill(0);
      this.largest(part, (at * GROWING) / 10, ((at + 1) * GROWING) / 10, out);
      coarse.set(out, at * 4);
    }
    this.put(10, from * 10, coarse);
    this.seconds = Math.max(this.seconds, from + points / GROWING);
    this.changed();
    return points >= PART_S * GROWING;
  }

  put(level, first, part) {
    const known = this.levels[level] ?? new Uint8Array(0);
    const wanted = first * 4 + part.length;
    const points = wanted > known.length ? new Uint8Array(wanted) : known;
    if (points !== known) points.set(known);
    points.set(part, first * 4);
    this.levels[level] = points;
  }

  async load() {
    const answer = await fetch(`${this.url}/10`);
    if (!answer.ok) return;
    const points = new Uint8Array(await answer.arrayBuffer());
    this.clear();
    this.levels[10] = points;
    this.changed();
  }

  get ready() {
    return this.levels[10] !== null;
  }

  // The finest level that a screen with so many pixels a second can show.
  level(pixelsPerSecond) {
    return pixelsPerSecond <= 14 ? 10 : pixelsPerSecond <= 140 || this.levels[GROWING] ? 100 : 800;
  }

  // The largest of user peak, user RMS, agent peak, agent RMS within a time span, into `out`.
  read(level, from, to, out) {
    out[0] = out[1] = out[2] = out[3] = 0;
    if (!this.levels[level]) {
      const tile = this.tile(level, from);
      if (tile) return this.largest(tile.points, (from - tile.start) * level, (to - tile.start) * level, out);
    }
    const known = this.levels[level] ? level : 10;
    return this.largest(this.levels[known], from * known, to * known, out);
  }

  largest(points, first, last, out) {
    const begin = Math.max(0, Math.floor(first));
    const end = Math.min(points.length / 4, Math.max(begin + 1, Math.ceil(last)));
    for (let index = begin; index < end; index++) {
      for (let side = 0; side < 4; side++) {
        const value = points[index * 4 + side];
        if (value > out[side]) out[side] = value;
      }
    }
  }

  tile(level, t) {
    const seconds = TILE_S[level];
    const number = Math.max(0, Math.floor(t / seconds));
    const key = `${level}/${number}`;
    const tile = this.tiles.get(key);
    if (tile === undefined) this.fetchTile(key, level, number * seconds, seconds);
    return tile || null;
  }

  async fetchTile(key, level, start, seconds) {
    this.tiles.set(key, null);
    const first = start * level * 4;
    const headers = { Range: `bytes=${first}-${first + seconds * level * 4 - 1}` };
    const answer = await fetch(`${this.url}/${level}`, { headers }).catch(() => null);
    if (answer?.status !== 206) return;
    this.tiles.set(key, { start, points: new Uint8Array(await answer.arrayBuffer()) });
    this.changed();
  }
}
