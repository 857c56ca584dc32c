// The peaks of the recording: ten points a second at once, finer levels in tiles as they are looked at.

const TILE_S = { 100: 120, 800: 20 };

export class Peaks {
  constructor(id, changed) {
    this.url = `/view/api/conversations/${encodeURIComponent(id)}/peaks`;
    this.changed = changed;
    this.levels = { 10: null };
    this.tiles = new Map();
  }

  async load() {
    const answer = await fetch(`${this.url}/10`);
    if (!answer.ok) return;
    this.levels[10] = new Uint8Array(await answer.arrayBuffer());
    this.changed();
  }

  get ready() {
    return this.levels[10] !== null;
  }

  // The finest level that a screen with so many pixels a second can show.
  level(pixelsPerSecond) {
    return pixelsPerSecond <= 14 ? 10 : pixelsPerSecond <= 140 ? 100 : 800;
  }

  // The largest of user peak, user RMS, agent peak, agent RMS within a time span, into `out`.
  read(level, from, to, out) {
    out[0] = out[1] = out[2] = out[3] = 0;
    if (level !== 10) {
      const tile = this.tile(level, from);
      if (tile) return this.largest(tile.points, (from - tile.start) * level, (to - tile.start) * level, out);
    }
    return this.largest(this.levels[10], from * 10, to * 10, out);
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
