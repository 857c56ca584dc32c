"""After a kill, a recovery exports the whole conversation with the ids that its spans and log records had."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from langsmith import Client
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from langsmith_realtime import Otel, SessionTracer
from langsmith_realtime.cli.main import main
from langsmith_realtime.collector import Collector
from langsmith_realtime.journal.recovery import Fate, recover
from langsmith_realtime.journal.state_directory import folders, state_directory
from tests import ROOT
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers, ReceivedRecord, ReceivedSpan
from tests.support.preloaded import PreloadedProcess, preloaded_process
from tests.support.processes import unix_only

pytestmark = pytest.mark.newest

ERROR = 2
ALONE = "without LangSmith"
BESIDE = "beside LangSmith"

BEGIN = """
import os, signal, sys, time
from langsmith import Client
from langsmith_realtime import SessionTracer
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.live.process import process
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers

def refuse(*_, **__):
    raise AssertionError("a client of LangSmith was made")

url, place, content = sys.argv[1], sys.argv[2], sys.argv[3] == "content"
is_alone = place == "without LangSmith"
if is_alone:
    Client.__init__ = refuse
options = {"langsmith": False} if is_alone else {"enabled": True}
"""

#: Holds a conversation up to a step, and dies.
PROGRAM = (
    BEGIN
    + """
last, is_exported = int(sys.argv[4]), sys.argv[5] == "exported"
providers = Providers(OtlpReceiver(url), delay_ms=60_000)
tracer = SessionTracer(otel=providers.otel(content=content), thread_id="call-7", metadata={"plan": "gold"}, **options)
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
(journal,) = state_directory().glob("*/journal.jsonl")
while last == len(steps) and '"ack":"otel"' not in journal.read_text("utf-8"):
    time.sleep(0.01)  # a thread exports the end of a conversation
if is_exported:
    providers.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
)

#: Holds a conversation of many responses, each of which is over at once, until it is killed.
FOREVER = (
    BEGIN
    + """
providers = Providers(OtlpReceiver(url), delay_ms=20)
tracer = SessionTracer(otel=providers.otel(content=content), thread_id="call-7", **options)
tracer.server_event(talk.SESSION)
assert process().worker.catch_up().wait(50)
number = 0
while True:
    number += 1
    began = time.time()
    talk.begins(tracer, f"resp_{number}")
    talk.ends(tracer, f"resp_{number}", talk.CALL)
    print(began, flush=True)
    time.sleep(0.02)
"""
)


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LANGSMITH_ENDPOINT": "http://127.0.0.1:1",  # LangSmith acknowledges nothing, so that the journal stays
        "LANGSMITH_API_KEY": "key",
    }


def die(
    preloaded: PreloadedProcess,
    receiver: OtlpReceiver,
    last: int,
    how: str = "exported",
    *,
    place: str = ALONE,
    content: str = "content",
) -> None:
    arguments = (receiver.base_url, place, content, str(last), how)
    code, errors = preloaded.run(PROGRAM, *arguments, environment=environment())
    assert code == -9, errors


def recovered(receiver: OtlpReceiver, providers: Providers, place: str, collector: Collector) -> None:
    """Recovers the conversations, which must be one."""
    make = lambda: OTLPSpanExporter(f"{receiver.base_url}/v1/traces")  # noqa: E731
    otel = Otel(recover_with=make, logger_provider=providers.logger)
    client = None
    if place == BESIDE:
        client = Client(api_url=collector.url, api_key="key", auto_batch_tracing=False)
        for path in state_directory().glob("*/journal.jsonl"):  # the collector stands for the endpoint
            path.write_text(path.read_text("utf-8").replace("http://127.0.0.1:1", collector.url), "utf-8")
    assert [found.fate for found in recover(client, otel=otel)] == [Fate.COMPLETED]
    assert folders(state_directory()) == []


