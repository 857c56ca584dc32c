// One conversation: what everything on the page shares, the transport, the keys, and the address.

import { h, icon, keepFocus, onKey, setText } from "./dom.js";
import { clock, day, dollars, latency, length, ms, percent, talked, time, utc, whole } from "./format.js";
import { Details, meaning } from "./details.js";
import { Peaks } from "./peaks.js";
import { Player } from "./player.js";
import { Score } from "./score.js";
import { Stream } from "./stream.js";
import { isSpoken, Transcript } from "./transcript.js";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2, 3];
const FINDINGS_SHOWN = 6;
// A longer conversation is not shown whole, but in a window, both in seconds.
const LONGEST_WHOLE_S = 150;
const WINDOW_S = 60;
// The largest sound in an HTML file, as in exports.py, and what Opus takes at most.
const SOUND_BYTES = 15e6;
const OPUS_BYTES_S = 9200;
const byId = (id) => document.getElementById(id);
const id = decodeURIComponent(location.pathname.split("/").pop());
const query = new URLSearchParams(location.search);
const slow = Number(query.get("slow")) || null;
const isLink = (piece) => piece.t !== undefined && piece.t !== null;
const classOf = (piece) => [piece.tone && `tone-${piece.tone}`, piece.strong && "strong"].filter(Boolean).join(" ");

class Page {
  constructor() {
    this.shape = null;
    this.turn = null;
    this.run = null;
    this.follow = true;
    this.player = new Player();
    this.peaks = new Peaks(id, () => this.heardMore());
    this.score = new Score(this);
    this.transcript = new Transcript(this);
    this.details = new Details(this);
    this.asked = false;
    this.buildTransport();
    const address = `/view/api/conversations/${encodeURIComponent(id)}`;
    const parameters = slow ? `?slow=${slow}` : "";
    this.stream = new Stream({
      path: () => address + parameters,
      stream: () => `${address}/changes${parameters}`,
      take: (shape, changed) => changed.size && this.take(shape, changed),
      missing: () => this.missing(),
    });
    for (const name of ["play", "pause", "error"]) this.player.addEventListener(name, () => this.played(name));
  }

  // --- loading

  missing() {
    if (this.shape) return false;
    document.querySelector("main").replaceChildren(h("div", { class: "note" }, h("h1", {}, "This conversation is not in the store"), h("p", {}, "The page shows conversations that langsmith_realtime traced. Other traces are read by LangSmith's client only."), h("a", { href: "/view/" }, "All conversations")));
    return true;
  }

  take(shape, changed) {
    const before = this.shape;
    const view = before && this.view();
    this.shape = { ...shape, duration_s: Math.max(shape.duration_s, shape.live ? this.peaks.seconds : 0) };
    const { recording } = shape;
    if (recording.url) this.player.load(recording.url);
    if (recording.state === "growing") this.peaks.grow();
    else if (recording.decoding) this.peaks.stop();
    else if (recording.state !== "ready") this.peaks.clear();
    else if (!this.asked) {
      this.asked = true;
      this.peaks.load();
    }
    if (!before) this.open();
    else this.keepUp(view);
    this.render(changed);
    if (before) this.goToEnd();
  }

  // The waveform of a running conversation may reach further than its latest event.
  heardMore() {
    const { shape } = this;
    if (shape?.live && this.peaks.seconds > shape.duration_s) {
      const view = this.view();
      this.shape = { ...shape, duration_s: this.peaks.seconds };
      this.keepUp(view);
      this.renderBar();
      this.renderTransport();
      this.goToEnd();
    }
    if (shape) this.renderLanes();
    this.score.draw();
  }

  view() { return { showsAll: this.score.showsAll, span: this.score.to - this.score.from }; }

  get followsEnd() { return this.shape.live && this.follow && !this.player.playing; }

  // While a conversation grows, the window shows all of it, or its end.
  keepUp({ showsAll, span }) {
    const end = this.shape.duration_s;
    if (showsAll && end <= LONGEST_WHOLE_S) this.score.showAll();
    else if (this.followsEnd) this.score.show(end - Math.min(span, WINDOW_S), end);
  }

  goToEnd() {
    if (this.followsEnd) this.seek(this.shape.duration_s, { silent: true });
  }

