"""Recovery: conversations whose process died, or that were not delivered, are completed once and are identical."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from langsmith import Client, traceable
from urllib3.util.retry import Retry

from langsmith_realtime import Price, Recording, SessionTracer, flush, wrap_realtime
from langsmith_realtime.cli.main import main
from langsmith_realtime.collector import Collector
from langsmith_realtime.journal import file as journal
from langsmith_realtime.journal import recovery
from langsmith_realtime.journal.folder import AUDIO, DELIVERED, LINES
from langsmith_realtime.journal.reader import JournalReader
from langsmith_realtime.journal.recovery import DIED, Fate, recover
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.live.process import EXIT_LIMIT
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.runtime import threads
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn, tone
from tests import ROOT
from tests.support.conversations import Node, async_client, stored_trees, the_tree, trees
from tests.support.processes import unix_only

#: An operation that was being sent when the process was killed may have arrived, and is sent again.
UNKNOWN = ("conflict",)
KEY = "lsv2_pt_0123456789abcdef"
SCRIPT = Script(
    [
        Turn(Call("lookup_weather", {"city": "Paris"}, call_id="call_1"), Call("remember", {}, call_id="call_2")),
        Turn(Say("It is sunny in Paris.", audio=tone(440, 0.3))),
    ],
    speed=0,
    seed=7,
)


@traceable(run_type="tool")
def lookup_weather(city: str) -> str:
    return f"sunny in {city}"


def contents(node: Node) -> Any:
    """Everything in a trace that a recovery must reproduce, including ids."""
    run = node.run
    return {
        "id": run.id,
        "name": run.name,
        "start": run.start_time,
        "end": run.end_time,
        "inputs": run.inputs,
        "outputs": run.outputs,
        "error": run.error,
        "tags": run.tags,
        "metadata": {key: value for key, value in run.metadata.items() if not key.isupper()},
        "events": run.events,
        "children": [contents(child) for child in node.children],
    }


def without_runs(node_contents: Any, ids: set[str]) -> Any:
    """The trace without the runs of the application, which no journal has."""
    children = [without_runs(child, ids) for child in node_contents["children"] if child["id"] not in ids]
    return {**node_contents, "children": children}


def sound(collector: Collector, root: Node) -> bytes:
    return collector.attachment(root.run.id, "conversation")[1].read_bytes()


def folders() -> list[Path]:
    return sorted(state_directory().iterdir()) if state_directory().exists() else []


def recovery_ended() -> None:
    for thread in threading.enumerate():
        if thread.name == "langsmith-realtime-recovery":
            thread.join(20)


def make_undelivered(folder: Path, collector: Collector) -> None:
    """Turn a kept journal into one of a process that died, for the collector as destination."""
    recovery_ended()  # a running recovery would find the journal, too
    lines = [line for line in (folder / DELIVERED).read_text("utf-8").splitlines(keepends=True) if '{"ack"' not in line]
    header = json.loads(lines[0])
    header["destination"]["endpoint"] = collector.url
    header["keep"] = False
    (folder / LINES).write_text(json.dumps(header) + "\n" + "".join(lines[1:]), "utf-8")
    (folder / DELIVERED).unlink()


def client_of(collector: Collector, **options: Any) -> Client:
    return Client(api_url=collector.url, api_key=KEY, info={}, **options)


async def talk(server: RealtimeServer) -> None:
    async with (
        async_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw, thread_id="thread-1", tags=["shop"], metadata={"shop": 7}, journal="keep") as connection,
    ):
        connection.record_user_audio(tone(880, 0.4))
        await connection.input_audio_buffer.append(audio="AAAA")
        user: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather?"}]}
        await connection.conversation.item.create(item=user)
        await connection.response.create()
        done = 0
        async for event in connection:
            if event.type != "response.done":
                continue
            done += 1
            if done == 2:
                break
            with connection.tool("call_2"):
                await asyncio.sleep(0.001)
            for call_id, output in (("call_1", lookup_weather("Paris")), ("call_2", "remembered")):
                result: Any = {"type": "function_call_output", "call_id": call_id, "output": output}
                await connection.conversation.item.create(item=result)
            await connection.response.create()


def test_a_replayed_journal_gives_the_identical_trace(tracing: Collector) -> None:
    with RealtimeServer(SCRIPT) as server:
        asyncio.run(talk(server))
    live = the_tree(tracing)
    own = {run.id for run in tracing.runs() if run.name == "lookup_weather"}
    (folder,) = folders()
    assert sorted(path.name for path in folder.iterdir()) == [AUDIO, DELIVERED]
    with Collector() as other:
        make_undelivered(folder, other)
        (found,) = recover(client_of(other))
        assert found.fate is Fate.COMPLETED
        (again,) = stored_trees(other)
        assert contents(again) == without_runs(contents(live), own)
        assert sound(other, again) == sound(tracing, live)
    assert not folder.exists()


def test_every_kind_of_input_is_replayed(tracing: Collector) -> None:
    ulaw = base64.b64encode(b"\x55" * 800).decode()
    said = {"type": "message", "role": "assistant", "id": "item_1", "status": "completed"}
    with SessionTracer(
        client=client_of(tracing),
        journal="keep",
        agent_format="g711_ulaw",
        is_agent_speaking=lambda: True,
        recording=Recording(format="flac", sample_rate=16_000),
        max_audio_seconds=60,
        prices={"mine": Price(audio_output=1.0)},
    ) as tracer:
        tracer.server_event(CREATED)
        tracer.server_event("no JSON at all")
        tracer.client_event("no JSON either")
        tracer.client_event({"type": "input_audio_buffer.append", "audio": "no base64"})
        tracer.client_event({"type": "input_audio_buffer.append", "audio": base64.b64encode(tone(700, 0.2)).decode()})
        tracer.server_event({"type": "response.created", "event_id": "event_1", "response": {"id": "resp_1"}})
        for _ in range(3):
            where = {"response_id": "resp_1", "item_id": "item_1", "content_index": 0}
            tracer.server_event({"type": "response.output_audio.delta", "delta": ulaw, **where})
            tracer.server_event({"type": "response.output_audio_transcript.delta", "delta": "Good ", **where})
        tracer.played("item_1", 120)
        tracer.server_event({"type": "input_audio_buffer.speech_started", "event_id": "event_2"})
        tracer.client_event({"type": "conversation.item.truncate", "item_id": "item_1", "audio_end_ms": 90})
        done = {"id": "resp_1", "status": "cancelled", "output": [said]}
        tracer.server_event({"type": "response.done", "event_id": "event_3", "response": done})
        with pytest.raises(RuntimeError), tracer.tool("call_1"):
            raise RuntimeError("no such city")
        tracer.record_agent_audio(bytes(800), at=time.monotonic())
        tracer.record_user_audio(tone(300, 0.1), at=time.monotonic())
        tracer.silence(item_id="item_9")
        tracer.close("the line went dead")
    live = the_tree(tracing)
    (folder,) = folders()
    with Collector() as other:
        make_undelivered(folder, other)
        assert [found.fate for found in recover(client_of(other))] == [Fate.COMPLETED]
        (again,) = stored_trees(other)
        assert contents(again) == contents(live)
        assert sound(other, again) == sound(tracing, live)


@pytest.mark.newest
def test_what_only_the_agents_sdk_says_is_replayed(tracing: Collector) -> None:
    pytest.importorskip("agents")
    from tests.support.agents_sdk import HELP_DESK_SCRIPT, help_desk  # noqa: PLC0415

    with RealtimeServer(HELP_DESK_SCRIPT) as server:
        asyncio.run(help_desk(server, client=client_of(tracing), journal="keep", layout="turns"))
    live = the_tree(tracing)
    (folder,) = folders()
    with Collector() as other:
        make_undelivered(folder, other)
        assert [found.fate for found in recover(client_of(other))] == [Fate.COMPLETED]
        (again,) = stored_trees(other)
        assert contents(again) == contents(live)
        assert sound(other, again) == sound(tracing, live)
    for name in ("agent_changed", "tool_approval_required", "handoff", "guardrail_tripped"):
        assert len(list(again.find(name))) == 1, name
    assert again["find_order"].run.error == "LookupError: nothing was ordered from Rome"
    assert again["refund"].metadata["approval"] == "approved"


# Killed processes

TALK = """
import os, sys, time
from langsmith_realtime import SessionTracer
from langsmith_realtime.testing import tone
tracer = SessionTracer(thread_id="thread-1")
def event(number, name="session.updated", **body):
    tracer.server_event({"type": name, "event_id": f"event_{number}", "sent": time.time(), **body})
