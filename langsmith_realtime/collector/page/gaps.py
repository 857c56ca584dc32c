"""Where a recording lacks a side: the side is hidden, was made silent, or the recording ends too early. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: A recording that ends this many seconds before its conversation is too short.
SHORTER_S: Final = 1.0
HIDDEN: Final = "hidden"
MADE_SILENT: Final = "made silent"
NO_SOUND: Final = "no sound"
#: A line that ends this many seconds before a silent part, or begins as many after it, belongs to that part.
_BESIDE_S: Final = 0.1


def gaps(
    metadata: Mapping[str, Any], hidden: Sequence[Any], recorded_s: float | None, whole_s: float
) -> list[dict[str, Any]]:
    """Return the gaps of a recording, as ``{side, from, to, why}`` with times in seconds.

    Args:
        metadata: That of the root. An entry of its ``recording_silenced`` that is no part of a side is left out.
        hidden: The sides that are hidden, ``user`` and ``agent``. They have no other gaps.
        recorded_s: Length of the recording, in seconds; None while that is not known.
        whole_s: Length of the conversation, in seconds.
    """
    found = [{"side": side, "from": 0.0, "to": whole_s, "why": HIDDEN} for side in ("user", "agent") if side in hidden]
    seen = [side for side in ("user", "agent") if side not in hidden]
    value = metadata.get("recording_silenced")
    for each in value if isinstance(value, list) else []:
        if not isinstance(each, dict):
            continue
        side, since, until = each.get("side"), each.get("from_s"), each.get("to_s")
        if side in seen and _is_time(since) and _is_time(until) and since < until:
            found.append({"side": side, "from": since, "to": until, "why": MADE_SILENT})
    if recorded_s is not None and recorded_s < whole_s - SHORTER_S:
        found += [{"side": side, "from": recorded_s, "to": whole_s, "why": NO_SOUND} for side in seen]
    return found


def mark_silenced(lines: Iterable[dict[str, Any]], found: Iterable[Mapping[str, Any]]) -> None:
    """Set ``silenced`` on the lines whose sound was made silent, or a part of it."""
    parts = [gap for gap in found if gap["why"] == MADE_SILENT]
    for line in lines:
        begin, end = line["from"] - _BESIDE_S, line["to"] + _BESIDE_S
        if "typed" not in line and any(
            part["side"] == line["who"] and part["from"] < end and part["to"] > begin for part in parts
        ):
            line["silenced"] = True


def silenced_moments(found: Iterable[Mapping[str, Any]]) -> list[tuple[float, float, list[str]]]:
    """Return begin, end and sides of each time in which a side was made silent; times that overlap are one."""
    moments: list[tuple[float, float, list[str]]] = []
    parts = [gap for gap in found if gap["why"] == MADE_SILENT]
    for part in sorted(parts, key=lambda each: (each["from"], each["side"] == "agent")):
        since, until, sides = part["from"], part["to"], [part["side"]]
        if moments and since <= moments[-1][1]:
            before = moments.pop()
            since, until = before[0], max(before[1], until)
            sides = before[2] + [side for side in sides if side not in before[2]]
        moments.append((since, until, sides))
    return moments


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