  open() {
    const { shape } = this;
    const hash = new URLSearchParams(location.hash.slice(1));
    const hit = hash.has("find") ? this.lineWith(hash.get("find")) : null;
    const hasTime = Boolean(hit) || hash.has("t");
    const t = hit ? hit.from : Number(hash.get("t"));
    this.score.from = 0;
    this.score.to = Math.max(1, shape.duration_s);
    if (shape.duration_s > LONGEST_WHOLE_S) this.score.to = WINDOW_S;
    this.player.at = hasTime && t >= 0 ? Math.min(t, shape.duration_s) : shape.live ? shape.duration_s : 0;
    this.run = hash.get("run");
    // Without a moment in the address no turn is chosen, and the details show the slowest.
    this.turn = hit ? hit.turn : hash.has("turn") ? Number(hash.get("turn")) : hasTime ? this.turnAt(this.player.at).n : null;
    if (hit) history.replaceState(null, "", `#${this.moment()}`);
    if (hasTime || shape.live) this.score.reveal(this.player.at);
    document.body.dataset.tab = "transcript";
    const says = shape.turns.find((turn) => turn.say)?.say ?? "Conversation";
    document.title = `${says.slice(0, 60)} · ${day(shape.start)} ${time(shape.start)}`;
  }

  // The first line that has all words of a search, else the first that has any, as the list of conversations finds it.
  lineWith(search) {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    const lines = this.shape.lines.filter((line) => line.who !== "tool" && line.text);
    const has = (line) => (word) => line.text.toLowerCase().includes(word);
    return lines.find((line) => words.every(has(line))) ?? lines.find((line) => words.some(has(line))) ?? null;
  }

  render(changed) {
    this.renderBar();
    this.renderHappened();
    this.renderTransport();
    this.renderLanes();
    this.transcript.render();
    this.details.render(changed);
    const slider = this.score.score;
    slider.setAttribute("aria-valuemax", this.shape.duration_s.toFixed(1));
    this.score.draw();
    this.moved();
    if (this.first === undefined) {
      if (this.run) this.details.reveal(this.run);
      else this.details.revealTurn(this.turn);
      if (location.hash || this.shape.live) this.transcript.scroll();
    }
    this.first = false;
  }

  renderLanes() {
    const hidden = this.shape.recording.hidden ?? [];
    for (const side of ["user", "agent"]) {
      const lane = document.querySelector(`.lanes .${side}`);
      const name = side === "user" ? "User" : "Agent";
      const why = hidden.includes(side) ? "hidden" : this.peaks.ready || this.shape.recording.state === "ready" ? "" : "from events";
      lane.replaceChildren(name, why && h("small", {}, why));
    }
  }

  renderBar() {
    const { shape } = this;
    const { thread } = shape;
    const step = (to, name, picture) => to && h("a", { href: `/view/c/${encodeURIComponent(to)}`, "aria-label": name, title: name }, icon(picture));
    const bar = [
      h("a", { href: "/view/", "aria-label": "All conversations" }, icon("back"), h("span", { class: "long" }, "Conversations")),
      h("h1", { class: "when", title: utc(shape.start) }, `${day(shape.start)} `, h("b", {}, time(shape.start))),
      shape.live && h("span", {}, h("span", { class: "dot" }), "live"),
      h("span", { class: "quiet" }, length(shape.duration_s)),
      h("span", { class: "quiet" }, h("a", { href: `/view/?project=${encodeURIComponent(shape.project)}` }, shape.project)),
      shape.numbers.model && h("span", { class: "quiet" }, h("a", { href: `/view/?model=${encodeURIComponent(shape.numbers.model)}` }, shape.numbers.model)),
      thread && [h("span", { class: "rule" }), h("span", { class: "quiet" }, "Thread ", h("a", { href: `/view/thread/${encodeURIComponent(thread.id)}`, class: "mono" }, thread.id.slice(0, 8)), ` · ${thread.index} of ${thread.count}`),
        step(thread.previous, "Conversation before", "back"), step(thread.next, "Next conversation", "forward")],
    ];
    if (byId("bar").querySelector(".menu:not([hidden])")) return;
    const side = h("div", { class: "side push" },
      h("button", { type: "button", id: "copy", title: "Copy link (C)", "aria-label": "Copy link at the playhead", onclick: () => this.copy() }, icon("link"), h("span", { class: "long" }, "Copy link at ", h("span", { id: "copy-at" }, clock(this.time)))),
      h("button", { type: "button", id: "download", "aria-haspopup": "true", "aria-expanded": "false", "aria-label": "Download", onclick: () => this.toggleMenu() }, icon("download"), h("span", { class: "long" }, "Download")),
      h("button", { type: "button", class: "keys", "aria-label": "Keys", title: "Keys (?)", onclick: () => this.showKeys() }, icon("keys")),
      this.menu());
    keepFocus(byId("bar"), () => byId("bar").replaceChildren(...bar.flat(9).filter(Boolean), side));
  }

