"""The parts of one latency: turn detection, model, tool, playback. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Parts shorter than this, in seconds, are left out.
_SHORTEST_S: Final = 0.0005


class _Tool(Protocol):
    id: str
    fields: dict[str, Any]


def latency_parts(moments: Mapping[str, Any], tools: Sequence[tuple[float, float, _Tool]]) -> list[dict[str, Any]]:
    """Return the parts of a latency in order; one begins where the part before it ends.

    Args:
        moments: The metadata of the answer's ``model`` run. Without ``user_audible_until_s`` there is no turn
            detection, without ``heard_from_s`` no playback, and without the two others nothing.
        tools: Begin and end of each tool of the turn, in seconds, and the tool.

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
    for begin, end, tool in sorted(tools, key=lambda each: each[:2]):
        since, until = max(begin, at), min(end, first_audio)
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
