"""Audio formats: their names on the wire, their rate in Hz, and how their bytes become PCM16 samples.

Pure. Rows: GA objects (``{"type": "audio/pcm", "rate": 24000}``) and the beta API's strings.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pybase64 import b64decode

from langsmith_realtime.core.protocol.events import mapping, number

USER, AGENT = 0, 1


Samples = npt.NDArray[np.int16]
NO_SAMPLES: Samples = np.zeros(0, dtype=np.int16)


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


class Decoder:
    """Bytes of one channel → PCM16 samples, whatever the chunking: an odd byte waits for the next chunk."""

    def __init__(self, format: Format) -> None:  # noqa: A002 - the field's own word
        self.format = format
        self._rest = b""

    def decode(self, chunk: bytes) -> Samples:
        """Samples at the format's rate."""
        if self.format.encoding != "pcm16":
            return np.asarray(_G711[self.format.encoding].take(np.frombuffer(chunk, dtype=np.uint8)), dtype=np.int16)
        data = self._rest + chunk if self._rest else chunk
        whole = len(data) & ~1
        self._rest = data[whole:]
        return np.asarray(np.frombuffer(data, dtype="<i2", count=whole // 2), dtype=np.int16)

    def decode_base64(self, payload: object) -> Samples:
        """Samples of a wire payload, or of what it stands for.

        Raises:
            ValueError: the payload is no base64 text.
        """
        if isinstance(payload, Sound):
            return self.decode(payload.data)
        if not isinstance(payload, str):
            raise ValueError("the audio is no text")  # noqa: TRY004 - what the peer sent, not what the caller passed
        try:
            return self.decode(b64decode(payload, validate=True))
        except binascii.Error as error:
            raise ValueError(f"the audio is no base64: {error}") from None


def _ulaw_table() -> Samples:
    # G.711: a sign bit, three bits of segment, four of step; stored inverted, biased by 132.
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 132) << ((code >> 4) & 7)) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> Samples:
    # G.711: even bits are inverted; segment 0 is linear, the others add a leading one.
    code = np.arange(256) ^ 0x55
    segment, step = (code >> 4) & 7, (code & 0x0F) << 4
    magnitude = np.where(segment == 0, step + 8, (step + 264) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_G711 = {"ulaw": _ulaw_table(), "alaw": _alaw_table()}


#: What is written for silence in each encoding.
SILENT = {"pcm16": b"\0", "ulaw": b"\xff", "alaw": b"\xd5"}


def silence_for(place: dict[str, Any], form: Format) -> bytes:
    """As much silence as there was sound."""
    return SILENT[form.encoding] * int(place["bytes"])
