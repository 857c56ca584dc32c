// Draws the score: the ruler, the waveforms, the parts of each wait, cuts, captions and events.

import { cleared, clipped, hatch } from "./canvas.js";
import { clock, isRightToLeft, latency, ms, partMs, splitHeard } from "./format.js";
import { Waveforms } from "./waveforms.js";

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900];

export class ScoreDrawing {
  constructor(score) {
    this.score = score;
    this.waveforms = new Waveforms(score);
  }

  draw() {
    const { colours: c, shape, rows: r } = this.score;
    const context = cleared(this.score.element);
    const right = this.score.left + this.score.width;
    context.save();
    context.beginPath();
    context.rect(this.score.left, 0, this.score.width, this.score.element.clientHeight);
    context.clip();
    context.fillStyle = c.sheet;
    context.fillRect(this.score.left, r.ruler, this.score.width, 999);
    const chosen = shape.turns.find((turn) => turn.n === this.score.page.turn);
    if (chosen && this.score.visible(chosen.from, chosen.to)) {
      context.fillStyle = c.band;
      context.fillRect(this.score.x(chosen.from), r.ruler, this.score.x(chosen.to) - this.score.x(chosen.from), 999);
    }
    context.fillStyle = c.sunk;
    context.fillRect(this.score.left, r.spine, this.score.width, r.agent - r.spine);
    if (this.score.pointed) {
      const isUser = this.score.pointed.who === "user";
      context.fillStyle = c.pick;
      context.fillRect(this.score.x(this.score.pointed.from), isUser ? r.user : r.agent, Math.max(2, this.score.x(this.score.pointed.to) - this.score.x(this.score.pointed.from)), isUser ? r.spine - r.user : r.agentText - 14 - r.agent);
    }
    context.strokeStyle = c.line;
    context.beginPath();
    for (const at of [r.ruler, r.spine, r.agent]) { context.moveTo(this.score.left, at + 0.5); context.lineTo(right, at + 0.5); }
    context.stroke();
    this.drawRuler(context, r);
    this.waveforms.draw(context, r);
    this.drawTurns(context, r);
    this.drawCaptions(context, r);
    this.drawEvents(context, r);
    if (chosen && this.score.visible(chosen.from, chosen.to)) {
      context.fillStyle = c.ink;
      context.fillRect(this.score.x(chosen.from), r.ruler - 1, this.score.x(chosen.to) - this.score.x(chosen.from), 2);
    }
    context.restore();
  }

  drawRuler(context, r) {
    const { colours: c } = this.score;
    const step = STEPS.find((each) => each * this.score.perSecond >= 74) ?? 1800;
    this.score.font(context, 11);
    context.fillStyle = c["ink-3"];
    context.strokeStyle = c.line;
    context.beginPath();
    for (let tick = Math.floor(this.score.from / step) * step; tick <= this.score.to; tick += step / 5) {
      const x = Math.round(this.score.x(tick)) + 0.5;
      const isLabel = Math.abs(tick / step - Math.round(tick / step)) < 1e-6;
      context.moveTo(x, isLabel ? r.ruler - 8 : r.ruler - 3);
      context.lineTo(x, r.ruler);
      if (!isLabel || x < this.score.left) continue;
      const text = clock(tick, step < 1 ? 1 : 0);
      if (x + 3 + context.measureText(text).width <= this.score.left + this.score.width) context.fillText(text, x + 3, r.ruler - 7);
    }
    context.stroke();
  }

