// The list of conversations, and the conversations of a thread.

import { ask, h, icon, keepFocus, onKey, Rows, s } from "./dom.js";
import { ago, day, dollars, length, time, utc, whole } from "./format.js";
import { Stream } from "./stream.js";

import * as ofThreads from "./threads.js";

const CHOICES_MS = 5000;
const TALLEST_MS = 2400;
// key to sort by, name, class, meaning
const COLUMNS = [
  ["start", "Start", "c-start", "When the conversation began, in local time"],
  ["", "Answers", "c-answers", "When each answer began, and how long the user waited for it"],
  ["", "First words", "", "What the user said first"],
  ["length", "Length", "c-length", "From the begin to the end"],
  ["turns", "Turns", "c-turns", "Answers whose latency was measured, or as the trace counts them"],
  ["p50", "p50", "c-p", "Half of the answers took at most this long, voice to voice where it was measured"],
  ["p95", "p95", "c-p", "95 % of the answers took at most this long"],
  ["interruptions", "Cut off", "c-cut", "Answers that the user interrupted"],
  ["errors", "Errors", "c-errors", "Failed tools, responses and events"],
  ["tokens", "Tokens", "c-tokens", "Tokens of all responses, and of transcription where it reports them"],
  ["cost", "Cost", "c-cost", "Estimated from published prices"],
];
// Heights of the drawn sound in the legend.
const LOUD = [0.3, 0.7, 1, 0.8, 0.5, 0.9, 0.6, 0.25, 0.1, 0.4, 0.85, 0.65];
// parameter of the address, name without a choice, where the choices are in the answer
const PICKS = [["project", "All projects", "projects"], ["tag", "All tags", "tags"], ["model", "All models", "models"]];
const byId = (id) => document.getElementById(id);
const threadInPath = location.pathname.match(/^\/view\/thread\/(.+)$/);
const thread = threadInPath && decodeURIComponent(threadInPath[1]);
const isThreads = location.pathname === "/view/threads";
const columns = isThreads ? ofThreads.COLUMNS : COLUMNS;
const noun = isThreads ? "thread" : "conversation";
const body = h("tbody", {});
const rows = new Rows(body);
let page = null;
let choices = { projects: [], tags: [], models: [], threads: [] };
let choseAt = -Infinity;
let choosing = null; // the timer
let shown = 100;

const parameters = () => new URLSearchParams(location.search);
const slow = () => Number(parameters().get("slow")) || 1500;

function change(name, value, { history = "push" } = {}) {
  const changed = parameters();
  if (value) changed.set(name, value);
  else changed.delete(name);
  const query = changed.toString();
  window.history[`${history}State`](null, "", location.pathname + (query ? `?${query}` : ""));
  shown = 100;
  stream.open();
}

function query() {
  const asked = parameters();
  if (thread) asked.set("thread", thread);
  asked.set("limit", shown);
  return asked;
}

const stream = new Stream({
  path: () => `/view/api/${noun}s?${query()}`,
  stream: () => `/view/api/${isThreads ? "threads/" : ""}changes?${query()}`,
  take: (object) => {
    page = object;
    render();
    choose();
  },
});

// Asks for the choices of the filters. Every conversation may add some, but a running one changes every second.
async function choose() {
  clearTimeout(choosing);
  const wait = choseAt + CHOICES_MS - performance.now();
  if (wait > 0) {
    choosing = setTimeout(choose, wait);
    return;
  }
  choseAt = performance.now();
  const found = await ask("/view/api/choices").catch(() => null); // without an answer, the stream says why
  if (!found) return;
  choices = found;
  picks();
}

// --- rendering

