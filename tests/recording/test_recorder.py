"""A recording from its first audio to its delivery: its format, attachment, store, and the file on disk."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest
import soundfile
from fsspec.implementations.memory import MemoryFileSystem

from langsmith_realtime import Recording, SessionTracer, flush
from langsmith_realtime.core.audio.writes import ChannelWrite, Write
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.recording.encoder import PIECE_S
from langsmith_realtime.recording.finishing import FinishedRecording
from langsmith_realtime.recording.recorder import Recorder
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.testing import speech_like, tone
from tests.support.audio.sound_comparison import correlation
from tests.support.audio.sounds import numbered
from tests.support.conversations import the_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langsmith_realtime.collector import Collector
    from langsmith_realtime.core.audio.decoding import Samples

RATE = 8_000
SPEECH = np.frombuffer(speech_like("It is sunny in Paris today.", 2.0), dtype="<i2").astype(np.int16)
# The noise of a room, which FLAC cannot compress.
SPEECH += np.random.default_rng(7).integers(-500, 500, len(SPEECH)).astype(np.int16)


class Take:
    """A recorder that the test drives; work for other threads runs at once and is counted."""

    def __init__(self, directory: str | Path, *, limit_s: float | None = None, **how: Any) -> None:
        self.threads_used = 0
        self._ended: list[FinishedRecording] = []
        recording = Recording(directory=directory, **how)
        self.recorder = Recorder(
            recording, name="take", limit_s=limit_s, hidden=set(), guard=Guard(), run_in_thread=self._run_in_thread
        )

    def _run_in_thread(self, work: Callable[[], None]) -> None:
        self.threads_used += 1
        work()

    def write(self, start: int, samples: Samples, t: float, channel: int = USER) -> None:
        self.recorder.write([ChannelWrite(channel, Write(start, samples))], RATE, t)

    def talk(self, seconds: int, first: int = 0) -> None:
        """Write so many seconds of the user's speech, one second at a time."""
        for second in range(first, first + seconds):
            self.write(second * RATE, np.resize(SPEECH, RATE), second + 1.0)

    def end(self, t: float) -> FinishedRecording:
        self.recorder.finish(t, self._ended.append)
        (recorded,) = self._ended
        return recorded


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def attached(recorded: FinishedRecording) -> tuple[str, Path]:
    assert recorded.attachment is not None
    return recorded.attachment


def deliver(recorded: FinishedRecording, delivered: bool = True) -> None:
    assert recorded.done is not None
    recorded.done(delivered)


def test_a_wav_within_the_limit_is_attached_at_once(tmp_path: Path) -> None:
    take = Take(tmp_path)
    take.talk(3)
    recorded = take.end(3.0)
    assert attached(recorded) == ("audio/wav", tmp_path / "take.wav")
    assert recorded.metadata == {"recording_format": "wav"}
    assert take.threads_used == 0
    deliver(recorded)
    assert names(tmp_path) == []


def exceeded(size: str, limit: str, *others: str) -> str:
    """The reason in the metadata why the WAV, of that size, and other formats are not attached."""
    first = f"the WAV of {size} exceeds the limit of {limit} for attachments"
    return "; ".join([first, *(f"the {other} exceeds the limit, too" for other in others)])


@pytest.mark.parametrize(
    ("limit", "mime", "reduced"),
    [
        (60_000, "audio/flac", exceeded("112.0 kB", "60.0 kB")),
        (20_000, "audio/ogg", exceeded("112.0 kB", "20.0 kB", "FLAC")),
        (8_000, "audio/ogg", exceeded("112.0 kB", "8.0 kB", "FLAC", "Opus")),
    ],
)
def test_a_recording_beyond_the_limit_is_attached_in_a_smaller_format(
    tmp_path: Path, limit: int, mime: str, reduced: str
) -> None:
    take = Take(tmp_path, max_attachment_bytes=limit)
    take.talk(3)
    recorded = take.end(3.5)
    kind, path = attached(recorded)
    assert kind == mime
    assert path.stat().st_size <= limit
    assert recorded.metadata["recording_reduced"] == reduced
    heard, original = soundfile.read(path)[0], soundfile.read(tmp_path / "take.wav")[0]
    assert heard.shape == original.shape == (28_000, 2)
    assert correlation(heard[:, USER], original[:, USER]) > 0.9
    assert take.threads_used == 1
    deliver(recorded)
    assert names(tmp_path) == []


