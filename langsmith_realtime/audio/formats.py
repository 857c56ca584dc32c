"""Audio formats: their names on the wire, their rate in Hz, and how their bytes become PCM16 samples.

Pure. Rows: GA objects (``{"type": "audio/pcm", "rate": 24000}``) and the beta API's strings.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from langsmith_realtime.events import mapping, number

Samples = npt.NDArray[np.int16]
NO_SAMPLES: Samples = np.zeros(0, dtype=np.int16)


@dataclass(frozen=True, slots=True)
class Format:
    """How one channel is encoded: ``encoding`` is ``pcm16``, ``ulaw`` or ``alaw``; ``rate`` in Hz; mono."""

    encoding: str
    rate: int

    @property
    def bytes_per_frame(self) -> int:
        return 2 if self.encoding == "pcm16" else 1


PCM16 = Format("pcm16", 24_000)

_NAMES = {
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
    known = _NAMES.get(name) if isinstance(name, str) else None
    rate = number(mapping(value).get("rate"))
    if known is None or rate is None or not 1_000 <= rate <= 192_000:
        return known
    return Format(known.encoding, int(rate))


class Decoder:
    """Bytes of one channel → PCM16 samples, whatever the chunking: an odd byte waits for the next chunk.

    ``rate`` is that of the samples handed out, in Hz; by default the format's own.
    """

    def __init__(self, format: Format, rate: int | None = None) -> None:  # noqa: A002 - the field's own word
        self.format = format
        self._rest = b""
        self._resampler = Resampler(format.rate, rate or format.rate)

    def decode(self, chunk: bytes) -> Samples:
        return self._resampler.convert(self._samples(chunk))

    def decode_base64(self, payload: object) -> Samples:
        """Samples of a wire payload.

        Raises:
            ValueError: the payload is no base64 text.
        """
        if not isinstance(payload, str):
            raise ValueError("the audio is no text")  # noqa: TRY004 - what the peer sent, not what the caller passed
        try:
            return self.decode(base64.b64decode(payload, validate=True))
        except binascii.Error as error:
            raise ValueError(f"the audio is no base64: {error}") from None

    def _samples(self, chunk: bytes) -> Samples:
        if self.format.encoding != "pcm16":
            return np.asarray(_G711[self.format.encoding][np.frombuffer(chunk, dtype=np.uint8)], dtype=np.int16)
        data = self._rest + chunk if self._rest else chunk
        whole = len(data) & ~1
        self._rest = data[whole:]
        return np.asarray(np.frombuffer(data, dtype="<i2", count=whole // 2), dtype=np.int16)


class Resampler:
    """The same sound at another rate, by linear interpolation.

    The position in the stream is kept in whole numbers across chunks, so that no chunking changes a
    sample and no rounding adds up. A sample that lies beyond the last one known waits for the next chunk.
    """

    def __init__(self, rate: int, wanted: int) -> None:
        self._rate, self._wanted = rate, wanted
        self._known: Samples = NO_SAMPLES  # the end of what was read, still needed
        self._read = 0  # where in the stream it begins
        self._made = 0

    def convert(self, samples: Samples) -> Samples:
        if self._rate == self._wanted or not len(samples):
            return samples
        known = np.concatenate((self._known, samples))
        last = self._read + len(known) - 1
        made = last * self._wanted // self._rate + 1
        places = np.arange(self._made, made, dtype=np.int64) * self._rate
        before, share = np.divmod(places - self._read * self._wanted, self._wanted)
        after = np.minimum(before + 1, len(known) - 1)
        wide = known.astype(np.int64)
        heard = (wide[before] * (self._wanted - share) + wide[after] * share + self._wanted // 2) // self._wanted
        self._made = made
        done = min(made * self._rate // self._wanted - self._read, len(known))
        self._known, self._read = known[done:], self._read + done
        return np.asarray(heard, dtype=np.int16)


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