function sentence() {
  const { counts } = page;
  const only = (parameters().get("only") || "").split(",").filter(Boolean);
  const toggle = (name, tone, ...text) =>
    h("button", {
      type: "button",
      class: tone,
      "aria-pressed": only.includes(name) ? "true" : "false",
      onclick: () => change("only", (only.includes(name) ? only.filter((each) => each !== name) : [...only, name]).join(",")),
    }, text);
  const strong = (text) => h("span", { class: "strong" }, text);
  const swatch = (kind) => h("i", { class: `swatch ${kind}`, "aria-hidden": "true" }); // explains the marks in the rows
  const found = [];
  if (counts.slow || only.includes("slow")) found.push(toggle("slow", "tone-slow", swatch("slow"), strong(whole(counts.slow)), ` with an answer slower than ${whole(slow())} ms`));
  if (counts.interrupted || only.includes("interrupted")) found.push(toggle("interrupted", "tone-cut", swatch("cut"), strong(whole(counts.interrupted)), " with an interruption"));
  if (counts.errors || only.includes("errors")) found.push(toggle("errors", "tone-bad", swatch("error"), strong(whole(counts.errors)), " with errors"));
  const many = (count, name) => [strong(whole(count)), ` ${name}${count === 1 ? "" : "s"}`];
  const parts = many(counts.all, noun);
  if (isThreads) parts.push(" of ", h("a", { href: otherList("/view/") }, many(counts.conversations, "conversation")));
  else if (!thread && counts.threads && counts.threads < counts.all) parts.push(" in ", h("a", { href: otherList("/view/threads") }, many(counts.threads, "thread")));
  if (thread && page.conversations.length) {
    const calls = page.conversations;
    const talk = calls.reduce((sum, call) => sum + (call.duration_s || 0), 0);
    const last = calls.at(-1);
    parts.push(`, ${length(talk)} in all, over ${ago(last.start + (last.duration_s || 0) - calls[0].start)}`);
  }
  parts.push(". ");
  if (counts.live || only.includes("live")) parts.push(toggle("live", "", strong(whole(counts.live)), " running now"), ". ");
  found.forEach((each, index) => parts.push(index ? ", " : "", each));
  if (found.length) parts.push(".");
  keepFocus(byId("sentence"), () => byId("sentence").replaceChildren(...parts));
}

// The address of the list of threads, or of conversations, with the filters of this one.
function otherList(path) {
  const kept = parameters();
  kept.delete("sort");
  return kept.size ? `${path}?${kept}` : path;
}

// Fills the pick lists. One without a choice is not shown.
function picks() {
  for (const [name, all, where] of PICKS) {
    const chosen = parameters().get(name) || "";
    const values = choices[where].includes(chosen) || !chosen ? choices[where] : [chosen, ...choices[where]];
    fill(byId(name), chosen, [["", all], ...values.map((value) => [value, value])]);
  }
  const threads = choices.threads.map(([id, count]) => [id, `${id.length > 18 ? `${id.slice(0, 16)}…` : id} · ${count}`]);
  fill(byId("thread"), "", thread ? [["", ""]] : [["", "All threads"], ...threads]);
}

function fill(select, chosen, options) {
  const shown = JSON.stringify(options);
  if (select.dataset.shown !== shown) {
    select.dataset.shown = shown;
    select.replaceChildren(...options.map(([value, name]) => h("option", { value }, name)));
    select.hidden = options.length === 1;
  }
  if (select.value !== chosen) select.value = chosen;
}

function answers(call) {
  const end = call.duration_s || Math.max(1, ...call.shape.map(([at]) => at * 1.1));
  const counts = [
    [call.shape.filter(([, latency]) => latency > slow()).length, "slow"],
    [call.shape.filter(([, , mark]) => mark.includes("e")).length, "with an error"],
    [call.shape.filter(([, , mark]) => mark.includes("i")).length, "cut off"],
  ].filter(([count]) => count).map(([count, what]) => `, ${count} ${what}`);
  const picture = s("svg", { width: 168, height: 30, role: "img", "aria-label": `${call.shape.length} answers${counts.join("")}` });
  picture.append(s("path", { class: "base", d: "M0 24.500H168" }));
  for (const [at, latency, mark] of call.shape) {
    const x = Math.min(164, (at / end) * 166);
    const height = Math.max(2, Math.min(24, ((latency || 0) / TALLEST_MS) * 24));
    const kind = mark.includes("e") ? "error" : latency > slow() ? "slow" : "";
    picture.append(s("rect", { class: `column ${kind}`, x: x.toFixed(1), y: (24 - height).toFixed(1), width: Math.max(1, Math.min(4, 100 / call.shape.length)).toFixed(1), height: height.toFixed(1) }));
    if (mark.includes("i")) picture.append(s("rect", { class: "tick", x: x.toFixed(1), y: 26, width: 4, height: 4 }));
  }
  return picture;
}

// A text in which the words of the search are marked.
function marked(text, search) {
  const words = search.split(/\s+/).filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"));
  return text.split(new RegExp(`(${words.join("|")})`, "giu")).map((piece, index) => (index % 2 ? h("mark", {}, piece) : piece));
}

