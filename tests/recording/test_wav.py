"""The WAV on disk: every sample at its position, private, sparse, with true sizes in the header at the end."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.core.audio.writes import ChannelWrite, Write, silence
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.options.recording import Recording
from langsmith_realtime.recording.wav import HEADER_BYTES, Wav, private_directory
from langsmith_realtime.runtime.files import bytes_on_disk
from tests.support.audio.sounds import numbered, properties, read_wav
from tests.support.processes import file_size_limit, unix_only


def put(wav: Wav, channel: int, start: int, frames: int, first: int = 1) -> None:
    wav.write(ChannelWrite(channel, Write(start, numbered(frames, first))))


def test_each_channel_is_written_at_its_position_and_the_rest_is_silent(tmp_path: Path) -> None:
    wav = Wav(tmp_path / "a.wav", 24_000)
    put(wav, AGENT, 300, 200)
    put(wav, USER, 100, 300)
    put(wav, AGENT, 600, 50)
    put(wav, AGENT, 550, 0)
    wav.close(1000)
    rate, (left, right) = read_wav(tmp_path / "a.wav")
    assert (rate, len(left)) == (24_000, 1000)
    assert np.flatnonzero(left).tolist() == list(range(100, 400))
    assert np.array_equal(left[100:400], numbered(300))
    assert np.flatnonzero(right).tolist() == [*range(300, 500), *range(600, 650)]


writes = st.lists(st.tuples(st.sampled_from([USER, AGENT]), st.integers(-500, 2000), st.integers(0, 700)), max_size=12)


@properties
@given(puts=writes, limit=st.one_of(st.none(), st.integers(0, 2500)))
def test_a_later_write_replaces_an_earlier_one_in_its_channel_only(
    tmp_path_factory: pytest.TempPathFactory, puts: list[tuple[int, int, int]], limit: int | None
) -> None:
    path = tmp_path_factory.mktemp("wav") / "a.wav"
    wav, wanted = Wav(path, 8_000, limit), np.zeros((2, 500 + 3000), np.int16)
    for channel, start, frames in puts:
        put(wav, channel, start, frames)
        wanted[channel, 500 + start : 500 + start + frames] = numbered(frames)
    wav.close(1000)
    ends = [max(0, start + frames) for channel, start, frames in puts if channel == USER and frames]
    length = max([1000, *ends])
    _, channels = read_wav(path)
    kept = length if limit is None else min(length, limit)
    assert wav.frames_beyond_limit == length - kept
    assert len(channels[0]) == kept
    assert np.array_equal(np.stack(channels), wanted[:, 500 : 500 + kept])


def test_the_agents_audio_is_cut_at_the_end_and_the_users_is_not(tmp_path: Path) -> None:
    wav = Wav(tmp_path / "a.wav", 8_000)
    put(wav, AGENT, 0, 5000)
    wav.close(1000)
    assert len(read_wav(tmp_path / "a.wav")[1][AGENT]) == 1000
    wav = Wav(tmp_path / "b.wav", 8_000)
    put(wav, USER, 0, 5000)
    wav.close(1000)
    assert np.array_equal(read_wav(tmp_path / "b.wav")[1][USER], numbered(5000))


def test_a_write_longer_than_a_page_is_complete(tmp_path: Path) -> None:
    wav, frames = Wav(tmp_path / "a.wav", 24_000), 200_017
    put(wav, USER, 5, frames)
    put(wav, AGENT, 0, 10)
    wav.write(ChannelWrite(AGENT, Write(0, silence(frames))))
    wav.close(0)
    _, (left, right) = read_wav(tmp_path / "a.wav")
    assert np.array_equal(left[5:], numbered(frames))
    assert not right.any()


def test_other_libraries_read_the_wav(tmp_path: Path) -> None:
    wav = Wav(tmp_path / "a.wav", 16_000)
    put(wav, AGENT, 0, 100)
    wav.close(16_000)
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (16_000, 2, 16_000, "PCM_16")


def test_an_unfinished_recording_has_its_own_header_and_all_written_audio(tmp_path: Path) -> None:
    wav = Wav(tmp_path / "a.wav", 24_000)
    for chunk in range(50):
        put(wav, USER, chunk * 480, 480, chunk * 480)
        put(wav, AGENT, 60_000 + chunk * 480, 480)
    data = (tmp_path / "a.wav").read_bytes()
    assert struct.unpack_from("<I", data, 4) == struct.unpack_from("<I", data, 40) == (0xFFFFFFFF,)
    wav.sync()
    data = (tmp_path / "a.wav").read_bytes()
    assert np.array_equal(np.frombuffer(data, "<i2", offset=HEADER_BYTES)[::2][:24_000], numbered(24_000, 0))
    wav.close(90_000)
    data = (tmp_path / "a.wav").read_bytes()
    assert struct.unpack_from("<I", data, 4) == (len(data) - 8,)
    assert struct.unpack_from("<I", data, 40) == (90_000 * 4,)
    assert len(data) == HEADER_BYTES + 90_000 * 4


@unix_only
def test_an_hour_of_silence_takes_no_disk(tmp_path: Path) -> None:
    wav = Wav(tmp_path / "a.wav", 24_000)
    put(wav, USER, 0, 100)
    put(wav, USER, 3600 * 24_000, 100)
    wav.close(0)
    taken = (tmp_path / "a.wav").stat()
    assert taken.st_size > 345_000_000
    assert bytes_on_disk(taken) < 100_000


@unix_only
def test_a_silent_microphone_takes_no_disk(tmp_path: Path) -> None:
    wav, quiet = Wav(tmp_path / "a.wav", 24_000), np.zeros(24_000, np.int16)
    put(wav, AGENT, 0, 100)
    for second in range(600):
        wav.write(ChannelWrite(USER, Write(second * 24_000, quiet)))
    wav.write(ChannelWrite(AGENT, Write(0, silence(60))))
    wav.close(0)
    taken = (tmp_path / "a.wav").stat()
    assert taken.st_size == HEADER_BYTES + 600 * 24_000 * 4
    assert bytes_on_disk(taken) < 20_000
    _, (left, right) = read_wav(tmp_path / "a.wav")
    assert np.flatnonzero(right).tolist() == list(range(60, 100))
    assert not left.any()


@unix_only
def test_only_the_owner_can_read_a_wav_and_no_file_is_overwritten(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Wav(tmp_path / "a.wav", 24_000).close(0)
        folder = private_directory(tmp_path / "deep" / "er")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.wav").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert private_directory(str(folder)) == folder
    with pytest.raises(FileExistsError):
        Wav(tmp_path / "a.wav", 24_000)


@unix_only
def test_the_default_folder_of_a_recording_is_private_and_new() -> None:
    first, second = private_directory(None), private_directory(None)
    try:
        assert first != second
        assert stat.S_IMODE(first.stat().st_mode) == 0o700
    finally:
        first.rmdir()
        second.rmdir()


def test_a_full_disk_raises_an_error_and_keeps_what_was_written(tmp_path: Path) -> None:
    wav = Wav(tmp_path / "a.wav", 8_000)
    put(wav, USER, 0, 100)
    with file_size_limit(HEADER_BYTES + 4 * 250):
        put(wav, USER, 100, 500)
        with pytest.raises(OSError, match="File too large"):
            wav.sync()
    wav.close(250)
    _, (left, _) = read_wav(tmp_path / "a.wav")
    assert np.array_equal(left, np.r_[numbered(100), numbered(150), np.zeros(350)])


def test_a_write_after_close_reaches_no_other_file(tmp_path: Path) -> None:
    wav = Wav(tmp_path / "a.wav", 8_000)
    wav.close(0)
    with (tmp_path / "another").open("w+b") as other:  # gets the descriptor that the WAV had
        put(wav, USER, 0, 100)
        with pytest.raises(OSError, match="Bad file"):
            wav.sync()
        assert not other.read()


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"directory": 3}, TypeError, "directory must be a path or a URL, got int"),
        ({"keep": "yes"}, TypeError, "keep must be a bool, got str"),
        ({"format": 3}, TypeError, "format must be a str, got int"),
        ({"format": "mp3"}, ValueError, "format must be one of wav, flac, opus, got 'mp3'"),
        ({"sample_rate": 16_000.0}, TypeError, "sample_rate must be an int, got float"),
        ({"sample_rate": True}, TypeError, "sample_rate must be an int, got bool"),
        ({"sample_rate": 7_999}, ValueError, "between 8000 and 192000 Hz, got 7999"),
        ({"max_attachment_bytes": "20 MB"}, TypeError, "max_attachment_bytes must be an int, got str"),
        ({"max_attachment_bytes": 0}, ValueError, "max_attachment_bytes must be positive, got 0"),
        ({"directory": "nowhere://x"}, ValueError, "cannot be at nowhere://"),
    ],
)
def test_wrong_recording_options_raise_errors(wrong: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Recording(**wrong)


def test_valid_recording_options_are_accepted() -> None:
    wanted = Recording("flac", 16_000, Path("x"), True, 1)
    assert (
        Recording(format="flac", sample_rate=16_000, directory=Path("x"), keep=True, max_attachment_bytes=1) == wanted
    )
    assert Recording().max_attachment_bytes == 20_000_000
    assert (Recording(directory="a/b").url, Recording(directory="memory://a").url) == (None, "memory://a")