def test_a_recording_too_large_in_every_format_stays_on_disk_and_the_root_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    take = Take(tmp_path, max_attachment_bytes=1_000)
    take.talk(3)
    recorded = take.end(3.0)
    assert recorded.attachment is None
    assert recorded.metadata == {
        "recording_error": exceeded("96.0 kB", "1.0 kB", "FLAC", "Opus", "smallest Opus")
        + "; it is kept where it was recorded"
    }
    assert names(tmp_path) == ["take.wav"]
    assert str(tmp_path / "take.wav") in caplog.text


def test_most_of_a_smaller_format_is_encoded_before_the_end(tmp_path: Path) -> None:
    take = Take(tmp_path, max_attachment_bytes=1_000_000)
    take.talk(10)
    assert names(tmp_path) == ["take.wav"]
    take.talk(50, first=10)
    deadline = time.monotonic() + 30
    while take.recorder._encoder is None or take.recorder._encoder._encoded_frames < (60 - 35 - 2 - PIECE_S) * RATE:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert names(tmp_path) == ["take.flac", "take.wav"]
    recorded = take.end(60.0)
    kind, path = attached(recorded)
    assert kind == "audio/flac"
    assert np.array_equal(soundfile.read(path)[0], soundfile.read(tmp_path / "take.wav")[0])
    deliver(recorded)
    assert names(tmp_path) == []


def test_a_late_truncation_changes_the_smaller_format_too(tmp_path: Path) -> None:
    take = Take(tmp_path, format="flac")
    take.talk(45)
    take.write(0, np.zeros(20 * RATE, np.int16), 45.0)
    take.write(5 * RATE, numbered(RATE), 45.0, AGENT)
    path = attached(take.end(46.0))[1]
    heard = soundfile.read(path, dtype="int16")[0]
    assert not heard[: 20 * RATE, USER].any()
    assert np.array_equal(heard[5 * RATE : 6 * RATE, AGENT], numbered(RATE))
    assert np.array_equal(heard, soundfile.read(tmp_path / "take.wav", dtype="int16")[0])


@pytest.mark.parametrize(("file_format", "kept"), [(None, "take.wav"), ("flac", "take.flac"), ("opus", "take.ogg")])
def test_the_file_in_the_requested_format_is_kept(tmp_path: Path, file_format: str | None, kept: str) -> None:
    take = Take(tmp_path, format=file_format, keep=True)
    take.talk(2)
    recorded = take.end(2.0)
    assert recorded.metadata == {"recording_format": file_format or "wav"}
    deliver(recorded)
    assert names(tmp_path) == [kept]


def test_a_requested_format_beyond_the_limit_is_not_replaced(tmp_path: Path) -> None:
    take = Take(tmp_path, format="wav", max_attachment_bytes=10_000)
    take.talk(2)
    recorded = take.end(2.0)
    assert recorded.attachment is None
    assert exceeded("64.0 kB", "10.0 kB") in recorded.metadata["recording_error"]
    assert names(tmp_path) == ["take.wav"]


def test_an_undelivered_recording_stays_on_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    take = Take(tmp_path, format="opus")
    take.talk(2)
    deliver(take.end(2.0), delivered=False)
    assert names(tmp_path) == ["take.wav"]
    assert f"it is kept at {tmp_path / 'take.wav'}" in caplog.text


