"""Sound is brought to another rate: it stays where it was, sounds as it did, and keeps what it came with."""

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


def resampled(rate: int, wanted: int, sound: Samples, *, chunk: int = 480) -> Samples:
    resampler: TaggedResampler[int] = TaggedResampler(rate, wanted)
    out = [got for at in range(0, len(sound), chunk) for got in resampler.add(at, sound[at : at + chunk])]
    return np.concatenate([samples for _, samples in out + resampler.flush()])


def amplitude(samples: Samples, rate: int, hz: float) -> float:
    """How much of a frequency there is."""
    turns = np.exp(-2j * np.pi * hz * np.arange(len(samples)) / rate)
    return float(2 * np.abs(np.mean(samples * turns)))


@pytest.mark.parametrize(("rate", "wanted"), RATES)
def test_a_tone_starts_at_its_place_and_sounds_the_same(rate: int, wanted: int) -> None:
    pause = np.zeros(rate // 2, np.int16)
    heard = resampled(rate, wanted, np.concatenate((pause, tone(1, rate=rate), pause)))
    wished = np.concatenate((np.zeros(wanted // 2), 12_000 * np.cos(np.arange(wanted) * 2000 * np.pi / wanted)))
    assert len(heard) == 2 * wanted
    first = int(np.flatnonzero(np.abs(heard) > 6_000)[0])
    assert abs(first - wanted // 2) <= 1
    inside = slice(wanted // 2 + wanted // 10, wanted + wanted // 2 - wanted // 10)
    noise = heard[inside] - wished[inside]
    assert 10 * np.log10(np.mean(wished[inside] ** 2) / np.mean(noise**2)) > 70


def test_a_click_stays_at_its_frame() -> None:
    for rate, wanted in RATES:
        sound = np.zeros(rate, np.int16)
        sound[rate // 4] = 30_000
        assert abs(int(np.argmax(resampled(rate, wanted, sound))) - wanted // 4) <= 1


def test_what_the_lower_rate_cannot_hold_is_not_heard_as_something_else() -> None:
    heard = resampled(24_000, 8_000, tone(1, hz=10_000))[800:-800]
    assert np.max(np.abs(heard)) <= 12
    assert amplitude(heard, 8_000, 2_000) < 1  # where it would be mirrored to


@properties
@given(
    rates=st.sampled_from([*RATES, (11_025, 24_000), (48_000, 8_000)]),
    sizes=SIZES,
    data=st.integers(0, 9000).map(lambda size: np.random.default_rng(size).bytes(size)),
)
def test_no_chunking_changes_a_sample_odd_bytes_included(rates: tuple[int, int], sizes: list[int], data: bytes) -> None:
    def heard(sizes: list[int]) -> tuple[list[int], list[int]]:
        decoder, resampler = Decoder(Format("pcm16", rates[0])), TaggedResampler[int](*rates)
        out = [
            got
            for index, piece in enumerate(pieces(data, sizes))
            for got in resampler.add(index, decoder.decode(piece))
        ]
        out += resampler.flush()
        return [tag for tag, _ in out], [sample for _, samples in out for sample in samples.tolist()]

    tags, samples = heard(sizes)
    assert tags == list(range(len(tags)))
    assert samples == heard([max(1, len(data))])[1]
    assert len(samples) == len(data) // 2 * rates[1] // rates[0]


def test_each_chunk_comes_out_with_its_tag_and_its_share() -> None:
    resampler: TaggedResampler[str] = TaggedResampler(44_100, 8_000)
    sizes = {"a": 100, "b": 1, "c": 44_100, "d": 7}
    out = [got for tag, size in sizes.items() for got in resampler.add(tag, numbered(size))]
    assert list(resampler.pending_tags) == list(sizes)[len(out) :]
    assert [tag for tag, _ in out] == ["a", "b"]  # the end of the third is not known yet
    out += resampler.flush()
    assert [(tag, len(samples)) for tag, samples in out] == [("a", 18), ("b", 0), ("c", 8_000), ("d", 1)]
    assert list(resampler.pending_tags) == []


def test_no_more_than_100_ms_is_held_back() -> None:
    for rate, wanted in RATES:
        resampler: TaggedResampler[int] = TaggedResampler(rate, wanted)
        chunk = rate // 100
        came = 0
        for index in range(200):
            came += len(resampler.add(index, numbered(chunk)))
            assert index + 1 - came <= 10, "chunks of 10 ms"


def test_after_a_flush_another_stream_begins_and_no_rounding_adds_up() -> None:
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


def test_what_each_stream_leaves_of_a_frame_makes_a_whole_one() -> None:
    resampler: TaggedResampler[int] = TaggedResampler(24_000, 8_000)
    made = []
    for size in (4, 4, 1):
        out = resampler.add(0, np.full(size, 9_000, np.int16)) + resampler.flush()
        made.append([len(samples) for _, samples in out])
    assert made == [[1], [1], [1]]


def test_many_small_chunks_do_not_drift() -> None:
    resampler: TaggedResampler[None] = TaggedResampler(44_100, 8_000)
    made = sum(len(samples) for _ in range(9_000) for _, samples in resampler.add(None, np.zeros(49, np.int16)))
    made += sum(len(samples) for _, samples in resampler.flush())
    assert made == 10 * 8_000


def test_the_loudest_sound_does_not_turn_over() -> None:
    square = np.where(np.arange(8_000) // 40 % 2, 32_767, -32_768).astype(np.int16)
    heard = resampled(8_000, 24_000, square)
    assert heard.max() == 32_767
    assert heard.min() == -32_768
    middles = heard.reshape(-1, 120)[:, 30:90]
    assert (np.sign(middles) == np.sign(middles[:, :1])).all()


def test_at_the_same_rate_chunks_are_not_even_copied() -> None:
    resampler: TaggedResampler[str] = TaggedResampler(PCM16.rate, PCM16.rate)
    samples = numbered(480)
    [(tag, same)] = resampler.add("a", samples)
    assert (tag, same is samples) == ("a", True)
    assert resampler.flush() == []
    assert list(resampler.pending_tags) == []
