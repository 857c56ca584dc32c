"""Tracks: audio that is sent, received, fed and cut becomes both channels of a WAV file."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.protocol.audio_formats import AGENT, PCM16, USER, Format, parse_format
from langsmith_realtime.testing.state.formats import audio_format
from tests.support.audio.sounds import RATE, Take, near, numbered, pieces, properties, stretches, tone, wire

if TYPE_CHECKING:
    from pathlib import Path

    from langsmith_realtime.core.audio.decoding import Samples

MULAW = Format("ulaw", 8_000)
LOUD = b"\x80"  # full scale in µ-law


@pytest.fixture
def take(tmp_path: Path) -> Take:
    return Take(tmp_path / "take.wav")


def talk(take: Take, at: float, audio: Samples | bytes, *, rate: int = RATE, width: int = 2, size: int = 960) -> None:
    """Send the user's audio from ``at`` seconds on, in chunks of ``size`` bytes as they are captured."""
    data = audio if isinstance(audio, bytes) else audio.tobytes()
    sent = 0
    for chunk in pieces(data, [size]):
        sent += len(chunk)
        take.tracks.user_sent(at + sent / width / rate, wire(chunk))
        take.record()


def reply(take: Take, t: float, item_id: str, audio: Samples, *, size: int = 9_600, muted: bool = False) -> None:
    """Receive the agent's audio at ``t`` in deltas of ``size`` bytes."""
    for chunk in pieces(audio.tobytes(), [size]):
        take.tracks.agent_received(t, item_id, wire(chunk), muted=muted)
        take.record()


# A conversation


def test_a_conversation_with_a_barge_in_and_a_truncation_is_recorded(take: Take) -> None:
    talk(take, 1.0, tone(1))
    reply(take, 2.5, "answer", tone(5))
    talk(take, 4.0, tone(0.5))
    cuts = take.tracks.barge_in(4.2)
    assert [(cut.item_id, cut.heard_ms) for cut in cuts] == [("answer", near(1700))]
    reply(take, 4.25, "answer", tone(1), muted=True)
    cut = take.tracks.truncate(4.3, "answer", 1500)
    assert cut is not None
    assert cut.heard_ms == 1500
    reply(take, 5.0, "second", tone(1))
    assert take.tracks.playing_until("answer") == 4.0
    assert take.tracks.playing_until("second") == 6.0
    user, agent = take.end(7.0)
    assert stretches(user) == [(near(1.0), near(2.0)), (near(4.0), near(4.5))]
    assert stretches(agent) == [(2.5, 4.0), (5.0, 6.0)]
    assert len(user) == len(agent) == 7 * RATE


@properties
@given(
    sizes=st.lists(st.integers(1, 1500), min_size=1, max_size=6),
    deltas=st.lists(st.integers(1, 4000), min_size=1, max_size=6),
    encoding=st.sampled_from(["pcm16", "ulaw", "alaw"]),
)
def test_any_chunking_gives_identical_recordings(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], deltas: list[int], encoding: str
) -> None:
    folder = tmp_path_factory.mktemp("takes")
    data, speech = numbered(1000).tobytes(), numbered(3000, 777).tobytes()
    rate = 24_000 if encoding == "pcm16" else 8_000

    def recorded(name: str, sizes: list[int], deltas: list[int]) -> bytes:
        take = Take(folder / name)
        take.tracks.set_formats(Format(encoding, rate), PCM16)
        for chunk in pieces(speech, deltas):
            take.tracks.agent_received(1.0, "a", wire(chunk))
        for chunk in pieces(data, sizes):
            take.tracks.user_sent(3.0, wire(chunk))
        take.record()
        take.tracks.barge_in(1.05)
        take.tracks.truncate(1.05, "a", 77)
        take.end(4.0)
        return (folder / name).read_bytes()

    assert recorded("pieces.wav", sizes, deltas) == recorded("whole.wav", [len(data)], [len(speech)])