event(0, "session.created", session={"model": "gpt-realtime"})
"""
#: Talks to the server at the given addresses, and prints when each item was acknowledged.
WRAPPED = """
import sys, time
from openai import OpenAI
from langsmith_realtime import wrap_realtime
from langsmith_realtime.testing import tone
client = OpenAI(api_key="test", base_url=sys.argv[1], websocket_base_url=sys.argv[2])
with client.realtime.connect(model="gpt-realtime") as raw, wrap_realtime(raw, thread_id="thread-1") as connection:
    def say(number):
        connection.record_user_audio(tone(1000, 0.005))
        text = {"type": "input_text", "text": str(number)}
        connection.conversation.item.create(item={"type": "message", "role": "user", "content": [text]})
    number = 0
    for event in connection:
        if event.type == "conversation.item.added":
            print(number - 1, time.time(), flush=True)
        if event.type in ("session.created", "conversation.item.done"):
            time.sleep(0.005)
            say(number)
            number += 1
            if number == 30:
                print("talking", flush=True)
"""
FOREVER = """
from langsmith_realtime.journal.state_directory import state_directory
number, talking = 0, False
while True:
    number += 1
    event(number)
    tracer.record_user_audio(tone(1000, 0.005))
    # The thread that writes the journal imports much first, which takes its time on a busy machine.
    if not talking and number >= 30 and any(path.stat().st_size for path in state_directory().rglob("journal.jsonl")):
        print("talking", flush=True)
        talking = True
    time.sleep(0.005)
