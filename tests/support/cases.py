"""Situations from public reports, as folders with their events, and the traces made of them.

``README.md`` of the folder describes the format of ``input.jsonl``. ``tests/whole/test_cases.py`` asserts what each
``expected.txt`` says.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langsmith_realtime.core.audio.decoding import Decoder, Samples
from langsmith_realtime.core.protocol.audio_formats import parse_format
from tests import ROOT
from tests.support.audio.sounds import stretches, wire
from tests.support.fed_session import FedSession

CASES = Path(os.environ.get("REALTIME_CASES", ROOT / "../shared/cases"))

#: Seconds from the last event of a case to the end of its conversation, so that all its audio is played.
AFTER_LAST_EVENT_S = 3.0


def case_names() -> list[str]:
    """Returns the names of the cases that have events."""
    return sorted(path.parent.name for path in CASES.glob("*/input.jsonl"))


@dataclass(frozen=True)
class CaseTrace:
    """The trace of a case: its runs as LangSmith gets them, and both channels of the recording."""

    session: FedSession
    runs: list[dict[str, Any]]

    @property
    def root(self) -> dict[str, Any]:
        return next(run for run in self.runs if run["id"] == self.session.root_id)

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(self.root["extra"]["metadata"])

    @property
    def messages(self) -> list[dict[str, Any]]:
        return list(self.root["outputs"]["messages"])

    def named(self, name: str) -> list[dict[str, Any]]:
        """Returns the runs of that name, in order of their starts."""
        return sorted((run for run in self.runs if run["name"] == name), key=lambda run: str(run["dotted_order"]))

    @property
    def models(self) -> list[dict[str, Any]]:
        return self.named("model")

    def seconds(self, run: dict[str, Any], key: str = "end_time") -> float:
        """Returns a time of a run, in seconds since the conversation opened."""
        return float((run[key] - self.root["start_time"]).total_seconds())

    def heard(self, side: str) -> list[tuple[float, float, int]]:
        """Returns begin and end in seconds, and the pitch in Hz, of each piece of sound of ``user`` or ``agent``."""
        sound = self.session.user_sound if side == "user" else self.session.agent_sound
        return pieces_of_sound(sound, self.session.rate)


def pieces_of_sound(sound: Samples, rate: int) -> list[tuple[float, float, int]]:
    """Returns begin and end in seconds, and the pitch in Hz, of each piece of sound."""
    found = []
    for begin, end in stretches(sound, rate, gap=0.05):
        piece = sound[round(begin * rate) : round(end * rate)].astype(np.float64)
        spectrum = np.abs(np.fft.rfft(piece, 1 << 17))
        found.append((begin, end, round(int(np.argmax(spectrum)) * rate / (1 << 17))))
    return found


def says_what_was_assumed(metadata: dict[str, Any]) -> bool:
    """Returns whether the root run says that the format or the rate of the sound is not known for certain."""
    return any(re.search("assum|clock|sampling|audio_rate|format_unknown", key) for key in metadata)


def answer_of(model: dict[str, Any]) -> dict[str, Any]:
    """Returns the message of a model run."""
    (choice,) = model["outputs"]["choices"]
    return dict(choice["message"])


def metadata_of(run: dict[str, Any]) -> dict[str, Any]:
    return dict(run["extra"]["metadata"])


def case_frames(name: str) -> list[dict[str, Any]]:
    """Returns the lines of a case, their events with all sounds and texts. Skips the test without cases, not on CI."""
    path = CASES / name / "input.jsonl"
    if not path.exists():
        assert not os.environ.get("CI"), f"no cases in {CASES}"
        pytest.skip(f"no cases in {CASES}")
    steps = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [{**step, "event": _filled(step["event"])} for step in steps]


def trace_of(name: str) -> CaseTrace:
    """Returns the trace of a case, on simulated time. Skips the test without cases, but not on CI."""
    session, t = FedSession(sends_runs=True), 0.0
    for step in case_frames(name):
        t = round(t + step.get("after", 0.0), 6)
        take = session.server if step["dir"] == "server" else session.client
        take(step["event"], t)
    session.close(t + AFTER_LAST_EVENT_S)
    assert session.guard.count == 0
    return CaseTrace(session, list(session.sent()))


def _filled(value: Any) -> Any:
    """Returns an event with the sounds, bytes and texts that its placeholders stand for."""
    if isinstance(value, list):
        return [_filled(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "$sound" in value:
        return wire(encoded(_tone(value), value.get("enc", "pcm16")))
    if "$bytes" in value:
        return wire(bytes(value["$bytes"]))
    if "$repeat" in value:
        return value["$repeat"] * value["times"]
    return {key: _filled(each) for key, each in value.items()}


def _tone(sound: dict[str, Any]) -> Samples:
    rate = sound.get("rate", 24_000)
    times = np.arange(round(sound["$sound"] * rate)) / rate
    return np.asarray(sound.get("amp", 8_000) * np.cos(2 * np.pi * sound.get("hz", 440) * times), dtype=np.int16)


def encoded(samples: Samples, encoding: str) -> bytes:
    """Returns PCM16 samples as bytes in ``pcm16``, ``ulaw`` or ``alaw``."""
    if encoding == "pcm16":
        return samples.astype("<i2").tobytes()
    g711 = parse_format(f"g711_{encoding}")
    assert g711 is not None, encoding
    return _nearest_codes(samples, Decoder(g711).decode(bytes(range(256))))


def _nearest_codes(samples: Samples, levels: Samples) -> bytes:
    """Returns for each sample the code whose level is nearest."""
    codes = np.argsort(levels, kind="stable")
    ordered = levels[codes].astype(np.int32)
    return codes[np.searchsorted((ordered[1:] + ordered[:-1]) // 2, samples)].astype(np.uint8).tobytes()
