// The score: the user's sound grows upwards, the agent's hangs below, and between them lies what was waited for.
// It shows a window of the conversation. Only what is visible is drawn; playheads are elements that move.

import { palette } from "./canvas.js";
import { setText } from "./dom.js";
import { clock } from "./format.js";
import { Overview } from "./overview.js";
import { ScoreDrawing } from "./score_drawing.js";
import { ScorePointer } from "./score_pointer.js";

const GUTTER = 128;
const RIGHT = 24;
const SHORTEST_S = 1;

export class Score {
  constructor(page) {
    this.page = page;
    this.overview = new Overview(page, this);
    this.drawing = new ScoreDrawing(this);
    this.element = document.getElementById("score");
    this.from = 0;
    this.to = 1;
    this.colours = palette();
    this.pointed = null;
    this.pending = false;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.colours = palette(); this.draw(); });
    this.wide = this.element.clientWidth; // read once, because every x needs it
    new ResizeObserver(() => { this.wide = this.element.clientWidth; this.draw(); }).observe(this.element);
    this.pointer = new ScorePointer(this);
  }

  get shape() { return this.page.shape; }
  get whole() { return Math.max(1, this.shape.duration_s); }
  get isNarrow() { return this.wide <= 860; }
  get left() { return this.isNarrow ? 0 : GUTTER; }
  get width() { return this.wide - this.left - (this.isNarrow ? 0 : RIGHT); }
  get perSecond() { return this.width / (this.to - this.from); }
  x(t) { return this.left + (t - this.from) * this.perSecond; }
  t(x) { return this.from + (x - this.left) / this.perSecond; }
  get showsAll() { return this.from <= 0.001 && this.to >= this.whole - 0.001; }

  show(from, to) {
    const span = Math.max(SHORTEST_S, Math.min(this.whole, to - from));
    this.from = Math.max(0, Math.min(this.whole - span, from));
    this.to = this.from + span;
    this.draw();
    this.page.transport.viewChanged();
  }

  zoom(factor, at) {
    const centre = at ?? (this.page.time >= this.from && this.page.time <= this.to ? this.page.time : (this.from + this.to) / 2);
    const span = Math.max(SHORTEST_S, Math.min(this.whole, (this.to - this.from) * factor));
    const place = (centre - this.from) / (this.to - this.from);
    this.show(centre - place * span, centre - place * span + span);
  }

  showAll() { this.show(0, this.whole); }

  reveal(t, { glide = false } = {}) {
    const span = this.to - this.from;
    if (t >= this.from && t <= this.to - (glide ? span * 0.1 : 0)) return;
    const reduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const from = glide && !reduced && t > this.from && t < this.to ? t - span * 0.9 : t - span * 0.15;
    this.show(from, from + span);
  }

  draw() {
    if (this.pending || !this.shape) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.overview.draw();
      this.drawing.draw();
      this.moveHeads();
    });
  }

  moveHeads() {
    const t = this.page.time;
    this.overview.moveHead(t);
    const head = this.element.querySelector(".head");
    const x = this.x(t);
    head.hidden = x < this.left - 1 || x > this.left + this.width + 1;
    head.style.transform = `translateX(${x}px)`;
    const flag = head.firstElementChild;
    setText(flag, clock(t));
    flag.style.transform = x > this.left + this.width - 60 ? "translateX(-100%)" : "";
  }

  font(context, size, weight = 400) {
    context.font = `${weight} ${size}px ${this.colours.sans}`;
  }

  get rows() {
    // ruler 20, user's captions 20, user 56, spine 34, agent 56, agent's captions 20, events 18
    return this.isNarrow
      ? { ruler: 16, userText: 29, user: 33, spine: 68, agent: 95, agentText: 144, events: 153, end: 167 }
      : { ruler: 20, userText: 35, user: 40, spine: 96, agent: 130, agentText: 200, events: 210, end: 222 };
  }

  visible(from, to) { return to >= this.from && from <= this.to; }
}
