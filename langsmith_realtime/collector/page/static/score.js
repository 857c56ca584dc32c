// The score: the user's sound grows upwards, the agent's hangs below, and between them lies what was waited for.
// Only what is visible is drawn; playheads are elements that move.

import { setText } from "./dom.js";
import { clock, isRightToLeft, latency, ms, partMs, splitHeard } from "./format.js";
import { Overview } from "./overview.js";

const GUTTER = 128;
const RIGHT = 24;
const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900];
const SHORTEST_S = 1;
const height = (value, room) => Math.min(room, 1.12 * room * (value / 255) ** 0.62);

// The colours by their names in base.css, and the two families of fonts.
function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = ["paper", "sheet", "sunk", "band", "pick", "line", "ink", "ink-2", "ink-3", "user", "user-soft", "agent", "agent-soft", "tool", "wait", "edge", "slow", "slow-fill", "bad", "cut", "cut-soft", "sans", "mono"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

export class Score {
  constructor(page) {
    this.page = page;
    this.overview = new Overview(page, this);
    this.score = document.getElementById("score");
    this.from = 0;
    this.to = 1;
    this.colours = palette();
    this.pointed = null;
    this.pending = false;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.colours = palette(); this.draw(); });
    this.wide = this.score.clientWidth; // read once, because every x needs it
    new ResizeObserver(() => { this.wide = this.score.clientWidth; this.draw(); }).observe(this.score);
    this.listen();
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
    this.page.viewChanged();
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
      this.drawScore();
      this.moveHeads();
    });
  }

  moveHeads() {
    const t = this.page.time;
    this.overview.moveHead(t);
    const head = this.score.querySelector(".head");
    const x = this.x(t);
    head.hidden = x < this.left - 1 || x > this.left + this.width + 1;
    head.style.transform = `translateX(${x}px)`;
    const flag = head.firstElementChild;
    setText(flag, clock(t));
    flag.style.transform = x > this.left + this.width - 60 ? "translateX(-100%)" : "";
  }

  canvas(parent) {
    const canvas = parent.querySelector("canvas");
    const scale = devicePixelRatio || 1;
    const [width, tall] = [parent.clientWidth, parent.clientHeight];
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(tall * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(tall * scale);
    }
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, tall);
    context.textBaseline = "alphabetic";
    context.textAlign = "left"; // of Arabic, too
    return context;
  }

  font(context, size, weight = 400) {
    context.font = `${weight} ${size}px ${this.colours.sans}`;
  }

  clipped(context, text, room) {
    if (room < 12) return "";
    if (context.measureText(text).width <= room) return text;
    let low = 0;
    let high = text.length;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (context.measureText(`${text.slice(0, middle)}…`).width <= room) low = middle;
      else high = middle - 1;
    }
    return low ? `${text.slice(0, low).replace(/[\ud800-\udbff]$/, "").trimEnd()}…` : ""; // no half of an emoji
  }

  // --- score

  get rows() {
    // ruler 20, user's captions 20, user 56, spine 34, agent 56, agent's captions 20, events 18
    return this.isNarrow
      ? { ruler: 16, userText: 29, user: 33, spine: 68, agent: 95, agentText: 144, events: 153, end: 167 }
      : { ruler: 20, userText: 35, user: 40, spine: 96, agent: 130, agentText: 200, events: 210, end: 222 };
  }

  visible(from, to) { return to >= this.from && from <= this.to; }

  drawScore() {
    const { colours: c, shape, rows: r } = this;
    const context = this.canvas(this.score);
    const right = this.left + this.width;
    context.save();
    context.beginPath();
    context.rect(this.left, 0, this.width, this.score.clientHeight);
    context.clip();
    context.fillStyle = c.sheet;
    context.fillRect(this.left, r.ruler, this.width, 999);
    const chosen = shape.turns.find((turn) => turn.n === this.page.turn);
    if (chosen && this.visible(chosen.from, chosen.to)) {
      context.fillStyle = c.band;
      context.fillRect(this.x(chosen.from), r.ruler, this.x(chosen.to) - this.x(chosen.from), 999);
    }
    context.fillStyle = c.sunk;
    context.fillRect(this.left, r.spine, this.width, r.agent - r.spine);
    if (this.pointed) {
      const isUser = this.pointed.who === "user";
      context.fillStyle = c.pick;
      context.fillRect(this.x(this.pointed.from), isUser ? r.user : r.agent, Math.max(2, this.x(this.pointed.to) - this.x(this.pointed.from)), isUser ? r.spine - r.user : r.agentText - 14 - r.agent);
    }
    context.strokeStyle = c.line;
    context.beginPath();
    for (const at of [r.ruler, r.spine, r.agent]) { context.moveTo(this.left, at + 0.5); context.lineTo(right, at + 0.5); }
    context.stroke();
    this.drawRuler(context, r);
    this.drawSound(context, r);
    this.drawTurns(context, r);
    this.drawCaptions(context, r);
    this.drawEvents(context, r);
    if (chosen && this.visible(chosen.from, chosen.to)) {
      context.fillStyle = c.ink;
      context.fillRect(this.x(chosen.from), r.ruler - 1, this.x(chosen.to) - this.x(chosen.from), 2);
    }
    context.restore();
  }

  drawRuler(context, r) {
    const { colours: c } = this;
    const step = STEPS.find((each) => each * this.perSecond >= 74) ?? 1800;
    this.font(context, 11);
    context.fillStyle = c["ink-3"];
    context.strokeStyle = c.line;
    context.beginPath();
    for (let tick = Math.floor(this.from / step) * step; tick <= this.to; tick += step / 5) {
      const x = Math.round(this.x(tick)) + 0.5;
      const isLabel = Math.abs(tick / step - Math.round(tick / step)) < 1e-6;
      context.moveTo(x, isLabel ? r.ruler - 8 : r.ruler - 3);
      context.lineTo(x, r.ruler);
      if (!isLabel || x < this.left) continue;
      const text = clock(tick, step < 1 ? 1 : 0);
      if (x + 3 + context.measureText(text).width <= this.left + this.width) context.fillText(text, x + 3, r.ruler - 7);
    }
    context.stroke();
  }

  drawSound(context, r) {
    const { colours: c, shape } = this;
    const up = r.spine - r.user;
    for (const { side, from, to, why } of shape.recording.gaps) {
      if (!this.visible(from, to)) continue;
      const [left, right] = [Math.max(this.x(from), this.left - 1), Math.min(this.x(to), this.left + this.width + 1)];
      this.drawGap(context, left, side === "user" ? r.user : r.agent + 1, right, up, why);
    }
    if (!this.page.peaks.ready) {
      for (const [side, base, sign] of [["user", r.spine, -1], ["agent", r.agent + 1, 1]]) {
        context.strokeStyle = c[side];
        context.fillStyle = c.band;
        context.setLineDash([4, 3]);
        for (const [from, to] of shape.activity[side]) {
          if (!this.visible(from, to)) continue;
          const wide = Math.max(2, this.x(to) - this.x(from));
          context.fillRect(this.x(from), sign < 0 ? base - 28 : base, wide, 28);
          context.strokeRect(this.x(from) + 0.5, (sign < 0 ? base - 28 : base) + 0.5, wide, 27);
        }
        context.setLineDash([]);
      }
      return;
    }
    const level = this.page.peaks.level(this.perSecond);
    const out = [0, 0, 0, 0];
    const columns = Math.ceil(this.width);
    const drawn = Array.from({ length: 4 }, () => new Float32Array(columns));
    for (let column = 0; column < columns; column++) {
      const from = this.from + column / this.perSecond;
      if (from > this.whole) break;
      this.page.peaks.read(level, from, from + 1 / this.perSecond, out);
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
      const x = this.left + column;
      if (tall) {
        if (!isOpen) path.moveTo(x, base);
        path.lineTo(x, base + sign * tall);
        path.lineTo(x + 1, base + sign * tall);
      } else if (isOpen) path.lineTo(x, base);
      isOpen = tall > 0;
    }
    return path;
  }

  hatch(context, x, y, wide, tall, colour) {
    context.save();
    context.beginPath();
    context.rect(x, y, wide, tall);
    context.clip();
    context.strokeStyle = colour;
    context.globalAlpha = 0.55;
    context.lineWidth = 1;
    context.beginPath();
    const first = Math.floor(Math.max(x, this.left) / 7) * 7 - tall;
    for (let at = first; at < Math.min(x + wide, this.left + this.width); at += 7) { context.moveTo(at, y + tall); context.lineTo(at + tall, y); }
    context.stroke();
    context.restore();
  }

  // A time in which the recording lacks a side, and why.
  drawGap(context, from, y, to, tall, why) {
    const { colours: c } = this;
    const wide = Math.max(2, to - from);
    this.hatch(context, from, y, wide, tall, c.edge);
    context.fillStyle = c.edge;
    for (const edge of [from, from + wide - 1]) context.fillRect(edge, y, 1, tall);
    this.font(context, 11);
    const text = [why, why.split(" ").at(-1)].find((each) => context.measureText(each).width + 12 <= wide);
    if (!text) return;
    context.fillStyle = c.sheet;
    context.fillRect(from + 3, y + tall / 2 - 9, context.measureText(text).width + 6, 18);
    context.fillStyle = c["ink-2"];
    context.fillText(text, from + 6, y + tall / 2 + 4);
  }

  drawTurns(context, r) {
    const { colours: c, shape } = this;
    const isFar = this.perSecond < 4;
    const middle = r.spine + 6;
    const tall = 12;
    const shown = [];
    for (const [index, turn] of shape.turns.entries()) {
      const next = shape.turns[index + 1];
      if (!this.visible(turn.from, Math.max(turn.to, next?.heard_from ?? turn.to))) continue;
      if (index && !isFar) {
        context.strokeStyle = c.line;
        context.beginPath();
        context.moveTo(Math.round(this.x(turn.from)) + 0.5, r.ruler);
        context.lineTo(Math.round(this.x(turn.from)) + 0.5, r.agentText - 14);
        context.stroke();
      }
      context.fillStyle = c["agent-soft"];
      for (const [from, to] of turn.responses) context.fillRect(this.x(from), r.agent - 3.5, Math.max(1, this.x(to) - this.x(from)), 2.5);
      if (turn.cut_at !== null) this.drawCut(context, turn, next, r, isFar);
      shown.push([turn, next]);
    }
    for (const each of shown) this.drawBar(context, ...each, middle, tall, r); // above the lines that cross the numbers
    for (const line of shape.lines) {
      if (line.who !== "tool" || !this.visible(line.from, line.to)) continue;
      const turn = shape.turns.find((each) => each.n === line.turn);
      if (turn?.first_audio !== null && turn?.first_audio !== undefined && line.from >= turn.first_audio) {
        context.fillStyle = line.error ? c.bad : c.tool;
        context.fillRect(this.x(line.from), r.agent - 6, Math.max(4, this.x(line.to) - this.x(line.from)), 6);
      }
    }
  }

  drawBar(context, turn, next, top, tall, r) {
    const { colours: c } = this;
    if (!turn.parts.length) {
      if (this.shape.live && turn === this.shape.turns.at(-1) && turn.n && !turn.answered && turn.user_to !== null) {
        this.font(context, 11);
        context.fillStyle = c["ink-3"];
        context.fillText("waiting …", this.x(turn.user_to) + 4, top + 10);
      }
      return;
    }
    const first = this.x(turn.parts[0].from);
    const last = this.x(turn.parts.at(-1).to);
    const isSlow = turn.problems.includes("slow");
    const failed = turn.problems.includes("error");
    if (last - first < 5) {
      context.fillStyle = failed ? c.bad : isSlow ? c["slow-fill"] : c["ink-3"];
      const all = isSlow || failed;
      context.fillRect(first, all ? r.spine + 1 : top, Math.max(2, last - first), all ? r.agent - r.spine - 1 : tall);
      return;
    }
    const fills = { detection: c.wait, model: c.agent, tool: c.tool, playback: c["agent-soft"] };
    for (const part of turn.parts) {
      const [from, to] = [this.x(part.from), this.x(part.to)];
      context.fillStyle = part.error ? c.bad : fills[part.kind];
      context.fillRect(from, top, Math.max(0.75, to - from - 0.75), tall);
      if (part.kind === "playback" && to - from > 2) {
        context.strokeStyle = c.agent;
        context.strokeRect(from + 0.5, top + 0.5, to - from - 1.5, tall - 1);
      }
    }
    if (turn.speech_end !== null && turn.first_audio !== null) {
      context.strokeStyle = c.edge;
      context.beginPath();
      const y = top + tall + 5.5;
      context.moveTo(this.x(turn.speech_end) + 0.5, y - 3);
      context.lineTo(this.x(turn.speech_end) + 0.5, y);
      context.lineTo(this.x(turn.first_audio) - 1, y);
      context.lineTo(this.x(turn.first_audio) - 1, y - 3);
      context.stroke();
    }
    const room = (next?.parts.length ? this.x(next.parts[0].from) : this.left + this.width) - last - 10;
    this.font(context, 11, 600);
    const text = ms(latency(turn));
    const wide = context.measureText(text).width;
    if (wide > room) return;
    context.fillStyle = c.sunk; // no line of an interruption or of the next turn crosses the number
    context.fillRect(last + 5, top - 1, wide + 4, 14);
    context.fillStyle = isSlow ? (failed ? c.bad : c.slow) : c.ink;
    context.fillText(text, last + 7, top + 10);
    const tools = turn.parts.filter((part) => part.kind === "tool");
    if (!tools.length) return;
    context.font = `400 11px ${this.colours.mono}`;
    context.fillStyle = tools.some((part) => part.error) ? c.bad : c.tool;
    context.fillText(this.clipped(context, tools.map((part) => `${part.name} ${ms(partMs(part))}`).join("  "), room - wide - 14), last + wide + 15, top + 10);
  }

  drawCut(context, turn, next, r, isFar) {
    const { colours: c } = this;
    const at = this.x(turn.cut_at);
    const reaction = (turn.barge_in_reaction_ms || 0) / 1000;
    context.globalAlpha = 0.16;
    context.fillStyle = c.cut;
    context.fillRect(this.x(turn.cut_at - reaction), r.user, at - this.x(turn.cut_at - reaction), r.agentText - 14 - r.user);
    context.globalAlpha = 1;
    if (isFar) {
      context.fillRect(at - 1, r.agent - 8, 2, 16);
      return;
    }
    context.fillStyle = c.cut;
    context.fillRect(at - 1, r.user, 2, r.agentText - 14 - r.user);
    const lost = (turn.not_heard_ms || 0) / 1000;
    if (!lost) return;
    const end = Math.min(turn.cut_at + lost, next?.heard_from ?? turn.cut_at + lost, this.whole);
    const wide = this.x(end) - at - 2;
    if (wide < 4) return;
    const tall = this.isNarrow ? 20 : 28;
    this.hatch(context, at + 2, r.agent + 2, wide, tall, c["agent"]);
    context.strokeStyle = c["agent-soft"];
    context.setLineDash([3, 3]);
    context.strokeRect(at + 2.5, r.agent + 2.5, wide - 1, tall);
    context.setLineDash([]);
    this.font(context, 11, 600);
    context.fillStyle = c.cut;
    for (const text of [`cut off · ${lost.toFixed(1)} s not heard`, `${lost.toFixed(1)} s not heard`, `−${lost.toFixed(1)} s`]) {
      if (context.measureText(text).width < wide) {
        context.fillText(text, at + 6, r.agent + tall + 14);
        break;
      }
    }
  }

  drawCaptions(context, r) {
    if (this.perSecond < 4) return;
    const { colours: c, shape } = this;
    for (const who of ["user", "agent"]) {
      const lines = shape.lines.filter((line) => line.who === who && line.text && !line.out_of_band);
      lines.sort((a, b) => a.from - b.from);
      let numbered = null;
      for (const [index, line] of lines.entries()) {
        const until = lines[index + 1]?.from ?? this.whole;
        if (!this.visible(line.from, until)) continue;
        let x = Math.max(this.x(line.from) + 2, this.left + 2);
        const room = Math.min(this.x(until), this.left + this.width) - x - 8;
        const y = who === "user" ? r.userText : r.agentText;
        if (who === "user" && numbered !== line.turn && room > 20) {
          this.font(context, 12, 600);
          context.fillStyle = c.ink;
          context.fillText(String(line.turn), x, y);
          x += context.measureText(String(line.turn)).width + 6;
        }
        numbered = line.turn;
        this.font(context, 12);
        context.direction = isRightToLeft(line.text) ? "rtl" : "ltr";
        context.fillStyle = line.turn === this.page.turn ? c.ink : c["ink-2"];
        const [heard, rest] = splitHeard(line);
        const cutX = who === "agent" && line.heard_chars !== undefined ? this.x(line.to) : null;
        const right = Math.min(this.x(until), this.left + this.width) - 8;
        // Words that nobody heard stand after the cut; if they fit only so, they take room from those that were heard,
        // but not all of it.
        const unheard = cutX === null ? "" : rest.trim();
        const earlier = right - context.measureText(unheard).width;
        const kept = heard.trim() ? Math.min(48, context.measureText(heard).width + 8) : 0;
        const begin = cutX === null ? Infinity : Math.max(x, earlier >= x ? Math.min(cutX + 6, Math.max(earlier, x + kept)) : cutX + 6);
        const space = Math.min(room - (x - Math.max(this.x(line.from) + 2, this.left + 2)), begin - x - 6);
        if (space > 24) context.fillText(this.clipped(context, heard, space), x, y);
        if (cutX !== null) {
          const text = this.clipped(context, unheard, right - begin);
          context.fillStyle = c["ink-3"];
          context.fillText(text, begin, y);
          context.fillRect(begin, y - 4, context.measureText(text).width, 1);
        }
      }
    }
    context.direction = "ltr";
  }

  drawEvents(context, r) {
    const { colours: c, shape } = this;
    const isFar = this.perSecond < 4;
    let last = -9;
    for (const event of shape.events) {
      if (!this.visible(event.t, event.t + (event.d || 0))) continue;
      if (event.type === "model") continue;
      const x = this.x(event.t);
      const isPlain = event.type === "event" && !event.error;
      if (isPlain && x - last < (isFar ? 3 : 1.5)) continue;
      if (isPlain) last = x;
      context.fillStyle = event.error ? c.bad : isFar ? c.edge : event.type === "tool" ? c.tool : event.name.startsWith("input") ? c.user : event.name.startsWith("response") ? c.agent : c.edge;
      context.fillRect(x, r.events, event.type === "tool" ? Math.max(3, event.d * this.perSecond) : event.error ? 2 : 1, r.end - r.events);
    }
  }

  // --- interaction

  listen() {
    const pointers = new Map();
    let pinch = null;
    let drag = null;
    this.score.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.shape) return;
      const x = event.offsetX;
      if (!this.isNarrow && x < this.left - 8) return;
      this.score.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
      if (pointers.size === 2) {
        const [a, b] = [...pointers.values()];
        pinch = { distance: Math.abs(a.clientX - b.clientX) || 1, span: this.to - this.from, at: this.t((a.offsetX + b.offsetX) / 2) };
        drag = null;
      } else {
        drag = { x: event.clientX, from: this.from, touch: event.pointerType === "touch", moved: false, y: event.offsetY };
        if (!drag.touch) this.page.seek(this.t(x), { fromScore: true });
      }
    });
    this.score.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return;
      pointers.set(event.pointerId, event);
      if (pinch && pointers.size === 2) {
        const [a, b] = [...pointers.values()];
        this.zoom((pinch.span * pinch.distance) / Math.max(8, Math.abs(a.clientX - b.clientX)) / (this.to - this.from), pinch.at);
      } else if (drag) {
        const by = event.clientX - drag.x;
        drag.moved ||= Math.abs(by) > 4;
        if (drag.touch) {
          const span = this.to - this.from;
          if (drag.moved) { this.page.scrolledAway(); this.show(drag.from - by / this.perSecond, drag.from - by / this.perSecond + span); }
        } else if (drag.moved) this.page.seek(this.t(event.offsetX), { fromScore: true });
      }
    });
    this.score.addEventListener("pointermove", (event) => {
      if (!pointers.size && this.shape) this.explain(this.wordsAt(event.offsetX, event.offsetY));
    });
    const release = (event) => {
      if (drag?.touch && !drag.moved) this.page.seek(this.t(event.offsetX), { fromScore: true });
      else if (drag && !drag.moved && drag.y >= this.rows.events - 2) this.openEvent(event.offsetX);
      pointers.delete(event.pointerId);
      if (pointers.size < 2) pinch = null;
      drag = null;
    };
    this.score.addEventListener("pointerup", release);
    this.score.addEventListener("pointercancel", () => { pointers.clear(); pinch = drag = null; });
    this.score.addEventListener("dblclick", (event) => this.page.zoomToTurn(this.page.turnAt(this.t(event.offsetX))));
    this.score.addEventListener("wheel", (event) => {
      if (event.ctrlKey) {
        event.preventDefault();
        this.zoom(Math.exp(event.deltaY * 0.004), this.t(event.offsetX));
      } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
        event.preventDefault();
        const by = ((event.deltaX || event.deltaY) / this.width) * (this.to - this.from);
        this.page.scrolledAway();
        this.show(this.from + by, this.to + by);
      }
    }, { passive: false });
  }

  // The whole words of the line at a point, because its caption may have no room for them.
  wordsAt(x, y) {
    const { rows: r } = this;
    const who = y > r.ruler && y < r.spine ? "user" : y > r.agent && y < r.events ? "agent" : null;
    const t = this.t(x);
    const gap = this.shape.recording.gaps.find((each) => each.side === who && each.from <= t && t <= each.to);
    const silent = gap && `${gap.why} from ${clock(gap.from)} to ${clock(gap.to)}`;
    const lines = this.shape.lines.filter((line) => line.who === who && line.text && !line.out_of_band && line.from <= t);
    if (!lines.length) return silent ?? "";
    const [heard, rest] = splitHeard(lines.reduce((last, line) => (line.from >= last.from ? line : last)));
    return [heard.trim(), rest.trim() && `not heard: ${rest.trim()}`, silent].filter(Boolean).join(" · ");
  }

  explain(words) {
    if (this.score.title !== words) this.score.title = words;
  }

  openEvent(x) {
    const t = this.t(x);
    const near = this.shape.events.filter((event) => event.type !== "model" && Math.abs(event.t - t) * this.perSecond < 6);
    near.sort((a, b) => Math.abs(a.t - t) - Math.abs(b.t - t));
    if (near.length) this.page.openEvent(near[0].id);
  }
}
