"""The model server and the destination of the trace: in the cloud if an API key is set, else on this machine."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai import AsyncOpenAI

from demo.speech import line
from langsmith_realtime.collector import Collector
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from langsmith_realtime import SessionTracer
    from langsmith_realtime.collector.records import StoredRun

PROJECT = "langsmith-realtime-demo"


@dataclass(frozen=True)
class Model:
    """The client to connect with, and the model's name on the screen."""

    client: AsyncOpenAI
    name: str


@contextmanager
def connected_model() -> Iterator[Model]:
    """Yields OpenAI if OPENAI_API_KEY is set, else the bundled Realtime server."""
    if os.environ.get("OPENAI_API_KEY"):
        yield Model(AsyncOpenAI(), "OpenAI")
        return
    with RealtimeServer(bundled_script(), keep_frames=False) as server:
        _bypass_proxies()
        client = AsyncOpenAI(api_key="unused", base_url=server.base_url, websocket_base_url=server.websocket_base_url)
        yield Model(client, "the bundled model (OPENAI_API_KEY is not set)")


def bundled_script() -> Script:
    """The bundled agent's side of the conversation, and the transcripts it returns for the user's turns."""
    return Script(
        turns=[
            Turn(_say("agent-greeting")),
            Turn(Call("lookup_weather", {"city": "Paris"}), think=0.2),
            Turn(_say("agent-paris"), think=0.2),
            Turn(Call("lookup_weather", {"city": "London"}), think=0.2),
            Turn(_say("agent-london"), think=0.2),
            Turn(_say("agent-goodbye"), Call("hang_up"), think=0.2),
        ],
        afterwards=Turn(Call("hang_up")),
        user_transcripts=[line(name).text for name in ("user-paris", "user-london", "user-goodbye")],
        chunk_ms=(100, 140),  # long enough that each chunk arrives before the previous one has been played
        speed=2.0,  # slow enough that the barge-in cancels a reply that is still being generated
    )


def _say(name: str) -> Say:
    spoken = line(name)
    return Say(spoken.text, audio=spoken.pcm)


class TraceStore:
    """The destination of the trace: LangSmith, or the local `collector` if there is one."""

    def __init__(self, name: str, collector: Collector | None = None) -> None:
        self.name = name
        self._collector = collector

    def runs(self, trace_id: str) -> list[StoredRun]:
        """Returns the runs of a trace in the local collector; an empty list if the trace went to LangSmith."""
        return self._collector.runs(trace_id) if self._collector else []

    def location(self, tracer: SessionTracer) -> str:
        """Returns the trace's URL, or its id and its store. Blocks, because the URL is requested from LangSmith."""
        url = None if self._collector else tracer.url
        return url or f"{tracer.trace_id} in {self.name}"


@contextmanager
def trace_store(directory: Path) -> Iterator[TraceStore]:
    """Yields LangSmith if LANGSMITH_API_KEY is set, else a local collector that stores its data in `directory`.

    It sets environment variables that the langsmith package reads, so enter it before the first run is created.
    """
    os.environ.setdefault("LANGSMITH_PROJECT", PROJECT)
    os.environ["LANGSMITH_TRACING"] = "true"
    if os.environ.get("LANGSMITH_API_KEY"):
        yield TraceStore("LangSmith")
        return
    with Collector(directory, state=state_directory()) as collector:
        _bypass_proxies()
        os.environ |= {"LANGSMITH_ENDPOINT": collector.url, "LANGSMITH_API_KEY": "local"}
        yield TraceStore(f"the local collector in {directory} (LANGSMITH_API_KEY is not set)", collector)


def _bypass_proxies() -> None:
    """Adds this machine to NO_PROXY, so that local servers are reached where a proxy is configured."""
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