function row(call) {
  const zero = (value) => (value ? whole(value) : "·");
  const { p50, p95 } = { p50: call.voice_to_voice_p50_ms, p95: call.voice_to_voice_p95_ms };
  const isSlow = p95 > slow();
  const search = parameters().get("q") ?? "";
  const hit = call.hit && marked(call.hit, search);
  const more = (location.search.includes("slow=") ? `?slow=${slow()}` : "") + (hit ? `#find=${encodeURIComponent(search)}` : "");
  const aside = [
    call.thread?.count > 1 && !thread && h("small", {}, `thread ${call.thread.index} of ${call.thread.count}`),
    !call.recording && !call.live && h("small", {}, "no recording"),
    h("small", {}, call.project),
  ];
  return h("tr", { class: "call", data: { id: call.id } },
    h("td", { class: "start", title: utc(call.start) }, time(call.start)),
    h("td", { class: `answers ${call.shape.length ? "" : "zero"}` }, answers(call)),
    h("td", { class: "words" }, h("div", {}, h("a", { href: `/view/c/${encodeURIComponent(call.id)}${more}`, class: hit || call.says ? "bidi" : "quiet" }, hit || call.says || "Nothing was said, or it is hidden"), aside)),
    h("td", { class: "length" }, call.live ? [h("span", { class: "dot" }), h("span", { class: "strong" }, "live")] : length(call.duration_s)),
    h("td", { class: "turns", data: { unit: call.turns === 1 ? "turn" : "turns" } }, whole(call.turns)),
    h("td", { class: "p50" }, whole(p50)),
    h("td", { class: `p95 ${isSlow ? "tone-slow" : p95 === null ? "zero" : ""}` }, whole(p95)),
    h("td", { class: `cut ${call.interruptions ? "" : "zero"}` }, zero(call.interruptions)),
    h("td", { class: `errors ${call.errors ? "tone-bad" : "zero"}`, data: { unit: call.errors === 1 ? "error" : "errors" } }, zero(call.errors)),
    h("td", { class: "tokens" }, whole(call.total_tokens || null)),
    h("td", { class: "cost" }, dollars(call.estimated_cost_usd)));
}

function threadRow(each) {
  const kept = new URLSearchParams([...parameters()].filter(([name]) => name === "q" || name === "slow"));
  return ofThreads.row(each, { slow: slow(), kept: kept.size ? `?${kept}` : "" });
}

function head() {
  const sort = thread ? "start" : parameters().get("sort") || "-start";
  const cells = columns.map(([key, words, kind, meaning]) => {
    const name = words === "First words" && parameters().get("q") ? "Words found" : words;
    const over = key === "p50" && h("span", { class: "over" }, "Voice to voice, ms");
    if (!key || thread) return h("th", { class: kind, scope: "col", title: meaning }, over, name);
    const isSorted = sort.replace("-", "") === key;
    const next = sort === `-${key}` ? key : `-${key}`;
    return h("th", { class: kind, scope: "col", "aria-sort": isSorted ? (sort.startsWith("-") ? "descending" : "ascending") : null },
      over,
      h("button", { type: "button", title: meaning, onclick: () => { change("sort", next === "-start" ? "" : next); byId("status").textContent = `Sorted by ${name}`; } },
        name, isSorted ? (sort.startsWith("-") ? " ↓" : " ↑") : ""));
  });
  return h("thead", {}, h("tr", {}, cells));
}

function render() {
  sentence();
  picks();
  const calls = page[`${noun}s`];
  if (!calls.length) {
    byId("rows").replaceChildren(nothing());
    return;
  }
  const byStart = thread || !parameters().get("sort") || parameters().get("sort").endsWith("start");
  const wanted = [];
  let before = null;
  for (const call of calls) {
    if (thread && before) {
      const later = `${ago(call.start - before.start - (before.duration_s || 0))} later`;
      wanted.push([`gap ${call.id}`, later, () => h("tr", { class: "gap" }, h("td", { colspan: columns.length }, later))]);
    }
    if (byStart && day(call.start) !== (before && day(before.start))) {
      const name = day(call.start);
      wanted.push([`day ${name}`, name, () => h("tr", { class: "day" }, h("th", { colspan: columns.length, scope: "rowgroup" }, name))]);
    }
    wanted.push([call.id, JSON.stringify([call, slow(), parameters().get("q")]), () => (isThreads ? threadRow(call) : row(call))]);
    before = call;
  }
  rows.show(wanted);
  const more = page.next !== null && h("button", { class: "more", type: "button", onclick: () => { shown += 100; stream.open(); } }, "Show more");
  const headNow = JSON.stringify([location.search, thread]);
  const table = byId("rows").querySelector("table");
  if (!table) byId("rows").replaceChildren(h("table", { class: isThreads ? "threads" : null }, head(), body), more || "");
  else {
    if (table.dataset.head !== headNow) keepFocus(table, () => table.tHead.replaceWith(head()));
    byId("rows").querySelector(".more")?.remove();
    if (more) table.after(more);
  }
  byId("rows").querySelector("table").dataset.head = headNow;
}

