// The transcript, as a screenplay. It follows what is heard, a word or a line seeks, and unheard words are struck through.

import { inWords, smallBar, tone } from "./bar.js";
import { h, icon, Rows } from "./dom.js";
import { clock, latency, ms, splitHeard } from "./format.js";

const NAMES = { user: "User", agent: "Agent" };

export class Transcript {
  constructor(page) {
    this.page = page;
    this.element = document.getElementById("transcript");
    this.rows = new Rows(this.element);
    this.current = null;
    this.scrollsItself = 0;
    for (const name of ["wheel", "touchmove", "pointerdown"]) {
      this.element.addEventListener(name, () => this.page.scrolledAway(), { passive: true });
    }
    this.element.addEventListener("keydown", (event) => {
      if (["PageUp", "PageDown"].includes(event.key)) this.page.scrolledAway();
    });
  }

  render() {
    const { lines, turns, live } = this.page.shape;
    const turnOf = new Map(turns.map((turn) => [turn.n, turn]));
    const wanted = [];
    const waited = new Set();
    lines.forEach((line, index) => {
      if (line.who !== "user" && line.who !== "step" && !waited.has(line.turn)) {
        waited.add(line.turn);
        if (latency(turnOf.get(line.turn) ?? {}) !== undefined && latency(turnOf.get(line.turn)) !== null) wanted.push(["wait", turnOf.get(line.turn)]);
      }
      wanted.push(["line", line]);
      const isLast = index === lines.length - 1;
      if (isLast && live && line.who === "user") wanted.push(["pending", turnOf.get(line.turn) ?? { n: line.turn }]);
    });
    const build = { line: (line) => this.line(line), wait: (turn) => this.wait(turn), pending: (turn) => this.pending(turn) };
    const rows = wanted.map(([kind, what]) => [kind === "line" ? what.id : `${kind}${what.n}`, JSON.stringify([kind, what, what.text === null && live]), () => build[kind](what)]);
    const { protocol_not_traced: other } = this.page.shape.numbers;
    const note = other ? `What was said is not known: ${other} is not traced, only its events are shown.` : live ? "Nothing was said yet." : "Nothing was said.";
    this.rows.show(rows.length ? rows : [["note", note, () => h("p", { class: "note" }, note)]]);
    this.spoken = lines.filter((line) => isSpoken(line) && !line.out_of_band);
    this.element.classList.toggle("named", lines.some((line) => line.agent));
    this.mark();
  }

  line(line) {
    if (line.who === "tool") return this.tool(line);
    if (line.who === "step") return this.step(line);
    const words = line.text === null
      ? h("p", {}, h("span", { class: "hidden-words" }, this.page.shape.recording.hidden?.length ? "Hidden" : this.page.shape.live ? "Hidden, or not transcribed yet" : "Hidden, or not transcribed"))
      : this.words(line);
    if (line.text === null && line.silenced) words.append(" ", this.silenced());
    return h("div", {
      class: `line ${line.who}`,
      data: { id: line.id },
      onpointerenter: () => this.page.point(line),
      onpointerleave: () => this.page.point(null),
    }, h("b", { dir: "auto", title: line.agent ? `Agent: ${line.agent}` : null }, (line.agent ?? NAMES[line.who]) + (line.typed ? ", typed" : line.out_of_band ? ", out of band" : "")), this.at(line.from), words);
  }

  silenced() {
    return h("span", { class: "pill silenced", title: "All or a part of this sound was made silent in the recording" }, "made silent");
  }

  // What an SDK says of its agents: a handoff, a guardrail, an approval.
  step(line) {
    return h("div", { class: `line step ${line.stopped ? "stopped" : ""}`, data: { id: line.id } }, h("b", {}, "SDK"), this.at(line.from),
      h("button", { type: "button", class: "run", onclick: () => this.page.openRun(line) }, h("span", { class: "cut", dir: "auto" }, line.text)));
  }

  at(t) {
    return h("button", { type: "button", class: "at", "aria-label": `Play from ${clock(t)}`, onclick: () => this.page.seek(t, { play: true }) }, clock(t));
  }

  words(line) {
    const [heard, unheard] = splitHeard(line);
    const paragraph = h("p", { dir: "auto" }, heard);
    if (line.interrupted) {
      paragraph.append(" ", h("span", { class: line.guardrails ? "pill long" : "pill" }, icon("cut"), `${line.guardrails ? `stopped by ${line.guardrails.join(", ")}` : "cut off"} after ${((line.heard_ms ?? 0) / 1000).toFixed(1)} s`));
    }
    if (line.silenced) paragraph.append(" ", this.silenced());
    if (unheard) {
      paragraph.append(" ", h("s", {}, h("span", { class: "visually-hidden" }, "not heard: "), unheard.trimStart()));
    }
    paragraph.addEventListener("click", (event) => {
      if (String(getSelection())) return;
      const place = document.caretPositionFromPoint?.(event.clientX, event.clientY) ?? null;
      const range = place ? null : document.caretRangeFromPoint?.(event.clientX, event.clientY);
      const offset = place?.offset ?? range?.startOffset ?? 0;
      const node = place?.offsetNode ?? range?.startContainer;
      const isHeard = node === paragraph.firstChild;
      const share = isHeard ? offset / Math.max(1, paragraph.firstChild.length) : 1;
      this.page.seek(timeAt(line, share, this.page.shape.activity[line.who]), { play: true });
    });
    return paragraph;
  }

