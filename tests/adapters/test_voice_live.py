"""A conversation over azure-ai-voicelive's own connection is traced as the same frames on a plain socket would be.

Marked `beside`: azure-ai-voicelive is in an environment of its own. ``make beside`` runs it.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import logging
from typing import Any, Self

import pytest

from langsmith_realtime import SessionTracer
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Call, Close, Drop, RealtimeServer, Say, Script, Turn, tone
from tests.support.conversations import Node, the_tree, trees

pytestmark = pytest.mark.beside

RATE = 16_000
KEY, TOKEN = "0123456789abcdef0123456789ABCDEF", "eyJhbGciOiJub25lIn0.eyJhdWQiOiJ0ZXN0In0.c2lnbmVk"
TALK = Script(
    [
        Turn(Say("One moment."), Call("read_compass", {"precise": True})),
        Turn(Say("Straight ahead.")),
        Turn(Say("Goodbye.")),
    ],
    user_transcripts=["Which way is north?"],
    speed=20,
    dialect="voice_live",
)


class Token:
    """An asynchronous credential that hands out one token."""

    async def get_token(self, *_scopes: str, **_options: Any) -> Any:
        return importlib.import_module("azure.core.credentials").AccessToken(TOKEN, 2**31)

    async def close(self) -> None: ...

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


class Talk:
    """The user speaks, the agent calls a tool, the user thanks: everything is sent in the package's own types."""

    def __init__(self, tracer: SessionTracer) -> None:
        self._models = importlib.import_module("azure.ai.voicelive.models")
        self._tracer = tracer
        self._call_id = ""
        self._answers = 0

    async def over(self, server: RealtimeServer, credential: Any) -> None:
        connect = importlib.import_module("azure.ai.voicelive.aio").connect
        endpoint = f"http://127.0.0.1:{server.port}"
        async with connect(endpoint=endpoint, credential=credential, model="gpt-realtime") as connection:
            send = connection.send

            async def traced_send(event: Any) -> None:
                await send(event)
                self._tracer.client_event(event)

            connection.send = traced_send
            async for event in connection:
                self._tracer.server_event(event)
                await self._answer(connection, event)

    async def _answer(self, connection: Any, event: Any) -> None:
        models = self._models
        if event.type == "session.created":
            session = models.RequestSession(
                modalities=[models.Modality.TEXT, models.Modality.AUDIO],
                instructions="Be kind.",
                voice=models.AzureStandardVoice(name="en-US-AvaNeural"),
                input_audio_format=models.InputAudioFormat.PCM16,
                input_audio_sampling_rate=RATE,
                input_audio_transcription=models.AudioInputTranscriptionOptions(model="azure-speech"),
                turn_detection=models.ServerVad(),
                tools=[models.FunctionTool(name="read_compass", parameters={"type": "object", "properties": {}})],
            )
            await connection.session.update(session=session)
        elif event.type == "session.updated":
            chunk = base64.b64encode(tone(300, 0.2, RATE)).decode()
            for _ in range(5):
                await connection.input_audio_buffer.append(audio=chunk)
            await connection.input_audio_buffer.commit()
            await connection.response.create()
        elif event.type == "response.function_call_arguments.done":
            self._call_id = event.call_id
        elif event.type == "response.done":
            self._answers += 1
            if self._answers == 1:
                found = models.FunctionCallOutputItem(call_id=self._call_id, output='{"north": "ahead"}')
                await connection.conversation.item.create(item=found)
                await connection.response.create()
            elif self._answers == 2:
                thanks = models.UserMessageItem(content=[models.InputTextContentPart(text="Thanks.")])
                await connection.conversation.item.create(item=thanks)
                await connection.response.create(response={"instructions": "Say goodbye."})
            else:
                await connection.close()


def facts(root: Node) -> Any:
    """What must not depend on the kind of connection: runs, words, tokens, and where the sound came from."""
    runs = [(each.run.name, each.run.inputs, each.run.outputs) for each in root.children if each.run.name != "model"]
    numbers = {name: count for name, count in root.metadata.items() if "tokens" in name or "source" in name}
    messages = [(each["role"], each["content"]) for each in (root.run.outputs or {})["messages"]]
    return runs, numbers, messages, root.run.inputs, root["model"].metadata["ls_model_name"]


@pytest.mark.parametrize("credential", ["key", "token"])
def test_typed_events_give_the_trace_that_their_frames_would_give(
    tracing: Collector, credential: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="langsmith_realtime")
    credentials = importlib.import_module("azure.core.credentials")
    given = credentials.AzureKeyCredential(KEY) if credential == "key" else Token()
    with RealtimeServer(TALK) as server:
        with SessionTracer(metadata={"ls_provider": "azure"}) as tracer:
            asyncio.run(Talk(tracer).over(server, given))
        frames = sorted([*server.sent, *server.received], key=lambda frame: frame.at)
    with SessionTracer(metadata={"ls_provider": "azure"}) as tracer:
        for frame in frames:
            (tracer.server_event if frame.direction == "server" else tracer.client_event)(frame.raw)

    typed, plain = trees(tracing)
    assert facts(typed)[1:] == facts(plain)[1:]
    received = len(typed.children)  # the client hangs up, so the server's last frames may be unread
    assert facts(typed)[0] == facts(plain)[0][: len(facts(typed)[0])]
    assert received > 30
    assert facts(typed)[2][0] == ("user", "Which way is north?")
    assert typed["read_compass"].run.outputs == plain["read_compass"].run.outputs
    assert typed.metadata["recording_source_user"] == "sent"
    assert "undecodable_audio" not in typed.metadata
    traced = repr([(run.inputs, run.outputs, run.error, run.metadata) for run in tracing.runs()])
    for place in (traced, caplog.text):
        assert KEY not in place
        assert TOKEN not in place


def test_a_broken_connection_ends_the_iteration_and_the_trace_has_what_was_received(tracing: Collector) -> None:
    credentials = importlib.import_module("azure.core.credentials")
    script = Script([Turn(Say("One"), Drop())], speed=20, dialect="voice_live")
    with RealtimeServer(script) as server, SessionTracer() as tracer:
        asyncio.run(Talk(tracer).over(server, credentials.AzureKeyCredential(KEY)))
    root = the_tree(tracing)
    assert "response.created" in root.names()
    assert root.run.end_time is not None


def test_an_end_that_recv_raises_is_the_error_of_the_root(tracing: Collector) -> None:
    aio = importlib.import_module("azure.ai.voicelive.aio")
    credential = importlib.import_module("azure.core.credentials").AzureKeyCredential(KEY)
    script = Script([Turn(Say("One"), then=[Close(1011)])], speed=20, dialect="voice_live")

    async def talk(server: RealtimeServer) -> None:
        endpoint = f"http://127.0.0.1:{server.port}"
        async with aio.connect(endpoint=endpoint, credential=credential, model="gpt-realtime") as connection:
            with SessionTracer() as tracer:
                await connection.response.create()
                while True:
                    tracer.server_event(await connection.recv())

    with RealtimeServer(script) as server, pytest.raises(aio.ConnectionClosed):
        asyncio.run(talk(server))
    assert "1011" in str(the_tree(tracing).run.error)