@pytest.mark.parametrize("size", [1, 3, 961, 9_601])
def test_a_tone_is_placed_when_it_was_spoken_with_chunks_of_odd_length(take: Take, size: int) -> None:
    quiet = np.zeros(RATE // 2, np.int16)
    talk(take, 0.7, np.r_[quiet, tone(0.2), quiet], size=size)
    user, _ = take.end(3.0)
    assert stretches(user) == [(near(1.2), near(1.4))]


@properties
@given(seed=st.integers(0, 1000), size=st.sampled_from([960, 961, 4800]))
def test_a_tone_is_placed_when_it_was_spoken_with_chunks_in_bursts(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: int
) -> None:
    dice, take = random.Random(seed), Take(tmp_path_factory.mktemp("takes") / "take.wav")
    audio = np.r_[np.zeros(3 * RATE, np.int16), tone(0.5), np.zeros(2 * RATE, np.int16)]
    sent, arrival = 0, 0.0
    for chunk in pieces(audio.tobytes(), [size]):
        sent += len(chunk)
        spoken = 0.4 + sent / 2 / RATE
        if arrival < spoken:  # a burst: chunks that end before it arrive with it
            arrival = spoken + dice.choice([0, 0, 0, 0.02, 0.1, 0.2, 1.5])
        take.tracks.user_sent(arrival, wire(chunk))
    user, _ = take.end(arrival)
    assert stretches(user) == [(near(3.4, 0.04), near(3.9, 0.04))]


# Formats


def test_telephone_audio_on_both_channels_is_recorded_at_8_khz(take: Take) -> None:
    take.tracks.set_formats(MULAW, MULAW)
    talk(take, 1.0, LOUD * 8_000, rate=8_000, width=1, size=160)
    take.tracks.agent_received(3.0, "a", wire(LOUD * 4_000))
    assert take.tracks.rate == 8_000
    user, agent = take.end(5.0)
    assert stretches(user, 8_000) == [(near(1.0), near(2.0))]
    assert stretches(agent, 8_000) == [(3.0, 3.5)]
    assert len(user) == 40_000


def test_telephone_audio_on_one_channel_is_resampled_to_the_rate_of_the_other(take: Take) -> None:
    take.tracks.set_formats(MULAW, None)
    take.tracks.set_formats(None, PCM16)
    talk(take, 1.0, LOUD * 8_000, rate=8_000, width=1, size=160)
    reply(take, 3.0, "a", tone(0.5))
    assert take.tracks.rate == 24_000
    user, agent = take.end(5.0)
    assert stretches(user) == [(near(1.0), near(2.0))]
    assert stretches(agent) == [(3.0, 3.5)]


def test_a_change_of_format_leaves_the_rate_of_the_recording(take: Take) -> None:
    take.tracks.set_formats(PCM16, PCM16)
    talk(take, 0.0, tone(1))
    take.tracks.set_formats(MULAW, None)
    talk(take, 3.0, LOUD * 8_000, rate=8_000, width=1, size=160)
    user, _ = take.end(5.0)
    assert stretches(user) == [(0.0, near(1.0)), (near(3.0), near(4.0))]


@pytest.mark.parametrize("law", ["audio/pcmu", "audio/pcma"])
def test_a_telephone_call_is_recorded_with_its_waveform(take: Take, law: str) -> None:
    """As a telephony bridge streams it in both directions: 8 kHz, one byte per frame, 20 ms per message."""
    session_format, encoded = parse_format({"type": law}), audio_format({"type": law})
    take.tracks.set_formats(session_format, session_format)
    question, answer = tone(1.5, rate=8_000, hz=700), tone(2, rate=8_000, hz=440)
    talk(take, 1.0, encoded.encode(question), rate=8_000, width=1, size=160)
    for chunk in pieces(encoded.encode(answer), [160]):
        take.tracks.agent_received(3.0, "answer", wire(chunk))
    [cut] = take.tracks.barge_in(4.25)
    assert cut.heard_ms == 1250
    assert take.tracks.rate == 8_000
    user, agent = take.end(6.0)
    assert len(user) == len(agent) == 6 * 8_000
    begin = int(np.flatnonzero(user)[0])
    assert begin == near(8_000, 1)
    for recorded, spoken in ((user[begin:], question), (agent[24_000:], answer[:10_000])):
        noise = recorded[: len(spoken)].astype(float) - spoken
        assert np.mean(noise**2) < np.mean(spoken.astype(float) ** 2) / 1000
        assert not recorded[len(spoken) :].any()


def test_the_format_of_each_channel_can_change_during_the_session(take: Take) -> None:
    wide, phone = Format("pcm16", 16_000), Format("alaw", 8_000)
    take.tracks.set_formats(wide, phone)
    talk(take, 1.0, tone(1, rate=16_000), rate=16_000, size=639)
    take.tracks.agent_received(2.5, "a", wire(b"\xaa" * 4_000))
    assert take.tracks.rate == 16_000
    take.tracks.set_formats(phone, PCM16)
    talk(take, 4.0, b"\xaa" * 4_000, rate=8_000, width=1, size=160)
    reply(take, 5.0, "b", tone(0.5))
    take.tracks.set_formats(wide, phone)
    talk(take, 6.0, tone(0.5, rate=16_000), rate=16_000, size=640)
    user, agent = take.end(7.0)
    assert stretches(user, 16_000) == [(near(1.0), near(2.0)), (near(4.0), near(4.5)), (near(6.0), near(6.5))]
    assert stretches(agent, 16_000) == [(near(2.5), near(3.0)), (near(5.0), near(5.5))]


def test_an_odd_byte_is_dropped_when_the_format_changes(take: Take) -> None:
    take.tracks.set_formats(PCM16, PCM16)
    take.tracks.user_sent(1.0, wire(b"\x01\x02\x03"))
    take.tracks.set_formats(Format("pcm16", 16_000), None)
    take.tracks.set_formats(PCM16, None)
    take.tracks.user_sent(2.0, wire(b""))
    take.tracks.set_formats(Format("ulaw", 24_000), None)
    take.tracks.user_sent(3.0, wire(LOUD * 2))
    take.tracks.set_formats(PCM16, None)
    take.tracks.user_sent(4.0, wire(b"\x05\x06\x07"))
    user, _ = take.end(5.0)
    assert user[user != 0].tolist() == [0x0201, 32_124, 32_124, 0x0605]


def test_formats_of_the_application_prevail_over_those_of_the_session(tmp_path: Path) -> None:
    wide = Format("pcm16", 16_000)
    take = Take(tmp_path / "take.wav", Tracks(fed_rate=48_000, user_format=MULAW, agent_format=wide))
    take.tracks.set_formats(PCM16, PCM16)
    talk(take, 1.0, LOUD * 8_000, rate=8_000, width=1, size=160)
    reply(take, 2.5, "a", tone(0.5, rate=16_000))
    assert take.tracks.rate == 16_000
    user, agent = take.end(4.0)
    assert stretches(user, 16_000) == [(near(1.0), near(2.0))]
    assert stretches(agent, 16_000) == [(2.5, 3.0)]


def test_fed_audio_has_the_format_that_the_application_gives(tmp_path: Path) -> None:
    take = Take(tmp_path / "take.wav", Tracks(fed_rate=48_000, user_format=MULAW, agent_format=MULAW))
    take.tracks.user_fed(2.0, LOUD * 8_000)
    take.tracks.agent_fed(2.5, LOUD * 4_000, at=2.5)
    assert take.tracks.rate == 8_000
    user, agent = take.end(4.0)
    assert stretches(user, 8_000) == [(1.0, 2.0)]
    assert stretches(agent, 8_000) == [(2.5, 3.0)]


def test_a_recording_has_the_rate_that_is_given(tmp_path: Path) -> None:
    take = Take(tmp_path / "take.wav", Tracks(rate=16_000))
    take.tracks.set_formats(MULAW, PCM16)
    talk(take, 1.0, LOUD * 8_000, rate=8_000, width=1, size=160)
    reply(take, 2.5, "a", tone(0.5))
    assert take.tracks.rate == 16_000
    user, agent = take.end(4.0)
    assert stretches(user, 16_000) == [(near(1.0), near(2.0))]
    assert stretches(agent, 16_000) == [(near(2.5), near(3.0))]


# Audio pending in the resampler


@pytest.fixture
def resampling(tmp_path: Path) -> Take:
    """A take that resamples both channels, which delays their writes."""
    take = Take(tmp_path / "take.wav", Tracks(rate=24_000))
    take.tracks.set_formats(MULAW, MULAW)
    return take


def answer(take: Take, t: float, item_id: str, seconds: float, *, muted: bool = False) -> None:
    """Receive µ-law audio of the agent at ``t`` in one delta."""
    take.tracks.agent_received(t, item_id, wire(LOUD * round(8_000 * seconds)), muted=muted)


def test_cuts_consider_audio_pending_in_the_resampler(resampling: Take) -> None:
    answer(resampling, 1.0, "a", 2)
    assert resampling.tracks.take_writes() == [], "the resampler needs later samples for its end"
    assert [(cut.item_id, cut.heard_ms) for cut in resampling.tracks.barge_in(1.5)] == [("a", 500)]
    answer(resampling, 3.0, "b", 1)
    cut = resampling.tracks.truncate(3.2, "b", 250)
    assert cut is not None
    assert cut.heard_ms == 250
    answer(resampling, 5.0, "c", 1)
    resampling.tracks.truncate(5.1, "c", 0)
    answer(resampling, 5.2, "c", 1)
    assert resampling.tracks.undo_truncation("c") is None
    assert resampling.tracks.playing_until("c") == 7.0
    assert stretches(resampling.end(9.0)[AGENT]) == [(1.0, 1.5), (3.0, near(3.25)), (5.0, 7.0)]


def test_a_query_about_one_item_leaves_audio_of_another_pending(resampling: Take) -> None:
    answer(resampling, 1.0, "a", 1)
    assert resampling.tracks.playing_until("a") == 2.0
    answer(resampling, 2.5, "b", 1)
    resampling.tracks.take_writes()
    assert resampling.tracks.playing_until("a") == 2.0
    assert resampling.tracks.take_writes() == [], "a query about one item does not flush the other"
    assert resampling.tracks.playing_until("b") == 3.5


def test_queries_about_an_item_consider_its_pending_audio(resampling: Take) -> None:
    answer(resampling, 1.0, "a", 1)
    assert resampling.tracks.begins("a") == 1.0
    answer(resampling, 1.1, "b", 0.5)
    assert resampling.tracks.spoken_ms("b") == 500
    answer(resampling, 1.2, "c", 2)
    assert resampling.tracks.heard_ms("c") == 2000
    answer(resampling, 1.3, "d", 1)
    resampling.tracks.played(2.0, "d", 0)
    assert resampling.tracks.take_writes() != []


def test_pending_audio_before_a_muted_delta_is_not_muted(resampling: Take) -> None:
    answer(resampling, 1.0, "a", 1)
    answer(resampling, 1.1, "a", 1, muted=True)
    answer(resampling, 1.2, "b", 1)
    assert stretches(resampling.end(9.0)[AGENT]) == [(1.0, near(3.0))]
    assert resampling.tracks.playing_until("a") == 2.0


def test_pending_audio_is_written_after_a_pause(resampling: Take) -> None:
    answer(resampling, 1.0, "a", 1)
    resampling.tracks.advance(2.4)
    assert resampling.tracks.take_writes() == []
    resampling.tracks.advance(2.51)
    assert sum(len(write.write.samples) for write in resampling.tracks.take_writes()) == RATE


def test_the_microphone_does_not_advance_past_pending_audio(resampling: Take) -> None:
    resampling.tracks.user_sent(1.0, wire(LOUD * 160))
    resampling.tracks.user_sent(1.02, wire(LOUD * 160))
    resampling.tracks.advance(1.1)
    resampling.tracks.user_sent(3.5, wire(LOUD * 800))  # delayed since then
    user, _ = resampling.end(4.0)
    assert stretches(user) == [(near(0.98), near(1.02)), (near(3.4), near(3.5))]


def test_pending_audio_is_erased_when_the_application_starts_to_feed(resampling: Take) -> None:
    talk(resampling, 0.0, LOUD * 8_000, rate=8_000, width=1, size=160)
    resampling.tracks.user_fed(3.0, tone(0.5).tobytes())
    resampling.tracks.user_sent(3.1, wire(LOUD * 800))
    assert stretches(resampling.end(5.0)[USER]) == [(2.5, 3.0)]


@properties
@given(sizes=st.lists(st.integers(7, 1500), min_size=1, max_size=6), rate=st.sampled_from([8_000, 16_000, 44_100]))
def test_any_chunking_of_resampled_audio_gives_identical_recordings(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], rate: int
) -> None:
    folder, speech = tmp_path_factory.mktemp("takes"), numbered(6000, 777).tobytes() + b"\x07"

    def recorded(name: str, sizes: list[int]) -> bytes:
        take = Take(folder / name, Tracks(rate=24_000))
        take.tracks.set_formats(Format("pcm16", rate), Format("pcm16", rate))
        for chunk in pieces(speech, sizes):
            take.tracks.agent_received(1.0, "a", wire(chunk))
            take.tracks.user_sent(2.0, wire(chunk))
        take.record()
        take.tracks.barge_in(1.05)
        take.tracks.truncate(1.05, "a", 77)
        take.end(4.0)
        return (folder / name).read_bytes()

    assert recorded("pieces.wav", sizes) == recorded("whole.wav", [len(speech)])