def test_a_refusal_for_another_reason_than_size_ends_the_attempts(tmp_path: Path) -> None:
    take = Take(tmp_path)
    take.talk(1)
    recorded = take.end(1.0)
    assert recorded.refused is not None
    assert recorded.refused(422).attachment is None
    assert names(tmp_path) == ["take.wav"]


def test_a_recording_that_reached_its_longest_duration_says_so(tmp_path: Path) -> None:
    take = Take(tmp_path, limit_s=1.0, format="flac")
    take.talk(40)
    recorded = take.end(40.0)
    assert recorded.metadata["audio_truncated"] is True
    assert soundfile.info(attached(recorded)[1]).frames == RATE


def test_a_folder_that_is_a_file_costs_the_recording_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    take = Take(tmp_path / "file")
    take.talk(2)
    assert take.end(2.0) == FinishedRecording({"recording_error": "FileExistsError: File exists"})
    assert caplog.text.count("the recording stopped") == 1


def test_a_conversation_without_audio_has_no_recording(tmp_path: Path) -> None:
    take = Take(tmp_path)
    take.recorder.write([], RATE, 1.0)
    assert take.end(2.0) == FinishedRecording()
    assert names(tmp_path) == []


def test_a_format_that_cannot_be_encoded_costs_the_attachment_only(tmp_path: Path) -> None:
    (tmp_path / "take.flac").touch()
    take = Take(tmp_path, format="flac")
    take.talk(1)
    recorded = take.end(1.0)
    assert recorded.metadata["recording_error"].startswith("the recording could not be prepared (FileExistsError)")
    assert take.recorder._guard.count == 1
    assert names(tmp_path) == ["take.flac", "take.wav"]
    _forget_failures()


def _forget_failures() -> None:
    from langsmith_realtime.runtime import guard  # noqa: PLC0415 - only tests with failures need it

    guard.failures.clear()