  menu() {
    const { recording } = this.shape;
    const url = (form) => `/view/api/conversations/${encodeURIComponent(id)}/download.${form}`;
    const size = recording.bytes ? `${(recording.bytes / 1e6).toFixed(1)} MB` : "";
    const kind = { "audio/wav": "WAV", "audio/x-wav": "WAV", "audio/flac": "FLAC", "audio/ogg": "Ogg Opus" }[recording.mime] ?? "sound";
    const rows = [
      recording.bytes && ["Recording", `${kind}, ${size}`, url("audio")],
      ["Captions", "WebVTT", url("vtt")],
      ["Captions", "SRT", url("srt")],
      ["Everything", "JSON", url("json")],
      ["Events", "JSON lines", url("jsonl")],
      ["One page", "HTML", url("html")],
      recording.state === "ready" && (kind === "Ogg Opus" ? recording.bytes : recording.seconds * OPUS_BYTES_S) < SOUND_BYTES && ["One page with its sound", "HTML, Opus", `${url("html")}?sound=1`],
    ].filter(Boolean);
    return h("div", { class: "menu", id: "menu", hidden: true, onkeydown: (event) => this.menuKey(event) },
      rows.map(([name, form, href]) => h("a", { href, download: true, onclick: () => this.toggleMenu(false) }, h("span", {}, name), h("span", { class: "quiet" }, form))));
  }