def test_close_writes_all_audio(resampling: Take) -> None:
    resampling.tracks.user_sent(1.0, wire(LOUD * 8_000))
    answer(resampling, 1.0, "a", 1)
    resampling.tracks.close(3.0)
    writes = resampling.tracks.take_writes()
    assert {write.channel: len(write.write.samples) for write in writes} == {USER: RATE, AGENT: RATE}
    assert resampling.tracks.take_writes() == []


def test_audio_before_the_session_gives_its_formats_is_pcm16(take: Take) -> None:
    talk(take, 0.5, tone(0.5))
    assert take.tracks.rate == 24_000
    take.tracks.set_formats(PCM16, PCM16)
    talk(take, 1.0, tone(0.5))
    user, _ = take.end(2.0)
    assert stretches(user) == [(near(0.5), near(1.5))]


def test_invalid_base64_is_refused_and_later_audio_is_recorded(take: Take) -> None:
    with pytest.raises(ValueError, match="base64"):
        take.tracks.user_sent(1.0, "?")
    with pytest.raises(ValueError, match="base64"):
        take.tracks.agent_received(1.0, "a", "?")
    reply(take, 1.0, "a", tone(0.5))
    assert stretches(take.end(2.0)[AGENT]) == [(1.0, 1.5)]


def test_without_audio_there_are_no_writes_and_no_cuts(take: Take) -> None:
    assert take.tracks.rate is None
    take.tracks.advance(1.0)
    assert take.tracks.barge_in(1.0) == []
    assert take.tracks.truncate(1.0, "a", 10) is None
    assert take.tracks.undo_truncation("a") is None
    assert take.tracks.playing_until("a") is None
    assert take.tracks.begins("a") is None
    assert take.tracks.spoken_ms("a") == take.tracks.heard_ms("a") == 0
    assert take.tracks.played(1.0, "a", 10) == []
    assert take.tracks.close(2.0) == []
    assert take.tracks.take_writes() == []


