// Draws both sides' sound, the times in which the recording lacks a side, and without peaks who was audible.

import { hatch } from "./canvas.js";

const height = (value, room) => Math.min(room, 1.12 * room * (value / 255) ** 0.62);

export class Waveforms {
  constructor(score) {
    this.score = score;
  }

  draw(context, r) {
    const { colours: c, shape } = this.score;
    const up = r.spine - r.user;
    for (const { side, from, to, why } of shape.recording.gaps) {
      if (!this.score.visible(from, to)) continue;
      const [left, right] = [Math.max(this.score.x(from), this.score.left - 1), Math.min(this.score.x(to), this.score.left + this.score.width + 1)];
      this.drawGap(context, left, side === "user" ? r.user : r.agent + 1, right, up, why);
    }
    if (!this.score.page.peaks.ready) {
      for (const [side, base, sign] of [["user", r.spine, -1], ["agent", r.agent + 1, 1]]) {
        context.strokeStyle = c[side];
        context.fillStyle = c.band;
        context.setLineDash([4, 3]);
        for (const [from, to] of shape.activity[side]) {
          if (!this.score.visible(from, to)) continue;
          const wide = Math.max(2, this.score.x(to) - this.score.x(from));
          context.fillRect(this.score.x(from), sign < 0 ? base - 28 : base, wide, 28);
          context.strokeRect(this.score.x(from) + 0.5, (sign < 0 ? base - 28 : base) + 0.5, wide, 27);
        }
        context.setLineDash([]);
      }
      return;
    }
    const level = this.score.page.peaks.level(this.score.perSecond);
    const out = [0, 0, 0, 0];
    const columns = Math.ceil(this.score.width);
    const drawn = Array.from({ length: 4 }, () => new Float32Array(columns));
    for (let column = 0; column < columns; column++) {
      const from = this.score.from + column / this.score.perSecond;
      if (from > this.score.whole) break;
      this.score.page.peaks.read(level, from, from + 1 / this.score.perSecond, out);
      for (let side = 0; side < 4; side++) if (out[side] > 1) drawn[side][column] = height(out[side], up);
    }
    for (const [index, name, base, sign] of [[0, "user-soft", r.spine, -1], [1, "user", r.spine, -1], [2, "agent-soft", r.agent + 1, 1], [3, "agent", r.agent + 1, 1]]) {
      context.fillStyle = c[name];
      context.fill(this.outline(drawn[index], base, sign));
    }
  }

  // The area between a lane's base and the height of each pixel's column, as one path: filling one is cheap.
  outline(heights, base, sign) {
    const path = new Path2D();
    let isOpen = false;
    for (let column = 0; column <= heights.length; column++) {
      const tall = heights[column] || 0;
      const x = this.score.left + column;
      if (tall) {
        if (!isOpen) path.moveTo(x, base);
        path.lineTo(x, base + sign * tall);
        path.lineTo(x + 1, base + sign * tall);
      } else if (isOpen) path.lineTo(x, base);
      isOpen = tall > 0;
    }
    return path;
  }

  // A time in which the recording lacks a side, and why.
  drawGap(context, from, y, to, tall, why) {
    const { colours: c } = this.score;
    const wide = Math.max(2, to - from);
    hatch(context, from, y, wide, tall, c.edge);
    context.fillStyle = c.edge;
    for (const edge of [from, from + wide - 1]) context.fillRect(edge, y, 1, tall);
    this.score.font(context, 11);
    const text = [why, why.split(" ").at(-1)].find((each) => context.measureText(each).width + 12 <= wide);
    if (!text) return;
    context.fillStyle = c.sheet;
    context.fillRect(from + 3, y + tall / 2 - 9, context.measureText(text).width + 6, 18);
    context.fillStyle = c["ink-2"];
    context.fillText(text, from + 6, y + tall / 2 + 4);
  }
}
