"""The first lines of a conversation: what went wrong, as sentences whose parts lead to the moments. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from langsmith_realtime.collector.page.gaps import SHORTER_S, silenced_moments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: A reaction to a barge-in that takes longer than this, in ms, is a finding.
_REACTION_MS: Final = 500
#: A recording that ends this many seconds after its conversation is a finding.
_LONGER_S: Final = 5.0
#: What of a trace may be lacking, by the key on the root, and its name; the keys are in docs/numbers.md.
LACKING: Final = {
    "dropped_audio_chunks": "chunks of sound were dropped",
    "undecodable_audio": "chunks were no audio",
    "malformed_frames": "frames were malformed",
    "dropped_events": "events were dropped",
    "dropped_runs": "runs were dropped",
    "left_out_runs": "runs were left out",
    "refused_runs": "runs were refused",
    "tracing_failures": "failures inside the tracing",
}


def latency(turn: Mapping[str, Any]) -> int | None:
    """Return a turn's voice to voice, or its latency to first audio if that was not measured, in ms."""
    ms: int | None = turn["voice_to_voice_ms"]
    return turn["latency_to_first_audio_ms"] if ms is None else ms


def clock(seconds: float, tenths: bool = True) -> str:
    """Return a time as ``1:05.3`` or ``1:02:05.3``."""
    seconds = max(0.0, round(seconds, 1) if tenths else float(int(seconds)))
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    last = f"{rest:04.1f}" if tenths else f"{int(rest):02d}"
    return f"{int(hours)}:{int(minutes):02d}:{last}" if hours else f"{int(minutes)}:{last}"


def findings(
    shape: Mapping[str, Any], slow_ms: float, *, conversation_s: float | None = None
) -> list[list[dict[str, Any]]]:
    """Return the findings in order; each is a list of pieces ``{text, tone?, t?, turn?, run?, strong?}``.

    ``tone`` is ``slow``, ``cut``, ``bad`` or ``quiet``.

    Args:
        shape: The conversation, as the page shows it.
        slow_ms: An answer above this is slow.
        conversation_s: Length of the conversation without what its recording has after it, in seconds; None if it is
            not known.
    """
    turns: Sequence[Mapping[str, Any]] = shape["turns"]
    numbers: Mapping[str, Any] = shape["numbers"]
    found = [
        *_latencies(turns, slow_ms),
        *_interruptions(turns),
        *_guardrails(turns),
        *_errors(shape),
        *_playback(turns),
    ]
    if shape["error"]:
        found.append([{"text": f"Ended abnormally: {_short(shape['error'])}", "tone": "bad"}])
    recording = shape["recording"]
    if recording["state"] in ("off", "missing"):
        found.append([{"text": recording["reason"], "tone": "slow" if recording["state"] == "missing" else "quiet"}])
    elif recording["state"] == "ready":
        found += _gaps(shape, conversation_s)
    if recording["hidden"]:
        found.append(
            [{"text": f"The sound of the {' and the '.join(recording['hidden'])} is hidden.", "tone": "quiet"}]
        )
    found += _silenced(recording["gaps"])
    if numbers.get("times_are_made_up"):
        found.append([{"text": "The frames had no times, so all times here are made up.", "tone": "slow"}])
    for key, name in LACKING.items():
        if numbers.get(key):
            found.append([{"text": f"{numbers[key]:,} {name}.", "tone": "slow"}])
    return found


def _gaps(shape: Mapping[str, Any], conversation_s: float | None) -> list[list[dict[str, Any]]]:
    """Where a recording that can be played does not agree with its conversation."""
    found = []
    error, end = shape["numbers"].get("recording_error"), shape["recording"]["seconds"]
    if shape["recording"].get("channels") == 1:
        one = (
            "The recording has one channel, so who was audible is told by events, and all sound is drawn as the user's."
        )
        found.append([{"text": one, "tone": "slow"}])
    if error:
        found.append([{"text": f"A part of the recording is missing: {_short(error)}", "tone": "slow"}])
    if end < shape["duration_s"] - SHORTER_S:
        link = {"tone": "slow", "t": end, "turn": None}
        pieces = [{"text": "No sound after ", **link}, {"text": clock(end), "strong": True, **link}]
        found.append([*pieces, {"text": ", where the recording ends."}])
    if conversation_s is not None and end > conversation_s + _LONGER_S:
        more = f"The recording goes on for {end - conversation_s:,.1f} s after the conversation has ended."
        after: dict[str, Any] = {"text": more, "tone": "slow", "t": conversation_s, "turn": None}
        found.append([after])
    return found


def _short(text: object) -> str:
    """Return the end of a sentence: a text, with a period, or its first 120 characters, with an ellipsis."""
    words = " ".join(str(text).split())
    return f"{words.rstrip('.')}." if len(words) <= 120 else f"{words[:120].rstrip()} …"