# Barge-in, truncation, end


def test_after_a_refused_truncation_the_earlier_barge_in_applies(take: Take) -> None:
    reply(take, 1.0, "a", tone(5))
    take.tracks.barge_in(3.0)
    take.tracks.truncate(3.1, "a", 9_000)
    cut = take.tracks.undo_truncation("a")
    assert cut is not None
    assert cut.heard_ms == 2000
    assert stretches(take.end(8.0)[AGENT]) == [(1.0, 3.0)]


def test_audio_queued_at_the_end_is_not_heard(take: Take) -> None:
    talk(take, 0.0, tone(8))  # as a file longer than the conversation
    reply(take, 1.0, "a", tone(5))
    take.tracks.truncate(1.5, "a", 4000)
    [cut] = take.tracks.close(2.0)
    assert (cut.item_id, cut.heard_ms) == ("a", 1000)
    user, agent = take.end(2.0)
    assert len(user) == 8 * RATE
    assert stretches(agent) == [(1.0, 2.0)]


def test_a_recording_ends_at_its_frame_limit(tmp_path: Path) -> None:
    take = Take(tmp_path / "take.wav", max_frames=2 * RATE)
    talk(take, 1.0, tone(3))
    reply(take, 1.5, "a", tone(3))
    user, agent = take.end(5.0)
    assert len(user) == 2 * RATE
    assert stretches(user) == [(near(1.0), 2.0)]
    assert stretches(agent) == [(1.5, 2.0)]


