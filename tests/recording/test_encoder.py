"""Encoding of a growing WAV in smaller formats: the files are complete, sound alike, and respect the limit."""

from __future__ import annotations

import stat
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from langsmith_realtime.core.audio.writes import ChannelWrite, Write
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.recording import background_encoding
from langsmith_realtime.recording.background_encoding import BackgroundEncoder
from langsmith_realtime.recording.encoder import FILE_FORMATS, FLAC, OPUS, SMALL_OPUS, WAV, Encoder, FileFormat
from langsmith_realtime.recording.wav import Wav
from langsmith_realtime.testing import speech_like
from tests.support.audio.sound_comparison import correlation
from tests.support.audio.sounds import numbered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from langsmith_realtime.core.audio.decoding import Samples

RATE = 24_000
INFINITE = float("inf")


def speech(seconds: float, text: str = "It is sunny in Paris today.") -> Samples:
    return np.frombuffer(speech_like(text, seconds), dtype="<i2").astype(np.int16)


def put(wav: Wav, channel: int, start: int, samples: Samples) -> None:
    wav.write(ChannelWrite(channel, Write(start, samples)))
    wav.sync()


def until(holds: Callable[[], object], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def wav(tmp_path: Path) -> Wav:
    return Wav(tmp_path / "a.wav", RATE)


@pytest.fixture
def background_encoders() -> Iterator[Callable[..., BackgroundEncoder]]:
    """Makes background encoders, and discards them after the test."""
    made: list[BackgroundEncoder] = []

    def make(wav: Wav, *file_formats: FileFormat, limit: float = INFINITE) -> BackgroundEncoder:
        made.append(BackgroundEncoder(wav.path, wav.rate, file_formats, limit))
        return made[-1]

    yield make
    for encoder_behind in made:
        encoder_behind.discard()


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
@pytest.mark.parametrize("file_format", FILE_FORMATS[1:], ids=lambda file_format: file_format.label)
def test_each_format_is_private_and_sounds_like_the_wav(tmp_path: Path, file_format: FileFormat, rate: int) -> None:
    wav, said = Wav(tmp_path / "a.wav", rate), speech(2.0)
    put(wav, AGENT, 100, said)
    wav.close(len(said) + 1_001)
    encoder = Encoder(wav.path, file_format, rate)
    path = encoder.finish(wav.frames)
    assert encoder.finish(wav.frames) == path == tmp_path / f"a{file_format.suffix}"
    assert sys.platform == "win32" or stat.S_IMODE(path.stat().st_mode) == 0o600
    heard, made_rate = soundfile.read(path)
    assert made_rate == file_format.rate(rate) >= min(rate, 48_000)
    assert abs(len(heard) - wav.frames * made_rate / rate) <= 1
    if file_format is not SMALL_OPUS:  # which mixes the channels a little
        assert np.abs(heard[:, USER]).max() < 0.05
    if made_rate == rate:
        original = soundfile.read(wav.path)[0][:, AGENT]
        assert correlation(heard[:, AGENT], original) > {FLAC: 0.999, OPUS: 0.9, SMALL_OPUS: 0.5}[file_format]
    encoder.discard()
    assert list(tmp_path.iterdir()) == [wav.path]


def test_a_file_is_complete_although_encoding_began_during_the_recording(
    wav: Wav, background_encoders: Callable[..., BackgroundEncoder]
) -> None:
    encoder_behind, said = background_encoders(wav, FLAC), numbered(12 * RATE + 7)
    for second in range(12):
        put(wav, USER, second * RATE, said[second * RATE : (second + 1) * RATE])
        encoder_behind.encode_until(max(0, second - 1) * RATE)
    put(wav, USER, 12 * RATE, said[12 * RATE :])
    put(wav, AGENT, 14 * RATE, said[:1_000])
    wav.close(15 * RATE)
    path = encoder_behind.finish(FLAC, wav.frames)
    assert path is not None
    assert np.array_equal(soundfile.read(path, dtype="int16")[0], soundfile.read(wav.path, dtype="int16")[0])


def test_encoding_advances_during_the_recording(
    wav: Wav, background_encoders: Callable[..., BackgroundEncoder]
) -> None:
    encoder_behind = background_encoders(wav, FLAC)
    put(wav, USER, 0, speech(20))
    encoder_behind.encode_until(18 * RATE)
    until(lambda: (encoder := encoder_behind._encoders.get(FLAC)) is not None and encoder.frames == 18 * RATE)
    wav.close(0)


def test_changed_audio_is_encoded_again(wav: Wav, background_encoders: Callable[..., BackgroundEncoder]) -> None:
    encoder_behind = background_encoders(wav, FLAC)
    for number in range(5):  # after three restarts encoding waits for the end
        put(wav, USER, 0, numbered(3 * RATE, first=1 + number))
        if number:
            encoder_behind.restart()
        encoder_behind.encode_until((3 + number) * RATE)
        if number < 2:
            until(lambda: encoder_behind._encoded_frames == encoder_behind._final_frames)
    assert encoder_behind._encoded_frames == 0
    wav.close(0)
    path = encoder_behind.finish(FLAC, wav.frames)
    assert path is not None
    assert np.array_equal(soundfile.read(path, dtype="int16")[0][:, USER], numbered(3 * RATE, first=5))


def test_the_next_format_begins_near_the_limit_and_a_format_beyond_it_is_given_up(
    wav: Wav, background_encoders: Callable[..., BackgroundEncoder]
) -> None:
    encoder_behind = background_encoders(wav, FLAC, OPUS, SMALL_OPUS, limit=40_000)
    said = speech(8)
    put(wav, USER, 0, said[:RATE])
    encoder_behind.encode_until(RATE)
    until(lambda: encoder_behind._encoded_frames == RATE)
    assert set(encoder_behind._encoders) == {FLAC}
    put(wav, USER, RATE, said[RATE:])
    encoder_behind.encode_until(len(said))
    until(lambda: encoder_behind._encoded_frames == len(said))
    assert encoder_behind._encoders[FLAC] is None
    assert encoder_behind._encoders[OPUS] is not None
    assert not wav.path.with_suffix(FLAC.suffix).exists()
    wav.close(0)
    assert encoder_behind.finish(FLAC, wav.frames) is None
    path = encoder_behind.finish(OPUS, wav.frames)
    assert path is not None
    assert soundfile.info(path).frames == len(said)
    encoder_behind.discard(keep=path)
    assert path.exists()


def test_encoding_that_failed_is_tried_again_at_the_end(
    wav: Wav, background_encoders: Callable[..., BackgroundEncoder], caplog: pytest.LogCaptureFixture
) -> None:
    encoder_behind, in_the_way = background_encoders(wav, FLAC), wav.path.with_suffix(FLAC.suffix)
    in_the_way.touch()
    put(wav, USER, 0, numbered(RATE))
    encoder_behind.encode_until(RATE // 2)
    until(lambda: "could not be encoded while it was made" in caplog.text)
    wav.close(0)
    with pytest.raises(FileExistsError):
        encoder_behind.finish(FLAC, wav.frames)
    in_the_way.unlink()  # `discard` must not remove a foreign file
    assert encoder_behind.finish(FLAC, wav.frames) == in_the_way


def test_an_encoder_without_its_source_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Encoder(tmp_path / "a.wav", OPUS, RATE)
    assert list(tmp_path.iterdir()) == []


def test_no_encoding_begins_after_the_recording_ended(
    wav: Wav, background_encoders: Callable[..., BackgroundEncoder]
) -> None:
    encoder_behind = background_encoders(wav, FLAC)
    put(wav, USER, 0, numbered(RATE))
    encoder_behind.stop()
    encoder_behind.encode_until(RATE)
    assert encoder_behind._encoders == {}
    wav.close(0)
    assert encoder_behind.finish(FLAC, wav.frames) is not None


def test_a_format_takes_the_next_higher_rate_or_its_highest() -> None:
    assert [OPUS.rate(rate) for rate in (8_000, 11_025, 22_050, 24_000, 44_100, 192_000)] == [
        8_000, 12_000, 24_000, 24_000, 48_000, 48_000,
    ]  # fmt: skip
    assert WAV.rate(11_025) == FLAC.rate(11_025) == 11_025


def test_one_thread_encodes_all_recordings(
    tmp_path: Path, background_encoders: Callable[..., BackgroundEncoder]
) -> None:
    def encoders() -> int:
        return sum(thread.name == "langsmith-realtime-encoder" for thread in threading.enumerate())

    wavs = [Wav(tmp_path / f"{number}.wav", RATE) for number in range(8)]
    behind = [background_encoders(wav, FLAC) for wav in wavs]
    for _ in range(3):
        for number, (wav, encoder_behind) in enumerate(zip(wavs, behind, strict=True)):
            put(wav, USER, 0, numbered(12 * RATE, first=number))
            encoder_behind.encode_until(12 * RATE)
            assert encoders() <= 1
    until(lambda: all(encoder_behind._encoded_frames == 12 * RATE for encoder_behind in behind))
    for number, (wav, encoder_behind) in enumerate(zip(wavs, behind, strict=True)):
        wav.close(0)
        path = encoder_behind.finish(FLAC, wav.frames)
        assert path is not None
        assert np.array_equal(soundfile.read(path, dtype="int16")[0][:, USER], numbered(12 * RATE, first=number))


def test_the_encoding_thread_ends_without_work_and_starts_again(
    wav: Wav, background_encoders: Callable[..., BackgroundEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_encoding, "IDLE_S", 0.01)
    monkeypatch.setattr(background_encoding, "_thread", background_encoding._EncodingThread())
    encoder_behind = background_encoders(wav, FLAC)
    put(wav, USER, 0, numbered(12 * RATE))
    for seconds in (4, 8, 12):
        encoder_behind.encode_until(seconds * RATE)
        until(lambda: encoder_behind._encoded_frames == encoder_behind._final_frames)
        until(lambda: not background_encoding._thread._is_running)
    wav.close(0)
