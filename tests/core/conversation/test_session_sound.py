"""The sound of a session: each server's names of formats and rates, on both sides, and what is said when they lie."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from langsmith_realtime.core.audio.decoding import Samples
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from tests.support.audio.sounds import laid_out, near, stretches, tone, wire
from tests.support.cases import encoded
from tests.support.conversations import RECORDINGS
from tests.support.driven_conversation import DrivenConversation

CASES = RECORDINGS.parent / "cases"


class Talk(DrivenConversation):
    """A conversation of which the test makes the session; its microphone is sent in chunks of 100 ms."""

    def __init__(self) -> None:
        super().__init__(set_up=False)

    def mic(self, seconds: float, *, rate: int = 24_000, every: float = 0.1) -> None:
        """Sends a tone of 300 Hz in chunks of 100 ms, one every ``every`` seconds."""
        audio, chunk = tone(seconds, rate=rate, hz=300), rate // 10
        for begin in range(0, len(audio), chunk):
            self.client("input_audio_buffer.append", at=self.t + every, audio=wire(audio[begin : begin + chunk]))

    def answer(self, seconds: float, *, rate: int = 24_000, response_id: str = "resp_1") -> None:
        """The agent answers with a tone of 600 Hz, all at once."""
        self.begins(response_id)
        where: dict[str, Any] = {"response_id": response_id, "item_id": f"item_of_{response_id}"}
        self.server("response.audio.delta", **where, delta=wire(tone(seconds, rate=rate, hz=600)))
        self.ends(response_id)

    def channel(self, channel: int) -> tuple[Samples, int]:
        """Returns the samples of a channel, and their rate. Call it once, at the end."""
        tracks = self.conversation.tracks
        rate = tracks.rate
        assert rate is not None
        return laid_out(each.write for each in self.writes() if each.channel == channel), rate

    def writes(self) -> list[Any]:
        if not hasattr(self, "_writes"):
            self.close(at=self.t + 10)
            self._writes = self.conversation.tracks.take_writes()
        return self._writes

    def heard(self, channel: int) -> list[tuple[float, float, int]]:
        """Returns begin, end and frequency of each stretch of sound, in seconds and Hz."""
        samples, rate = self.channel(channel)
        found = []
        for begin, end in stretches(samples, rate, gap=0.1):
            part = samples[round(begin * rate) : round(end * rate)].astype(np.float64)
            peak = int(np.argmax(np.abs(np.fft.rfft(part)))) * rate / len(part)
            found.append((begin, end, round(peak / 10) * 10))
        return found

    def said(self) -> dict[str, Any]:
        """Returns what the root says about the sound."""
        self.writes()
        return {key: value for key, value in self.conversation.numbers().items() if "assumed" in key or "clock" in key}


# Names and rates


@pytest.mark.parametrize(
    ("session", "user_rate", "agent_rate"),
    [
        ({"input_audio_format": "pcm16_8000hz", "output_audio_format": "pcm16-16000hz"}, 8_000, 16_000),
        ({"input_audio_format": "pcm16", "input_audio_sampling_rate": 8_000}, 8_000, 24_000),
        ({"input_audio_format": "pcm", "input_sample_rate": 16_000, "output_audio_format": "pcm24"}, 16_000, 24_000),
        ({"audio": {"input": {"format": {"type": "pcm_s16le", "sample_rate": 16_000}}}}, 16_000, 24_000),
        ({"audio": {"input": {"format": "audio/pcm;rate=48000"}, "output": {"format": "pcm_22050"}}}, 48_000, 22_050),
        ({"audio": {"input": {"format": "linear16", "rate": 16_000}, "output": {"format": "pcm_8khz"}}}, 16_000, 8_000),
        ({"sample_rate": 16_000, "input_audio_format": "pcm", "output_audio_format": "pcm"}, 16_000, 16_000),
    ],
)
def test_each_side_has_the_rate_that_the_session_tells(
    session: dict[str, Any], user_rate: int, agent_rate: int
) -> None:
    talk = Talk()
    talk.server("session.created", session={"id": "s", **session})
    talk.mic(2.0, rate=user_rate)
    talk.answer(1.0, rate=agent_rate)
    (begin, end, hz), (agent_begin, agent_end, agent_hz) = talk.heard(USER)[0], talk.heard(AGENT)[0]
    assert (end - begin, hz, agent_end - agent_begin, agent_hz) == (near(2.0, 0.02), 300, near(1.0, 0.02), 600)
    assert "user_format_assumed" not in talk.said()
    assert "user_clock" not in talk.said()


def test_a_format_that_the_session_confirms_after_the_last_sound_is_not_called_assumed() -> None:
    talk = Talk()
    talk.mic(1.0)
    assert "user_format_assumed" in talk.said()
    formats = {"input": {"format": {"type": "audio/pcm", "rate": 24_000}}}
    talk.server("session.created", session={"id": "s", "audio": formats})
    assert "user_format_assumed" not in talk.said()


def test_the_flat_rate_of_pcm_does_not_apply_to_g711() -> None:
    talk = Talk()
    talk.server("session.created", session={"input_audio_format": "g711_ulaw", "input_audio_sampling_rate": 24_000})
    assert talk.conversation.config.user_format is not None
    assert talk.conversation.config.user_format.rate == 8_000


def test_a_rate_outside_the_format_survives_an_update_of_another_side() -> None:
    talk = Talk()
    talk.server("session.created", session={"input_audio_format": "pcm16", "input_audio_sampling_rate": 16_000})
    talk.server("session.updated", session={"output_audio_format": "pcm16_8000hz"})
    talk.server("session.updated", session={"audio": {"output": {"voice": "x"}}})
    talk.mic(2.0, rate=16_000)
    talk.answer(1.0, rate=8_000)
    assert talk.heard(USER)[0][2] == 300
    assert talk.heard(AGENT)[0][2] == 600


@pytest.mark.parametrize("verb", ["created", "updated"])
def test_a_transcription_session_is_a_session(verb: str) -> None:
    talk = Talk()
    talk.server(f"transcription_session.{verb}", session={"id": "s", "input_audio_format": "pcm16_16000hz"})
    talk.mic(1.0, rate=16_000)
    assert [run.name for run in talk.events] == [f"transcription_session.{verb}"]
    assert talk.heard(USER)[0][2] == 300


def test_a_session_event_without_a_session_object_is_the_session() -> None:
    talk = Talk()
    talk.server("session.created", id="s", model="local", input_audio_format="pcm_16000")
    talk.mic(1.0, rate=16_000)
    assert talk.conversation.config.model == "local"
    assert talk.heard(USER)[0][2] == 300


# What the client asks for


@pytest.mark.parametrize("name", ["session.update", "transcription_session.update"])
def test_formats_that_the_client_asks_for_count_without_a_confirmation(name: str) -> None:
    talk = Talk()
    talk.server("session.created", session={"id": "s"})
    talk.client(name, session={"input_audio_format": "pcm16_16000hz", "output_audio_format": "pcm16_8000hz"})
    talk.mic(1.0, rate=16_000)
    talk.answer(1.0, rate=8_000)
    assert (talk.heard(USER)[0][2], talk.heard(AGENT)[0][2]) == (300, 600)


def test_a_confirmation_that_repeats_no_format_leaves_the_one_asked_for() -> None:
    talk = Talk()
    talk.server("session.created", session={"id": "s", "input_audio_format": "pcm16"})
    talk.client("session.update", session={"input_audio_sampling_rate": 16_000})
    talk.server("session.updated", session={"id": "s", "voice": "x"})
    talk.mic(1.0, rate=16_000)
    assert talk.heard(USER)[0][2] == 300


def test_a_response_keeps_its_format_when_the_client_asks_for_another() -> None:
    talk = Talk()
    talk.server("session.created", session={"id": "s", "output_audio_format": "pcm16"})
    talk.begins("resp_1")
    talk.client("session.update", session={"output_audio_format": "pcm16_8000hz"})
    talk.server("response.audio.delta", response_id="resp_1", item_id="a", delta=wire(tone(1.0, hz=600)))
    talk.ends("resp_1")
    talk.t = 3.0
    talk.answer(1.0, rate=8_000, response_id="resp_2")
    assert [hz for _, _, hz in talk.heard(AGENT)] == [600, 600]


@pytest.mark.parametrize("told_by", ["client", "server"])
def test_a_response_may_have_a_format_of_its_own(told_by: str) -> None:
    talk = Talk()
    pcm, ulaw = ({"output": {"format": {"type": name}}} for name in ("audio/pcm", "audio/pcmu"))
    session = {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16_000}}}}
    talk.server("session.created", session=session)
    talk.answer(1.0, rate=16_000, response_id="before")
    if told_by == "client":
        talk.client("response.create", response={"audio": ulaw})
    talk.begins("own", audio=ulaw if told_by == "server" else None)
    talk.begins("beside", conversation_id=None, audio=pcm)  # PCM16 without a rate is that of the session
    second_s = talk.t + 3
    where: dict[str, Any] = {"response_id": "own", "item_id": "item_of_own"}
    silent: dict[str, Any] = {"response_id": "beside", "item_id": "item_of_beside"}
    for half in range(2):
        sent = wire(encoded(tone(0.5, rate=8_000, hz=600), "ulaw"))
        talk.server("response.audio.delta", **where, delta=sent, at=second_s + half * 0.1)
        talk.server("response.audio.delta", **silent, delta=wire(tone(0.5, rate=16_000, hz=600)))
    talk.ends("own")
    talk.ends("beside", conversation_id=None)
    talk.answer(1.0, rate=16_000, response_id="after")
    assert [(near(end - begin, 0.02), hz) for begin, end, hz in talk.heard(AGENT)] == [
        (1.0, near(600, 8)),
        (2.0, near(600, 8)),
    ]
    assert [talk.model(name).metadata["spoken_ms"] for name in ("own", "after")] == [1000, 1000]
    assert "agent_format_assumed" not in talk.conversation.numbers()


def test_a_compressed_format_of_one_response_is_said_on_the_root() -> None:
    talk = Talk()
    talk.server("session.created", session={"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24_000}}}})
    talk.begins("own", audio={"output": {"format": {"type": "audio/opus"}}})
    talk.server("response.audio.delta", response_id="own", item_id="item", delta=wire(tone(0.5)))
    talk.ends("own")
    talk.answer(0.5)
    assert talk.heard(AGENT)
    assert "'audio/opus' is compressed" in talk.conversation.numbers()["agent_format_assumed"]


def test_a_refused_format_does_not_count_and_an_unrelated_error_refuses_none() -> None:
    talk = Talk()
    talk.server("session.created", session={"id": "s", "input_audio_format": "pcm16"})
    talk.client("session.update", session={"input_audio_format": "pcm16_8000hz"}, event_id="mine")
    talk.server("error", error={"message": "the buffer is empty"})
    assert talk.conversation.config.user_format is not None
    assert talk.conversation.config.user_format.rate == 8_000
    talk.server("error", error={"message": "no", "event_id": "mine"})
    talk.mic(1.0)
    assert talk.heard(USER)[0][2] == 300


# What is assumed


@pytest.mark.parametrize(
    ("session", "said"),
    [
        ({"input_audio_format": "opus"}, "nothing, because 'opus' is compressed"),
        ({"input_audio_format": "pcm99"}, "pcm16 at 24000 Hz, because the format 'pcm99' is unknown"),
        ({"input_audio_format": "pcm99_16000hz"}, "pcm16 at 16000 Hz, because the format 'pcm99_16000hz' is unknown"),
        (
            {"audio": {"input": {"format": {"type": "audio/pcm"}}}},
            "pcm16 at 24000 Hz, because 'audio/pcm' tells no rate",
        ),
        ({"input_audio_format": "pcm"}, "pcm16 at 24000 Hz, because 'pcm' tells no rate"),
        ({"input_sample_rate": 8_000}, "pcm16 at 8000 Hz, because only the rate is given"),
        ({}, "pcm16 at 24000 Hz, because the session names no format"),
    ],
)
def test_what_is_assumed_of_a_format_is_said_on_the_root(session: dict[str, Any], said: str) -> None:
    talk = Talk()
    talk.server("session.created", session=session)
    talk.client("input_audio_buffer.append", audio=wire(tone(0.1)))
    assert talk.said() == {"user_format_assumed": said}


def test_nothing_is_said_of_a_side_without_audio_or_once_the_session_confirms_what_was_assumed() -> None:
    talk = Talk()
    talk.client("input_audio_buffer.append", audio=wire(tone(0.1)))
    talk.server("session.created", session={"input_audio_format": "pcm16", "output_audio_format": "opus"})
    talk.client("input_audio_buffer.append", audio=wire(tone(0.1)))
    assert talk.said() == {}


# A stream that contradicts its format


@pytest.mark.parametrize(
    ("sent", "every", "said"),
    [
        (16_000, 0.1, "32000 bytes came in a second, pcm16 at 24000 Hz has 48000"),
        (48_000, 0.1, "96000 bytes came in a second, pcm16 at 24000 Hz has 48000"),
        (8_000, 0.1, "16000 bytes came in a second, pcm16 at 24000 Hz has 48000"),
    ],
)
def test_a_stream_far_from_its_clock_is_said_and_not_corrected(sent: int, every: float, said: str) -> None:
    talk = Talk()
    talk.server("session.created", session={"input_audio_format": "pcm16"})
    talk.mic(4.0, rate=sent, every=every)
    assert talk.said() == {"user_clock": f"{said}: the rate or the encoding may be another"}
    assert talk.heard(USER)[0][2] != 300


def test_a_microphone_that_is_muted_now_and_then_keeps_to_its_clock() -> None:
    talk = Talk()
    talk.server("session.created", session={"input_audio_format": "pcm16"})
    for pause in (0.3, 2.0, 0.5, 0.25, 7.0, 1.0):
        talk.mic(1.5)
        talk.t += pause
    assert talk.said() == {}


def test_a_muted_microphone_with_another_rate_is_said_nevertheless() -> None:
    talk = Talk()
    talk.server("session.created", session={"input_audio_format": "pcm16"})
    for _ in range(4):
        talk.mic(1.5, rate=16_000)
        talk.t += 5.0
    assert "32000 bytes came in a second" in talk.said()["user_clock"]


def test_a_file_sent_at_once_and_late_chunks_contradict_no_clock() -> None:
    talk = Talk()
    talk.server("session.created", session={"input_audio_format": "pcm16"})
    talk.mic(20.0, every=0.0001)
    talk.t += 30
    dice = np.random.default_rng(5)
    begin, audio = talk.t, wire(tone(0.02))
    for index in range(500):
        late = float(dice.uniform(0, 0.15)) if index % 10 == 0 else 0.0
        talk.client("input_audio_buffer.append", at=max(talk.t, begin + (index + 1) * 0.02 + late), audio=audio)
    assert talk.said() == {}


def test_an_answer_that_is_faster_than_real_time_contradicts_no_clock_but_a_slower_one_does() -> None:
    for seconds, said in ((0.3, set()), (0.05, {"agent_clock"})):
        talk = Talk()
        talk.server("session.created", session={"output_audio_format": "pcm16"})
        talk.begins("resp_1")
        for _ in range(50):
            chunk = wire(tone(seconds))
            talk.server("response.audio.delta", at=talk.t + 0.1, response_id="resp_1", item_id="a", delta=chunk)
        assert set(talk.said()) == said


# The cases


def ulaw(samples: Samples) -> bytes:
    """µ-law codes of samples, by the nearest of the 256 levels."""
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 132) << ((code >> 4) & 7)) - 132
    levels = np.where(code & 0x80, -magnitude, magnitude)
    order = np.argsort(levels, kind="stable")
    places = np.searchsorted((levels[order][1:] + levels[order][:-1]) / 2, samples)
    return order[places].astype(np.uint8).tobytes()


def with_sound(value: Any) -> Any:
    """The value with base64 audio in place of each ``$sound``."""
    if isinstance(value, list):
        return [with_sound(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "$sound" not in value:
        return {key: with_sound(each) for key, each in value.items()}
    rate = value.get("rate", 24_000)
    wave = np.sin(2 * np.pi * value.get("hz", 440) * np.arange(round(value["$sound"] * rate)) / rate)
    samples = np.asarray(value.get("amp", 8000) * wave, dtype=np.int16)
    data = ulaw(samples) if value.get("enc") == "ulaw" else samples.astype("<i2").tobytes()
    return base64.b64encode(data).decode()


def case(name: str) -> Talk:
    path: Path = CASES / name / "input.jsonl"
    if not path.exists():
        pytest.skip("the cases are not here")
    talk = Talk()
    for line in map(json.loads, path.read_text().splitlines()):
        event = with_sound(line["event"])
        take = talk.server if line["dir"] == "server" else talk.client
        take(event.pop("type"), at=talk.t + line["after"], **event)
    return talk


def test_qwen_omni_names_pcm_by_its_rate_in_khz() -> None:
    talk = case("03-qwen-omni")
    assert talk.heard(USER) == [(near(1.0, 0.1), near(3.0, 0.1), 300)]
    assert [hz for _, _, hz in talk.heard(AGENT)] == [600]
    assert talk.said() == {
        "user_format_assumed": "pcm16 at 16000 Hz, because pcm24 of the other side names its rate in kHz"
    }


def test_a_beta_transcription_session_is_read_as_its_update_says() -> None:
    talk = case("08-transcription-session-beta")
    assert talk.channel(USER)[1] == 8_000
    assert talk.heard(USER) == [(near(0.6, 0.1), near(1.6, 0.1), 300)]
    inputs = talk.conversation.config.inputs()
    assert inputs["input_audio_format"] == "g711_ulaw"
    assert inputs["transcription"] == {"model": "gpt-4o-transcribe"}
    assert inputs["turn_detection"]["silence_duration_ms"] == 650
    assert talk.conversation.numbers()["estimated_cost_usd"] == near(0.000135, 1e-9)
    assert talk.said() == {}


def test_voice_live_tells_the_rate_in_the_name_or_beside_it() -> None:
    talk = case("11-voice-live-16k")
    assert [(end - begin, hz) for begin, end, hz in talk.heard(USER)] == [(near(1.5, 0.02), 300)]
    assert [(end - begin, hz) for begin, end, hz in talk.heard(AGENT)] == [(near(2.0, 0.02), 600)]
    assert talk.model("r1").metadata["spoken_ms"] == 2000
    assert talk.said() == {}