  drawTurns(context, r) {
    const { colours: c, shape } = this.score;
    const isFar = this.score.perSecond < 4;
    const middle = r.spine + 6;
    const tall = 12;
    const shown = [];
    for (const [index, turn] of shape.turns.entries()) {
      const next = shape.turns[index + 1];
      if (!this.score.visible(turn.from, Math.max(turn.to, next?.heard_from ?? turn.to))) continue;
      if (index && !isFar) {
        context.strokeStyle = c.line;
        context.beginPath();
        context.moveTo(Math.round(this.score.x(turn.from)) + 0.5, r.ruler);
        context.lineTo(Math.round(this.score.x(turn.from)) + 0.5, r.agentText - 14);
        context.stroke();
      }
      context.fillStyle = c["agent-soft"];
      for (const [from, to] of turn.responses) context.fillRect(this.score.x(from), r.agent - 3.5, Math.max(1, this.score.x(to) - this.score.x(from)), 2.5);
      if (turn.cut_at !== null) this.drawCut(context, turn, next, r, isFar);
      shown.push([turn, next]);
    }
    for (const each of shown) this.drawBar(context, ...each, middle, tall, r); // above the lines that cross the numbers
    for (const line of shape.lines) {
      if (line.who !== "tool" || !this.score.visible(line.from, line.to)) continue;
      const turn = shape.turns.find((each) => each.n === line.turn);
      if (turn?.first_audio !== null && turn?.first_audio !== undefined && line.from >= turn.first_audio) {
        context.fillStyle = line.error ? c.bad : c.tool;
        context.fillRect(this.score.x(line.from), r.agent - 6, Math.max(4, this.score.x(line.to) - this.score.x(line.from)), 6);
      }
    }
  }

