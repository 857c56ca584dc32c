// The one bar for one latency: turn detection, model, tool, model, playback.

import { h } from "./dom.js";
import { latency, partMs, partName, whole } from "./format.js";

const PIXELS_PER_MS = 0.11;
// Longest bar, in pixels; one that is cut off there has a broken end.
const LONGEST = 440;

export function inWords(turn) {
  return turn.parts.map((part) => `${partName(part)} ${whole(partMs(part))} ms${part.error ? ", failed" : ""}`).join(", ");
}

const kind = (part) => `part ${part.kind}${part.error ? " failed" : ""}`;

export function smallBar(turn, longest = LONGEST) {
  const bar = h("span", { class: "parts", role: "img", "aria-label": inWords(turn) || "no parts are known" });
  let left = longest;
  for (const part of turn.parts) {
    const wide = partMs(part) * PIXELS_PER_MS;
    if (left <= 0) break;
    bar.append(h("span", { class: `${kind(part)}${wide > left ? " broken" : ""}`, style: { width: `${Math.min(wide, left)}px` } }));
    left -= wide;
  }
  return bar;
}

export function wideBar(turn) {
  const total = turn.parts.at(-1).to - turn.parts[0].from;
  const bar = h("div", { class: "parts wide", role: "img", "aria-label": inWords(turn) });
  for (const part of turn.parts) {
    const share = (part.to - part.from) / total;
    bar.append(h("span", { class: kind(part), style: { flex: `${share} 1 0` } }, share > 0.016 + 0.018 * whole(partMs(part)).length ? whole(partMs(part)) : ""));
  }
  return bar;
}

export const tone = (turn) => {
  if (latency(turn) === null || latency(turn) === undefined || !turn.problems.includes("slow")) return "";
  return turn.problems.includes("error") ? "tone-bad" : "tone-slow";
};
