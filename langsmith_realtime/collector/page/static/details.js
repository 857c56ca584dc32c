// The details: turns, events, session.

import { smallBar, tone, wideBar } from "./bar.js";
import { ask, h, icon, keepFocus, Rows, setText } from "./dom.js";
import { clock, dollars, latency, MEANINGS, ms, partMs, partName, whole } from "./format.js";
import { slowestTurns } from "./problems.js";

const MOST_FOUND = 400;
const COLOURS = { detection: "--wait", model: "--agent", tool: "--tool", playback: "--agent-soft" };
// What a trace may lack, by the key on its root.
const LACKING = {
  dropped_audio_chunks: "Dropped chunks of sound",
  undecodable_audio: "Chunks that were no audio",
  malformed_frames: "Malformed frames",
  dropped_events: "Dropped events",
  dropped_runs: "Dropped runs",
  left_out_runs: "Runs left out",
  refused_runs: "Refused runs",
  tracing_failures: "Failures inside the tracing",
  feedback_skipped: "No scores, because of",
  keep_skipped: "Not decided whether to keep it",
  payload_left_out: "Contents left out, because they could not be masked",
  audio_truncated: "Sound beyond the limit left out",
  recording_reduced: "Recording in a smaller form, because of",
  recording_error: "Recording",
  recording_hidden: "Hidden sound",
  recording_silenced: "Made silent",
  estimated_cost_incomplete: "Not in the estimated cost, for lack of a price",
};

// A definition lies above everything, so that no pane cuts it off: below its word, or above it where the window ends.
function showTip({ currentTarget: word }) {
  const tip = word.lastChild;
  if (!tip.matches(":popover-open")) tip.showPopover();
  const at = word.getBoundingClientRect();
  const below = at.bottom + 4;
  tip.style.left = `${Math.max(4, Math.min(at.left, innerWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${below + tip.offsetHeight > innerHeight ? at.top - tip.offsetHeight - 4 : below}px`;
}

const hideTip = ({ currentTarget: word }) => word.lastChild.hidePopover();

export function meaning(key, text) {
  const [name, sentence, stored] = MEANINGS[key];
  return h("span", { class: "def", tabindex: 0, onpointerenter: showTip, onfocus: showTip, onpointerleave: hideTip, onblur: hideTip }, text ?? name,
    h("span", { class: "tip", role: "tooltip", popover: "manual" }, sentence, h("code", {}, stored)));
}

// What a number about something missing says; `unknown` is a model that nobody named.
function inWords(value) {
  if (value === true) return "yes";
  if (!Array.isArray(value)) return value;
  const name = (each) => (each?.side ? `${each.side} ${clock(each.from_s)} to ${clock(each.to_s)}` : each);
  return value.map((each) => (each === "unknown" ? "a model without a name" : name(each))).join(", ");
}

export class Details {
  constructor(page) {
    this.page = page;
    this.element = document.getElementById("details");
    this.slowestFirst = true;
    this.open = new Set();
    this.openGroups = new Set();
    this.filter = "";
    this.tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Details" });
    this.panels = Object.fromEntries(["turns", "events", "session"].map((name) => [name, h("div", { class: "tab", role: "tabpanel", id: `tab-${name}`, "aria-labelledby": `for-${name}`, tabindex: 0 })]));
    this.element.append(this.tabs, ...Object.values(this.panels));
    this.tab = "turns";
    this.list = h("div", {});
    this.panels.turns.append(this.legend = h("div", { class: "legend" }), this.list);
    this.turnRows = new Rows(this.list);
    this.groups = h("div", {});
    this.groupRows = new Rows(this.groups);
    this.eventRows = new Map(); // by turn
    this.search = h("input", { type: "search", placeholder: "Filter events", "aria-label": "Filter events by name", oninput: () => { this.filter = this.search.value.trim().toLowerCase(); this.renderEvents(); } });
    for (const name of ["wheel", "touchmove", "pointerdown"]) {
      this.panels.events.addEventListener(name, () => this.page.scrolledAway(), { passive: true });
    }
    this.panels.events.append(h("div", { class: "filterbox" }, this.search), this.groups);
  }

  show(tab) {
    this.tab = tab;
    this.renderTabs();
  }