  tool(line) {
    const answer = line.error ?? line.result ?? (line.answered === false ? "no answer was seen" : "");
    const approval = line.approval && `${line.approval}${line.approval_wait_ms === undefined ? "" : ` after ${ms(line.approval_wait_ms)}`}`;
    const result = approval ? `${approval} → ${answer}` : answer;
    const row = h("button", { type: "button", class: "run", onclick: () => this.page.openRun(line) },
      h("b", { title: line.name }, line.name), h("span", { class: "cut arguments" }, line.arguments), h("span", { class: "cut" }, `→ ${result}`), h("span", {}, ms(line.ms)));
    return h("div", { class: `line tool ${line.error ? "failed" : ""}`, data: { id: line.id } }, h("b", {}, "Tool"), this.at(line.from), row);
  }

  wait(turn) {
    const first = turn.voice_to_voice_ms !== null && turn.latency_to_first_audio_ms !== null
      && h("span", { class: "first" }, `first audio ${ms(turn.latency_to_first_audio_ms)}`);
    return h("div", { class: "line wait", data: { wait: turn.n } },
      h("button", { type: "button", onclick: () => this.page.goToTurn(turn.n, { atWait: true }), "aria-label": `Turn ${turn.n}: ${ms(latency(turn))}, ${inWords(turn)}` }, `turn ${turn.n}`),
      h("div", {}, smallBar(turn, innerWidth <= 860 ? 230 : undefined), h("strong", { class: tone(turn) }, ms(latency(turn))), first));
  }

  pending(turn) {
    return h("div", { class: "line wait" }, h("b", {}, `turn ${turn.n}`), h("span", {}), h("div", {}, "waiting …"));
  }

  // Marks the line at the playhead and the chosen turn.
  mark() {
    const t = this.page.time;
    let line = null;
    for (const each of this.spoken ?? []) if (each.from <= t + 0.01 && (line === null || each.from >= line.from)) line = each;
    if (line?.id !== this.current) {
      this.rows.get(this.current)?.removeAttribute("aria-current");
      this.current = line?.id ?? null;
      this.rows.get(this.current)?.setAttribute("aria-current", "true");
      if (this.page.follow) this.scroll();
    }
    this.element.querySelector(".wait.chosen")?.classList.remove("chosen");
    this.element.querySelector(`[data-wait="${this.page.turn}"]`)?.classList.add("chosen");
  }

  scroll() {
    const row = this.rows.get(this.current);
    if (!row) return;
    // Twice, because rows that were not drawn yet have a guessed height.
    const place = () => {
      const isNarrow = innerWidth <= 860;
      const box = row.getBoundingClientRect();
      const view = isNarrow ? { top: 280, bottom: innerHeight - 60 } : this.element.getBoundingClientRect();
      if (isNarrow && document.body.dataset.tab !== "transcript") return;
      if (box.top >= view.top + 8 && box.bottom <= view.bottom - (view.bottom - view.top) * 0.3) return;
      const room = view.bottom - view.top;
      const above = Math.max(8, Math.min(room * 0.3, room - box.height - 8)); // all of a long line is shown if it fits
      const by = box.top - view.top - above;
      const behavior = Math.abs(by) < innerHeight && !matchMedia("(prefers-reduced-motion: reduce)").matches ? "smooth" : "auto";
      if (isNarrow) scrollBy({ top: by, behavior });
      else this.element.scrollBy({ top: by, behavior });
    };
    place();
    requestAnimationFrame(() => requestAnimationFrame(place));
  }
}

export const isSpoken = (line) => line.who === "user" || line.who === "agent";

// The time of a word, by its share of the audible sound of its line.
export function timeAt(line, share, activity) {
  const spans = activity.filter(([from, to]) => to > line.from && from < line.to).map(([from, to]) => [Math.max(from, line.from), Math.min(to, line.to)]);
  let left = share * spans.reduce((sum, [from, to]) => sum + to - from, 0);
  for (const [from, to] of spans) {
    if (left <= to - from) return from + left;
    left -= to - from;
  }
  return spans.length ? spans.at(-1)[1] : line.from + share * (line.to - line.from);
}
