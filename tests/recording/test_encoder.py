"""Smaller forms of a recording: the same sound, encoded behind a WAV that grows."""

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
from langsmith_realtime.recording.encoder import FLAC, FORMS, OPUS, SMALL_OPUS, WAV, Encoder, FileFormat
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
def followers() -> Iterator[Callable[..., BackgroundEncoder]]:
    """Makes followers, and ends them after the test."""
    made: list[BackgroundEncoder] = []

    def follow(wav: Wav, *forms: FileFormat, limit: float = INFINITE) -> BackgroundEncoder:
        made.append(BackgroundEncoder(wav.path, wav.rate, forms, limit))
        return made[-1]

    yield follow
    for follower in made:
        follower.discard()


@pytest.mark.parametrize("rate", [8_000, 24_000, 44_100])
@pytest.mark.parametrize("form", FORMS[1:], ids=lambda form: form.label)
def test_a_form_is_as_long_and_private_and_sounds_alike(tmp_path: Path, form: FileFormat, rate: int) -> None:
    wav, said = Wav(tmp_path / "a.wav", rate), speech(2.0)
    put(wav, AGENT, 100, said)
    wav.close(len(said) + 1_001)
    encoder = Encoder(wav.path, form, rate)
    path = encoder.finish(wav.frames)
    assert encoder.finish(wav.frames) == path == tmp_path / f"a{form.suffix}"
    assert sys.platform == "win32" or stat.S_IMODE(path.stat().st_mode) == 0o600
    heard, made_rate = soundfile.read(path)
    assert made_rate == form.rate(rate) >= min(rate, 48_000)
    assert abs(len(heard) - wav.frames * made_rate / rate) <= 1
    if form is not SMALL_OPUS:  # which has no bits left to keep the sides apart
        assert np.abs(heard[:, USER]).max() < 0.05
    if made_rate == rate:
        original = soundfile.read(wav.path)[0][:, AGENT]
        assert correlation(heard[:, AGENT], original) > {FLAC: 0.999, OPUS: 0.9, SMALL_OPUS: 0.5}[form]
    encoder.discard()
    assert list(tmp_path.iterdir()) == [wav.path]


def test_whatever_was_encoded_before_the_rest_was_there_comes_out_whole(
    wav: Wav, followers: Callable[..., BackgroundEncoder]
) -> None:
    follower, said = followers(wav, FLAC), numbered(12 * RATE + 7)
    for second in range(12):
        put(wav, USER, second * RATE, said[second * RATE : (second + 1) * RATE])
        follower.settled(max(0, second - 1) * RATE)
    put(wav, USER, 12 * RATE, said[12 * RATE :])
    put(wav, AGENT, 14 * RATE, said[:1_000])
    wav.close(15 * RATE)
    path = follower.finish(FLAC, wav.frames)
    assert path is not None
    assert np.array_equal(soundfile.read(path, dtype="int16")[0], soundfile.read(wav.path, dtype="int16")[0])


def test_encoding_goes_on_while_the_recording_does(wav: Wav, followers: Callable[..., BackgroundEncoder]) -> None:
    follower = followers(wav, FLAC)
    put(wav, USER, 0, speech(20))
    follower.settled(18 * RATE)
    until(lambda: (encoder := follower._encoders.get(FLAC)) is not None and encoder.frames == 18 * RATE)
    wav.close(0)


def test_what_changed_after_all_is_encoded_as_it_is_now(wav: Wav, followers: Callable[..., BackgroundEncoder]) -> None:
    follower = followers(wav, FLAC)
    for number in range(5):  # the last times it is left for the end
        put(wav, USER, 0, numbered(3 * RATE, first=1 + number))
        if number:
            follower.start_over()
        follower.settled((3 + number) * RATE)
        if number < 2:
            until(lambda: follower._done == follower._settled)
    assert follower._done == 0
    wav.close(0)
    path = follower.finish(FLAC, wav.frames)
    assert path is not None
    assert np.array_equal(soundfile.read(path, dtype="int16")[0][:, USER], numbered(3 * RATE, first=5))