  renderTabs() {
    const { shape } = this.page;
    const counts = { turns: shape.turns.filter((turn) => turn.n).length, events: shape.events.length };
    const narrow = document.getElementById("narrow-tabs");
    const isNarrow = innerWidth <= 860;
    const chosen = isNarrow ? document.body.dataset.tab : this.tab;
    const names = { transcript: "Transcript", turns: "Turns", events: "Events", session: "Session" };
    const button = (name, among, prefix) => h("button", {
      type: "button",
      role: "tab",
      id: `${prefix}${name}`,
      "aria-selected": name === chosen ? "true" : "false",
      "aria-controls": name === "transcript" ? "transcript" : `tab-${name}`,
      tabindex: name === chosen ? 0 : -1,
      onclick: () => this.page.showTab(name),
      onkeydown: (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        event.preventDefault();
        event.stopPropagation();
        this.page.showTab(among[(among.indexOf(name) + step + among.length) % among.length]);
        document.getElementById(`${prefix}${among[(among.indexOf(name) + step + among.length) % among.length]}`)?.focus();
      },
    }, names[name], counts[name] !== undefined && h("small", {}, whole(counts[name])));
    const wide = ["turns", "events", "session"];
    keepFocus(this.tabs, () => this.tabs.replaceChildren(...wide.map((name) => button(name, wide, "for-"))));
    const all = ["transcript", ...wide];
    keepFocus(narrow, () => narrow.replaceChildren(...all.map((name) => button(name, all, "narrow-"))));
    for (const [name, panel] of Object.entries(this.panels)) panel.hidden = name !== (isNarrow ? chosen : this.tab);
  }

  render(changed) {
    this.renderTabs();
    this.renderTurns();
    this.renderEvents();
    if (["numbers", "session", "tags", "recording"].some((name) => changed.has(name))) this.renderSession();
  }

  // --- turns

  renderTurns() {
    const turns = this.page.shape.turns.filter((turn) => turn.n);
    const open = this.page.turn ?? slowestTurns(this.page.shape)[0]?.n;
    const order = [...turns].sort(this.slowestFirst ? (a, b) => (latency(b) ?? -1) - (latency(a) ?? -1) || a.n - b.n : (a, b) => a.n - b.n);
    const sort = h("button", { type: "button", onclick: () => { this.slowestFirst = !this.slowestFirst; this.renderTurns(); this.page.say(this.slowestFirst ? "Slowest turn first" : "Turns in order"); this.panels.turns.querySelector(".legend button")?.focus(); } }, this.slowestFirst ? "Slowest first ↓" : "In order ↓");
    const kinds = ["detection", "model", "tool", "playback"].map((kind) => h("span", {}, h("i", { class: kind, style: { background: `var(${COLOURS[kind]})` } }), MEANINGS[kind][0]));
    if (this.page.shape.lines.some((line) => line.who === "tool" && line.error)) kinds.push(h("span", {}, h("i", { style: { background: "var(--bad)" } }), "failed tool"));
    keepFocus(this.legend, () => this.legend.replaceChildren(...kinds, sort));
    const { canPlay } = this.page.player;
    const counts = new Map();
    for (const event of this.page.shape.events) counts.set(event.turn, (counts.get(event.turn) ?? 0) + 1);
    const rows = order.map((turn) => {
      const isOpen = turn.n === open;
      const content = JSON.stringify([turn, isOpen && [canPlay, this.page.shape.live, counts.get(turn.n)]]);
      return [turn.n, content, () => this.turn(turn, isOpen)];
    });
    const note = this.page.shape.live ? "No turns yet." : "No turns: nothing that the user said is known.";
    this.turnRows.show(rows.length ? rows : [["note", note, () => h("p", { class: "note" }, note)]]);
  }

