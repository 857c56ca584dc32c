"""Decodes one channel's bytes (PCM16 or G.711) into PCM16 samples."""

from __future__ import annotations

import binascii

import numpy as np
import numpy.typing as npt
from pybase64 import b64decode

from langsmith_realtime.core.protocol.audio_formats import Format, Sound

Samples = npt.NDArray[np.int16]


NO_SAMPLES: Samples = np.zeros(0, dtype=np.int16)


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