def test_a_smaller_form_begins_when_the_larger_is_nearly_too_large_and_what_is_too_large_is_given_up(
    wav: Wav, followers: Callable[..., BackgroundEncoder]
) -> None:
    follower = followers(wav, FLAC, OPUS, SMALL_OPUS, limit=40_000)
    said = speech(8)
    put(wav, USER, 0, said[:RATE])
    follower.settled(RATE)
    until(lambda: follower._done == RATE)
    assert set(follower._encoders) == {FLAC}
    put(wav, USER, RATE, said[RATE:])
    follower.settled(len(said))
    until(lambda: follower._done == len(said))
    assert follower._encoders[FLAC] is None
    assert follower._encoders[OPUS] is not None
    assert not wav.path.with_suffix(FLAC.suffix).exists()
    wav.close(0)
    assert follower.finish(FLAC, wav.frames) is None
    path = follower.finish(OPUS, wav.frames)
    assert path is not None
    assert soundfile.info(path).frames == len(said)
    follower.discard(keep=path)
    assert path.exists()


def test_what_could_not_be_encoded_meanwhile_is_tried_again_in_the_end(
    wav: Wav, followers: Callable[..., BackgroundEncoder], caplog: pytest.LogCaptureFixture
) -> None:
    follower, in_the_way = followers(wav, FLAC), wav.path.with_suffix(FLAC.suffix)
    in_the_way.touch()
    put(wav, USER, 0, numbered(RATE))
    follower.settled(RATE // 2)
    until(lambda: "could not be encoded while it was made" in caplog.text)
    wav.close(0)
    with pytest.raises(FileExistsError):
        follower.finish(FLAC, wav.frames)
    in_the_way.unlink()  # it was not ours to remove
    assert follower.finish(FLAC, wav.frames) == in_the_way


def test_without_its_source_nothing_is_left_of_a_form(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Encoder(tmp_path / "a.wav", OPUS, RATE)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_begun_when_the_recording_ended_before(
    wav: Wav, followers: Callable[..., BackgroundEncoder]
) -> None:
    follower = followers(wav, FLAC)
    put(wav, USER, 0, numbered(RATE))
    follower.stop()
    follower.settled(RATE)
    assert follower._encoders == {}
    wav.close(0)
    assert follower.finish(FLAC, wav.frames) is not None


def test_forms_take_the_rate_that_loses_nothing_or_else_their_highest() -> None:
    assert [OPUS.rate(rate) for rate in (8_000, 11_025, 22_050, 24_000, 44_100, 192_000)] == [
        8_000, 12_000, 24_000, 24_000, 48_000, 48_000,
    ]  # fmt: skip
    assert WAV.rate(11_025) == FLAC.rate(11_025) == 11_025


def test_one_thread_encodes_all_recordings(tmp_path: Path, followers: Callable[..., BackgroundEncoder]) -> None:
    def encoders() -> int:
        return sum(thread.name == "langsmith-realtime-encoder" for thread in threading.enumerate())

    wavs = [Wav(tmp_path / f"{number}.wav", RATE) for number in range(8)]
    behind = [followers(wav, FLAC) for wav in wavs]
    for _ in range(3):
        for number, (wav, follower) in enumerate(zip(wavs, behind, strict=True)):
            put(wav, USER, 0, numbered(12 * RATE, first=number))
            follower.settled(12 * RATE)
            assert encoders() <= 1
    until(lambda: all(follower._done == 12 * RATE for follower in behind))
    for number, (wav, follower) in enumerate(zip(wavs, behind, strict=True)):
        wav.close(0)
        path = follower.finish(FLAC, wav.frames)
        assert path is not None
        assert np.array_equal(soundfile.read(path, dtype="int16")[0][:, USER], numbered(12 * RATE, first=number))


def test_the_thread_ends_when_nothing_is_left_to_encode_and_begins_again(
    wav: Wav, followers: Callable[..., BackgroundEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_encoding, "IDLE", 0.01)
    monkeypatch.setattr(background_encoding, "_encoding", background_encoding._Encoding())
    follower = followers(wav, FLAC)
    put(wav, USER, 0, numbered(12 * RATE))
    for seconds in (4, 8, 12):
        follower.settled(seconds * RATE)
        until(lambda: follower._done == follower._settled)
        until(lambda: not background_encoding._encoding._is_running)
    wav.close(0)