def latest(receiver: OtlpReceiver) -> list[ReceivedSpan]:
    """The spans, each as it arrived last, in the order of their starts."""
    return sorted({span.span_id: span for span in receiver.all_spans}.values(), key=lambda span: span.start)


def record_id(record: ReceivedRecord) -> str:
    return str(record.attributes["log.record.uid"])


@pytest.fixture(scope="module")
def preloaded() -> Iterator[PreloadedProcess]:
    with preloaded_process() as running:
        yield running


@pytest.fixture
def _no_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test if a client of LangSmith is made."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a client of LangSmith was made")

    monkeypatch.setattr(Client, "__init__", refuse)


@pytest.mark.parametrize(
    ("last", "how", "place"),
    [
        (1, "exported", ALONE),
        (2, "not exported", BESIDE),
        (3, "exported", ALONE),
        (4, "not exported", ALONE),
        (5, "exported", BESIDE),
        (6, "not exported", ALONE),
        (7, "exported", ALONE),
        (9, "exported", BESIDE),
        (9, "not exported", ALONE),
        (10, "not exported", BESIDE),
    ],
)
def test_after_a_kill_at_any_step_the_receiver_has_the_whole_conversation(
    last: int,
    how: str,
    place: str,
    preloaded: PreloadedProcess,
    receiver: OtlpReceiver,
    providers: Providers,
    collector: Collector,
) -> None:
    die(preloaded, receiver, last, how, place=place)
    before = [span.span_id for span in receiver.all_spans]
    assert bool(before) is (last == 10 or (how == "exported" and last > 1)), "the end of a conversation is exported"
    recovered(receiver, providers, place, collector)
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
    records = {record_id(record): record for record in receiver.records}
    kinds = Counter(record.event_name for record in records.values())
    assert kinds["gen_ai.client.realtime_session.started"] == kinds["gen_ai.client.realtime_session.ended"] == 1
    assert kinds["openai.realtime.response.done"] == (0 if last < 5 else 1 if last < 8 else 2)
    ids = {span.span_id for span in spans}
    assert {record.span_id for record in records.values()} <= ids, "each record stands in a span that arrived"


@unix_only
@pytest.mark.parametrize(("place", "content"), [(BESIDE, "content"), (ALONE, "content"), (ALONE, "no content")])
def test_what_arrives_twice_is_equal(
    place: str,
    content: str,
    preloaded: PreloadedProcess,
    receiver: OtlpReceiver,
    providers: Providers,
    collector: Collector,
) -> None:
    die(preloaded, receiver, 9, place=place, content=content)
    (folder,) = folders(state_directory())
    files = [folder, *folder.iterdir()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o700] + [0o600] * (len(files) - 1)
    written = (folder / "journal.jsonl").read_text("utf-8")
    said = [words for words in ("Be brief", "How warm", "Paris", "21 degrees") if words in written]
    assert len(said) == (4 if content == "content" else 0), said
    recovered(receiver, providers, place, collector)
    by_id: dict[str, list[ReceivedSpan]] = defaultdict(list)
    for span in receiver.all_spans:
        by_id[span.span_id].append(span)
    assert [copies[0].name for copies in by_id.values() if len(copies) != 2] == ["realtime_session"]
    for first, second in (copies for copies in by_id.values() if len(copies) == 2):
        for name in ("name", "trace_id", "parent_id", "kind", "attributes", "events", "status", "links", "service"):
            assert getattr(first, name) == getattr(second, name), (first.name, name)
        assert abs(first.start - second.start) < 1_000_000
        assert abs(first.end - second.end) < 1_000_000
    records: dict[str, list[ReceivedRecord]] = defaultdict(list)
    for record in receiver.records:
        records[record_id(record)].append(record)
    assert [copies[0].event_name for copies in records.values() if len(copies) != 2] == [
        "gen_ai.client.realtime_session.ended"
    ]
    for copies in records.values():
        assert copies[0] == copies[-1]
    assert [point for point in receiver.points if point.name == "langsmith_realtime.errors"] == []
    before = len(receiver.points)
    providers.flush()
    assert len(receiver.points) == before, "metrics are not recovered"