"""


def environment(endpoint: str, **settings: str) -> dict[str, str]:
    return {
        **os.environ,
        "LANGSMITH_ENDPOINT": endpoint,
        "LANGSMITH_API_KEY": KEY,
        "LANGSMITH_TRACING": "true",
        "PYTHONWARNINGS": "error",
        **settings,
    }


@contextmanager
def process(code: str, endpoint: str, *arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Runs code in a process with LangSmith's settings, and kills it at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=environment(endpoint, **settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()
            running.wait()


def run_to_exit(code: str, endpoint: str, **settings: str) -> tuple[str, float]:
    """Runs code until the process exits; returns its output, and the seconds between its ``END`` and its exit."""
    with process(TALK + code + "\nprint('END', time.time())", endpoint, **settings) as running:
        said, errors = running.communicate(timeout=60)
        ended = time.time()
        assert running.returncode in (0, 3), errors
    return said + errors, ended - float(said.split("END ")[-1].split()[0])


def kill(running: subprocess.Popen[str]) -> float:
    """Waits for ``talking``, and kills the process; returns when, in seconds since the epoch."""
    assert running.stdout is not None
    assert "talking\n" in iter(running.stdout.readline, "")
    time.sleep(0.15)
    killed = time.time()
    running.kill()
    running.wait()
    return killed


def late(times: list[float]) -> float:
    """How many seconds late the machine may have woken a process that should have done something at these times.

    The process acts every few milliseconds, so its longest pause of late says how busy the machine is. The thread that
    writes the journal may have paused as long twice: before it began to write, and while it wrote.
    """
    return 0.05 + 2 * max(later - earlier for earlier, later in pairwise(times[-40:]))


@pytest.mark.newest  # tests the journal, not the libraries
@pytest.mark.nocover
def test_a_killed_process_loses_no_more_than_the_last_tenth_of_a_second(collector: Collector) -> None:
    with process(TALK + FOREVER, collector.url) as running:
        killed = kill(running)
    before = collector.runs()
    (found,) = recover(client_of(collector))
    assert found.fate is Fate.COMPLETED
    (root,) = stored_trees(collector, broken=UNKNOWN)
    assert root.run.error == DIED
    assert root.run.trace_id == found.detail
    sent = [float(node.run.inputs["event"]["sent"]) for node in root.children]
    assert sent == sorted(sent)
    assert [node.run.inputs["event"]["event_id"] for node in root.children] == [
        f"event_{number}" for number in range(len(sent))
    ]
    assert killed - sent[-1] < 0.1 + late(sent)
    assert len(root.children) >= len(before) - 1
    assert root.run.metadata["event_count"] == len(sent)
    frames = (len(sound(collector, root)) - 44) // 4
    assert frames / 24_000 == pytest.approx(root.run.metadata["duration_s"], abs=0.5)
    assert folders() == []


@pytest.mark.nocover
def test_a_wrapped_connection_of_a_killed_process_is_completed_by_the_command(tracing: Collector) -> None:
    with (
        RealtimeServer(Script()) as server,
        process(WRAPPED, tracing.url, server.base_url, server.websocket_base_url) as running,
    ):
        killed = kill(running)
        assert running.stdout is not None
        arrived = [line.split() for line in running.stdout if line.endswith("\n")]
    before = {run.id for run in tracing.runs()}
    assert main(["recover"]) == 0
    (root,) = stored_trees(tracing, broken=UNKNOWN)
    assert root.run.error == DIED
    assert root.metadata["thread_id"] == "thread-1"
    assert before <= {run.id for run in tracing.runs()}
    assert root.names()[0] == "session.created"
    items = [child.run.inputs["event"]["item"] for child in root.children if child.run.name.endswith("item.added")]
    assert [int(item["content"][0]["text"]) for item in items] == list(range(len(items)))
    lost = [float(at) for number, at in arrived if int(number) >= len(items)]
    assert arrived
    assert killed - min(lost, default=killed) < 0.1 + late([float(at) for _, at in arrived])
    assert len(sound(tracing, root)) > 44
    assert folders() == []


@pytest.mark.newest  # tests the journal, not the libraries
@pytest.mark.nocover
def test_acknowledged_operations_are_not_sent_again(collector: Collector) -> None:
    with process(TALK + FOREVER, collector.url) as running:
        collector.wait_for(lambda runs: len(runs) > 60, timeout=20)
        kill(running)
    before = len(collector.runs())
    operations = sum(request.operations for request in collector.requests)
    (found,) = recover(client_of(collector))
    assert found.fate is Fate.COMPLETED
    (root,) = stored_trees(collector, broken=UNKNOWN)
    again = sum(request.operations for request in collector.requests) - operations
    # The rest, the root's update, and a batch that arrived although its process was killed before the answer.
    assert again <= len(root.children) + 1 - before + 1 + 60


@pytest.mark.newest  # tests the journal, not the libraries
@pytest.mark.nocover
def test_the_next_conversation_recovers_one_whose_process_died(collector: Collector) -> None:
    with process(TALK + FOREVER, collector.url) as running:
        kill(running)
    code = """
