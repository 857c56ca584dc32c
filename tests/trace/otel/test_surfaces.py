"""One script through every way to trace gives one tree of spans."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlsplit

import pytest

from langsmith_realtime import flush
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn, silence, speech_like
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers
from tests.support.surfaces import SURFACES, After, Client, Part, Surface

pytestmark = pytest.mark.newest

SCRIPT = Script([Turn(Call("look_up", {"city": "Paris"}, call_id="call_1")), Turn(Say("Sunny."))], speed=0, seed=1)
TREE = [("realtime_session", ["user_speech", ("chat gpt-realtime", ["execute_tool look_up"]), "chat gpt-realtime"])]


def append(pcm: bytes) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}


RESULT = {"type": "function_call_output", "call_id": "call_1", "output": "sunny"}
PART = Part(
    opening=[append(speech_like("How is it in Paris?", 0.3)), append(silence(0.6))],
    replies=[
        After("response.done", [{"type": "conversation.item.create", "item": RESULT}, {"type": "response.create"}])
    ],
    until=("response.done", 2),
)


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)
def test_every_way_to_trace_gives_the_tree_that_the_page_describes(
    surface: Surface, providers: Providers, receiver: OtlpReceiver
) -> None:
    client = Client(PART)
    with RealtimeServer(SCRIPT) as server:
        address = {"server.address": "127.0.0.1", "server.port": urlsplit(server.url).port}
        surface.talk(server, client, otel=providers.otel(content=True), langsmith=False, thread_id="call-7")
    assert flush(20)
    talk.arrive(providers)
    assert receiver.shape() == TREE
    assert receiver.orphans() == []
    tool = receiver.the_span("execute_tool")
    assert tool.attributes["gen_ai.tool.call.result"] == "sunny"
    speech, (first, second) = receiver.the_span("user_speech"), receiver.spans("chat")
    assert speech.start <= speech.end, "sent at once, the audio has the time of its sending"
    assert first.start <= tool.start <= tool.end
    assert first.end <= second.end
    is_known = not surface.name.startswith("tracer_")  # a SessionTracer does not see the socket
    for span in (receiver.the_span("realtime_session"), first, second):
        assert (address.items() <= span.attributes.items()) is is_known
    measured = receiver.point("gen_ai.client.operation.duration", gen_ai__operation__name="chat")
    assert (address.items() <= measured.attributes.items()) is is_known