def _silenced(gaps: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    moments = silenced_moments(gaps)
    if not moments:
        return []
    since, until, sides = moments[0]
    link = {"t": since, "turn": None}
    if len(moments) == 1:
        what = f"The sound of the {' and the '.join(sides)} was made silent "
        return [[{"text": what}, {"text": f"from {clock(since)} to {clock(until)}", **link}, {"text": "."}]]
    seconds = sum(end - begin for begin, end, _ in moments)
    what = f"{len(moments):,} parts of the recording were made silent, {seconds:,.1f} s in all, first "
    return [[{"text": what}, {"text": f"at {clock(since)}", **link}, {"text": "."}]]


def _latencies(turns: Sequence[Mapping[str, Any]], slow_ms: float) -> list[list[dict[str, Any]]]:
    answers = [(ms, turn) for turn in turns if (ms := latency(turn)) is not None]
    if not answers:
        return []
    slowest, turn = max(answers, key=lambda each: each[0])
    tone = {"tone": "bad" if "error" in turn["problems"] else "slow"} if slowest > slow_ms else {}
    link = {"t": turn["user_to"] if turn["user_to"] is not None else turn["from"], "turn": turn["n"], **tone}
    sentence = [
        {"text": "Slowest answer "},
        {"text": f"{slowest:,} ms", "strong": True, **link},
        {"text": f" in turn {turn['n']}", **link},
    ]
    if slowest > slow_ms and turn["parts"]:
        sums: dict[str, float] = {}
        for part in turn["parts"]:
            name = part.get("name") or {"detection": "turn detection"}.get(part["kind"], part["kind"])
            sums[name] = sums.get(name, 0) + part["to"] - part["from"]
        name = max(sums, key=lambda each: sums[each])
        sentence.append({"text": f", {round(sums[name] * 1000):,} ms of it {name}"})
    found = [[*sentence, {"text": "."}]]
    slow = [each for each in answers if each[0] > slow_ms]
    if len(slow) > 1:
        first = slow[0][1]
        found.append(
            [
                {
                    "text": f"{len(slow)} of {len(answers)} answers",
                    "tone": "slow",
                    "t": first["from"],
                    "turn": first["n"],
                },
                {"text": f" took longer than {slow_ms:,.0f} ms."},
            ]
        )
    return found


def _interruptions(turns: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    cut = [turn for turn in turns if "interrupted" in turn["problems"]]
    if not cut:
        return []
    first = cut[0]
    at = first["to"] if first["cut_at"] is None else first["cut_at"]
    link = {"tone": "cut", "t": _before_cut(first), "turn": first["n"]}
    where = f"{_in_turn(first['n'])} at "
    lost = sum(turn["not_heard_ms"] or 0 for turn in cut) / 1000
    if len(cut) == 1:
        pieces = [{"text": f"Interrupted {where}", **link}]
        whose = "that answer"
    else:
        pieces = [{"text": str(len(cut)), "strong": True, **link}, {"text": f" interruptions, first {where}", **link}]
        whose = "the answers"
    pieces.append({"text": clock(at), "strong": True, **link})
    pieces.append({"text": f": {lost:.1f} s of {whose} never heard." if lost else "."})
    found = [pieces]
    late = [turn for turn in cut if (turn["barge_in_reaction_ms"] or 0) > _REACTION_MS]
    if late:
        worst = max(late, key=lambda turn: turn["barge_in_reaction_ms"])
        found.append(
            [
                {"text": "The agent talked on for "},
                {
                    "text": f"{worst['barge_in_reaction_ms']:,} ms",
                    "tone": "slow",
                    "strong": True,
                    "t": _before_cut(worst),
                    "turn": worst["n"],
                },
                {"text": " after the user began."},
            ]
        )
    return found


def _guardrails(turns: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    stopped = [turn for turn in turns if "guardrail" in turn["problems"]]
    if not stopped:
        return []
    link = {"tone": "cut", "t": stopped[0]["from"], "turn": stopped[0]["n"]}
    what = f" {'turn' if len(stopped) == 1 else 'turns'} in which a guardrail tripped"
    return [[{"text": str(len(stopped)), "strong": True, **link}, {"text": what, **link}, {"text": "."}]]


def _before_cut(turn: Mapping[str, Any]) -> float:
    """Return the second from which an interruption is heard; the end of the turn if the cut's time is not known."""
    t: float = turn["to"] if turn["before_cut"] is None else turn["before_cut"]
    return t


def _in_turn(n: int) -> str:
    return f"in turn {n}" if n else "before the user spoke"


def _errors(shape: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    if not shape["turns"]:
        return []
    places = {event["id"]: event for event in shape["events"] if event.get("error")}
    failed = [run_id for turn in shape["turns"] for run_id in turn["errors"]]
    if not failed:
        return [] if shape["error"] else [[{"text": "No errors.", "tone": "quiet"}]]
    tools = [run_id for run_id in failed if places.get(run_id, {}).get("type") == "tool"]
    found = []
    for ids, name in ((tools, "Tool error"), ([each for each in failed if each not in tools], "Error")):
        if ids:
            event = places.get(ids[0], {})
            link = {"tone": "bad", "t": event.get("t"), "turn": event.get("turn"), "run": ids[0]}
            many = len(ids) > 1
            what = f"{len(ids):,} {name.lower()}s, first" if many else name
            place = "" if event.get("turn") is None else f" {_in_turn(event['turn'])}"
            pieces = [{"text": f"{what}{place}", **link}]
            if event.get("name"):
                pieces += [{"text": ": ", **link}, {"text": event["name"], "strong": True, **link}]
            found.append([*pieces, {"text": "."}])
    return found


def _playback(turns: Sequence[Mapping[str, Any]]) -> list[list[dict[str, Any]]]:
    held = [turn for turn in turns if "playback" in turn["problems"]]
    if not held:
        return []
    link = {"tone": "slow", "t": held[0]["first_audio"], "turn": held[0]["n"]}
    return [
        [
            {"text": f"{len(held)} answer{'s' * (len(held) > 1)}", "strong": True, **link},
            {"text": " held up in playback."},
        ]
    ]