from langsmith_realtime import flush
from langsmith_realtime.journal.state_directory import state_directory
tracer.close()
flush(10)
for _ in range(1000):
    if not any(state_directory().iterdir()):
        break
    time.sleep(0.02)
"""
    run_to_exit(code, collector.url)
    roots = stored_trees(collector, broken=UNKNOWN)
    assert [root.run.error for root in roots] == [DIED, None]
    assert folders() == []


def test_an_unreachable_endpoint_delays_the_exit_a_little_and_nothing_is_lost(collector: Collector) -> None:
    code = "from langsmith_realtime.live import process; process.EXIT_PATIENCE = 0.5\n"
    said, took = run_to_exit(code + "[event(number) for number in range(1, 20)]; tracer.close()", "http://127.0.0.1:9")
    assert took < EXIT_LIMIT / 3  # a busy machine adds far less to the patience
    assert KEY not in said
    (folder,) = folders()
    header = json.loads((folder / LINES).read_text("utf-8").splitlines()[0])
    assert KEY not in (folder / LINES).read_text("utf-8")
    # The endpoint is reachable now, at another port.
    text = (folder / LINES).read_text("utf-8").replace("http://127.0.0.1:9", collector.url)
    assert header["destination"]["endpoint"] == "http://127.0.0.1:9"
    (folder / LINES).write_text(text, "utf-8")
    assert [found.fate for found in recover(client_of(collector))] == [Fate.COMPLETED]
    (root,) = stored_trees(collector)
    assert root.run.error is None
    assert len(root.children) == 20


@unix_only
def test_a_process_that_exits_on_sigterm_delivers_all_and_leaves_no_journal(collector: Collector) -> None:
    code = """
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
[event(number) for number in range(1, 50)]
os.kill(os.getpid(), signal.SIGTERM)
"""
    with process(TALK + code, collector.url) as running:
        running.communicate(timeout=30)
        assert running.returncode == 3
    (root,) = stored_trees(collector)
    assert len(root.children) == 50
    assert root.run.end_time is not None
    assert folders() == []


# Failing servers


def test_operations_that_a_failing_server_refused_are_delivered_when_it_recovers(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, limits: Limits
) -> None:
    monkeypatch.setattr(limits, "first_retry_s", 0.05)
    monkeypatch.setattr(limits, "request_wait_s", 0.05)
    for status in (429, 500, 503, 0):
        tracing.respond_with(status)
    with SessionTracer(client=client_of(tracing, retry_config=Retry(0))) as tracer:
        for number in range(5):
            tracer.server_event({"type": "session.updated", "event_id": f"event_{number}"})
    tracing.wait_for(lambda runs: len(runs) == 6 and runs[0].end_time is not None, timeout=20)
    assert len(the_tree(tracing).children) == 5
    assert folders() == []


def test_a_late_answer_duplicates_no_run(collector: Collector) -> None:
    client = Client(api_url=collector.url, api_key=KEY, info={}, timeout_ms=(500, 500))
    tracer = SessionTracer(client=client, enabled=True)
    for number in range(5):
        tracer.server_event({"type": "session.updated", "event_id": f"event_{number}"})
    collector.respond_with(202, times=2, delay=1.0)
    tracer.close()
    assert flush(20) or flush(20)
    (root,) = [run for run in collector.runs() if run.parent_run_id is None]
    assert len(collector.runs()) == 6
    assert root.end_time is not None
    assert {violation.rule for violation in collector.violations} <= {"conflict"}
    assert folders() == []


def test_a_recording_that_is_too_large_leaves_no_journal(tracing: Collector) -> None:
    tracer = SessionTracer(client=client_of(tracing), recording=Recording(max_attachment_bytes=100))
    tracer.record_user_audio(tone(1000, 0.5))
    tracer.close()
    root = the_tree(tracing)
    assert "exceeds the limit" in root.metadata["recording_error"]
    (folder,) = folders()
    assert [path.suffix for path in folder.iterdir()] == [".wav"]


# Destinations


def undelivered(collector: Collector, *events: dict[str, Any], **options: Any) -> Path:
    """The folder of a conversation of which nothing was sent."""
    with SessionTracer(client=client_of(collector), enabled=True, journal="keep", **options) as tracer:
        for event in events:
            tracer.server_event(event)
    assert flush(20)
    (folder,) = folders()
    make_undelivered(folder, collector)
    return folder


CREATED = {"type": "session.created", "event_id": "event_0", "session": {}}


@pytest.mark.parametrize("other", ["endpoint", "key", "workspace", "nobody's"])
def test_a_conversation_for_another_destination_is_left_and_reported(collector: Collector, other: str) -> None:
    with Collector() as first:
        folder = undelivered(first, CREATED)
        workspace = "00000000-0000-7000-8000-000000000000"
        client = Client(
            api_url=collector.url if other == "endpoint" else first.url,
            api_key="another" if other == "key" else KEY,
            info={},
            **({"workspace_id": workspace} if other == "workspace" else {}),  # type: ignore[arg-type]
        )
        if other == "nobody's":
            text = (folder / LINES).read_text("utf-8")
            (folder / LINES).write_text(text.replace('"salt": "', '"salt": "none'), "utf-8")
        (found,) = recover(client)
        assert found.fate is Fate.ELSEWHERE
        assert found.detail == first.url
        assert (folder / LINES).exists()
        assert [found.fate for found in recover(client_of(first))] == [
            Fate.ELSEWHERE if other == "nobody's" else Fate.COMPLETED
        ]


def test_a_conversation_of_a_living_process_is_left_alone(tracing: Collector) -> None:
    tracer = SessionTracer(client=client_of(tracing))
    assert flush(10)
    (found,) = recover(client_of(tracing))
    assert found.fate is Fate.ALIVE
    tracer.close()
    assert the_tree(tracing).run.error is None


@pytest.mark.newest  # tests the journal, not the libraries
@pytest.mark.nocover
def test_only_one_of_two_recoveries_completes_a_conversation(collector: Collector) -> None:
    with Collector() as first:
        folder = undelivered(first, *({**CREATED, "event_id": f"event_{number}"} for number in range(300)))
        text = (folder / LINES).read_text("utf-8")
    (folder / LINES).write_text(text.replace(first.url, collector.url), "utf-8")
    code = "from langsmith_realtime.cli.main import main; import sys; sys.exit(main(['recover']))"
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment(collector.url), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    said = [each.communicate(timeout=60)[0].decode() for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert sum("1 completed" in each for each in said) == 1
    (root,) = stored_trees(collector)
    assert len(root.children) == 300
    assert folders() == []


def test_an_unreadable_journal_is_left_and_the_others_are_completed(collector: Collector) -> None:
    with Collector() as first:
        folder = undelivered(first, CREATED)
        text = (folder / LINES).read_text("utf-8")
    broken = folder.parent / "00000000-0000-7000-8000-000000000000"
    for name, content in ((broken.name, "half a li"), (folder.name, text.replace(first.url, collector.url) + '{"t"')):
        (folder.parent / name).mkdir(exist_ok=True)
        (folder.parent / name / LINES).write_text(content, "utf-8")
    assert [found.fate for found in recover(client_of(collector))] == [Fate.UNREADABLE, Fate.COMPLETED]
    assert len(stored_trees(collector)) == 1
    assert folders() == [broken]


def test_an_undelivered_conversation_is_left_for_the_next_recovery(collector: Collector) -> None:
    with Collector() as first:
        folder = undelivered(first, CREATED)
        text = (folder / LINES).read_text("utf-8")
    (folder / LINES).write_text(text.replace(first.url, collector.url), "utf-8")
    collector.respond_with(403, times=1)
    assert [found.fate for found in recover(client_of(collector), patience=5)] == [Fate.UNDELIVERED]
    assert [found.fate for found in recover(client_of(collector))] == [Fate.COMPLETED]
    assert len(stored_trees(collector)) == 1


def test_hidden_inputs_give_the_same_runs_without_their_words(collector: Collector) -> None:
    hiding = Client(api_url=collector.url, api_key=KEY, hide_inputs=True, hide_outputs=True, info={})
    said = {**CREATED, "session": {"instructions": "Ann"}}
    with SessionTracer(client=hiding, enabled=True, journal="keep", tags=["shop"]) as tracer:
        tracer.server_event(said)
        tracer.server_event({"type": "response.created", "event_id": "event_1", "response": {"id": "resp_1"}})
        tracer.server_event({"type": "response.done", "event_id": "event_2", "response": {"id": "resp_1"}})
    live = the_tree(collector)
    (folder,) = folders()
    assert "Ann" not in (folder / DELIVERED).read_text("utf-8")
    with Collector() as other:
        make_undelivered(folder, other)
        client = Client(api_url=other.url, api_key=KEY, hide_inputs=True, hide_outputs=True, info={})
        assert [found.fate for found in recover(client)] == [Fate.COMPLETED]
        (again,) = stored_trees(other)
        assert contents(again) == contents(live)


# Forks, disks, commands


@unix_only
@pytest.mark.newest  # tests the journal, not the libraries
@pytest.mark.nocover
def test_a_forked_child_leaves_its_parents_journal_alone(collector: Collector) -> None:
    # Flushed first: a thread that imports during a fork leaves Python's import lock locked in the child.
    code = """