// The timeline of a conversation in little, as its own legend.
function legend() {
  const sound = (x, wide, y, tall, kind) => Array.from({ length: wide / 4 }, (_, n) => s("rect", { class: kind, x: x + 4 * n, y: tall < 0 ? y + tall * LOUD[n % LOUD.length] : y, width: 3, height: Math.abs(tall) * LOUD[n % LOUD.length] }));
  const part = (x, wide, kind) => s("rect", { class: kind, x, y: 57, width: wide, height: 12 });
  const text = (x, y, words, kind = "") => s("text", { x, y, class: kind }, words);
  return s("svg", { class: "legend", viewBox: "0 0 560 136", role: "img", "aria-label": "The user's sound grows upwards, the agent's hangs below it, and between them lies what was waited for. A line cuts the agent's sound where the user interrupted it." },
    s("rect", { class: "spine", x: 0, y: 50, width: 560, height: 26 }),
    sound(10, 112, 50, -30, "user"), part(124, 24, "wait"), part(149, 44, "agent"), part(194, 26, "tool"), part(221, 30, "agent"),
    sound(252, 116, 76, 30, "agent"), sound(360, 92, 50, -28, "user"), part(454, 20, "wait"), part(475, 36, "agent"), sound(512, 44, 76, 28, "agent"),
    s("path", { class: "cut", d: "M371 16V112" }), s("rect", { class: "unheard", x: 375, y: 79, width: 96, height: 26 }),
    text(10, 12, "User"), text(124, 44, "waited: turn detection, model, tool"), text(252, 124, "Agent"), text(377, 124, "not heard", "cut"));
}

function nothing() {
  const query = parameters();
  const filters = ["q", "only", "project", "tag", "model"].filter((name) => query.get(name));
  if (filters.length || thread) {
    const words = query.get("q") ? `No ${noun} in which “${query.get("q")}” was said` : `No ${noun} matches`;
    const among = filters.filter((name) => name !== "q").map((name) => `${name} ${query.get(name)}`).join(", ");
    return h("div", { class: "empty" }, `${words}${among ? ` (${among})` : ""}.`, h("br"),
      h("button", { type: "button", onclick: () => { if (thread) { location.href = "/view/"; return; } history.pushState(null, "", isThreads ? "/view/threads" : "/view/"); byId("q").value = ""; stream.open(); } }, "Show all"));
  }
  return h("div", { class: "empty" },
    h("h2", {}, "No conversations yet"),
    legend(),
    h("p", {}, "This page fills itself as soon as one begins. Hold one with a voice that comes along:"),
    h("pre", { tabindex: 0 }, "make demo"),
    h("p", {}, "Or trace your own application here:"),
    h("pre", { tabindex: 0 }, `export LANGSMITH_TRACING=true\nexport LANGSMITH_ENDPOINT=${location.origin}\nexport LANGSMITH_API_KEY=local`),
    h("pre", { tabindex: 0 }, "from langsmith_realtime import wrap_realtime\n\nasync with (\n    client.realtime.connect(model=\"gpt-realtime\") as raw,\n    wrap_realtime(raw) as connection,\n):\n    ..."),
    h("p", {}, "Conversations of an earlier folder appear with ", h("code", {}, "langsmith-realtime view --directory FOLDER"), "."));
}

// --- interaction

function move(step) {
  const links = [...document.querySelectorAll("td.words a")];
  const at = links.indexOf(document.activeElement);
  const next = links[Math.max(0, Math.min(links.length - 1, at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step))];
  next?.focus();
  next?.closest("tr").scrollIntoView({ block: "nearest" });
  return Boolean(next);
}

const search = byId("q");
search.before(icon("search"));
search.after(h("kbd", { "aria-hidden": "true" }, "/"));
search.value = parameters().get("q") || "";
let waiting = null;
search.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => change("q", search.value.trim(), { history: "replace" }), 120);
});
search.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") { move(1); event.preventDefault(); }
});
for (const [name] of PICKS) byId(name).addEventListener("change", (event) => change(name, event.target.value));
byId("thread").addEventListener("change", (event) => { location.href = `/view/thread/${encodeURIComponent(event.target.value)}`; });
byId("address").textContent = location.host;
addEventListener("popstate", () => { search.value = parameters().get("q") || ""; stream.open(); });
onKey((key) => {
  if (key === "/") { search.focus(); return true; }
  if (key === "ArrowDown" || key === "j" || key === "J") return move(1);
  if (key === "ArrowUp" || key === "k" || key === "K") return move(-1);
  return false;
});
if (thread || isThreads) {
  const title = thread ? `Thread ${thread}` : "Threads";
  byId("title").textContent = title;
  document.title = title;
  byId("title").before(h("a", { href: "/view/", "aria-label": "All conversations" }, icon("back")));
}
stream.open();