def test_the_microphone_is_written_during_the_conversation(take: Take) -> None:
    talk(take, 0.0, tone(1))
    assert take.tracks.take_writes() == []
    take.tracks.advance(4.3)
    assert sum(len(write.write.samples) for write in take.tracks.take_writes()) == RATE


# Fed audio


def test_fed_audio_of_the_user_replaces_sent_audio_and_leaves_the_agent(take: Take) -> None:
    talk(take, 0.0, tone(4))
    reply(take, 1.0, "a", tone(1))
    take.tracks.user_fed(5.0, tone(0.5).tobytes())
    take.record()
    talk(take, 5.0, tone(1))
    user, agent = take.end(6.0)
    assert stretches(user) == [(4.5, 5.0)]
    assert stretches(agent) == [(1.0, 2.0)]


def test_fed_audio_of_the_agent_replaces_earlier_and_later_deltas(take: Take) -> None:
    talk(take, 0.0, tone(1))
    reply(take, 1.0, "a", tone(3))
    take.tracks.agent_fed(1.3, tone(0.5).tobytes())
    take.record()
    reply(take, 1.4, "a", tone(3))
    user, agent = take.end(6.0)
    assert stretches(agent) == [(1.3, 1.8)]
    assert stretches(user) == [(near(0.0), near(1.0))]


