"""Decodes one channel's bytes (PCM16 or G.711) into PCM16 samples."""

from __future__ import annotations

import binascii
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pybase64 import b64decode

from langsmith_realtime.core.protocol.audio_formats import Format, not_decoded

#: PCM16 samples of one channel: one dimension, native byte order.
Samples = npt.NDArray[np.int16]

NO_SAMPLES: Samples = np.zeros(0, dtype=np.int16)


#: The first bytes of files with compressed sound, and of what kind they are.
_FILES = {b"OggS": "Ogg", b"fLaC": "FLAC", b"ID3\x03": "MP3", b"ID3\x04": "MP3", b"\x1aE\xdf\xa3": "WebM"}

#: How many bytes of a G.711 stream are examined for samples of PCM16.
EXAMINED_BYTES = 16_000
#: How much more often a byte of PCM16 is close to zero if it is the upper one of its sample.
PCM16_DIFFERENCE = 0.15


class Decoder:
    """Decodes the chunks of one channel in order.

    A PCM16 sample may be split between two chunks: the decoder keeps the first byte for the next call.

    Args:
        format: encoding and rate of the channel.
    """

    def __init__(self, format: Format) -> None:  # noqa: A002 - the field's own word
        self.format = format
        self._odd_byte = b""
        self._is_start = True
        self._file: str | None = None  # the kind of file, in place of samples
        self._examined = 0  # bytes of G.711
        self._difference = 0  # how many more of them are close to zero at odd places than at even ones

    @property
    def assumption(self) -> str:
        """What was assumed of the format and why; empty if the session says it."""
        if self._file is not None:
            return not_decoded(f"it is {self._file}").assumption
        if abs(self._difference) > PCM16_DIFFERENCE * self._examined / 2 and self._examined >= EXAMINED_BYTES:
            said = f"{self.format.encoding} at {self.format.rate} Hz"
            return f"{said}, although its bytes look like pcm16"
        return self.format.assumption

    def decode(self, chunk: bytes) -> Samples:
        """Return the samples of a chunk, at the rate of the format.

        Args:
            chunk: bytes in the encoding of the format. A PCM16 sample that the chunk cuts in two waits for the
                next chunk.
        """
        if self.format.encoding != "pcm16":
            return np.asarray(_G711[self.format.encoding].take(np.frombuffer(chunk, dtype=np.uint8)), dtype=np.int16)
        data = self._odd_byte + chunk if self._odd_byte else chunk
        whole = len(data) & ~1
        self._odd_byte = data[whole:]
        return np.asarray(np.frombuffer(data, dtype="<i2", count=whole // 2), dtype=np.int16)

    def decode_payload(self, payload: bytes | str) -> Samples:
        """Return the samples of the audio that an event carried, as bytes or still as base64 text.

        Raises:
            ValueError: the text is not valid base64, or the audio is compressed: the format or the first chunk says so.
        """
        audio = payload if isinstance(payload, bytes) else decode_base64([payload])
        if audio is None:
            raise ValueError("audio must be valid base64")
        if self._is_start and audio:
            self._is_start, self._file = False, _FILES.get(audio[:4])
        if self._file is not None or self.format.encoding == "compressed":
            raise ValueError("audio must not be compressed")
        if self.format.encoding != "pcm16" and self._examined < EXAMINED_BYTES:
            self._examine(audio)
        return self.decode(audio)

    def _examine(self, audio: bytes) -> None:
        close = np.frombuffer(audio, dtype=np.int8)
        is_close = (close >= -16) & (close < 16)
        self._difference += int(is_close[1::2].sum()) - int(is_close[::2].sum())
        self._examined += len(audio)


def decode_base64(chunks: Sequence[bytes | str]) -> bytes | None:
    """Return the chunks joined, texts decoded from base64; None if a text cannot be decoded."""
    try:
        if not any(type(chunk) is bytes or len(chunk) % 4 for chunk in chunks):
            text = "".join(chunks)  # type: ignore[arg-type]
            if "=" not in text[:-2]:
                return b64decode(text, validate=True)  # one call for all chunks is faster
        return b"".join(b64decode(chunk, validate=True) if isinstance(chunk, str) else chunk for chunk in chunks)
    except (binascii.Error, ValueError):
        return None


def _ulaw_table() -> Samples:
    # ITU-T G.711: sign bit, three segment bits, four step bits; all bits inverted, magnitude biased by 132.
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 132) << ((code >> 4) & 7)) - 132
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_table() -> Samples:
    # ITU-T G.711: even bits inverted; segment 0 is linear, the other segments have an implicit leading one.
    code = np.arange(256) ^ 0x55
    segment, step = (code >> 4) & 7, (code & 0x0F) << 4
    magnitude = np.where(segment == 0, step + 8, (step + 264) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


#: PCM16 sample of each of the 256 codes, by encoding.
_G711 = {"ulaw": _ulaw_table(), "alaw": _alaw_table()}
