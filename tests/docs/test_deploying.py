"""The recipes of docs/deploying.md do what they are for: every snippet runs as it stands."""

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
from langsmith_realtime.delivery import sender
from tests import ROOT
from tests.support.conversations import stored_trees
from tests.support.snippets import snippet

pytestmark = pytest.mark.unmeasured

HANDLER = snippet("docs/deploying.md", "def handler")
LIFESPAN = snippet("docs/deploying.md", "def lifespan")
CELERY = snippet("docs/deploying.md", "celery")
SIGTERM = snippet("docs/deploying.md", "signal.SIGTERM")


def talk() -> None:
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "event_id": "event_0"})


def assert_delivered(collector: Collector, count: int = 1) -> None:
    """So many conversations have arrived, whole."""
    roots = stored_trees(collector)
    assert [root.names() for root in roots] == [["session.created"]] * count
    assert all(root.run.end_time is not None for root in roots)


@pytest.fixture
def patient(tracing: Collector, monkeypatch: pytest.MonkeyPatch) -> Collector:
    """Nothing is sent before somebody waits for it."""
    monkeypatch.setattr(sender, "BATCH_WAIT_S", 60.0)
    return tracing


def test_a_function_that_freezes_has_delivered_when_it_returns(patient: Collector) -> None:
    names: dict[str, Any] = {"answer": lambda _: talk()}
    exec(HANDLER, names)
    names["handler"]({}, None)
    assert_delivered(patient)


def test_a_server_has_delivered_when_its_lifespan_ends(patient: Collector) -> None:
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
    assert_delivered(patient)


def test_a_celery_worker_has_delivered_when_its_process_shuts_down(
    patient: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    receivers: list[Callable[..., None]] = []
    # Celery is no dependency of the tests; its signals are called by keyword.
    signals = types.SimpleNamespace(worker_process_shutdown=types.SimpleNamespace(connect=receivers.append))
    for name, module in (("celery", types.ModuleType("celery")), ("celery.signals", signals)):
        monkeypatch.setitem(sys.modules, name, module)
    exec(CELERY, {"langsmith_realtime": langsmith_realtime})
    talk()
    (deliver,) = receivers
    deliver(sender=None, signal=signals.worker_process_shutdown, pid=os.getpid(), exitcode=0)
    assert_delivered(patient)


# Processes

PRELUDE = """
import asyncio, multiprocessing, os, signal, sys, time
from contextlib import asynccontextmanager
import langsmith_realtime
from langsmith_realtime import SessionTracer
from langsmith_realtime.delivery import sender
sender.BATCH_WAIT_S = 60.0  # nothing is sent before somebody waits for it
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


def test_a_signal_that_is_made_an_exit_delivers(tracing: Collector) -> None:
    # A signal that arrives just before a sleep does not end it: many short ones.
    code = SIGTERM + "talk()\nprint('talked', flush=True)\nwhile True: time.sleep(0.05)"
    with process(code) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "talked\n"
        running.terminate()
        assert running.wait(20) == 0
    assert_delivered(tracing)


def test_children_of_a_preloaded_application_deliver_when_they_return(tracing: Collector) -> None:
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
    assert_delivered(tracing, count=3)


@pytest.mark.newest
def test_uvicorn_ends_by_the_signal_and_has_delivered(tracing: Collector) -> None:
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
    while not server.started:
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving
asyncio.run(serve())
"""
    with process(code) as running:
        assert running.stdout is not None
        port = running.stdout.readline().strip()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as response:
            assert response.read() == b"talked"
        running.terminate()
        assert running.wait(20) == -signal.SIGTERM
    assert_delivered(tracing)