def test_without_an_exporter_the_runs_are_completed_and_it_is_said(
    preloaded: PreloadedProcess,
    receiver: OtlpReceiver,
    providers: Providers,
    collector: Collector,
    caplog: pytest.LogCaptureFixture,
) -> None:
    die(preloaded, receiver, 9, "not exported", place=BESIDE)
    (path,) = state_directory().glob("*/journal.jsonl")
    path.write_text(path.read_text("utf-8").replace("http://127.0.0.1:1", collector.url), "utf-8")
    client = Client(api_url=collector.url, api_key="key", auto_batch_tracing=False)
    assert list(recover(None)) == [], "without a client, a conversation of LangSmith is left alone"
    with caplog.at_level(logging.WARNING, "langsmith_realtime"):
        assert [found.fate for found in recover(client)] == [Fate.COMPLETED]
    assert "set OTEL_EXPORTER_OTLP_ENDPOINT, or pass Otel(recover_with=)" in caplog.text
    assert len(collector.runs()) > 5


@pytest.mark.usefixtures("_no_client")
def test_a_conversation_without_langsmith_waits_for_an_exporter_which_the_command_takes_from_the_environment(
    preloaded: PreloadedProcess,
    receiver: OtlpReceiver,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    die(preloaded, receiver, 9, "not exported")
    (folder,) = folders(state_directory())
    (found,) = recover(None)
    assert (found.folder, found.fate) == (folder, Fate.NO_EXPORTER)
    unreachable = Otel(recover_with=lambda: OTLPSpanExporter("http://127.0.0.1:1/v1/traces", timeout=0.01))
    assert [found.fate for found in recover(None, otel=unreachable)] == [Fate.UNDELIVERED]
    assert (receiver.all_spans, receiver.records) == ([], [])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.base_url)
    assert main(["recover"]) == 0
    assert f"{folder.name}: completed" in capsys.readouterr().out
    assert len(receiver.spans("chat")) == 2
    assert {span.service for span in receiver.all_spans} == {"voice-test"}, "they have the resource that they had"
    assert Counter(record.event_name for record in receiver.records)["openai.realtime.response.done"] == 2
    assert not folder.exists()


@pytest.mark.usefixtures("_no_client")
def test_the_next_conversation_exports_one_whose_process_died(
    preloaded: PreloadedProcess, receiver: OtlpReceiver, providers: Providers
) -> None:
    die(preloaded, receiver, 9, "not exported")
    make = lambda: OTLPSpanExporter(f"{receiver.base_url}/v1/traces")  # noqa: E731
    with SessionTracer(otel=providers.otel(recover_with=make), langsmith=False) as tracer:
        tracer.server_event(talk.SESSION)
        eventually(lambda: len(receiver.spans("chat")) == 2)
    talk.arrive(providers)
    assert len(receiver.spans("realtime_session")) == 2
    eventually(lambda: folders(state_directory()) == [])


