"""``opentelemetry-instrument`` and the instrumentor switch OpenTelemetry on, and never LangSmith."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.adapters.otel_instrumentor import RealtimeInstrumentor
from tests import ROOT
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import Providers, otlp_receiver

pytestmark = pytest.mark.newest


@pytest.fixture
def instrumentor() -> Iterator[RealtimeInstrumentor]:
    made = RealtimeInstrumentor()
    yield made
    if made.is_instrumented_by_opentelemetry:
        made.uninstrument()


def test_an_instrumented_process_shows_conversations_without_the_option(instrumentor: RealtimeInstrumentor) -> None:
    with otlp_receiver() as receiver:
        providers = Providers(receiver)
        instrumentor.instrument(tracer_provider=providers.tracer, preset="honeycomb", unknown=1)
        with SessionTracer() as tracer:
            talk.hold(tracer)
            assert tracer.url is None, "LangSmith is off"
        with SessionTracer(otel=False) as tracer:
            assert not tracer.enabled
        instrumentor.uninstrument()
        with SessionTracer() as tracer:
            assert not tracer.enabled
        assert flush(20)
        assert len(receiver.spans("realtime_session")) == 1
        providers.shutdown()


def test_the_entry_point_is_found() -> None:
    (found,) = entry_points(group="opentelemetry_instrumentor", name="langsmith_realtime")
    assert found.load() is RealtimeInstrumentor


PROGRAM = """
from langsmith_realtime import SessionTracer
from tests.support import otel_conversation as talk
with SessionTracer() as tracer:
    talk.hold(tracer)
"""


@pytest.mark.parametrize("disabled", [False, True])
def test_opentelemetry_instrument_finds_it_and_leaves_everything_at_exit(disabled: bool) -> None:
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    with otlp_receiver() as receiver:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "PYTHONPATH": str(ROOT),
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.base_url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_METRICS_EXPORTER": "none",
        }
        if disabled:
            environment["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = "langsmith_realtime"
        done = subprocess.run(
            [str(command), sys.executable, "-c", PROGRAM],
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(receiver.spans("chat")) == (0 if disabled else 2), done.stderr
        assert receiver.orphans() == []
