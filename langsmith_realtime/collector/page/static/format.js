// Numbers, times, and the one table of their names and meanings.

const NUMBER = new Intl.NumberFormat("en-US");
const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });
const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export const whole = (value) => (value === null || value === undefined ? "–" : NUMBER.format(Math.round(value)));
export const ms = (value) => (value === null || value === undefined ? "–" : `${whole(value)} ms`);
export const talked = (seconds) => (seconds === null || seconds === undefined ? "–" : seconds < 100 ? seconds.toFixed(1) : whole(seconds));
export const percent = (value) => (value === null || value === undefined ? "–" : `${Math.round(value * 100)} %`);
export const dollars = (value) =>
  value === null || value === undefined ? "–" : `$${value >= 0.0995 ? value.toFixed(2) : value.toFixed(3)}`;
export const day = (seconds) => DAY.format(new Date(seconds * 1000)).replace(",", "");
export const time = (seconds) => TIME.format(new Date(seconds * 1000));
export const utc = (seconds) => `${new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;

export function clock(seconds, digits = 1) {
  const scale = 10 ** digits;
  let rest = Math.max(0, Math.round(seconds * scale) / scale);
  const hours = Math.floor(rest / 3600);
  rest -= hours * 3600;
  const minutes = Math.floor((rest + 1e-9) / 60);
  const last = (Math.max(0, rest - minutes * 60)).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${last}` : `${minutes}:${last}`;
}

export function length(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  return seconds < 9.95 ? `${seconds.toFixed(1)} s` : seconds < 59.5 ? `${Math.round(seconds)} s` : clock(seconds, 0);
}

export function ago(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} seconds`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} minutes`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} hours`;
  return `${Math.round(seconds / 86400)} days`;
}

// name, sentence, key
export const MEANINGS = {
  voice_to_voice: ["Voice to voice", "From the user's last sound in the recording to the answer's first, as it was heard.", "voice_to_voice_ms"],
  first_audio: ["Latency to first audio", "From the end of speech, as turn detection reports it, to the first audio received.", "latency_to_first_audio_ms"],
  reaction: ["Barge-in reaction", "How long the agent was still audible after the user began to speak.", "barge_in_reaction_ms"],
  heard: ["Heard", "How much of what the agent said was played.", "heard_share"],
  talk: ["Talk", "How long each side was audible, and nobody; pauses under 0.3 s count as speech.", "user_talk_s"],
  cost: ["Est. cost", "Tokens and transcription at published prices.", "estimated_cost_usd"],
  token: ["time to first token", "From response.created to the first delta of any kind.", "time_to_first_token_ms"],
  detection: ["turn detection", "From the user's last sound to the end of speech: the silence that turn detection waits for.", "speech_ended_s"],
  model: ["model", "The model at work, until the first audio arrives or a tool is called.", "first_audio_s"],
  tool: ["tool", "A tool at work while the user waits.", "tool_time_ms"],
  playback: ["playback", "From the first audio received to the first sound heard.", "heard_from_s"],
};

// The words that were heard, and those that were not. The server counts characters, JavaScript counts emoji twice.
export function splitHeard(line) {
  if (line.heard_chars === undefined) return [line.text, ""];
  const characters = Array.from(line.text);
  return [characters.slice(0, line.heard_chars).join(""), characters.slice(line.heard_chars).join("")];
}

// Whether a text begins from the right: its first letter is of such a script.
export const isRightToLeft = (text) => /^\P{L}*[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}]/u.test(text);

export const latency = (turn) => turn.voice_to_voice_ms ?? turn.latency_to_first_audio_ms;
export const partName = (part) => part.name ?? MEANINGS[part.kind][0];
export const partMs = (part) => Math.round((part.to - part.from) * 1000);
