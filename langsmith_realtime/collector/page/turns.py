"""One turn of a conversation as the page shows it, from its lines and its responses. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langsmith_realtime.collector.records import StoredRun

#: Playback that holds an answer up for more than this, in ms, is a finding.
_PLAYBACK_MS: Final = 300
#: Parts of a latency that are shorter than this, in seconds, are left out.
_SHORTEST_S: Final = 0.0005


@dataclass
class Line:
    """What somebody said, a tool that was called, or a step of an SDK; times in seconds."""

    id: str
    who: str
    begin: float
    end: float
    text: str | None = None
    run: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)
    turn: int = 0
    #: When it takes its place among the turns, in order of arrival.
    order: float = 0.0
    detected_until: float | None = None


@dataclass
class Response:
    """One response of the model; times in seconds."""

    created: float
    metadata: dict[str, Any] = field(default_factory=dict)
    run: StoredRun | None = None
    texts: list[str] = field(default_factory=list)
    #: The end of its ``model`` run.
    ended: float | None = None
    begin: float | None = None
    end: float | None = None
    turn: int = 0


def shown_turn(turn: Mapping[str, Any], begin: float, end: float, slow_ms: float) -> dict[str, Any]:
    """Return a turn as the page shows it.

    Args:
        turn: Its number ``n``, its place ``order``, and its ``user`` lines, ``responses``, ``tools`` and ``errors``.
        begin: When it begins, in seconds.
        end: When the next turn begins, or the conversation ends.
        slow_ms: An answer above this is slow.
    """
    responses: list[Response] = turn["responses"]
    answer = next((each.metadata for each in responses if "latency_to_first_audio_ms" in each.metadata), {})
    first = next((each.metadata for each in responses if "first_audio_s" in each.metadata), {})
    tools: list[Line] = turn["tools"]
    interruption = next((each.metadata for each in responses if each.metadata.get("was_interrupted")), None)
    user_to = answer.get("user_audible_until_s")
    if user_to is None and turn["user"] and "typed" not in turn["user"][-1].fields:
        user_to = turn["user"][-1].end
    parts = latency_parts(answer, tools)
    latency = answer.get("voice_to_voice_ms", answer.get("latency_to_first_audio_ms"))
    errors = [line.id for line in tools if line.fields.get("error")]
    errors += turn.get("errors", [])
    errors += [each.run.id for each in responses if each.run is not None and _failed(each.run)]
    playback = sum(round((part["to"] - part["from"]) * 1000) for part in parts if part["kind"] == "playback")
    problems = []
    if latency is not None and latency > slow_ms:
        problems.append("slow")
    if interruption is not None:
        problems.append("interrupted")
    if errors:
        problems.append("error")
    if any(each.metadata.get("guardrails") for each in responses):
        problems.append("guardrail")
    if playback > _PLAYBACK_MS:
        problems.append("playback")
    said = [line.text for line in turn["user"] if line.text]
    replies = [each for each in responses if each.begin is not None]
    numbers = {
        "voice_to_voice_ms": answer.get("voice_to_voice_ms"),
        "latency_to_first_audio_ms": answer.get("latency_to_first_audio_ms"),
        "tool_time_ms": answer.get("tool_time_ms"),
        "time_to_first_token_ms": next(
            (
                each.metadata["time_to_first_token_ms"]
                for each in responses
                if "time_to_first_token_ms" in each.metadata
            ),
            None,
        ),
        "barge_in_reaction_ms": None if interruption is None else interruption.get("barge_in_reaction_ms"),
    }
    return {
        "n": turn["n"],
        "order": turn["order"],
        "from": round(begin, 3),
        "to": round(max(begin, end), 3),
        "say": " ".join(said) or None,
        "user_to": user_to,
        "speech_end": answer.get("speech_ended_s"),
        "first_audio": answer.get("first_audio_s", first.get("first_audio_s")),
        "heard_from": answer.get("heard_from_s", first.get("heard_from_s")),
        "answered": bool(replies) or bool(answer),
        "cut_at": None if interruption is None else interruption.get("heard_until_s"),
        "before_cut": None if interruption is None else _before_cut(interruption),
        "not_heard_ms": None if interruption is None else _not_heard(interruption),
        "heard_ms": None if interruption is None else interruption.get("heard_ms"),
        "spoken_ms": None if interruption is None else interruption.get("spoken_ms"),
        "responses": [
            [round(each.created, 3), round(each.created if each.ended is None else each.ended, 3)] for each in responses
        ],
        **numbers,
        "parts": parts,
        "problems": problems,
        "errors": errors,
    }


def latency_parts(moments: Mapping[str, Any], tools: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the parts of a latency in order; one begins where the part before it ends.

    Args:
        moments: The metadata of the answer's ``model`` run. Without ``user_audible_until_s`` there is no turn
            detection, without ``heard_from_s`` no playback, and without the two others nothing.
        tools: The tools of the turn.

    Returns:
        ``{kind, from, to, name?, error?}`` of each part, times in seconds.
    """
    ended, first_audio = moments.get("speech_ended_s"), moments.get("first_audio_s")
    if ended is None or first_audio is None or first_audio < ended:
        return []
    parts: list[dict[str, Any]] = []
    user_to, heard_from = moments.get("user_audible_until_s"), moments.get("heard_from_s")
    if user_to is not None and user_to < ended:
        parts.append({"kind": "detection", "from": user_to, "to": ended})
    at = ended
    for tool in sorted(tools, key=lambda each: (each.begin, each.end)):
        since, until = max(tool.begin, at), min(tool.end, first_audio)
        if until <= since:
            continue
        parts.append({"kind": "model", "from": at, "to": since})
        failed = {"error": True} if tool.fields.get("error") else {}
        parts.append({"kind": "tool", "from": since, "to": until, "name": tool.fields.get("name"), **failed})
        at = until
    parts.append({"kind": "model", "from": at, "to": first_audio})
    if heard_from is not None and heard_from > first_audio:
        parts.append({"kind": "playback", "from": first_audio, "to": heard_from})
    return [
        {**part, "from": round(part["from"], 3), "to": round(part["to"], 3)}
        for part in parts
        if part["to"] - part["from"] >= _SHORTEST_S
    ]


def _failed(run: StoredRun) -> bool:
    return bool(run.error) and not run.metadata.get("ls_is_error_interrupt")


def _before_cut(metadata: dict[str, Any]) -> float | None:
    """Return the second from which a cut is heard: 2 s before it, or earlier if the user began more than 1 s before it.

    It is no earlier than the answer. Without the time of the cut, it is None.
    """
    cut, reaction_ms = metadata.get("heard_until_s"), metadata.get("barge_in_reaction_ms") or 0
    if cut is None:
        return None
    from_s: float = max(cut - max(2.0, reaction_ms / 1000 + 1.0), metadata.get("heard_from_s", 0.0), 0.0)
    return round(from_s, 3)


def _not_heard(metadata: dict[str, Any]) -> int | None:
    spoken, heard = metadata.get("spoken_ms"), metadata.get("heard_ms")
    return None if spoken is None or heard is None else max(0, spoken - heard)
