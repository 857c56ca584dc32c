"""Test signals, audio formats, and voice activity detection of long audio."""

from __future__ import annotations

import numpy as np
import pytest

from langsmith_realtime.testing import RATE, Script, Turn, silence, speech_like, tone
from langsmith_realtime.testing.agent.pacing import split_arguments, split_words
from langsmith_realtime.testing.state.formats import audio_format
from langsmith_realtime.testing.state.wire import ClientError
from langsmith_realtime.testing.user.input_audio import MAX_SILENCE_MS, InputAudio, SpeechStarted


def spectrum_peak(pcm: bytes, rate: int = RATE) -> float:
    samples = np.frombuffer(pcm, "<i2").astype(float)
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


def test_a_tone_has_the_given_frequency_length_and_amplitude() -> None:
    pcm = tone(1000, 0.5, amplitude=0.5)
    samples = np.frombuffer(pcm, "<i2")
    assert len(samples) == 12_000
    assert spectrum_peak(pcm) == 1000
    assert np.max(samples) == pytest.approx(16384, abs=2)
    assert len(tone(440, 1.0, rate=8000)) == 16_000
    with pytest.raises(ValueError, match="amplitude"):
        tone(440, 1, amplitude=1.5)


def test_silence_is_silent() -> None:
    assert silence(0.25, rate=8000) == bytes(4000)


def test_speech_like_audio_is_equal_for_equal_texts_and_differs_for_others() -> None:
    hello = speech_like("Hello.", 1.5)
    assert len(hello) == 1.5 * RATE * 2
    assert hello == speech_like("Hello.", 1.5)
    assert hello != speech_like("Good-bye.", 1.5)
    assert 105 < spectrum_peak(hello) < 245


@pytest.mark.parametrize("name", ["audio/pcmu", "audio/pcma"])
def test_a_telephone_format_preserves_the_frequency(name: str) -> None:
    phone = audio_format({"type": name})
    pcm = tone(440, 1.0)
    encoded = phone.from_pcm16(pcm)
    assert (len(encoded), phone.bytes_per_second, phone.milliseconds(4000)) == (8000, 8000, 500)
    decoded = phone.decode(encoded)
    expected = np.frombuffer(tone(440, 1.0, rate=8000), "<i2").astype(float)
    assert np.corrcoef(decoded.astype(float), expected)[0, 1] > 0.95
    assert np.max(np.abs(phone.decode(phone.encode(decoded)) - decoded)) == 0


def test_pcm_is_unchanged_and_an_odd_last_byte_is_ignored() -> None:
    pcm = audio_format({"type": "audio/pcm", "rate": 24000})
    audio = tone(440, 0.1)
    assert pcm.from_pcm16(audio + b"\x01") == audio
    assert len(pcm.decode(b"\x01\x02\x03")) == 1
    assert pcm.offset(0.5) == 24
    with pytest.raises(ClientError, match="Supported values"):
        audio_format({"type": None})


def test_a_day_of_silence_does_not_fill_the_memory() -> None:
    audio = InputAudio(audio_format({"type": "audio/pcmu"}), {"type": "server_vad"})
    for _ in range(5):
        assert list(audio.append(b"\xff" * 8 * MAX_SILENCE_MS)) == []
    assert audio.buffered_ms == MAX_SILENCE_MS
    (started, *_) = audio.append(b"\x00" * 800)
    assert started == SpeechStarted(5 * MAX_SILENCE_MS - 300)


def test_split_words_and_arguments_join_to_the_original() -> None:
    assert split_words("Hello there, you. ") == ["Hello", " there,", " you. "]
    assert split_words("") == []
    assert "".join(split_arguments('{"city": "Paris"}')) == '{"city": "Paris"}'


def test_a_script_with_an_invalid_setting_raises() -> None:
    with pytest.raises(ValueError, match="speed"):
        Script([Turn()], speed=-1)
    with pytest.raises(ValueError, match="chunk_ms"):
        Script([Turn()], chunk_ms=(0, 10))
