"""Audio formats: their names on the wire, their rate in Hz, and how their bytes become PCM16 samples.

Pure. Rows: GA objects (``{"type": "audio/pcm", "rate": 24000}``) and the beta API's strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langsmith_realtime.core.protocol.events import mapping, number

USER, AGENT = 0, 1


@dataclass(slots=True)
class Sound:
    """Sound as the wire carries it, without the base64 around it: what stands in an event that was decoded.

    Only ours has such: no bytes of somebody else's are taken for it.
    """

    data: bytes

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"<{len(self.data)} bytes>"


@dataclass(frozen=True, slots=True)
class Format:
    """How one channel is encoded: ``encoding`` is ``pcm16``, ``ulaw`` or ``alaw``; ``rate`` in Hz; mono."""

    encoding: str
    rate: int

    @property
    def bytes_per_frame(self) -> int:
        return 2 if self.encoding == "pcm16" else 1


PCM16 = Format("pcm16", 24_000)

#: The formats' names on the wire, and the rate of each unless it says another.
NAMES = {
    "audio/pcm": PCM16,
    "pcm16": PCM16,
    "audio/pcmu": Format("ulaw", 8_000),
    "g711_ulaw": Format("ulaw", 8_000),
    "audio/pcma": Format("alaw", 8_000),
    "g711_alaw": Format("alaw", 8_000),
}


def named(value: object) -> Format | None:
    """The format a session event names, as a GA object or a beta string; None when it is unknown."""
    name = mapping(value).get("type") if isinstance(value, dict) else value
    known = NAMES.get(name) if isinstance(name, str) else None
    rate = number(mapping(value).get("rate"))
    if known is None or rate is None or not 1_000 <= rate <= 192_000:
        return known
    return Format(known.encoding, int(rate))


#: What is written for silence in each encoding.
SILENT = {"pcm16": b"\0", "ulaw": b"\xff", "alaw": b"\xd5"}


def silence_for(place: dict[str, Any], form: Format) -> bytes:
    """As much silence as there was sound."""
    return SILENT[form.encoding] * int(place["bytes"])