  menuKey(event) {
    const links = [...byId("menu").querySelectorAll("a")];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) links[(links.indexOf(document.activeElement) + step + links.length) % links.length].focus();
    if (step) event.preventDefault();
  }

  toggleMenu(open = byId("menu").hidden) {
    if (!open && byId("menu").contains(document.activeElement)) byId("download").focus();
    byId("menu").hidden = !open;
    byId("download").setAttribute("aria-expanded", String(open));
    if (open) byId("menu").querySelector("a").focus();
  }

  renderHappened() {
    const { shape } = this;
    const n = shape.numbers;
    const many = this.showsAllFindings ? shape.findings.length : FINDINGS_SHOWN;
    const sentences = shape.findings.slice(0, many).map((sentence) => [this.sentence(sentence), " "]);
    const rest = shape.findings.length - many;
    if (rest > 0) sentences.push(h("button", { type: "button", onclick: () => { this.showsAllFindings = true; this.renderHappened(); this.score.draw(); } }, `and ${rest} more`));
    const entry = (key, ...values) => h("span", {}, meaning(key), values);
    const value = (text) => h("b", {}, text);
    const percentiles = (name) => n[`${name}_p50_ms`] !== undefined && [" p50 ", value(whole(n[`${name}_p50_ms`])), " p95 ", value(whole(n[`${name}_p95_ms`])), " ms"];
    const numbers = [
      percentiles("voice_to_voice") && entry("voice_to_voice", percentiles("voice_to_voice")),
      percentiles("latency_to_first_audio") && entry("first_audio", percentiles("latency_to_first_audio")),
      n.barge_in_reaction_p50_ms !== undefined && entry("reaction", " ", value(whole(n.barge_in_reaction_p50_ms)), " ms"),
      n.heard_share !== undefined && entry("heard", " ", value(percent(n.heard_share))),
      n.user_talk_s !== undefined && entry("talk", " user ", value(talked(n.user_talk_s)), " agent ", value(talked(n.agent_talk_s)), " silence ", value(talked(n.silence_s)), " s"),
      n.estimated_cost_usd !== undefined && entry("cost", " ", value(dollars(n.estimated_cost_usd)), n.estimated_cost_incomplete ? " or more" : ""),
    ].filter(Boolean);
    const happened = byId("happened");
    keepFocus(happened, () => happened.replaceChildren(h("p", { class: "findings" }, sentences.length ? sentences : h("span", { class: "quiet" }, shape.live ? "Nothing to report so far." : "Nothing to report.")), h("div", { class: "numbers", tabindex: numbers.length ? 0 : null, role: "group", "aria-label": "Numbers" }, numbers)));
  }

  // Neighbouring pieces that lead to one moment are one button.
  sentence(pieces) {
    const groups = [];
    for (const piece of pieces) {
      const first = groups.at(-1)?.[0];
      if (first && isLink(piece) && ["t", "turn", "run"].every((key) => first[key] === piece[key])) groups.at(-1).push(piece);
      else groups.push([piece]);
    }
    return groups.map((group) => (isLink(group[0]) ? this.link(group) : h("span", { class: classOf(group[0]) }, group[0].text)));
  }

  link(pieces) {
    const [{ t, turn, run }] = pieces;
    const act = () => (run ? this.openEvent(run) : this.goToFinding(t, turn));
    const space = pieces[0].text.startsWith(" ") ? " " : ""; // a button drops the space at its begin
    return [space, h("button", { type: "button", class: classOf({ tone: pieces[0].tone }), onclick: act }, pieces.map((piece) => h("span", { class: classOf(piece) }, piece.text)))];
  }

  // --- transport

  buildTransport() {
    const button = (name, title, picture, act, extra = {}) => h("button", { type: "button", title, "aria-label": name, onclick: act, ...extra }, picture && icon(picture));
    const t = (this.controls = {});
    t.play = button("Play", "Play (Space)", "play", () => this.player.toggle(), { class: "play", disabled: true });
    t.now = h("b", {}, "0:00.0");
    t.total = h("span", {});
    t.speed = h("button", { type: "button", title: "Speed (< >)", onclick: () => this.changeSpeed(1, true) }, "1×");
    t.sides = ["both", "user", "agent"].map((side) => h("button", { type: "button", class: "wide", "aria-pressed": side === "both" ? "true" : "false", onclick: () => this.hear(side) }, side[0].toUpperCase() + side.slice(1)));
    t.reason = h("span", { class: "reason wide", hidden: true });
    t.follow = h("button", { type: "button", title: "Follow (F)", "aria-label": "Follow", "aria-pressed": "true", onclick: () => this.setFollow(!this.follow) }, icon("follow"), h("span", { class: "long" }, "Follow"));
    t.zoom = h("input", { type: "range", min: 0, max: 100, value: 0, class: "wide", "aria-label": "Zoom", oninput: () => this.zoomTo(Number(t.zoom.value)) });
    t.span = h("span", { class: "span wide" });
    byId("transport").append(
      t.play, h("span", { class: "clock" }, t.now, " ", t.total),
      button("Turn before", "Turn before (↑)", "up", () => this.stepTurn(-1), { class: "before" }), button("Next turn", "Next turn (↓)", "down", () => this.stepTurn(1)),
      h("button", { type: "button", id: "next-finding", title: "Next finding (N)", "aria-label": "Next finding", onclick: () => this.stepFinding(1) }, icon("flag"), h("span", { class: "long" }, "Next finding")),
      h("span", { class: "gap wide" }), t.speed, ...t.sides, t.reason, h("span", { class: "push wide" }), t.follow,
      button("Zoom out", "Zoom out (−)", "minus", () => this.score.zoom(1.6), { class: "wide" }), t.zoom,
      button("Zoom in", "Zoom in (+)", "plus", () => this.score.zoom(1 / 1.6), { class: "wide" }),
      button("Whole conversation", "Whole conversation (0)", "whole", () => this.score.showAll(), { class: "wide" }), t.span);
  }

  renderTransport() {
    const t = this.controls;
    const can = this.player.canPlay && this.shape.recording.state !== "missing";
    t.play.disabled = !can;
    t.total.textContent = `/ ${clock(this.shape.duration_s)}`;
    for (const each of [...t.sides, t.speed]) each.hidden = !can;
    t.reason.hidden = can;
    const failed = this.player.audio.error && this.shape.recording.state === "ready";
    t.reason.textContent = failed ? "This browser cannot play the recording; the download works." : this.shape.recording.reason ?? "";
    this.viewChanged();
  }

  played(name) {
    if (name === "pause") this.player.pauseAt();
    const isPlaying = this.player.playing;
    const { play } = this.controls;
    play.replaceChildren(icon(isPlaying ? "pause" : "play"));
    play.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
    if (name === "error" && this.shape) this.renderTransport();
    if (isPlaying && !this.ticking) this.tick();
  }

  tick() {
    this.ticking = this.player.playing;
    if (!this.ticking) {
      this.moved();
      return;
    }
    const t = this.time;
    if (this.follow) this.score.reveal(t, { glide: true });
    if (this.gapEnd && t >= this.gapEnd) {
      this.gapEnd = null;
      this.player.toggle();
    }
    const turn = this.turnAt(t);
    const chosen = this.shape.turns.find((each) => each.n === this.turn);
    const isHeard = chosen && chosen.from <= t && t < chosen.cut_at; // while the user interrupts it, its turn stays chosen
    if (this.follow && turn.n !== this.turn && !isHeard) {
      this.run = null;
      this.choose(turn.n, { quiet: true });
    }
    this.moved();
    requestAnimationFrame(() => this.tick());
  }

  hear(side) {
    this.player.hear(side);
    for (const each of this.controls.sides) each.setAttribute("aria-pressed", String(each.textContent.toLowerCase() === side));
  }

  changeSpeed(step, wraps = false) {
    const at = SPEEDS.indexOf(this.player.audio.playbackRate);
    const next = wraps ? (at + step) % SPEEDS.length : Math.max(0, Math.min(SPEEDS.length - 1, at + step));
    this.player.speed(SPEEDS[next]);
    this.controls.speed.textContent = `${SPEEDS[next]}×`;
  }

  zoomTo(value) {
    const all = this.shape.duration_s;
    const span = all * (1 / all) ** (value / 100);
    this.score.zoom(span / (this.score.to - this.score.from));
  }

  viewChanged() {
    if (!this.shape) return;
    const span = this.score.to - this.score.from;
    const all = Math.max(1.001, this.shape.duration_s);
    this.controls.zoom.value = String(Math.round((Math.log(span / all) / Math.log(1 / all)) * 100));
    this.controls.span.textContent = this.score.showsAll ? "whole" : span < 10 ? `${span.toFixed(1)} s` : length(span);
  }

  // --- position and turns

  get time() { return this.player.time; }

  moved() {
    const t = this.time;
    setText(this.controls.now, clock(t));
    const at = byId("copy-at");
    if (at) setText(at, this.player.playing ? clock(Math.floor(t), 0) : clock(t)); // while it plays, once a second
    this.score.moveHeads();
    this.transcript.mark();
    const slider = this.score.score;
    if (slider.getAttribute("aria-valuenow") === t.toFixed(1) && this.player.playing) return;
    const line = this.shape.lines.findLast?.((each) => isSpoken(each) && each.from <= t && each.to >= t);
    slider.setAttribute("aria-valuenow", t.toFixed(1));
    slider.setAttribute("aria-valuetext", `${t.toFixed(1)} s, turn ${this.turnAt(t).n}${line ? `, ${line.agent ?? line.who}` : ""}`);
  }

  turnAt(t) {
    return this.shape.turns.findLast((turn) => turn.from <= t + 0.01) ?? this.shape.turns[0] ?? { n: 0 };
  }

  choose(n, { quiet = false } = {}) {
    if (n === this.turn) return;
    this.turn = n;
    this.score.draw();
    if (!quiet || !this.follow) this.transcript.mark();
    this.details.revealTurn(n);
  }

  seek(t, { play = false, turn = null, zoom = false, silent = false, run = null } = {}) {
    const at = Math.max(0, Math.min(this.shape.duration_s, t));
    this.gapEnd = null;
    this.player.seek(at);
    if (!silent) this.run = run; // an event that was opened stays while the conversation grows
    this.choose(turn ?? this.turnAt(at).n);
    if (zoom && this.score.to - this.score.from > 40 && this.shape.duration_s > 60) this.score.show(at - 8, at + 22);
    this.score.reveal(at);
    if (!silent) this.setFollow(true, { quiet: true });
    this.moved();
    this.transcript.scroll();
    if (play && !this.player.playing) this.player.toggle();
  }

  // Goes to a moment that something went wrong at, with its turn beside it.
  goToFinding(t, turn) {
    this.showTab(innerWidth <= 860 ? "transcript" : "turns");
    this.seek(t, { turn, zoom: true });
  }

  goToTurn(n, { atWait = false } = {}) {
    const turn = this.shape.turns.find((each) => each.n === n);
    if (!turn) return;
    const t = atWait && turn.user_to !== null ? Math.max(turn.from, turn.user_to) : turn.from;
    this.seek(t, { turn: n, zoom: true });
    this.say(`Turn ${n}${latency(turn) === null ? "" : `, ${ms(latency(turn))}`}`);
  }

  stepTurn(step) {
    const { turns } = this.shape;
    const at = turns.findIndex((turn) => turn.n === this.turnAt(this.time + 0.02).n);
    const next = turns[Math.max(0, Math.min(turns.length - 1, at + step))];
    if (next) this.goToTurn(next.n);
  }

  slowest() {
    return this.shape.turns.filter((turn) => latency(turn) !== null).sort((a, b) => latency(b) - latency(a));
  }

  // The moments that something went wrong at, in order.
  get problems() {
    const found = [];
    for (const turn of this.shape.turns) {
      if (turn.problems.includes("slow")) found.push({ t: turn.user_to ?? turn.from, turn: turn.n, what: `slow, ${ms(latency(turn))}` });
      else if (turn.problems.includes("playback")) found.push({ t: turn.first_audio, turn: turn.n, what: "held up in playback" });
      for (const line of this.shape.lines) if (line.stopped && line.turn === turn.n) found.push({ t: line.from, turn: turn.n, what: line.text });
      if (turn.cut_at !== null) found.push({ t: turn.before_cut, turn: turn.n, what: "cut off" });
      for (const run of turn.errors) {
        const event = this.shape.events.find((each) => each.id === run);
        if (event) found.push({ t: event.t, turn: turn.n, what: `error: ${event.name}` });
      }
    }
    return found.sort((a, b) => a.t - b.t);
  }

  stepFinding(step) {
    const { problems } = this;
    if (!problems.length) return this.say("Nothing went wrong");
    const t = this.time;
    const onOne = problems.findIndex((each) => Math.abs(each.t - t) < 0.02 && each.turn === this.turn);
    let next;
    if (onOne >= 0) next = (onOne + step + problems.length) % problems.length;
    else if (step > 0) next = problems.findIndex((each) => each.t > t + 0.01);
    else next = problems.findLastIndex((each) => each.t < t - 0.01);
    const problem = problems[next < 0 ? (step > 0 ? 0 : problems.length - 1) : next];
    this.goToFinding(problem.t, problem.turn);
    this.say(`Turn ${problem.turn}, ${problem.what}`);
  }

  stepWorst() {
    const order = this.slowest();
    if (!order.length) return;
    const at = order.findIndex((turn) => turn.n === this.turn && Math.abs((turn.user_to ?? turn.from) - this.time) < 0.05);
    this.goToTurn(order[(at + 1) % order.length].n, { atWait: true });
  }

  playGap(turn) {
    this.seek(Math.max(0, turn.user_to - 1), { turn: turn.n });
    this.gapEnd = (turn.heard_from ?? turn.first_audio ?? turn.to) + 0.6;
    if (!this.player.playing) this.player.toggle();
  }

  zoomToTurn(turn) {
    const margin = Math.max(0.3, (turn.to - turn.from) * 0.04);
    this.choose(turn.n);
    this.score.show(turn.from - margin, turn.to + margin);
  }

  // --- panes

  showTab(name) {
    document.body.dataset.tab = innerWidth <= 860 ? name : "transcript";
    if (name !== "transcript") this.details.tab = name;
    this.details.renderTabs();
    if (name === "events" && this.turn !== null && !this.details.openGroups.size) this.details.followEvents(this.turn);
  }

  openEvent(run) {
    const event = this.shape.events.find((each) => each.id === run);
    if (!event) return;
    this.seek(event.t, { turn: event.turn, run, zoom: true });
    this.details.reveal(run);
  }

  openRun(line) { this.openEvent(line.run); }
  showEventsOf(n) { this.details.revealGroup(n); }

  point(line) {
    this.score.pointed = line;
    this.score.draw();
  }

  scrolledAway() {
    if (this.player.playing || this.shape?.live) this.setFollow(false);
  }

  setFollow(on, { quiet = false } = {}) {
    if (this.follow === on) return;
    this.follow = on;
    this.controls.follow.setAttribute("aria-pressed", String(on));
    if (!on || quiet) return;
    if (this.shape.live) this.seek(this.shape.duration_s, { silent: true });
    this.score.reveal(this.time);
    this.transcript.scroll();
  }

  say(text) { byId("status").textContent = text; }

  // The part of the address that names the playhead's moment, the chosen turn and the chosen event.
  moment() {
    const hash = new URLSearchParams({ t: this.time.toFixed(1) });
    if (this.turn !== null) hash.set("turn", this.turn);
    if (this.run) hash.set("run", this.run);
    return hash;
  }

  async copy() {
    history.replaceState(null, "", `#${this.moment()}`);
    try {
      await navigator.clipboard.writeText(location.href);
      this.say("Link copied");
    } catch {
      this.say("The link is in the address");
    }
  }

  showKeys() {
    const rows = [["Space", "play, pause"], ["← →", "5 s, with Shift 0.5 s"], ["Home End", "begin, end"], ["↑ ↓  K J", "turn before, next"], ["P N", "finding before, next"], ["W", "slowest turn; again: the next slowest"], ["< >", "slower, faster"], ["+ − 0", "zoom in, out, whole"], ["Z", "zoom to the turn"], ["1 2 3", "user, agent, both"], ["F", "follow"], ["C", "copy link"], ["E", "events of the turn"], ["/", "filter events"], ["?", "these keys"]];
    const dialog = byId("keys");
    dialog.replaceChildren(h("h2", { id: "keys-title" }, "Keys"),
      h("dl", {}, rows.map(([keys, what]) => [h("dt", {}, keys.split(" ").filter(Boolean).map((key) => h("kbd", {}, key))), h("dd", {}, what)])),
      h("button", { type: "button", onclick: () => dialog.close() }, "Close"));
    dialog.showModal();
  }

  key(key, event) {
    if (!this.shape || byId("keys").open) return false;
    const onButton = event.target.closest?.("button, a, summary, [role=tab]");
    // Space presses a button that the Tab key led to, but not one that was clicked before.
    if (key === "Tab") this.tabbed = true;
    if (key === " " && onButton && this.tabbed && !onButton.closest("#transport .play")) return false;
    const by = event.shiftKey ? 0.5 : 5;
    const acts = {
      " ": () => this.player.toggle(),
      ArrowLeft: () => this.seek(this.time - by),
      ArrowRight: () => this.seek(this.time + by),
      Home: () => this.seek(0),
      End: () => this.seek(this.shape.duration_s),
      ArrowUp: () => this.stepTurn(-1), k: () => this.stepTurn(-1),
      ArrowDown: () => this.stepTurn(1), j: () => this.stepTurn(1),
      p: () => this.stepFinding(-1), n: () => this.stepFinding(1), w: () => this.stepWorst(),
      "<": () => this.changeSpeed(-1), ">": () => this.changeSpeed(1),
      "+": () => this.score.zoom(1 / 1.6), "=": () => this.score.zoom(1 / 1.6), "-": () => this.score.zoom(1.6), 0: () => this.score.showAll(),
      z: () => this.zoomToTurn(this.shape.turns.find((turn) => turn.n === this.turn) ?? this.turnAt(this.time)),
      1: () => this.hear("user"), 2: () => this.hear("agent"), 3: () => this.hear("both"),
      f: () => this.setFollow(!this.follow), c: () => this.copy(),
      e: () => this.showEventsOf(this.turn ?? 0),
      "/": () => { this.showTab("events"); this.details.search.focus(); },
      "?": () => this.showKeys(),
      Escape: () => { this.toggleMenu(false); document.querySelector(":popover-open")?.hidePopover(); },
    };
    const act = acts[key.length === 1 ? key.toLowerCase() : key];
    if (!act) return false;
    act();
    return true;
  }
}

history.scrollRestoration = "manual"; // the address says which moment is shown
const page = new Page();
window.conversation = page; // for the console, and for tests
onKey((key, event) => page.key(key, event));
addEventListener("hashchange", () => {
  const hash = new URLSearchParams(location.hash.slice(1));
  if (page.shape && hash.has("t")) page.seek(Number(hash.get("t")), { turn: hash.has("turn") ? Number(hash.get("turn")) : null });
});
document.addEventListener("pointerdown", () => { page.tabbed = false; });
addEventListener("resize", () => page.shape && page.details.renderTabs());
document.addEventListener("click", (event) => {
  if (byId("menu") && !byId("menu").hidden && !event.target.closest(".side")) page.toggleMenu(false);
});
page.stream.open();