  turn(turn, isOpen) {
    const value = latency(turn);
    const title = h("button", { type: "button", class: "title", "aria-expanded": isOpen ? "true" : "false", onclick: () => this.page.goToTurn(turn.n, { atWait: true }) },
      h("span", {}, turn.n), h("span", { class: "bidi" }, turn.say ?? h("span", { class: "quiet" }, "hidden, or not transcribed")), h("b", { class: tone(turn) }, value === null ? "–" : ms(value)));
    const marks = turn.problems.filter((problem) => problem !== "slow").map((problem) => h("span", { class: problem === "error" ? "tone-bad" : problem === "interrupted" || problem === "guardrail" ? "tone-cut" : "tone-slow" }, { error: "error", interrupted: "cut off", guardrail: "guardrail tripped", playback: "held up in playback" }[problem]));
    return h("div", { class: `turn ${isOpen ? "open" : ""}`, data: { turn: turn.n } }, title,
      isOpen ? this.body(turn, marks) : h("div", { class: "small" }, smallBar(turn, marks.length ? 200 : 300), marks));
  }

  body(turn, marks) {
    const found = [];
    if (turn.parts.length) {
      const total = turn.parts.at(-1).to - turn.parts[0].from;
      found.push(turn.voice_to_voice_ms !== null
        ? h("div", { class: "measure" }, h("b", {}, ms(turn.voice_to_voice_ms)), " ", meaning("voice_to_voice", "voice to voice"), " · heard in the recording")
        : h("div", { class: "measure" }, "voice to voice not measured"));
      if (turn.voice_to_voice_ms !== null) found.push(h("div", { class: "bracket over" }));
      found.push(wideBar(turn));
      if (turn.speech_end !== null && turn.first_audio !== null) {
        const from = (turn.speech_end - turn.parts[0].from) / total;
        const to = (turn.first_audio - turn.parts[0].from) / total;
        found.push(h("div", { class: "bracket under", style: { marginLeft: `${Math.max(0, from) * 100}%`, width: `${(to - Math.max(0, from)) * 100}%` } }));
      }
      found.push(h("div", { class: "measure" }, h("b", {}, ms(turn.latency_to_first_audio_ms)), " ", meaning("first_audio", "latency to first audio"), " · told by events"));
      found.push(h("ul", { class: "partlist" }, turn.parts.map((part) => h("li", {},
        h("i", { class: part.kind, style: { background: part.error ? "var(--bad)" : `var(${COLOURS[part.kind]})` } }),
        h("span", {}, part.name ? h("code", { class: part.error ? "tone-bad" : "" }, partName(part)) : meaning(part.kind)),
        h("button", { type: "button", class: "at", onclick: () => this.page.seek(part.from), "aria-label": `Go to ${clock(part.from, 2)}` }, clock(part.from, 2)),
        h("span", {}, ms(partMs(part)))))));
    } else if (latency(turn) === null) {
      found.push(h("p", { class: "quiet" }, this.page.shape.live && !turn.answered ? "waiting …" : "No latency was measured in this turn."));
    }
    if (turn.time_to_first_token_ms !== null) found.push(h("div", { class: "measure" }, meaning("token"), ` ${ms(turn.time_to_first_token_ms)}`));
    if (turn.cut_at !== null) {
      found.push(h("p", { class: "measure" }, h("span", { class: "tone-cut" }, "Cut off by the user"), `: heard ${whole(turn.heard_ms)} of ${whole(turn.spoken_ms)} ms`,
        turn.barge_in_reaction_ms !== null && ["; silent ", h("b", {}, ms(turn.barge_in_reaction_ms)), " after they began (", meaning("reaction", "barge-in reaction"), ")"], "."));
    }
    for (const id of turn.errors) {
      const event = this.page.shape.events.find((each) => each.id === id);
      if (event) found.push(h("p", { class: "measure" }, h("button", { type: "button", class: "tone-bad", onclick: () => this.page.openEvent(id) }, `${event.name}: ${event.error}`)));
    }
    if (marks.length && !turn.parts.length) found.push(h("p", {}, marks));
    const events = this.page.shape.events.filter((event) => event.turn === turn.n).length;
    found.push(h("div", { class: "actions" },
      turn.user_to !== null && this.page.player.canPlay && h("button", { type: "button", onclick: () => this.page.playGap(turn) }, icon("play"), "Play the gap"),
      h("button", { type: "button", onclick: () => this.page.zoomToTurn(turn) }, icon("whole"), "Zoom to it"),
      h("button", { type: "button", onclick: () => this.page.showEventsOf(turn.n) }, `${events} event${events === 1 ? "" : "s"}`, icon("forward"))));
    return h("div", { class: "body" }, found);
  }

