// The top of the page: which conversation this is, its link and downloads, what happened in it, and its numbers.

import { meaning } from "./details.js";
import { byId, h, icon, keepFocus, setText } from "./dom.js";
import { clock, day, dollars, length, percent, talked, time, utc, whole } from "./format.js";

const FINDINGS_SHOWN = 6;
// The largest sound in an HTML file, as in exports.py, and what Opus takes at most.
const SOUND_BYTES = 15e6;
const OPUS_BYTES_S = 9200;
const isLink = (piece) => piece.t !== undefined && piece.t !== null;
const classOf = (piece) => [piece.tone && `tone-${piece.tone}`, piece.strong && "strong"].filter(Boolean).join(" ");

export class Header {
  constructor(page) {
    this.page = page;
    document.addEventListener("click", (event) => {
      if (byId("menu") && !byId("menu").hidden && !event.target.closest(".side")) this.toggleMenu(false);
    });
  }

  render() {
    this.renderBar();
    this.renderHappened();
  }

  // The moment that the link names.
  showTime(t) {
    const at = byId("copy-at");
    if (at) setText(at, this.page.player.playing ? clock(Math.floor(t), 0) : clock(t)); // while it plays, once a second
  }

  renderBar() {
    const { shape } = this.page;
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
      h("button", { type: "button", id: "copy", title: "Copy link (C)", "aria-label": "Copy link at the playhead", onclick: () => this.page.copy() }, icon("link"), h("span", { class: "long" }, "Copy link at ", h("span", { id: "copy-at" }, clock(this.page.time)))),
      h("button", { type: "button", id: "download", "aria-haspopup": "true", "aria-expanded": "false", "aria-label": "Download", onclick: () => this.toggleMenu() }, icon("download"), h("span", { class: "long" }, "Download")),
      h("button", { type: "button", class: "keys", "aria-label": "Keys", title: "Keys (?)", onclick: () => this.page.keys.show() }, icon("keys")),
      this.menu());
    keepFocus(byId("bar"), () => byId("bar").replaceChildren(...bar.flat(9).filter(Boolean), side));
  }

  menu() {
    const { recording } = this.page.shape;
    const url = (form) => `/view/api/conversations/${encodeURIComponent(this.page.id)}/download.${form}`;
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
    const { shape } = this.page;
    const n = shape.numbers;
    const many = this.showsAllFindings ? shape.findings.length : FINDINGS_SHOWN;
    const sentences = shape.findings.slice(0, many).map((sentence) => [this.sentence(sentence), " "]);
    const rest = shape.findings.length - many;
    if (rest > 0) sentences.push(h("button", { type: "button", onclick: () => { this.showsAllFindings = true; this.renderHappened(); this.page.score.draw(); } }, `and ${rest} more`));
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
    const act = () => (run ? this.page.openEvent(run) : this.page.goToFinding(t, turn));
    const space = pieces[0].text.startsWith(" ") ? " " : ""; // a button drops the space at its begin
    return [space, h("button", { type: "button", class: classOf({ tone: pieces[0].tone }), onclick: act }, pieces.map((piece) => h("span", { class: classOf(piece) }, piece.text)))];
  }
}
