"""LangSmith's sampling applies to a whole conversation; one that is left out costs nothing."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langsmith import Client, traceable, tracing_context
from langsmith.run_trees import RunTree

from langsmith_realtime import Recording, SessionTracer, flush, wrap_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.delivery.langsmith_client import sampling
from langsmith_realtime.live.process import process
from langsmith_realtime.testing import RealtimeServer, tone
from tests.support.conversations import async_client, stored_trees, tracing_to


def sampling_client(collector: Collector, rate: float) -> Client:
    return Client(api_url=collector.url, api_key="k", tracing_sampling_rate=rate)


def event(number: int) -> dict[str, Any]:
    return {"type": "session.updated", "event_id": f"event_{number}", "session": {}}


@traceable
def look_up() -> str:
    return "found"


def converse(tracer: SessionTracer) -> None:
    """Holds a conversation with traced work of the caller's."""
    with tracing_context(enabled=True), tracer:
        look_up()
        tracer.server_event(event(0))
        tracer.record_user_audio(tone(1000, 0.05))
        look_up()
        with tracer.tool("call_1"):
            look_up()


def test_a_conversation_left_out_by_sampling_starts_no_worker_and_writes_no_files(
    collector: Collector, tmp_path: Path
) -> None:
    client = sampling_client(collector, 0)
    before, known = set(threading.enumerate()), dict(process().open)
    tracer = SessionTracer(client=client, enabled=True, recording=Recording(directory=tmp_path))
    assert process().open == known
    converse(tracer)
    begun = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [name for name in begun if name.startswith("langsmith-realtime")]
    assert not tracer.enabled
    assert flush(10)
    client.flush()
    assert list(tmp_path.iterdir()) == []
    assert collector.runs() == []


def test_the_sampling_rate_is_read_from_the_environment(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGSMITH_TRACING_SAMPLING_RATE", "0")
    with tracing_to(collector, monkeypatch):
        tracer = SessionTracer()
        converse(tracer)
        assert not tracer.enabled
        assert flush(10)
    assert collector.runs() == []


def test_a_conversation_and_the_callers_runs_below_it_are_sampled_together(collector: Collector) -> None:
    client = sampling_client(collector, 0.5)
    tracers = [SessionTracer(client=client, enabled=True, recording=False) for _ in range(40)]
    for tracer in tracers:
        converse(tracer)
    assert flush(10)
    client.flush()
    traces = stored_trees(collector)
    assert {trace.run.trace_id for trace in traces} == {tracer.trace_id for tracer in tracers if tracer.enabled}
    assert 0 < len(traces) < 40
    for trace in traces:
        assert trace.run.end_time is not None
        assert trace.shape() == (
            "realtime_session",
            ["look_up", ("session.updated", [("tool", ["look_up"]), "look_up"])],
        )


def test_a_nested_conversation_is_sampled_with_its_trace(collector: Collector) -> None:
    client = sampling_client(collector, 0.5)

    @traceable
    def call() -> bool:
        tracer = SessionTracer(client=client, enabled=True, recording=False)
        with tracer:
            tracer.server_event(event(0))
        return tracer.enabled

    with tracing_context(enabled=True, client=client):
        sampled = [call() for _ in range(30)]
    assert flush(10)
    client.flush()
    traces = stored_trees(collector)
    assert 0 < len(traces) == sum(sampled) < 30
    assert {str(trace.shape()) for trace in traces} == {"('call', [('realtime_session', ['session.updated'])])"}


def test_an_unsampled_connection_works_and_traced_work_in_its_tasks_is_left_out(
    collector: Collector,
) -> None:
    client = sampling_client(collector, 0)

    async def main() -> list[str]:
        with RealtimeServer() as server:
            manager = async_client(server).realtime.connect(model="gpt-realtime")
            async with manager as raw, wrap_realtime(raw, client=client, enabled=True) as connection:
                created = await connection.recv()
                await connection.session.update(session={"type": "realtime"})
                updated = await asyncio.wait_for(connection.recv(), 20)
                with tracing_context(enabled=True):
                    await asyncio.to_thread(look_up)
                connection.record_user_audio(b"\0\0")
            return [created.type, updated.type]

    assert asyncio.run(main()) == ["session.created", "session.updated"]
    assert flush(10)
    client.flush()
    assert collector.runs() == []


def test_work_after_an_unsampled_conversation_is_traced(collector: Collector) -> None:
    tracer = SessionTracer(client=sampling_client(collector, 0), enabled=True)
    everything = sampling_client(collector, 1)
    with tracer:
        pass
    tracer.close()
    tracer.server_event(event(0))  # after the end, without effect
    with tracing_context(enabled=True, client=everything):
        look_up()
    everything.flush()
    (root,) = stored_trees(collector)
    assert root.run.name == "look_up"


class RandomDrawClient(Client):
    """Samples as older clients do: draws for each root, and remembers the traces that it left out."""

    def __init__(self, *draws: bool) -> None:
        super().__init__(api_url="http://127.0.0.1:9", api_key="k", tracing_sampling_rate=0.5, info={})
        self.draws = list(draws)
        self._filtered_post_uuids: set[Any] = set()

    def _should_sample(self) -> bool:  # type: ignore[override]
        return self.draws.pop(0)

    def _filter_for_sampling(self, runs: Any, *, patch: bool = False) -> list[Any]:
        (run,) = runs
        left_out = run["trace_id"] in self._filtered_post_uuids
        if patch:
            self._filtered_post_uuids.discard(run["id"])
        elif not left_out and run["id"] == run["trace_id"] and not self._should_sample():
            self._filtered_post_uuids.add(run["trace_id"])
            left_out = True
        return [] if left_out else [run]


@pytest.mark.newest
@pytest.mark.parametrize("draw", [True, False])
def test_an_older_client_draws_once_for_a_conversation(draw: bool) -> None:
    client = RandomDrawClient(draw)
    root = RunTree(name="realtime_session", ls_client=client, id=uuid4())
    assert sampling.is_sampled(root) == draw
    assert sampling.is_left_out(root) != draw
    row = sampling.without_new_draw({"id": root.id, "trace_id": root.trace_id}, client)
    if draw:
        assert client._filter_for_sampling([row])  # raises IndexError if it draws again
    sampling.forget(root)
    assert not sampling.is_left_out(root)


@pytest.mark.newest  # older clients leave out the root of a replica, but not its children
def test_replicas_are_sampled_by_the_client(collector: Collector) -> None:
    client = sampling_client(collector, 0)
    tracer = SessionTracer(client=client, enabled=True, replicas=[{"project_name": "one"}, {"project_name": "two"}])
    assert tracer.enabled
    converse(tracer)
    assert flush(10)
    assert collector.runs() == []