  // --- events

  renderEvents() {
    const { shape } = this.page;
    const note = (text) => [[text, "", () => h("p", { class: "note" }, text)]];
    const row = (event, turn) => [event.id, JSON.stringify([event, turn?.speech_end, this.open.has(event.id)]), () => this.event(event, turn)];
    if (this.filter) {
      const found = shape.events.filter((event) => `${event.name} ${event.error ?? ""}`.toLowerCase().includes(this.filter));
      const rest = found.length - MOST_FOUND;
      const rows = found.slice(0, MOST_FOUND).map((event) => row(event));
      if (!rows.length) rows.push(...note(`No event has “${this.filter}” in its name.`));
      if (rest > 0) rows.push(...note(`and ${whole(rest)} more; narrow the filter`));
      this.groupRows.show(rows);
      return;
    }
    const byTurn = new Map();
    for (const event of shape.events) (byTurn.get(event.turn) ?? byTurn.set(event.turn, []).get(event.turn)).push(event);
    const turns = new Map(shape.turns.map((turn) => [turn.n, turn]));
    const groups = [...byTurn].sort(([a], [b]) => a - b);
    this.groupRows.show(groups.length ? groups.map(([n]) => [`turn ${n}`, "", () => this.group(n)]) : note("No events yet."));
    for (const [n, events] of groups) {
      const group = this.groupRows.get(`turn ${n}`);
      const turn = turns.get(n);
      const [count, say] = group.querySelectorAll("summary span");
      setText(count, `${events.length} event${events.length === 1 ? "" : "s"}`);
      setText(say, turn?.say ?? "");
      if (group.open !== this.openGroups.has(n)) group.open = this.openGroups.has(n);
      this.eventRows.get(n).show(group.open ? events.map((event) => row(event, turn)) : []);
    }
  }

  // The events of a turn; a closed group holds no rows.
  group(n) {
    const rows = h("div", {});
    this.eventRows.set(n, new Rows(rows));
    const group = h("details", { class: "group", data: { turn: n }, open: this.openGroups.has(n) },
      h("summary", {}, h("b", { class: "strong" }, n ? `Turn ${n}` : "Before the user spoke"), h("span", {}), h("span", {})), rows);
    group.addEventListener("toggle", () => {
      if (group.open === this.openGroups.has(n)) return;
      if (group.open) this.openGroups.add(n);
      else this.openGroups.delete(n);
      this.renderEvents();
    });
    return group;
  }

  event(event, turn) {
    const since = turn?.speech_end !== null && turn?.speech_end !== undefined && event.t >= turn.speech_end ? `+${whole((event.t - turn.speech_end) * 1000)}` : "";
    const beside = event.d > 0.0005 ? ms(event.d * 1000) : since;
    const isOpen = this.open.has(event.id);
    const row = h("div", { class: `event ${event.type} ${event.error ? "failed" : ""} ${isOpen ? "open" : ""}`, data: { event: event.id } },
      h("button", { type: "button", class: "rowbutton", "aria-expanded": isOpen ? "true" : "false", onclick: () => this.toggle(event) },
        h("span", { class: "at" }, clock(event.t, 2)), h("i", {}), h("span", { class: "name mono" }, event.name, event.error && ` ${event.error}`), h("span", { class: "at" }, event.tokens ? `${whole(event.tokens)} tokens` : beside)));
    if (isOpen) this.payload(event, row);
    return row;
  }

  toggle(event) {
    if (!this.open.delete(event.id)) {
      this.open.add(event.id);
      this.page.seek(event.t, { turn: event.turn, run: event.id });
    }
    this.renderEvents();
  }

  async payload(event, row) {
    const box = h("pre", { tabindex: 0, "aria-label": `Payload of ${event.name}` }, "…");
    row.append(box);
    try {
      const run = await ask(`/view/api/runs/${encodeURIComponent(event.id)}`);
      const shown = run.inputs?.event ? { ...run.inputs.event } : { inputs: run.inputs, outputs: run.outputs };
      if (run.error) shown.error = run.error;
      if (event.type !== "event") shown.metadata = run.metadata;
      box.textContent = JSON.stringify(shown, null, 2);
    } catch (error) {
      box.textContent = error.message;
    }
  }