  drawBar(context, turn, next, top, tall, r) {
    const { colours: c } = this.score;
    if (!turn.parts.length) {
      if (this.score.shape.live && turn === this.score.shape.turns.at(-1) && turn.n && !turn.answered && turn.user_to !== null) {
        this.score.font(context, 11);
        context.fillStyle = c["ink-3"];
        context.fillText("waiting …", this.score.x(turn.user_to) + 4, top + 10);
      }
      return;
    }
    const first = this.score.x(turn.parts[0].from);
    const last = this.score.x(turn.parts.at(-1).to);
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
      const [from, to] = [this.score.x(part.from), this.score.x(part.to)];
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
      context.moveTo(this.score.x(turn.speech_end) + 0.5, y - 3);
      context.lineTo(this.score.x(turn.speech_end) + 0.5, y);
      context.lineTo(this.score.x(turn.first_audio) - 1, y);
      context.lineTo(this.score.x(turn.first_audio) - 1, y - 3);
      context.stroke();
    }
    const room = (next?.parts.length ? this.score.x(next.parts[0].from) : this.score.left + this.score.width) - last - 10;
    this.score.font(context, 11, 600);
    const text = ms(latency(turn));
    const wide = context.measureText(text).width;
    if (wide > room) return;
    context.fillStyle = c.sunk; // no line of an interruption or of the next turn crosses the number
    context.fillRect(last + 5, top - 1, wide + 4, 14);
    context.fillStyle = isSlow ? (failed ? c.bad : c.slow) : c.ink;
    context.fillText(text, last + 7, top + 10);
    const tools = turn.parts.filter((part) => part.kind === "tool");
    if (!tools.length) return;
    context.font = `400 11px ${this.score.colours.mono}`;
    context.fillStyle = tools.some((part) => part.error) ? c.bad : c.tool;
    context.fillText(clipped(context, tools.map((part) => `${part.name} ${ms(partMs(part))}`).join("  "), room - wide - 14), last + wide + 15, top + 10);
  }

  drawCut(context, turn, next, r, isFar) {
    const { colours: c } = this.score;
    const at = this.score.x(turn.cut_at);
    const reaction = (turn.barge_in_reaction_ms || 0) / 1000;
    context.globalAlpha = 0.16;
    context.fillStyle = c.cut;
    context.fillRect(this.score.x(turn.cut_at - reaction), r.user, at - this.score.x(turn.cut_at - reaction), r.agentText - 14 - r.user);
    context.globalAlpha = 1;
    if (isFar) {
      context.fillRect(at - 1, r.agent - 8, 2, 16);
      return;
    }
    context.fillStyle = c.cut;
    context.fillRect(at - 1, r.user, 2, r.agentText - 14 - r.user);
    const lost = (turn.not_heard_ms || 0) / 1000;
    if (!lost) return;
    const end = Math.min(turn.cut_at + lost, next?.heard_from ?? turn.cut_at + lost, this.score.whole);
    const wide = this.score.x(end) - at - 2;
    if (wide < 4) return;
    const tall = this.score.isNarrow ? 20 : 28;
    const left = Math.max(at + 2, this.score.left); // only what is visible
    const right = Math.min(at + 2 + wide, this.score.left + this.score.width);
    hatch(context, left, r.agent + 2, right - left, tall, c.agent);
    context.strokeStyle = c["agent-soft"];
    context.setLineDash([3, 3]);
    context.strokeRect(at + 2.5, r.agent + 2.5, wide - 1, tall);
    context.setLineDash([]);
    this.score.font(context, 11, 600);
    context.fillStyle = c.cut;
    for (const text of [`cut off · ${lost.toFixed(1)} s not heard`, `${lost.toFixed(1)} s not heard`, `−${lost.toFixed(1)} s`]) {
      if (context.measureText(text).width < wide) {
        context.fillText(text, at + 6, r.agent + tall + 14);
        break;
      }
    }
  }

  drawCaptions(context, r) {
    if (this.score.perSecond < 4) return;
    const { colours: c, shape } = this.score;
    for (const who of ["user", "agent"]) {
      const lines = shape.lines.filter((line) => line.who === who && line.text && !line.out_of_band);
      lines.sort((a, b) => a.from - b.from);
      let numbered = null;
      for (const [index, line] of lines.entries()) {
        const until = lines[index + 1]?.from ?? this.score.whole;
        if (!this.score.visible(line.from, until)) continue;
        let x = Math.max(this.score.x(line.from) + 2, this.score.left + 2);
        const room = Math.min(this.score.x(until), this.score.left + this.score.width) - x - 8;
        const y = who === "user" ? r.userText : r.agentText;
        if (who === "user" && numbered !== line.turn && room > 20) {
          this.score.font(context, 12, 600);
          context.fillStyle = c.ink;
          context.fillText(String(line.turn), x, y);
          x += context.measureText(String(line.turn)).width + 6;
        }
        numbered = line.turn;
        this.score.font(context, 12);
        context.direction = isRightToLeft(line.text) ? "rtl" : "ltr";
        context.fillStyle = line.turn === this.score.page.turn ? c.ink : c["ink-2"];
        const [heard, rest] = splitHeard(line);
        const cutX = who === "agent" && line.heard_chars !== undefined ? this.score.x(line.to) : null;
        const right = Math.min(this.score.x(until), this.score.left + this.score.width) - 8;
        // Words that nobody heard stand after the cut; if they fit only so, they take room from those that were heard,
        // but not all of it.
        const unheard = cutX === null ? "" : rest.trim();
        const earlier = right - context.measureText(unheard).width;
        const kept = heard.trim() ? Math.min(48, context.measureText(heard).width + 8) : 0;
        const begin = cutX === null ? Infinity : Math.max(x, earlier >= x ? Math.min(cutX + 6, Math.max(earlier, x + kept)) : cutX + 6);
        const space = Math.min(room - (x - Math.max(this.score.x(line.from) + 2, this.score.left + 2)), begin - x - 6);
        if (space > 24) context.fillText(clipped(context, heard, space), x, y);
        if (cutX !== null) {
          const text = clipped(context, unheard, right - begin);
          context.fillStyle = c["ink-3"];
          context.fillText(text, begin, y);
          context.fillRect(begin, y - 4, context.measureText(text).width, 1);
        }
      }
    }
    context.direction = "ltr";
  }

  drawEvents(context, r) {
    const { colours: c, shape } = this.score;
    const isFar = this.score.perSecond < 4;
    let last = -9;
    for (const event of shape.events) {
      if (!this.score.visible(event.t, event.t + (event.d || 0))) continue;
      if (event.type === "model") continue;
      const x = this.score.x(event.t);
      const isPlain = event.type === "event" && !event.error;
      if (isPlain && x - last < (isFar ? 3 : 1.5)) continue;
      if (isPlain) last = x;
      context.fillStyle = event.error ? c.bad : isFar ? c.edge : event.type === "tool" ? c.tool : event.name.startsWith("input") ? c.user : event.name.startsWith("response") ? c.agent : c.edge;
      context.fillRect(x, r.events, event.type === "tool" ? Math.max(3, event.d * this.score.perSecond) : event.error ? 2 : 1, r.end - r.events);
    }
  }
}
