"""Every snippet of docs/deploying.md runs unchanged, and the traces are sent when the page says."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import types
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

import langsmith_realtime
from langsmith_realtime import SessionTracer
from langsmith_realtime.collector import Collector
from langsmith_realtime.options.limits import Limits
from tests import ROOT
from tests.support.conversations import stored_trees
from tests.support.snippets import snippet

pytestmark = pytest.mark.nocover

HANDLER = snippet("docs/deploying.md", "def handler")
LIFESPAN = snippet("docs/deploying.md", "def lifespan")
CELERY = snippet("docs/deploying.md", "celery")
SIGTERM = snippet("docs/deploying.md", "signal.SIGTERM")


def talk() -> None:
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "event_id": "event_0"})


def assert_sent(collector: Collector, count: int = 1) -> None:
    """Asserts that the collector has `count` complete conversations."""
    roots = stored_trees(collector)
    assert [root.names() for root in roots] == [["session.created"]] * count
    assert all(root.run.end_time is not None for root in roots)


@pytest.fixture
def sends_on_flush(tracing: Collector, monkeypatch: pytest.MonkeyPatch, limits: Limits) -> Collector:
    """Delays sending for a minute, so that only a flush sends the traces."""
    monkeypatch.setattr(limits, "request_wait_s", 60.0)
    return tracing


def test_a_serverless_function_sends_its_trace_before_it_returns(sends_on_flush: Collector) -> None:
    names: dict[str, Any] = {"answer": lambda _: talk()}
    exec(HANDLER, names)
    names["handler"]({}, None)
    assert_sent(sends_on_flush)


def test_a_server_sends_its_traces_before_its_lifespan_ends(sends_on_flush: Collector) -> None:
    names: dict[str, Any] = {
        "asynccontextmanager": asynccontextmanager,
        "asyncio": asyncio,
        "langsmith_realtime": langsmith_realtime,
    }
    exec(LIFESPAN, names)

    async def serve() -> None:
        async with names["lifespan"](None):
            talk()

    asyncio.run(serve())
    assert_sent(sends_on_flush)


def test_a_celery_worker_sends_its_traces_before_its_process_shuts_down(
    sends_on_flush: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    receivers: list[Callable[..., None]] = []
    # Celery is not installed. It calls the receivers of its signals with keyword arguments.
    signals = types.SimpleNamespace(worker_process_shutdown=types.SimpleNamespace(connect=receivers.append))
    for name, module in (("celery", types.ModuleType("celery")), ("celery.signals", signals)):
        monkeypatch.setitem(sys.modules, name, module)
    exec(CELERY, {"langsmith_realtime": langsmith_realtime})
    talk()
    (deliver,) = receivers
    deliver(sender=None, signal=signals.worker_process_shutdown, pid=os.getpid(), exitcode=0)
    assert_sent(sends_on_flush)


# Processes

PRELUDE = """
import asyncio, multiprocessing, os, signal, sys, time
from contextlib import asynccontextmanager
import langsmith_realtime
from langsmith_realtime import SessionTracer
from langsmith_realtime.live.process import process
process().limits.request_wait_s = 60.0  # so that only a flush sends the traces
def talk(number=0):
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "event_id": "event_0"})
"""


@contextmanager
def process(code: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PRELUDE + code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def test_a_process_that_exits_on_sigterm_sends_its_traces(tracing: Collector) -> None:
    # Short sleeps, because a signal just before a sleep does not end it.
    code = SIGTERM + "talk()\nprint('talked', flush=True)\nwhile True: time.sleep(0.05)"
    with process(code) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "talked\n"
        running.terminate()
        assert running.wait(20) == 0
    assert_sent(tracing)


def test_forked_children_send_their_traces_before_they_exit(tracing: Collector) -> None:
    code = """
forks = multiprocessing.get_context("fork")
child = forks.Process(target=talk)
child.start()
child.join()
pool = forks.Pool(2)
pool.map(talk, range(2), chunksize=1)
pool.close()
pool.join()
"""
    with process(code) as running:
        _, errors = running.communicate(timeout=30)
        assert running.returncode == 0, errors
    assert_sent(tracing, count=3)


@pytest.mark.newest
def test_uvicorn_sends_its_traces_before_it_ends_on_sigterm(tracing: Collector) -> None:
    code = f"""
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
{LIFESPAN}
def call(_):
    talk()
    return PlainTextResponse("talked")
application = Starlette(routes=[Route("/", call)], lifespan=lifespan)
server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error"))
async def serve():
    serving = asyncio.ensure_future(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving
asyncio.run(serve())
"""
    with process(code) as running:
        assert running.stdout is not None
        port = running.stdout.readline().strip()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
            assert response.read() == b"talked"
        running.terminate()
        assert running.wait(20) == -signal.SIGTERM
    assert_sent(tracing)