  // Shows an event in its group, with its payload, and closes the others.
  reveal(id) {
    const event = this.page.shape.events.find((each) => each.id === id);
    if (!event) return;
    const hidesFocus = this.panels.turns.contains(document.activeElement);
    this.filter = this.search.value = "";
    this.openGroups = new Set([event.turn]);
    this.open = new Set([id]);
    this.page.showTab("events");
    this.renderEvents();
    if (hidesFocus) this.groups.querySelector(`[data-event="${CSS.escape(id)}"] button`)?.focus({ preventScroll: true });
    const place = () => this.groups.querySelector(`[data-event="${CSS.escape(id)}"]`)?.scrollIntoView({ block: "start" });
    place();
    requestAnimationFrame(() => requestAnimationFrame(place));
  }

  revealGroup(n) {
    const hidesFocus = this.panels.turns.contains(document.activeElement);
    this.filter = this.search.value = "";
    this.openGroups = new Set([n]);
    this.page.showTab("events");
    this.renderEvents();
    const group = this.groups.querySelector(`[data-turn="${n}"]`);
    if (hidesFocus) group?.querySelector("summary").focus({ preventScroll: true });
    group?.scrollIntoView({ block: "start" });
  }

  // Shows the events of a turn instead of another's. An event that was opened by itself stays.
  followEvents(n) {
    const follows = this.tab === "events";
    if (this.page.run || this.filter || (this.openGroups.size === 1 && this.openGroups.has(n))) return;
    if (!follows && !this.openGroups.size) return;
    this.openGroups = new Set(follows ? [n] : []);
    this.open.clear();
    this.renderEvents();
    if (follows && innerWidth > 860) this.groups.querySelector(`[data-turn="${n}"]`)?.scrollIntoView({ block: "start" });
  }

  // Opens the row of a turn, and closes the row that was open.
  revealTurn(n) {
    this.renderTurns();
    this.followEvents(n);
    const row = this.panels.turns.querySelector(`[data-turn="${n}"]`);
    if (!row || innerWidth <= 860) return;
    this.panels.turns.style.scrollPaddingTop = `${this.legend.offsetHeight}px`; // it stays at the top, on one line or two
    const place = () => row.scrollIntoView({ block: "nearest" });
    place();
    requestAnimationFrame(place);
  }

  // --- session

  renderSession() {
    const { shape } = this.page;
    const list = (entries) => h("dl", {}, entries.map(([key, value]) => [h("dt", {}, key), h("dd", {}, typeof value === "string" ? value : typeof value === "number" ? (key.endsWith("_usd") ? dollars(value) : value.toLocaleString("en-US")) : JSON.stringify(value))]));
    const lacking = Object.entries(shape.numbers).filter(([key]) => key in LACKING).map(([key, value]) => [LACKING[key], inWords(value)]);
    const numbers = Object.entries(shape.numbers).filter(([key, value]) => !(key in LACKING) && value !== null);
    const { instructions, tools, ...session } = shape.session ?? {};
    this.panels.session.replaceChildren(h("div", { class: "session" },
      h("h2", {}, "What is missing"),
      lacking.length || ["off", "missing"].includes(shape.recording.state) ? [shape.recording.reason && h("p", {}, shape.recording.reason), list(lacking)] : h("p", { class: "quiet" }, "Nothing that the trace knows of."),
      shape.tags.length > 0 && [h("h2", {}, "Tags"), h("p", {}, shape.tags.map((tag) => [h("a", { class: "def", href: `/view/?tag=${encodeURIComponent(tag)}` }, tag), " "]))],
      h("h2", {}, "Numbers"), numbers.length ? list(numbers) : h("p", { class: "quiet" }, "They come when the conversation has ended."),
      h("h2", {}, "Configuration"), list(Object.entries(session)),
      tools?.length > 0 && [h("h2", {}, "Tools"), h("pre", { tabindex: 0 }, JSON.stringify(tools, null, 2))],
      h("h2", {}, "Instructions"), instructions ? h("pre", { tabindex: 0 }, instructions) : h("p", { class: "quiet" }, "None, or hidden.")));
  }
}
