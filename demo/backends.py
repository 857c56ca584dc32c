"""Who the demo talks to, and where its trace goes: the cloud with a key, this machine without."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from openai import AsyncOpenAI

from demo.bundled import script
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import RealtimeServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from langsmith_realtime import SessionTracer
    from langsmith_realtime.collector.records import StoredRun

PROJECT = "langsmith-realtime-demo"


@dataclass(frozen=True)
class Model:
    """The client to connect with, and what to call the other side."""

    client: AsyncOpenAI
    name: str


@contextmanager
def model() -> Iterator[Model]:
    """OpenAI with OPENAI_API_KEY, else the bundled Realtime server."""
    if os.environ.get("OPENAI_API_KEY"):
        yield Model(AsyncOpenAI(), "OpenAI")
        return
    with RealtimeServer(script(), keep_frames=False) as server:
        _bypass_proxies()
        client = AsyncOpenAI(api_key="unused", base_url=server.base_url, websocket_base_url=server.websocket_base_url)
        yield Model(client, "the bundled model (no OPENAI_API_KEY)")


class Traces:
    """Where the trace goes: LangSmith, or a local collector when there is one."""

    def __init__(self, name: str, collector: Collector | None = None) -> None:
        self.name = name
        self._collector = collector

    def runs(self, trace_id: str) -> list[StoredRun]:
        """The trace's runs; none when they are in the cloud."""
        return self._collector.runs(trace_id) if self._collector else []

    def place(self, tracer: SessionTracer) -> str:
        """Where to look for the trace. Asks LangSmith for it, so it blocks."""
        url = None if self._collector else tracer.url
        return url or f"{tracer.trace_id} in {self.name}"


@contextmanager
def traces(directory: Path) -> Iterator[Traces]:
    """LangSmith with LANGSMITH_API_KEY, else a local collector that keeps its store in `directory`.

    Sets the environment that the langsmith package reads; enter it before anything is traced.
    """
    os.environ.setdefault("LANGSMITH_PROJECT", PROJECT)
    os.environ["LANGSMITH_TRACING"] = "true"
    if os.environ.get("LANGSMITH_API_KEY"):
        yield Traces("LangSmith")
        return
    with Collector(directory) as collector:
        _bypass_proxies()
        os.environ |= {"LANGSMITH_ENDPOINT": collector.url, "LANGSMITH_API_KEY": "local"}
        yield Traces(f"the local collector in {directory} (no LANGSMITH_API_KEY)", collector)


def _bypass_proxies() -> None:
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