def test_empty_fed_audio_replaces_nothing(take: Take) -> None:
    talk(take, 0.0, tone(1))
    reply(take, 1.0, "a", tone(1))
    take.tracks.user_fed(1.0, b"")
    take.tracks.agent_fed(1.0, b"\x01")
    user, agent = take.end(3.0)
    assert stretches(user) == [(near(0.0), near(1.0))]
    assert stretches(agent) == [(1.0, 2.0)]


def test_audio_fed_from_the_start_erases_nothing(take: Take) -> None:
    take.tracks.user_fed(1.0, tone(0.5).tobytes())
    take.tracks.agent_fed(1.0, tone(0.5).tobytes(), at=1.0)
    user, agent = take.end(3.0)
    assert (stretches(user), stretches(agent)) == ([(0.5, 1.0)], [(1.0, 1.5)])


def test_fed_audio_is_resampled_to_the_rate_of_the_session(tmp_path: Path) -> None:
    take = Take(tmp_path / "take.wav", Tracks(fed_rate=16_000))
    take.tracks.set_formats(PCM16, PCM16)
    for index in range(50):
        take.tracks.user_fed(1 + (index + 1) / 50, tone(0.02, rate=16_000).tobytes())
    user, _ = take.end(3.0)
    assert stretches(user) == [(near(1.0), near(2.0))]


def test_audio_fed_before_the_session_gives_its_formats_is_recorded_at_its_own_rate(tmp_path: Path) -> None:
    take = Take(tmp_path / "take.wav", Tracks(fed_rate=16_000))
    take.tracks.user_fed(1.0, tone(0.5, rate=16_000).tobytes())
    assert take.tracks.rate == 16_000
    assert stretches(take.end(2.0)[USER], 16_000) == [(0.5, 1.0)]


@properties
@given(seed=st.integers(0, 1000), size=st.integers(61, 3000))
def test_audio_fed_with_times_is_placed_there_and_not_cut(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: int
) -> None:
    dice, take = random.Random(seed), Take(tmp_path_factory.mktemp("takes") / "take.wav")
    reply(take, 1.0, "a", tone(2))
    audio, fed = numbered(RATE), 0
    for chunk in pieces(audio.tobytes(), [size]):
        at = 1.2 + fed / 2 / RATE + dice.uniform(-0.0008, 0.0008)
        take.tracks.agent_fed(at + 0.3, chunk, at)
        take.tracks.user_fed(at + 0.3, chunk, at)
        fed += len(chunk)
    take.tracks.barge_in(1.5)
    take.tracks.truncate(1.6, "a", 100)
    user, agent = take.end(4.0)
    assert np.array_equal(user, agent)
    first = int(np.flatnonzero(agent)[0])
    assert first == near(1.2 * RATE, 0.001 * RATE)
    assert np.array_equal(agent[first : first + len(audio)], audio)


def test_audio_of_the_agent_fed_without_times_is_cut_by_a_barge_in(take: Take) -> None:
    reply(take, 1.0, "a", tone(4))
    take.tracks.agent_fed(1.1, tone(4).tobytes())
    take.tracks.barge_in(2.0)
    take.tracks.agent_fed(6.0, tone(1).tobytes())
    assert stretches(take.end(8.0)[AGENT]) == [(1.1, 2.0), (6.0, 7.0)]


@pytest.mark.parametrize("rate", [24_000, 16_000, 48_000])
def test_deltas_fed_on_arrival_are_not_heard_after_their_response_was_cut(tmp_path: Path, rate: int) -> None:
    take = Take(tmp_path / "take.wav", Tracks(rate=rate))
    speech = numbered(2 * RATE).reshape(20, -1)
    for index, delta in enumerate(speech):
        if index == 5:
            take.tracks.barge_in(1.3)
        t = 1 + index * 0.06
        take.tracks.agent_received(t, "a", wire(delta), muted=index >= 5)
        if index not in (7, 8):
            take.tracks.agent_fed(t, delta.tobytes())
    take.tracks.agent_fed(2.5, tone(0.2).tobytes())
    reply(take, 3.0, "b", tone(0.5))
    take.tracks.agent_fed(3.0, tone(0.5).tobytes())
    heard = stretches(take.end(5.0)[AGENT], rate, gap=0.03)
    assert heard == [(near(1.0, 0.03), near(1.3)), (near(2.5), near(2.7)), (near(3.0), near(3.5))]