from langsmith_realtime import flush
assert flush(10)
child = os.fork()
if child == 0:
    with SessionTracer(thread_id="child") as mine:
        mine.server_event({"type": "session.created", "event_id": "event_0"})
    flush(10)
    sys.exit()
os.waitpid(child, 0)
event(1)
assert flush(60)
print("talking", flush=True)
time.sleep(60)
"""
    with process(TALK + code, collector.url) as running:
        kill(running)
    assert [found.fate for found in recover(client_of(collector))] == [Fate.COMPLETED]
    roots = {root.run.metadata["thread_id"]: root for root in stored_trees(collector, broken=UNKNOWN)}
    assert roots["thread-1"].run.error == DIED
    assert len(roots["thread-1"].children) == 2
    assert roots["child"].run.error is None


@unix_only
@pytest.mark.newest  # tests the journal, not the libraries
@pytest.mark.nocover
def test_a_full_disk_costs_the_journals_with_one_warning_but_not_the_traces(collector: Collector) -> None:
    code = """
import resource
from langsmith_realtime import flush
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, unlimited[1]))
for number in range(1, 200):
    event(number)
    time.sleep(0.001)
with SessionTracer(thread_id="second") as second:
    for number in range(200):
        second.server_event({"type": "session.updated", "event_id": f"event_{number}"})
