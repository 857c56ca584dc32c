// The list's columns and rows where it shows threads.

import { h } from "./dom.js";
import { dollars, length, time, utc, whole } from "./format.js";

// key to sort by, name, class, meaning
export const COLUMNS = [
  ["start", "Newest", "c-start", "When the newest conversation began, in local time"],
  ["thread", "Thread", "c-thread", "The id of the thread"],
  ["", "First words", "", "What the user said first in the newest conversation"],
  ["conversations", "Conversations", "c-calls", "Conversations of the thread"],
  ["length", "Length", "c-length", "Of all conversations together"],
  ["turns", "Turns", "c-turns", "Of all conversations together"],
  ["p50", "p50", "c-p", "Half of the answers in all conversations took at most this long, voice to voice where it was measured"],
  ["p95", "p95", "c-p", "95 % of the answers in all conversations took at most this long"],
  ["interruptions", "Cut off", "c-cut", "Answers that the user interrupted"],
  ["errors", "Errors", "c-errors", "Failed tools, responses and events"],
  ["tokens", "Tokens", "c-tokens", "Of all conversations together"],
  ["cost", "Cost", "c-cost", "Of all conversations together, estimated from published prices"],
];

// `kept` is the query of the row's link.
export function row(thread, { slow, kept }) {
  const zero = (value) => (value ? whole(value) : "·");
  const { p50, p95 } = { p50: thread.voice_to_voice_p50_ms, p95: thread.voice_to_voice_p95_ms };
  const isSlow = p95 > slow;
  return h("tr", { class: "call", data: { id: thread.id } },
    h("td", { class: "start", title: utc(thread.start) }, time(thread.start)),
    h("td", { class: "thread", title: thread.id }, thread.id),
    h("td", { class: "words" }, h("div", {},
      h("a", { href: `/view/thread/${encodeURIComponent(thread.id)}${kept}`, class: thread.says ? "bidi" : "quiet" }, thread.says || "Nothing was said, or it is hidden"),
      h("small", {}, [...thread.models, ...thread.projects].join(", ")))),
    h("td", { class: "calls", data: { unit: thread.conversations === 1 ? "conversation" : "conversations" } }, whole(thread.conversations)),
    h("td", { class: "length" }, thread.live ? [h("span", { class: "dot" }), h("span", { class: "strong" }, "live")] : length(thread.duration_s)),
    h("td", { class: "turns", data: { unit: thread.turns === 1 ? "turn" : "turns" } }, whole(thread.turns)),
    h("td", { class: "p50" }, whole(p50)),
    h("td", { class: `p95 ${isSlow ? "tone-slow" : p95 === null ? "zero" : ""}` }, whole(p95)),
    h("td", { class: `cut ${thread.interruptions ? "" : "zero"}` }, zero(thread.interruptions)),
    h("td", { class: `errors ${thread.errors ? "tone-bad" : "zero"}`, data: { unit: thread.errors === 1 ? "error" : "errors" } }, zero(thread.errors)),
    h("td", { class: "tokens" }, whole(thread.total_tokens || null)),
    h("td", { class: "cost" }, dollars(thread.estimated_cost_usd)));
}
