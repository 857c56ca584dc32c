"""The dialects of other servers: rows of a table, and the events that follow from them."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import connect

from langsmith_realtime.testing import Call, Event, RealtimeServer, Say, Script, Turn, UserTranscript, silence, tone
from langsmith_realtime.testing.script.script import DialectName
from langsmith_realtime.testing.state.dialect import DIALECTS, Dialect, Translator, request_of
from langsmith_realtime.testing.state.formats import audio_format
from tests.support.scripted_session import SPOKEN, Talk, error_of, message, types


def talk(dialect: DialectName, *turns: Turn, **options: Any) -> Talk:
    return Talk(Script(turns, dialect=dialect, **options))


def done(talk: Talk) -> Event:
    """Asks for a response, and returns its ``response.done``."""
    talk.send("response.create")
    talk.wait()
    return talk.one("response.done")


def test_xai_reports_the_usage_beside_the_response() -> None:
    event = done(talk("xai", Turn(Say("Hello."), usage={"total_tokens": 9})))
    assert event["usage"] == {"total_tokens": 9}
    assert "usage" not in event["response"]


def test_xai_takes_turn_detection_and_voice_at_the_top_of_the_session() -> None:
    xai = talk("xai")
    (updated,) = xai.send("session.update", session={"voice": "ara", "turn_detection": None})
    session = updated["session"]
    assert (session["voice"], session["turn_detection"]) == ("ara", None)
    assert "voice" not in session["audio"]["output"]
    assert "type" not in session
    assert xai.one("session.created")["session"]["turn_detection"]["type"] == "server_vad"


def test_voice_live_takes_the_rate_of_the_microphone_as_a_field_of_its_own() -> None:
    heard = talk("voice_live", Turn(Say("Hello.")))
    (updated,) = heard.send("session.update", session={"input_audio_sampling_rate": 16_000})
    assert updated["session"]["input_audio_sampling_rate"] == 16_000
    audio = silence(0.5) + tone(300, 1.0) + silence(0.8)
    heard.speak(audio_format({"type": "audio/pcm", "rate": 16_000}).from_pcm16(audio))
    assert heard.one("input_audio_buffer.speech_started")["audio_start_ms"] == pytest.approx(200, abs=25)
    stopped = heard.one("input_audio_buffer.speech_stopped")["audio_end_ms"]
    assert stopped == pytest.approx(1_700, abs=25)


def test_voice_live_keeps_the_rate_when_only_the_format_is_named_again() -> None:
    heard = talk("voice_live", session={"input_audio_sampling_rate": 8_000})
    (updated,) = heard.send("session.update", session={"input_audio_format": "pcm16"})
    assert updated["session"]["input_audio_sampling_rate"] == 8_000
    heard.speak(silence(0.5) + tone(300, 1.0))  # 4.5 s at 8 kHz
    assert heard.one("input_audio_buffer.speech_started")["audio_start_ms"] == pytest.approx(1_200, abs=25)


@pytest.mark.parametrize("rate", [11_025, "16000", None])
def test_voice_live_refuses_other_rates(rate: Any) -> None:
    heard = talk("voice_live")
    error = error_of(heard.send("session.update", session={"input_audio_sampling_rate": rate}))
    assert error["param"] == "session.input_audio_sampling_rate"


@pytest.mark.parametrize(
    ("dialect", "name", "rate"),
    [
        ("voice_live", "pcm16_16000hz", 16_000),
        ("voice_live", "pcm16_8000hz", 8_000),
        ("qwen_omni", "pcm24", 24_000),
        ("beta", "pcm16", 24_000),
    ],
)
def test_the_agents_sound_has_the_rate_that_its_format_names(dialect: DialectName, name: str, rate: int) -> None:
    said = talk(dialect, Turn(Say("Hello.", tone(600, 1.0))))
    said.send("session.update", session={"output_audio_format": name})
    said.send("response.create")
    said.wait()
    sizes = [len(base64.b64decode(event["delta"])) for event in said.of("response.audio.delta")]
    assert sum(sizes) == 2 * rate


def test_a_tone_keeps_its_pitch_at_16_khz() -> None:
    samples = np.frombuffer(audio_format({"type": "audio/pcm", "rate": 16_000}).from_pcm16(tone(600, 1.0)), "<i2")
    assert int(np.argmax(np.abs(np.fft.rfft(samples)))) == 600
    assert audio_format({"type": "audio/pcm", "rate": 16_000}).from_pcm16(b"") == b""


def test_qwen_omni_has_plural_names_in_its_usage_and_refuses_names_of_others() -> None:
    qwen = talk("qwen_omni", Turn(Say("Hello.")))
    usage = done(qwen)["response"]["usage"]
    assert {"input_tokens_details", "output_tokens_details"} <= set(usage)
    assert not {"input_token_details", "output_token_details"} & set(usage)
    error = error_of(qwen.send("session.update", session={"output_audio_format": "pcm16"}))
    assert error["message"] == "Invalid value: 'pcm16'. Supported values are: 'pcm24', 'pcm'."


def test_speech_to_speech_sends_no_items_and_no_output() -> None:
    quiet = talk("speech_to_speech", Turn(Say("Hello."), Call("look", call_id="call_1")))
    quiet.send("conversation.item.create", item=message("Hi."))
    response = done(quiet)["response"]
    assert "output" not in response
    assert not [each for each in types(quiet.events) if "item" in each or "content_part" in each]
    assert quiet.one("response.output_audio_transcript.done")["transcript"] == "Hello."
    assert quiet.one("response.function_call_arguments.done")["call_id"] == "call_1"


def test_vllm_transcribes_without_items_and_without_a_session() -> None:
    vllm = talk("vllm", user_transcripts=[UserTranscript("Good morning.", usage="tokens")])
    created = vllm.one("session.created")
    assert "session" not in created
    assert created["id"].startswith("sess_")
    assert vllm.send("session.update", model="voxtral") == []
    vllm.speak(SPOKEN)
    vllm.send("input_audio_buffer.commit", final=True)
    vllm.wait()
    assert set(types(vllm.events)) == {"session.created", "transcription.delta", "transcription.done"}
    spoken = "".join(event["delta"] for event in vllm.of("transcription.delta"))
    finished = vllm.one("transcription.done")
    assert spoken == finished["text"] == "Good morning."
    assert set(finished["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert "item_id" not in finished


def test_vllm_has_flat_errors() -> None:
    (error,) = talk("vllm").send("input_audio_buffer.commit")
    assert error["code"] == "input_audio_buffer_commit_empty"
    assert error["error"].startswith("The buffer must have at least 100 ms")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_server_speaks_each_dialect_over_a_socket(dialect: DialectName) -> None:
    with (
        RealtimeServer(Script([Turn(Say("Hello."))], dialect=dialect, speed=0)) as server,
        connect(server.url) as socket,
    ):
        received = [json.loads(socket.recv(timeout=5))]
        socket.send(json.dumps({"type": "response.create"}))
        while received[-1]["type"] != "response.done":
            received.append(json.loads(socket.recv(timeout=5)))
    assert received[0]["type"] == "session.created"
    assert [event for event in received if event["type"] == "response.created"]


def test_a_row_is_all_that_a_new_dialect_needs() -> None:
    row = Dialect(
        names={"response.done": "answer.finished"},
        omits=frozenset({"rate_limits.updated"}),
        moves={"response.done": [("response.usage.total_tokens", "cost.tokens"), ("response.metadata", None)]},
        requests={"response.create": [("say", "response.instructions")]},
        defaults={"response.create": {"response.metadata.made_by": "default", "response.instructions": "Be brief."}},
    )
    translate = Translator(row)
    event = {"type": "response.done", "response": {"usage": {"total_tokens": 7}, "metadata": {}}}
    assert translate(event) == {"type": "answer.finished", "response": {"usage": {}}, "cost": {"tokens": 7}}
    assert event["response"] == {"usage": {"total_tokens": 7}, "metadata": {}}, "the server's own event is unchanged"
    assert translate({"type": "rate_limits.updated"}) is None
    asked = request_of(row, {"type": "response.create", "say": "Hello."})
    assert asked["response"] == {"instructions": "Hello.", "metadata": {"made_by": "default"}}