tracer.close()
assert flush(20)
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)  # for files that are written at exit
"""
    said, _ = run_to_exit(code, collector.url)
    assert said.count("tracing goes on without it") == 1
    assert [len(root.children) for root in stored_trees(collector)] == [200, 200]
    assert folders() == []


def test_the_command_completes_its_conversations_and_lists_the_others(
    tracing: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    undelivered(tracing, CREATED)
    assert main(["recover"]) == 0
    assert "1 completed, 0 left" in capsys.readouterr().out
    with Collector() as other:
        folder = undelivered(other, CREATED)
        assert main(["recover", "--directory", str(folder.parent)]) == 1
        said = capsys.readouterr().out
    assert f"{folder.name}: it is meant for another endpoint, workspace or API key ({other.url})" in said


def test_the_command_fails_if_the_folder_does_not_exist_or_is_unknown(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["recover", "--dir", str(tmp_path / "mistyped")]) == 1
    assert capsys.readouterr().err == f"--directory must be a folder that exists, got {tmp_path / 'mistyped'}.\n"
    monkeypatch.setenv("LANGSMITH_REALTIME_DIR", "~nobody-has-that-name/journals")
    assert main(["recover"]) == 1
    assert "Set LANGSMITH_REALTIME_DIR, or use --dir" in capsys.readouterr().err
    assert tracing.runs() == []


def test_the_command_traces_a_kept_conversation_again(
    tracing: Collector, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with SessionTracer(client=client_of(tracing), journal="keep") as tracer:
        tracer.server_event(CREATED)
        tracer.record_user_audio(tone(1000, 0.2))
    live = the_tree(tracing)
    (folder,) = folders()
    assert main(["replay", str(folder), "--project", "again"]) == 0
    assert "Traced as" in capsys.readouterr().out
    (again,) = [root for root in stored_trees(tracing) if root.run.project == "again"]
    assert again.run.id != live.run.id
    assert again.names() == live.names()
    assert sound(tracing, again) == sound(tracing, live)
    assert (folder / DELIVERED).exists()
    assert main(["replay", str(tmp_path / "call.jsonl")]) == 1
    assert "FOLDER must be the folder of a conversation" in capsys.readouterr().err
    assert main(["replay", str(tmp_path)]) == 1
    assert "cannot be replayed" in capsys.readouterr().err


def test_a_tracer_accepts_the_events_of_a_kept_journal(tracing: Collector) -> None:
    with SessionTracer(client=client_of(tracing), journal="keep") as tracer:
        tracer.server_event(CREATED)
        tracer.client_event({"type": "response.create"})
    assert flush(10)
    (folder,) = folders()
    with SessionTracer(client=client_of(tracing)) as again:
        for line in JournalReader(folder).entries():
            if line["is"] == "server_frame":
                again.server_event(line["frame"])
            elif line["is"] == "client_frame":
                again.client_event(line["frame"])
    assert flush(10)
    first, second = trees(tracing)
    assert first.names() == second.names()


def test_a_process_recovers_again_after_a_while(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, limits: Limits
) -> None:
    with Collector() as other:
        undelivered(other, CREATED)
        assert recovery.begin_in_background(client_of(other)) is None  # one began when the conversation opened
        assert len(folders()) == 1
        monkeypatch.setattr(limits, "recovery_interval_s", 0.0)
        with SessionTracer(client=client_of(other), enabled=True, recording=False):
            pass
        assert flush(10)  # the worker's thread has begun the recovery
        recovery_ended()
        assert len(other.roots()) == 2
    assert folders() == []


def test_a_recovery_that_gets_no_thread_is_tried_at_the_next_conversation(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(collector)
    with monkeypatch.context() as late:
        late.setattr(threads, "start_thread", lambda *_: None)
        assert recovery.begin_in_background(client) is None
    assert recovery.begin_in_background(client) is None  # too early
    assert recovery.begin_in_background(client, interval_s=0.0) is not None
    recovery_ended()


def test_a_damaged_journal_does_not_stop_a_recovery(collector: Collector) -> None:
    with Collector() as other:
        first = undelivered(other, CREATED)
        text = (first / LINES).read_text("utf-8")
        lines = text.replace('"dotted_order": "', '"dotted_order": "x')  # an impossible date
        (first / LINES).write_text(lines, "utf-8")
        moved = first.parent.parent / first.name
        first.rename(moved)
        second = undelivered(other, CREATED)
        moved.rename(first)
        found = {each.folder: each.fate for each in recover(client_of(other))}
        assert found == {first: Fate.UNREADABLE, second: Fate.COMPLETED}


def test_operations_beyond_the_queues_limit_are_delivered_by_a_recovery_in_the_same_process(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, limits: Limits
) -> None:
    client = client_of(collector, retry_config=Retry(0))
    recovery.begin_in_background(client)
    recovery_ended()  # no other begins for a while
    collector.respond_with(503, times=6)
    with monkeypatch.context() as narrow:
        narrow.setattr(limits, "waiting_runs", 10)
        narrow.setattr(limits, "waiting_factor", 1)
        for _ in range(4):
            with SessionTracer(client=client, enabled=True, recording=False) as tracer:
                for number in range(8):
                    tracer.server_event({"type": "session.updated", "event_id": f"event_{number}", "session": {}})
        assert any(flush(10) for _ in range(20))
    assert len(folders()) == 3
    assert {found.fate for found in recover(client)} == {Fate.COMPLETED}
    assert flush(10)
    assert [(root.run.end_time is not None, len(root.children)) for root in stored_trees(collector)] == [(True, 8)] * 4
    assert folders() == []


def test_a_conversation_without_a_home_directory_is_traced_without_a_journal(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LANGSMITH_REALTIME_DIR", "~nobody-has-that-name/journals")
    monkeypatch.setattr(journal, "_warned", set())
    with SessionTracer(recording=False) as tracer:
        tracer.server_event(CREATED)
    assert the_tree(tracing).names() == ["session.created"]
    assert "there is no journal of this conversation" in caplog.text
