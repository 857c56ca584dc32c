// The pointer on the score: it seeks, moves, zooms, opens events, and explains what it points at.

import { clock, splitHeard } from "./format.js";

export class ScorePointer {
  constructor(score) {
    this.score = score;
    this.listen();
  }

  listen() {
    const { score } = this;
    const pointers = new Map();
    let pinch = null;
    let drag = null;
    score.element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !score.shape) return;
      const x = event.offsetX;
      if (!score.isNarrow && x < score.left - 8) return;
      score.element.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
      if (pointers.size === 2) {
        const [a, b] = [...pointers.values()];
        pinch = { distance: Math.abs(a.clientX - b.clientX) || 1, span: score.to - score.from, at: score.t((a.offsetX + b.offsetX) / 2) };
        drag = null;
      } else {
        drag = { x: event.clientX, from: score.from, touch: event.pointerType === "touch", moved: false, y: event.offsetY };
        if (!drag.touch) score.page.seek(score.t(x));
      }
    });
    score.element.addEventListener("pointermove", (event) => {
      if (!pointers.has(event.pointerId)) return;
      pointers.set(event.pointerId, event);
      if (pinch && pointers.size === 2) {
        const [a, b] = [...pointers.values()];
        score.zoom((pinch.span * pinch.distance) / Math.max(8, Math.abs(a.clientX - b.clientX)) / (score.to - score.from), pinch.at);
      } else if (drag) {
        const by = event.clientX - drag.x;
        drag.moved ||= Math.abs(by) > 4;
        if (drag.touch) {
          const span = score.to - score.from;
          if (drag.moved) { score.page.scrolledAway(); score.show(drag.from - by / score.perSecond, drag.from - by / score.perSecond + span); }
        } else if (drag.moved) score.page.seek(score.t(event.offsetX));
      }
    });
    score.element.addEventListener("pointermove", (event) => {
      if (!pointers.size && score.shape) this.explain(this.wordsAt(event.offsetX, event.offsetY));
    });
    const release = (event) => {
      if (drag?.touch && !drag.moved) score.page.seek(score.t(event.offsetX));
      else if (drag && !drag.moved && drag.y >= score.rows.events - 2) this.openEvent(event.offsetX);
      pointers.delete(event.pointerId);
      if (pointers.size < 2) pinch = null;
      drag = null;
    };
    score.element.addEventListener("pointerup", release);
    score.element.addEventListener("pointercancel", () => { pointers.clear(); pinch = drag = null; });
    score.element.addEventListener("dblclick", (event) => score.page.zoomToTurn(score.page.turnAt(score.t(event.offsetX))));
    score.element.addEventListener("wheel", (event) => {
      if (event.ctrlKey) {
        event.preventDefault();
        score.zoom(Math.exp(event.deltaY * 0.004), score.t(event.offsetX));
      } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
        event.preventDefault();
        const by = ((event.deltaX || event.deltaY) / score.width) * (score.to - score.from);
        score.page.scrolledAway();
        score.show(score.from + by, score.to + by);
      }
    }, { passive: false });
  }

  // The whole words of the line at a point, because its caption may have no room for them.
  wordsAt(x, y) {
    const { rows: r } = this.score;
    const who = y > r.ruler && y < r.spine ? "user" : y > r.agent && y < r.events ? "agent" : null;
    const t = this.score.t(x);
    const gap = this.score.shape.recording.gaps.find((each) => each.side === who && each.from <= t && t <= each.to);
    const silent = gap && `${gap.why} from ${clock(gap.from)} to ${clock(gap.to)}`;
    const lines = this.score.shape.lines.filter((line) => line.who === who && line.text && !line.out_of_band && line.from <= t);
    if (!lines.length) return silent ?? "";
    const [heard, rest] = splitHeard(lines.reduce((last, line) => (line.from >= last.from ? line : last)));
    return [heard.trim(), rest.trim() && `not heard: ${rest.trim()}`, silent].filter(Boolean).join(" · ");
  }

  explain(words) {
    if (this.score.element.title !== words) this.score.element.title = words;
  }

  openEvent(x) {
    const t = this.score.t(x);
    const near = this.score.shape.events.filter((event) => event.type !== "model" && Math.abs(event.t - t) * this.score.perSecond < 6);
    near.sort((a, b) => Math.abs(a.t - t) - Math.abs(b.t - t));
    if (near.length) this.score.page.openEvent(near[0].id);
  }
}
