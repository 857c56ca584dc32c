// The overview: the whole call, a column for each answer, and who was audible. A frame shows what the score shows.

import { cleared } from "./canvas.js";
import { latency, ms } from "./format.js";

export class Overview {
  constructor(page, score) {
    this.page = page;
    this.score = score;
    this.element = document.getElementById("overview");
    this.shows = [];
    this.listen();
  }

  get shape() { return this.page.shape; }
  x(t) { return this.score.left + (t / this.score.whole) * this.score.width; }

  moveHead(t) {
    this.element.querySelector(".head").style.transform = `translateX(${this.x(t)}px)`;
  }

  // Zooming and moving only move the frame.
  draw() {
    const { shape, element, score } = this;
    const shows = [shape, shape.revision, shape.duration_s, this.page.turn, element.clientWidth, element.clientHeight, devicePixelRatio, score.colours];
    if (shows.some((each, index) => each !== this.shows[index])) this.drawWhole();
    this.shows = shows;
    const brush = element.querySelector(".brush");
    brush.hidden = score.showsAll;
    brush.style.left = `${this.x(score.from)}px`;
    brush.style.width = `${Math.max(4, this.x(score.to) - this.x(score.from))}px`;
  }

  drawWhole() {
    const { shape, score } = this;
    const { colours: c, left, width } = score;
    const context = cleared(this.element);
    const tall = this.element.clientHeight;
    const base = tall - 20;
    const top = score.isNarrow ? 6 : 16;
    const answers = shape.turns.filter((turn) => latency(turn) !== null && latency(turn) !== undefined);
    const slowest = answers.reduce((worst, turn) => (!worst || latency(turn) > latency(worst) ? turn : worst), null);
    const full = 1.04 * Math.max(1.2 * shape.slow_ms, slowest ? latency(slowest) : 0);
    const y = (value) => base - (value / full) * (base - top);
    score.font(context, 11);
    context.strokeStyle = c.edge;
    context.setLineDash([1, 3]);
    context.beginPath();
    context.moveTo(left, Math.round(y(shape.slow_ms)) + 0.5);
    context.lineTo(left + width, Math.round(y(shape.slow_ms)) + 0.5);
    context.stroke();
    context.setLineDash([]);
    if (!score.isNarrow) {
      context.fillStyle = c["ink-3"];
      const isMeasured = answers.some((turn) => turn.voice_to_voice_ms !== null);
      context.fillText(isMeasured || !answers.length ? "Voice to voice" : "First audio", 24, 15);
      context.textAlign = "right";
      context.fillText(ms(shape.slow_ms), left - 8, Math.max(28, y(shape.slow_ms) + 4));
      context.textAlign = "left";
    }
    const wide = Math.max(2, Math.min(6, width / Math.max(1, answers.length) / 3));
    const taken = [];
    for (const turn of answers) {
      const x = this.x(turn.heard_from ?? turn.to);
      const isChosen = turn.n === this.page.turn;
      context.globalAlpha = isChosen || turn.problems.includes("slow") || turn.problems.includes("error") ? 1 : 0.78;
      context.fillStyle = turn.problems.includes("error") ? c.bad : turn.problems.includes("slow") ? c["slow-fill"] : isChosen ? c.ink : c["ink-3"];
      context.fillRect(x, y(latency(turn)), wide, base - y(latency(turn)));
      context.globalAlpha = 1;
      if (isChosen) { // a mark, because the column keeps the colour of its problem
        context.fillStyle = c.ink;
        context.fillRect(x - 3, base, wide + 6, 2);
      }
      taken.push({ from: x - 1, to: x + wide + 1, top: y(latency(turn)), turn });
    }
    this.label(context, answers, slowest, taken, wide, y);
    context.strokeStyle = c.line;
    context.beginPath();
    context.moveTo(left, base + 0.5);
    context.lineTo(left + width, base + 0.5);
    context.stroke();
    for (const [side, top2] of [["user", base + 5], ["agent", base + 11]]) {
      context.fillStyle = c[side];
      context.globalAlpha = 0.75;
      for (const [from, to] of shape.activity[side]) {
        context.fillRect(this.x(from), top2, Math.max(1, this.x(to) - this.x(from)), 4);
      }
      context.globalAlpha = 1;
    }
    context.fillStyle = c.cut;
    for (const turn of shape.turns) {
      if (turn.cut_at !== null) context.fillRect(this.x(turn.cut_at) - 1, base + 2, 2, 16);
    }
  }

