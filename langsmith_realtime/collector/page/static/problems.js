// What to look at in a conversation: its problems, its slowest turns, and the line that a search found.

import { latency, ms } from "./format.js";

// The turns with a latency, the slowest first.
export function slowestTurns(shape) {
  return shape.turns.filter((turn) => latency(turn) !== null).sort((a, b) => latency(b) - latency(a));
}

// The moments that something went wrong at, in order.
export function problemsOf(shape) {
  const found = [];
  for (const turn of shape.turns) {
    if (turn.problems.includes("slow")) found.push({ t: turn.user_to ?? turn.from, turn: turn.n, what: `slow, ${ms(latency(turn))}` });
    else if (turn.problems.includes("playback")) found.push({ t: turn.first_audio, turn: turn.n, what: "held up in playback" });
    for (const line of shape.lines) if (line.stopped && line.turn === turn.n) found.push({ t: line.from, turn: turn.n, what: line.text });
    if (turn.cut_at !== null) found.push({ t: turn.before_cut, turn: turn.n, what: "cut off" });
    for (const run of turn.errors) {
      const event = shape.events.find((each) => each.id === run);
      if (event) found.push({ t: event.t, turn: turn.n, what: `error: ${event.name}` });
    }
  }
  return found.sort((a, b) => a.t - b.t);
}

// The first line that has all words of a search, else the first that has any, as the list of conversations finds it.
export function lineWith(shape, search) {
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const lines = shape.lines.filter((line) => line.who !== "tool" && line.text);
  const has = (line) => (word) => line.text.toLowerCase().includes(word);
  return lines.find((line) => words.every(has(line))) ?? lines.find((line) => words.some(has(line))) ?? null;
}