def test_a_file_that_cannot_be_finished_is_not_attached(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    take = Take(tmp_path)
    take.talk(1)
    assert take.recorder._wav is not None
    file = take.recorder._wav._file
    take.recorder._wav.close(0)
    recorded = take.end(1.0)
    assert file >= 0
    assert recorded.attachment is None
    assert recorded.metadata == {"recording_error": "OSError: Bad file descriptor"}
    assert "the recording stopped" in caplog.text


# Stores


class Slow(MemoryFileSystem):  # type: ignore[misc]
    """A store that answers when the test lets it."""

    protocol = "slow"
    answers = threading.Event()

    def open(self, *arguments: Any, **options: Any) -> Any:
        assert self.answers.wait(10)
        return super().open(*arguments, **options)


class Broken(MemoryFileSystem):  # type: ignore[misc]
    """A store whose errors quote the URL."""

    protocol = "broken"

    def open(self, path: str, *_: Any, **__: Any) -> Any:
        raise PermissionError(f"key:secret@{path} may not write")


def recordings_on_disk(pattern: str) -> list[Path]:
    """The recordings' files in the folders of conversations."""
    return list(Path(os.environ["LANGSMITH_REALTIME_DIR"]).glob(f"*/{pattern}"))


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    fsspec.register_implementation("slow", Slow, clobber=True)
    fsspec.register_implementation("broken", Broken, clobber=True)
    Slow.answers.clear()
    yield
    Slow.answers.set()


def talk(**options: Any) -> SessionTracer:
    tracer = SessionTracer(**options)
    tracer.record_user_audio(tone(1000, 1.0), at=time.monotonic())
    tracer.close()
    return tracer


@pytest.mark.usefixtures("stores")
@pytest.mark.parametrize(("file_format", "suffix", "mime"), [(None, "wav", "WAV"), ("flac", "flac", "FLAC")])
def test_a_recording_is_uploaded_to_a_store(
    tracing: Collector, file_format: str | None, suffix: str, mime: str
) -> None:
    recording = Recording(format=file_format, directory="memory://key:secret@calls/today", max_attachment_bytes=1_000)
    tracer = talk(recording=recording)
    root = the_tree(tracing)
    assert root.run.attachments == {}
    assert root.metadata["recording_url"] == f"memory://calls/today/{tracer.run_id}.{suffix}"
    assert root.metadata["recording_format"] == suffix
    assert "recording_error" not in root.metadata
    with fsspec.open(f"memory://key:secret@calls/today/{tracer.run_id}.{suffix}") as stored:
        assert soundfile.info(stored).format == mime
    assert "secret" not in str([run.metadata for run in tracing.runs()])
    assert recordings_on_disk(f"{tracer.run_id}.*") == []


@pytest.mark.usefixtures("stores")
def test_a_failing_store_costs_neither_the_trace_nor_the_recording(
    tracing: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        talk(recording=Recording(directory="broken://key:secret@calls"))
        root = the_tree(tracing)
    assert root.metadata["recording_error"] == (
        "the recording could not be stored at broken://calls (PermissionError); it is kept where it was recorded"
    )
    assert "recording_url" not in root.metadata
    (kept,) = recordings_on_disk("*.wav")
    assert str(kept) in caplog.text
    assert "secret" not in caplog.text + str(root.metadata)


@pytest.mark.usefixtures("stores")
def test_a_slow_store_delays_no_conversation_and_flush_waits_for_it(tracing: Collector) -> None:
    talk(recording=Recording(directory="slow://calls"), thread_id="slow")
    talk(recording=False, thread_id="other")
    runs = tracing.wait_for(lambda runs: any(run.end_time for run in runs), timeout=30)
    assert {run.metadata["thread_id"]: run.end_time is not None for run in runs} == {"slow": False, "other": True}
    assert not flush(0.05)
    Slow.answers.set()
    assert flush(10)
    assert any("recording_url" in run.metadata for run in tracing.roots())


# Whole conversations


def test_a_conversation_above_the_limit_arrives_as_flac(tracing: Collector, tmp_path: Path) -> None:
    before = time.monotonic()
    with SessionTracer(recording=Recording(directory=tmp_path, max_attachment_bytes=100_000)) as tracer:
        began = time.monotonic()
        tracer.record_user_audio(tone(1000, 2.0), at=began)
        tracer.record_user_audio(tone(1000, 2.0), at=began + 3)
    root = the_tree(tracing)
    mime, path = tracing.attachment(root.run.id, "conversation")
    assert mime == "audio/flac"
    info = soundfile.info(path)
    assert (info.format, info.channels, info.samplerate) == ("FLAC", 2, 24_000)
    assert 5.0 <= info.duration <= 5.0 + (began - before) + 0.01
    assert root.metadata["recording_format"] == "flac"
    assert root.metadata["recording_reduced"].endswith("exceeds the limit of 100.0 kB for attachments")
    assert names(tmp_path) == []


def test_a_conversation_is_recorded_as_opus(tracing: Collector) -> None:
    before = time.monotonic()
    with SessionTracer(recording=Recording(format="opus")) as tracer:
        at = time.monotonic()
        tracer.record_user_audio(tone(1000, 2.0), at=at)
    root = the_tree(tracing)
    mime, path = tracing.attachment(root.run.id, "conversation")
    assert mime == "audio/ogg"
    info = soundfile.info(path)
    assert (info.format, info.subtype, info.samplerate) == ("OGG", "OPUS", 24_000)
    assert 1.99 <= info.duration <= 2.0 + (at - before) + 0.1
    assert "recording_reduced" not in root.metadata


def test_a_conversation_is_recorded_at_the_requested_rate(tracing: Collector) -> None:
    before = time.monotonic()
    with SessionTracer(recording=Recording(sample_rate=16_000)) as tracer:
        at = time.monotonic()
        tracer.record_user_audio(tone(1000, 1.0), at=at)
    _, path = tracing.attachment(the_tree(tracing).run.id, "conversation")
    info = soundfile.info(path)
    assert info.samplerate == 16_000
    assert 1.0 <= info.duration <= 1.0 + (at - before) + 0.01