def test_a_muted_delta_is_recognized_when_it_is_fed_in_parts(take: Take) -> None:
    reply(take, 1.0, "a", tone(1))
    take.tracks.agent_fed(1.0, tone(1).tobytes())
    take.tracks.barge_in(1.5)
    late = np.concatenate([np.zeros(480, np.int16), numbered(RATE)])
    take.tracks.agent_received(1.6, "a", wire(late), muted=True)
    for piece in np.array_split(late, 4):
        take.tracks.agent_fed(1.6, piece.tobytes())
    take.tracks.agent_fed(3.0, tone(0.5).tobytes())
    assert stretches(take.end(5.0)[AGENT]) == [(1.0, 1.5), (3.0, near(3.5))]


def test_fed_silence_is_not_taken_for_part_of_a_muted_delta(take: Take) -> None:
    take.tracks.barge_in(0.5)
    take.tracks.agent_received(1.0, "a", wire(np.zeros(RATE, np.int16)), muted=True)
    take.tracks.agent_fed(1.0, bytes(2 * RATE // 2))
    take.tracks.agent_fed(1.0, tone(0.5).tobytes())
    assert stretches(take.end(5.0)[AGENT]) == [(near(1.5), near(2.0))]


@pytest.mark.parametrize(("heard_ms", "refused"), [(500, False), (1500, False), (1500, True)])
def test_a_truncation_corrects_a_cut_of_fed_audio_in_both_directions(take: Take, heard_ms: int, refused: bool) -> None:
    reply(take, 1.0, "first", tone(1))
    take.tracks.agent_fed(1.0, tone(1).tobytes())
    reply(take, 3.0, "second", tone(5))
    take.tracks.agent_fed(3.2, tone(5).tobytes())  # the player is 200 ms late
    take.tracks.barge_in(4.2)
    take.tracks.agent_fed(6.0, tone(0.5).tobytes())
    take.tracks.truncate(6.1, "second", heard_ms)
    if refused:
        take.tracks.undo_truncation("second")
    end = 4.2 if refused else 3.2 + heard_ms / 1000
    assert stretches(take.end(8.0)[AGENT]) == [(1.0, 2.0), (3.2, near(end)), (6.0, 6.5)]


def test_a_truncation_without_a_barge_in_cuts_fed_audio_but_not_later_audio(take: Take) -> None:
    reply(take, 1.0, "a", tone(5))
    take.tracks.agent_fed(1.0, tone(5).tobytes())
    take.tracks.truncate(2.6, "a", 1500)
    take.tracks.agent_fed(3.0, tone(0.5).tobytes())
    assert stretches(take.end(8.0)[AGENT]) == [(1.0, 2.5), (3.0, 3.5)]


def test_after_a_refused_truncation_fed_audio_is_heard(take: Take) -> None:
    reply(take, 1.0, "a", tone(2))
    take.tracks.agent_fed(1.0, tone(2).tobytes())
    take.tracks.truncate(1.5, "a", 400)
    assert take.tracks.undo_truncation("a") is None
    assert take.tracks.undo_truncation("unknown") is None
    assert stretches(take.end(8.0)[AGENT]) == [(1.0, 3.0)]


def test_a_truncation_of_an_unknown_item_cuts_fed_audio_when_it_is_sent(take: Take) -> None:
    take.tracks.agent_fed(1.0, tone(3).tobytes())  # as with a sideband connection, which carries no deltas
    assert take.tracks.truncate(2.5, "a", 700) is None
    assert stretches(take.end(8.0)[AGENT]) == [(1.0, 2.5)]


def test_a_later_cut_leaves_an_earlier_one_unchanged(take: Take) -> None:
    for begin, item_id in ((1.0, "a"), (5.0, "b")):
        reply(take, begin, item_id, tone(3))
        take.tracks.agent_fed(begin, tone(3).tobytes())
        take.tracks.barge_in(begin + 1)
        take.tracks.truncate(begin + 1.1, item_id, 900)
    assert stretches(take.end(9.0)[AGENT]) == [(1.0, near(1.9)), (5.0, near(5.9))]
