"""TaggedResampler: audio at another rate keeps its time and its frequencies, and chunks keep their tags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.core.audio.decoding import Decoder, Samples
from langsmith_realtime.core.audio.rates import TaggedResampler
from langsmith_realtime.core.protocol.audio_formats import PCM16, Format
from tests.support.audio.sounds import numbered, pieces, properties, tone

pytestmark = pytest.mark.newest

RATES = [(24_000, 8_000), (8_000, 24_000), (16_000, 24_000), (44_100, 24_000)]
SIZES = st.lists(st.integers(1, 3000), min_size=1, max_size=8)


def resampled(rate: int, out_rate: int, audio: Samples, *, chunk: int = 480) -> Samples:
    """Return the audio after resampling in chunks of ``chunk`` frames."""
    resampler: TaggedResampler[int] = TaggedResampler(rate, out_rate)
    out = [complete for at in range(0, len(audio), chunk) for complete in resampler.add(at, audio[at : at + chunk])]
    return np.concatenate([samples for _, samples in out + resampler.flush()])


def amplitude(samples: Samples, rate: int, hz: float) -> float:
    """Return the amplitude of one frequency."""
    turns = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / rate)
    return float(2 * np.abs(np.mean(samples * turns)))


@pytest.mark.parametrize(("rate", "out_rate"), RATES)
def test_a_tone_keeps_its_start_and_its_waveform(rate: int, out_rate: int) -> None:
    pause = np.zeros(rate // 2, np.int16)
    heard = resampled(rate, out_rate, np.concatenate((pause, tone(1, rate=rate), pause)))
    expected = np.concatenate((np.zeros(out_rate // 2), 12_000 * np.cos(np.arange(out_rate) * 2000 * np.pi / out_rate)))
    assert len(heard) == 2 * out_rate
    first = int(np.flatnonzero(np.abs(heard) > 6_000)[0])
    assert abs(first - out_rate // 2) <= 1
    inside = slice(out_rate // 2 + out_rate // 10, out_rate + out_rate // 2 - out_rate // 10)
    noise = heard[inside] - expected[inside]
    assert 10 * np.log10(np.mean(expected[inside] ** 2) / np.mean(noise**2)) > 70


def test_a_click_keeps_its_time_within_a_frame() -> None:
    for rate, out_rate in RATES:
        sound = np.zeros(rate, np.int16)
        sound[rate // 4] = 30_000
        assert abs(int(np.argmax(resampled(rate, out_rate, sound))) - out_rate // 4) <= 1


def test_frequencies_above_half_the_output_rate_are_removed_without_aliases() -> None:
    heard = resampled(24_000, 8_000, tone(1, hz=10_000))[800:-800]
    assert np.max(np.abs(heard)) <= 12
    assert amplitude(heard, 8_000, 2_000) < 1  # the alias of 10 kHz at 8 kHz


@properties
@given(
    rates=st.sampled_from([*RATES, (11_025, 24_000), (48_000, 8_000)]),
    sizes=SIZES,
    data=st.integers(0, 9000).map(lambda size: np.random.default_rng(size).bytes(size)),
)
def test_any_chunking_gives_the_same_samples_also_with_odd_bytes(
    rates: tuple[int, int], sizes: list[int], data: bytes
) -> None:
    def chunks_out(sizes: list[int]) -> tuple[list[int], list[int]]:
        decoder, resampler = Decoder(Format("pcm16", rates[0])), TaggedResampler[int](*rates)
        out = [
            complete
            for index, piece in enumerate(pieces(data, sizes))
            for complete in resampler.add(index, decoder.decode(piece))
        ]
        out += resampler.flush()
        return [tag for tag, _ in out], [sample for _, samples in out for sample in samples.tolist()]

    tags, samples = chunks_out(sizes)
    assert tags == list(range(len(tags)))
    assert samples == chunks_out([max(1, len(data))])[1]
    assert len(samples) == len(data) // 2 * rates[1] // rates[0]


def test_each_chunk_comes_out_with_its_tag_and_its_number_of_frames() -> None:
    resampler: TaggedResampler[str] = TaggedResampler(44_100, 8_000)
    sizes = {"a": 100, "b": 1, "c": 44_100, "d": 7}
    out = [complete for tag, size in sizes.items() for complete in resampler.add(tag, numbered(size))]
    assert list(resampler.pending_tags) == list(sizes)[len(out) :]
    assert [tag for tag, _ in out] == ["a", "b"]  # the resampler needs later samples to compute the end of the third
    out += resampler.flush()
    assert [(tag, len(samples)) for tag, samples in out] == [("a", 18), ("b", 0), ("c", 8_000), ("d", 1)]
    assert list(resampler.pending_tags) == []


def test_at_most_100_ms_of_audio_is_pending() -> None:
    for rate, out_rate in RATES:
        resampler: TaggedResampler[int] = TaggedResampler(rate, out_rate)
        chunk = rate // 100
        complete_count = 0
        for index in range(200):
            complete_count += len(resampler.add(index, numbered(chunk)))
            assert index + 1 - complete_count <= 10, "chunks of 10 ms"


def test_a_flush_starts_a_new_stream_and_rounding_errors_do_not_add_up() -> None:
    resampler: TaggedResampler[int] = TaggedResampler(44_100, 24_000)
    total = 0
    for index in range(1000):
        for size in (77, 24):
            total += sum(len(samples) for _, samples in resampler.add(index, tone(size / 44_100, rate=44_100, hz=0)))
        if index % 3 == 0:
            total += sum(len(samples) for _, samples in resampler.flush())
    out = resampler.flush()
    assert total + sum(len(samples) for _, samples in out) == 1000 * 101 * 24_000 // 44_100
    assert resampler.flush() == []


def test_fractions_of_a_frame_of_several_streams_make_a_whole_frame() -> None:
    resampler: TaggedResampler[int] = TaggedResampler(24_000, 8_000)
    frames_out = []
    for size in (4, 4, 1):
        out = resampler.add(0, np.full(size, 9_000, np.int16)) + resampler.flush()
        frames_out.append([len(samples) for _, samples in out])
    assert frames_out == [[1], [1], [1]]


def test_many_small_chunks_give_the_exact_number_of_frames() -> None:
    resampler: TaggedResampler[None] = TaggedResampler(44_100, 8_000)
    frames_out = sum(len(samples) for _ in range(9_000) for _, samples in resampler.add(None, np.zeros(49, np.int16)))
    frames_out += sum(len(samples) for _, samples in resampler.flush())
    assert frames_out == 10 * 8_000


def test_audio_at_full_scale_does_not_overflow() -> None:
    square = np.where(np.arange(8_000) // 40 % 2, 32_767, -32_768).astype(np.int16)
    heard = resampled(8_000, 24_000, square)
    assert heard.max() == 32_767
    assert heard.min() == -32_768
    middles = heard.reshape(-1, 120)[:, 30:90]
    assert (np.sign(middles) == np.sign(middles[:, :1])).all()


def test_at_equal_rates_chunks_come_out_uncopied() -> None:
    resampler: TaggedResampler[str] = TaggedResampler(PCM16.rate, PCM16.rate)
    samples = numbered(480)
    [(tag, same)] = resampler.add("a", samples)
    assert (tag, same is samples) == ("a", True)
    assert resampler.flush() == []
    assert list(resampler.pending_tags) == []