  label(context, answers, slowest, columns, wide, y) {
    const { colours: c, left, width } = this.score;
    const labels = [];
    const wanted = answers.length <= 12 ? [...answers] : answers.filter((turn) => turn.problems.includes("slow"));
    if (slowest && !wanted.includes(slowest)) wanted.push(slowest);
    wanted.sort((a, b) => (b === slowest) - (a === slowest) || latency(b) - latency(a));
    for (const turn of wanted.slice(0, 40)) {
      const isSlowest = turn === slowest;
      this.score.font(context, 11, isSlowest ? 600 : 400);
      const text = isSlowest && answers.length > 12 ? `${ms(latency(turn))} · turn ${turn.n}` : ms(latency(turn));
      const room = context.measureText(text).width;
      const x = Math.max(left + 3, Math.min(left + width - room - 3, this.x(turn.heard_from ?? turn.to) - (answers.length > 12 ? room / 2 : 2)));
      const label = { from: x - 3, to: x + room + 3, bottom: y(latency(turn)) - 3 };
      label.top = label.bottom - 11;
      const overlaps = labels.some((each) => each.from < label.to && each.to > label.from && each.top < label.bottom && each.bottom > label.top)
        || columns.some((each) => each.turn !== turn && each.from < label.to && each.to > label.from && each.top < label.bottom);
      if (overlaps && !isSlowest) continue;
      labels.push(label);
      context.fillStyle = c.paper;
      context.fillRect(x - 2, Math.max(0, label.top), room + 4, 13);
      context.fillStyle = turn.problems.includes("error") ? c.bad : turn.problems.includes("slow") ? c.slow : isSlowest ? c.ink : c["ink-3"];
      context.fillText(text, x, Math.max(11, label.bottom));
    }
  }

  listen() {
    let drag = null;
    const at = (event) => ((event.clientX - this.element.getBoundingClientRect().left - this.score.left) / this.score.width) * this.score.whole;
    this.element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.shape) return;
      this.element.setPointerCapture(event.pointerId);
      drag = { x: event.clientX, from: this.score.from, onBrush: event.target.classList.contains("brush"), moved: false };
    });
    this.element.addEventListener("pointermove", (event) => {
      if (!drag) return;
      drag.moved ||= Math.abs(event.clientX - drag.x) > 3;
      if (!drag.moved || this.score.showsAll) return;
      const span = this.score.to - this.score.from;
      const from = drag.onBrush ? drag.from + ((event.clientX - drag.x) / this.score.width) * this.score.whole : at(event) - span / 2;
      this.page.scrolledAway();
      this.score.show(from, from + span);
    });
    this.element.addEventListener("pointerup", (event) => {
      if (drag && !drag.moved) {
        const t = at(event);
        const near = this.shape.turns.filter((turn) => latency(turn) !== null && turn.heard_from !== null && Math.abs(this.x(turn.heard_from) - this.x(t)) < 7);
        near.sort((a, b) => latency(b) - latency(a));
        if (near.length && event.clientY - this.element.getBoundingClientRect().top < this.element.clientHeight - 20) this.page.goToTurn(near[0].n, { atWait: true });
        else this.page.seek(t);
      }
      drag = null;
    });
    this.element.addEventListener("pointercancel", () => { drag = null; });
  }
}
