"""The recorded lines of the bundled user and the bundled agent, listed in `lines.json`; `render` makes them."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

import soundfile


@dataclass(frozen=True)
class Line:
    """A recorded line. `speaker` is ``user`` or ``agent``; `pcm` is PCM16 mono at 24 kHz."""

    name: str
    speaker: str
    text: str
    pcm: bytes

    @property
    def duration_s(self) -> float:
        return len(self.pcm) / 2 / 24_000


@cache
def line(name: str) -> Line:
    """Returns a line by its name.

    Raises:
        KeyError: `lines.json` does not list the name.
    """
    folder = resources.files(__name__)
    entries = {entry["name"]: entry for entry in json.loads((folder / "lines.json").read_text("utf-8"))["lines"]}
    entry = entries[name]
    samples, rate = soundfile.read(io.BytesIO((folder / f"{name}.ogg").read_bytes()), dtype="int16")
    assert rate == 24_000
    return Line(name, entry["speaker"], entry["text"], samples.astype("<i2").tobytes())
