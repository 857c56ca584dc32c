"""After a kill, a recovery exports the whole conversation with the ids that its spans had."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from langsmith import Client
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from langsmith_realtime import Otel, SessionTracer
from langsmith_realtime.collector import Collector
from langsmith_realtime.journal.recovery import Fate, recover
from langsmith_realtime.journal.state_directory import state_directory
from tests import ROOT
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers, ReceivedSpan

pytestmark = pytest.mark.newest

ERROR = 2

#: Holds a conversation up to a step, and dies.
PROGRAM = """
import os, signal, sys, time
from langsmith_realtime import SessionTracer
from langsmith_realtime.live.process import process
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers

url, last, is_exported = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "exported"
providers = Providers(OtlpReceiver(url), delay_ms=60_000)
tracer = SessionTracer(otel=providers.otel(content=True), enabled=True, thread_id="call-7")
steps = [
    lambda: tracer.server_event(talk.SESSION),
    lambda: talk.speaks(tracer),
    lambda: talk.begins(tracer, "resp_1"),
    lambda: talk.calls(tracer),
    lambda: talk.ends(tracer, "resp_1", talk.CALL),
    lambda: talk.answers(tracer),
    lambda: talk.begins(tracer, "resp_2"),
    lambda: talk.ends(tracer, "resp_2", talk.says(tracer, "resp_2", "It is 21 degrees.")),
    lambda: tracer.server_event({"type": "rate_limits.updated", "rate_limits": []}),
    lambda: tracer.close(),
]
for step in steps[:last]:
    step()
    time.sleep(0.01)
assert process().worker.catch_up().wait(50)
time.sleep(0.2)  # the journal has what is older than 100 ms
if is_exported:
    providers.tracer.force_flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def die(receiver: OtlpReceiver, collector: Collector, last: int, how: str = "exported") -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LANGSMITH_ENDPOINT": "http://127.0.0.1:1",  # LangSmith acknowledges nothing, so that the journal stays
        "LANGSMITH_API_KEY": "key",
    }
    arguments = [sys.executable, "-c", PROGRAM, receiver.base_url, str(last), how]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -9, done.stderr
    # The same destination for the recovery, which the collector stands for.
    for path in state_directory().glob("*/journal.jsonl"):
        text = path.read_text("utf-8")
        path.write_text(text.replace("http://127.0.0.1:1", collector.url), "utf-8")


def recovered(receiver: OtlpReceiver, collector: Collector) -> None:
    client = Client(api_url=collector.url, api_key="key", auto_batch_tracing=False)
    make = lambda: OTLPSpanExporter(f"{receiver.base_url}/v1/traces")  # noqa: E731
    assert [found.fate for found in recover(client, otel=Otel(recover_with=make))] == [Fate.COMPLETED]


def latest(receiver: OtlpReceiver) -> list[ReceivedSpan]:
    """The spans, each as it arrived last, in the order of their starts."""
    return sorted({span.span_id: span for span in receiver.all_spans}.values(), key=lambda span: span.start)


@pytest.mark.parametrize(
    ("last", "how"),
    [
        *((last, "exported") for last in (1, 3, 5, 7, 9)),
        *((last, "not exported") for last in (2, 4, 6, 9, 10)),
    ],
)
def test_after_a_kill_at_any_step_the_receiver_has_the_whole_conversation(
    last: int, how: str, receiver: OtlpReceiver, collector: Collector
) -> None:
    die(receiver, collector, last, how)
    before = [span.span_id for span in receiver.all_spans]
    assert bool(before) is (last == 10 or (how == "exported" and last > 1)), "the end of a conversation is exported"
    recovered(receiver, collector)
    spans = latest(receiver)
    assert set(before) <= {span.span_id for span in spans}, "a span that had arrived keeps its id"
    assert receiver.orphans() == []
    names: dict[str, list[ReceivedSpan]] = defaultdict(list)
    for span in spans:
        names[span.name.split()[0]].append(span)
    assert len(names["realtime_session"]) == 1
    assert len(names["user_speech"]) == (1 if last >= 2 else 0)
    assert len(names["chat"]) == (0 if last < 3 else 1 if last < 7 else 2)
    assert len(names["execute_tool"]) == (1 if last >= 4 else 0)
    assert len({span.trace_id for span in spans}) == 1
    if last == 10:
        assert len(spans) == len(receiver.all_spans), "what was exported after the end is not exported again"
    (session,) = names["realtime_session"]
    if last < 10:
        assert session.status == (ERROR, "the process died during the conversation")
    if 3 <= last < 5:
        assert names["chat"][0].status[0] == ERROR, "what had not ended ended with an error"
    if 4 <= last < 6:
        assert names["execute_tool"][0].status == (ERROR, "the process died before the end")
    if last >= 9:
        assert "21 degrees" in names["chat"][-1].attributes["gen_ai.output.messages"]


def test_a_span_that_arrives_twice_is_the_same_span(receiver: OtlpReceiver, collector: Collector) -> None:
    die(receiver, collector, 9)
    recovered(receiver, collector)
    by_id: dict[str, list[ReceivedSpan]] = defaultdict(list)
    for span in receiver.all_spans:
        by_id[span.span_id].append(span)
    assert [copies[0].name for copies in by_id.values() if len(copies) != 2] == ["realtime_session"]
    for first, second in (copies for copies in by_id.values() if len(copies) == 2):
        for name in ("name", "trace_id", "parent_id", "kind", "attributes", "events", "status", "links"):
            assert getattr(first, name) == getattr(second, name), (first.name, name)
        assert abs(first.start - second.start) < 1_000_000
        assert abs(first.end - second.end) < 1_000_000


def test_without_an_exporter_it_is_said_and_the_runs_are_completed(
    receiver: OtlpReceiver, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    die(receiver, collector, 9, "not exported")
    client = Client(api_url=collector.url, api_key="key", auto_batch_tracing=False)
    with caplog.at_level(logging.WARNING, "langsmith_realtime"):
        assert [found.fate for found in recover(client)] == [Fate.COMPLETED]
    assert "set OTEL_EXPORTER_OTLP_ENDPOINT, or pass Otel(recover_with=)" in caplog.text
    assert len(collector.runs()) > 5


def test_the_environments_exporter_is_used(
    receiver: OtlpReceiver, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    die(receiver, collector, 9, "not exported")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.base_url)
    client = Client(api_url=collector.url, api_key="key", auto_batch_tracing=False)
    assert [found.fate for found in recover(client)] == [Fate.COMPLETED]
    assert len(receiver.spans("chat")) == 2


def test_a_conversation_that_ended_and_was_exported_leaves_no_journal(
    tracing: Collector, providers: Providers, receiver: OtlpReceiver
) -> None:
    with SessionTracer(otel=providers.otel()) as tracer:
        talk.hold(tracer)
    talk.arrive(providers)
    assert [path for path in Path(state_directory()).iterdir() if path.is_dir()] == []
    assert len(receiver.spans("realtime_session")) == 1


def test_recover_with_must_be_a_function() -> None:
    with pytest.raises(TypeError, match=r"Otel\.recover_with must be a function"):
        Otel(recover_with=5)  # type: ignore[arg-type]