def eventually(is_true: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until
        time.sleep(0.01)


#: Seconds that the process works before it is killed.
INSTANTS = [0.5, *(pytest.param(0.1 + each / 17, marks=pytest.mark.soak) for each in range(20))]


@pytest.mark.nocover
@pytest.mark.parametrize("instant", INSTANTS)
def test_a_killed_process_loses_at_most_a_tenth_of_a_second(
    instant: float, receiver: OtlpReceiver, providers: Providers, collector: Collector
) -> None:
    arguments = [sys.executable, "-c", FOREVER, receiver.base_url, ALONE, "content"]
    with subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        began = [float(running.stdout.readline())]
        time.sleep(instant)
        killed = time.time()
        running.kill()
        began += map(float, running.stdout.read().split())
    before = Counter(span.span_id for span in receiver.all_spans)
    assert all(count == 1 for count in before.values())
    recovered(receiver, providers, ALONE, collector)
    # The process acts every 20 ms, so its longest pause says how late the machine lets it act. The thread that writes
    # the journal may be late several times: when it wakes up, and at each of its own pauses.
    late = 0.25 + 4 * max((later - earlier for earlier, later in pairwise(began)), default=0.1)
    spans = [span for span in latest(receiver) if span.name.startswith("chat")]
    assert [span.attributes["gen_ai.response.id"] for span in spans] == [f"resp_{i + 1}" for i in range(len(spans))]
    assert killed - spans[-1].start / 1e9 < 0.1 + late
    after = Counter(span.span_id for span in receiver.all_spans)
    assert set(before) <= set(after), "a span that had arrived keeps its id"
    assert all(count == 1 + before[span_id] for span_id, count in after.items()), "each arrives once more"
    assert receiver.orphans() == []
    assert len({span.trace_id for span in receiver.all_spans}) == 1
    answered = {record.attributes["gen_ai.response.id"] for record in details(receiver)}
    assert {f"resp_{i + 1}" for i in range(len(spans) - 1)} <= answered


def details(receiver: OtlpReceiver) -> list[ReceivedRecord]:
    return [record for record in receiver.records if record.event_name.endswith("inference.operation.details")]


@pytest.mark.parametrize("langsmith", [True, False])
def test_a_conversation_that_ended_and_was_exported_leaves_no_journal(
    langsmith: bool, tracing: Collector, providers: Providers, receiver: OtlpReceiver
) -> None:
    with SessionTracer(otel=providers.otel(), langsmith=langsmith) as tracer:
        talk.hold(tracer)
    talk.arrive(providers)
    eventually(lambda: folders(state_directory()) == [])
    assert len(receiver.spans("realtime_session")) == 1


def test_the_journal_of_a_conversation_without_langsmith_obeys_its_options(
    providers: Providers, tmp_path: Path
) -> None:
    otel = providers.otel()
    for options in ({"journal": False}, {"keep": lambda metrics: False}):
        with SessionTracer(otel=otel, langsmith=False, **options) as tracer:
            talk.hold(tracer)
        talk.arrive(providers)
        assert folders(state_directory()) == []
    with SessionTracer(otel=otel, langsmith=False, journal="keep") as tracer:
        talk.hold(tracer)
    talk.arrive(providers)
    eventually(lambda: any(state_directory().glob("*/conversation.jsonl")))
    (kept,) = state_directory().glob("*/conversation.jsonl")
    assert json.loads(kept.read_text("utf-8").splitlines()[0])["destination"]["langsmith"] is False


class Reading(SpanProcessor):
    """Reads, for each span that ends, whether the journal has its id, and how many responses are done by it."""

    def __init__(self) -> None:
        self.at_end: list[tuple[str, bool, int]] = []

    def on_end(self, span: ReadableSpan) -> None:
        (journal,) = state_directory().glob("*/journal.jsonl")
        text = journal.read_text("utf-8")
        self.at_end.append((span.name, f"{span.context.span_id:016x}" in text, text.count('"response.done"')))


def test_a_span_ends_when_the_journal_has_its_id_and_its_end(providers: Providers) -> None:
    reading = Reading()
    providers.tracer.add_span_processor(reading)
    with SessionTracer(otel=providers.otel(), langsmith=False) as tracer:
        talk.hold(tracer)
        eventually(lambda: len(reading.at_end) == 4)  # without the end of the conversation
        assert [name for name, _, _ in reading.at_end].count("chat gpt-realtime") == 2
    talk.arrive(providers)
    assert len(reading.at_end) == 5
    for number, (name, has_id, done) in enumerate(reading.at_end):
        assert has_id, name
        assert done >= [each for each, _, _ in reading.at_end[: number + 1]].count("chat gpt-realtime")


def test_recover_with_must_be_a_function() -> None:
    with pytest.raises(TypeError, match=r"Otel\.recover_with must be a function"):
        Otel(recover_with=5)  # type: ignore[arg-type]
