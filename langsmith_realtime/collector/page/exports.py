"""A conversation in forms to hand on: WebVTT, SRT, and its sound as Opus."""

from __future__ import annotations

import html
import io
import re
from typing import TYPE_CHECKING, Any, Final

import soundfile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

#: Largest recording, as Opus, that is put into an HTML file, in bytes; many mail servers take 25 MB, base64 included.
SOUND_BYTES: Final = 15_000_000
#: Bytes of a second that Opus takes at most.
_MOST_BYTES_S: Final = 9200
#: How many pieces of a recording, of one second each, tell how large it is as Opus.
_PIECES: Final = 200
#: A size that is estimated from the pieces is this factor too large at most.
_ESTIMATE: Final = 1.1
#: Rates that Opus has.
_OPUS_RATES: Final = (8000, 12000, 16000, 24000, 48000)
#: A line on captions that ends when it begins is shown for this long, in seconds.
_SHORTEST_S: Final = 0.5
NAMES: Final = {"user": "User", "agent": "Agent"}


class TooLargeError(Exception):
    """The sound is too large for an HTML file; the message says how large."""


def vtt(shape: Mapping[str, Any]) -> str:
    """Return WebVTT captions; unheard words are in ``<c.unheard>``."""
    cues = ["WEBVTT\n"]
    for line, begin, end in _captions(shape):
        heard, unheard = split_heard(line)
        text = _cue(heard) + (f"<c.unheard>{_cue(unheard)}</c>" if unheard else "")
        cues.append(f"{_stamp(begin, '.')} --> {_stamp(end, '.')}\n<v {NAMES[line['who']]}>{text}\n")
    return "\n".join(cues)


def srt(shape: Mapping[str, Any]) -> str:
    """Return SubRip captions; unheard words are in square brackets."""
    cues = []
    for number, (line, begin, end) in enumerate(_captions(shape), start=1):
        heard, unheard = split_heard(line)
        text = _plain(heard) + (f" [not heard: {_plain(unheard).strip()}]" if unheard.strip() else "")
        cues.append(f"{number}\n{_stamp(begin, ',')} --> {_stamp(end, ',')}\n{NAMES[line['who']]}: {text}\n")
    return "\n".join(cues)


def opus(recording: Path) -> bytes:
    """Return a recording as Ogg Opus.

    Raises:
        TooLargeError: It has more than :data:`SOUND_BYTES`.
    """
    with soundfile.SoundFile(recording) as source:
        if source.format == "OGG" and source.subtype == "OPUS":
            packed = recording.read_bytes()
        else:
            rate = source.samplerate
            if rate not in _OPUS_RATES:
                rate = next((each for each in _OPUS_RATES if each > rate), _OPUS_RATES[-1])
            if source.frames / source.samplerate * _MOST_BYTES_S > SOUND_BYTES:  # an hour takes a minute of encoding
                pieces = len(_packed(source, rate, _pieces(source)))
                _check(pieces * source.frames / (_PIECES * source.samplerate) / _ESTIMATE)
                source.seek(0)
            packed = _packed(source, rate, _seconds(source))
    _check(len(packed))
    return packed


def _check(size: float) -> None:
    if size > SOUND_BYTES:
        most = f"{SOUND_BYTES / 1e6:.0f} MB"
        raise TooLargeError(f"The sound has more than {most} as Opus, and an HTML file takes {most} at most")


def _packed(source: soundfile.SoundFile, rate: int, blocks: Iterable[NDArray[np.int16]]) -> bytes:
    buffer = io.BytesIO()
    resample = None
    if rate != source.samplerate:
        import soxr  # noqa: PLC0415 - rarely needed

        resample = soxr.ResampleStream(source.samplerate, rate, source.channels, dtype="int16")
    with soundfile.SoundFile(buffer, "w", rate, source.channels, format="OGG", subtype="OPUS") as target:
        for samples in blocks:
            target.write(samples if resample is None else resample.resample_chunk(samples))
            _check(buffer.tell())
    return buffer.getvalue()


def _seconds(source: soundfile.SoundFile) -> Iterator[NDArray[np.int16]]:
    """Yield a recording from where it stands, a second at a time."""
    while len(samples := source.read(source.samplerate, dtype="int16", always_2d=True)):
        yield samples


def _pieces(source: soundfile.SoundFile) -> Iterator[NDArray[np.int16]]:
    """Yield seconds that are spread evenly over a recording."""
    for piece in range(_PIECES):
        source.seek(piece * source.frames // _PIECES)
        yield next(_seconds(source))


def _captions(shape: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], float, float]]:
    spoken = [
        line
        for line in shape["lines"]
        if line["who"] in NAMES and line["text"] and not line.get("typed") and not line.get("out_of_band")
    ]
    for line in sorted(spoken, key=lambda each: each["from"]):
        yield line, line["from"], max(line["to"], line["from"] + _SHORTEST_S)


def split_heard(line: Mapping[str, Any]) -> tuple[str, str]:
    """Return the words that were heard, and those that were not."""
    text, heard = line["text"] or "", line.get("heard_chars")
    return (text, "") if heard is None else (text[:heard], text[heard:])


def _stamp(seconds: float, mark: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}{mark}{ms % 1000:03d}"


def _plain(text: str) -> str:
    return " ".join(text.split()) if text.strip() else ""


def _cue(text: str) -> str:
    # Without line breaks: an empty line ends a cue. Escaping ">" breaks every "-->".
    return re.sub(r"[\r\n]+", " ", html.escape(text, quote=False))
