"""Conversations whose process died, or whose runs could not be delivered: completed, once, as they would have been."""

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
from langsmith_realtime.delivery import retry_queue, sender
from langsmith_realtime.journal import file as journal
from langsmith_realtime.journal import recovery
from langsmith_realtime.journal.folder import AUDIO, DELIVERED, LINES
from langsmith_realtime.journal.recovery import DIED, Fate, recover
from langsmith_realtime.journal.replay import JournalReader
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.live.process import EXIT_LIMIT
from langsmith_realtime.runtime import threads
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn, tone
from tests import ROOT
from tests.support.conversations import Node, async_client, stored_trees, the_tree, trees
from tests.support.processes import unix_only

#: Of what was under way when a process was killed nobody knows whether it arrived: it is sent again.
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


def told(node: Node) -> Any:
    """Everything of a trace that must be the same again, ids included."""
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
        "children": [told(child) for child in node.children],
    }


def stripped(told_of: Any, ids: set[str]) -> Any:
    """Without the caller's own runs, which no journal holds."""
    children = [stripped(child, ids) for child in told_of["children"] if child["id"] not in ids]
    return {**told_of, "children": children}


def sound(collector: Collector, root: Node) -> bytes:
    return collector.attachment(root.run.id, "conversation")[1].read_bytes()


def folders() -> list[Path]:
    return sorted(state_directory().iterdir()) if state_directory().exists() else []


def recovery_ended() -> None:
    for thread in threading.enumerate():
        if thread.name == "langsmith-realtime-recovery":
            thread.join(20)


def died_before(folder: Path, collector: Collector) -> None:
    """Make a kept journal one of a process that died, and of a conversation that was meant for that collector."""
    recovery_ended()  # or it would find it, too
    told_lines = [line for line in (folder / DELIVERED).read_text().splitlines(keepends=True) if '{"ack"' not in line]
    header = json.loads(told_lines[0])
    header["destination"]["endpoint"] = collector.url
    header["keep"] = False
    (folder / LINES).write_text(json.dumps(header) + "\n" + "".join(told_lines[1:]))
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
        died_before(folder, other)
        (found,) = recover(client_of(other))
        assert found.fate is Fate.COMPLETED
        (again,) = stored_trees(other)
        assert told(again) == stripped(told(live), own)
        assert sound(other, again) == sound(tracing, live)
    assert not folder.exists()


def test_whatever_happens_to_a_conversation_happens_again(tracing: Collector) -> None:
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
        died_before(folder, other)
        assert [found.fate for found in recover(client_of(other))] == [Fate.COMPLETED]
        (again,) = stored_trees(other)
        assert told(again) == told(live)
        assert sound(other, again) == sound(tracing, live)


# Processes that die

TALK = """
import os, sys, time
from langsmith_realtime import SessionTracer
from langsmith_realtime.testing import tone
tracer = SessionTracer(thread_id="thread-1")
def event(number, name="session.updated", **body):
    tracer.server_event({"type": name, "event_id": f"event_{number}", "sent": time.time(), **body})
event(0, "session.created", session={"model": "gpt-realtime"})
"""
#: A client of openai's, at the server whose addresses are its arguments. It says when each item's answer arrived.
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
number = 0
while True:
    number += 1
    event(number)
    tracer.record_user_audio(tone(1000, 0.005))
    if number == 30:
        print("talking", flush=True)
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
    """A process of its own with LangSmith's settings, that has said it is talking."""
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


def ends(code: str, endpoint: str, **settings: str) -> tuple[str, float]:
    """What a process said that was let end, and how many seconds it took from its ``END``."""
    with process(TALK + code + "\nprint('END', time.time())", endpoint, **settings) as running:
        said, errors = running.communicate(timeout=60)
        ended = time.time()
        assert running.returncode in (0, 3), errors
    return said + errors, ended - float(said.split("END ")[-1].split()[0])


def kill(running: subprocess.Popen[str]) -> float:
    """Wait until it talks, and kill it; when that was."""
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


@pytest.mark.newest  # the journal matters, not what it is sent with
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


@pytest.mark.newest  # the journal matters, not what it is sent with
@pytest.mark.nocover
def test_what_was_acknowledged_is_not_sent_again(collector: Collector) -> None:
    with process(TALK + FOREVER, collector.url) as running:
        collector.wait_for(lambda runs: len(runs) > 60, timeout=20)
        kill(running)
    before = len(collector.runs())
    operations = sum(request.operations for request in collector.requests)
    (found,) = recover(client_of(collector))
    assert found.fate is Fate.COMPLETED
    (root,) = stored_trees(collector, broken=UNKNOWN)
    again = sum(request.operations for request in collector.requests) - operations
    # The rest, the root's update, and what was under way: taken, and nobody lived to hear of it.
    assert again <= len(root.children) + 1 - before + 1 + 60


@pytest.mark.newest  # the journal matters, not what it is sent with
@pytest.mark.nocover
def test_the_next_conversation_recovers_by_itself_what_died_before_it(collector: Collector) -> None:
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
    ends(code, collector.url)
    roots = stored_trees(collector, broken=UNKNOWN)
    assert [root.run.error for root in roots] == [DIED, None]
    assert folders() == []


@pytest.mark.nocover
def test_an_endpoint_that_is_down_costs_the_patience_at_exit_and_nothing_is_lost(collector: Collector) -> None:
    code = "from langsmith_realtime.live import process; process.EXIT_PATIENCE = 0.5\n"
    said, took = ends(code + "[event(number) for number in range(1, 20)]; tracer.close()", "http://127.0.0.1:9")
    assert took < EXIT_LIMIT / 3  # far more than a busy machine adds to the patience
    assert KEY not in said
    (folder,) = folders()
    header = json.loads((folder / LINES).read_text().splitlines()[0])
    assert KEY not in (folder / LINES).read_text()
    # It comes up, at another port than nobody listens at.
    text = (folder / LINES).read_text().replace("http://127.0.0.1:9", collector.url)
    assert header["destination"]["endpoint"] == "http://127.0.0.1:9"
    (folder / LINES).write_text(text)
    assert [found.fate for found in recover(client_of(collector))] == [Fate.COMPLETED]
    (root,) = stored_trees(collector)
    assert root.run.error is None
    assert len(root.children) == 20


@unix_only
@pytest.mark.nocover
def test_a_process_that_makes_sigterm_an_exit_loses_nothing_and_leaves_nothing(collector: Collector) -> None:
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


# Servers in trouble


def test_what_a_server_in_trouble_does_not_take_arrives_once_it_is_well(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_queue, "FIRST_WAIT_S", 0.05)
    monkeypatch.setattr(sender, "BATCH_WAIT_S", 0.05)
    for status in (429, 500, 503, 0):
        tracing.respond_with(status)
    with SessionTracer(client=client_of(tracing, retry_config=Retry(0))) as tracer:
        for number in range(5):
            tracer.server_event({"type": "session.updated", "event_id": f"event_{number}"})
    tracing.wait_for(lambda runs: len(runs) == 6 and runs[0].end_time is not None, timeout=20)
    assert len(the_tree(tracing).children) == 5
    assert folders() == []


def test_an_answer_that_comes_too_late_makes_nothing_twice(collector: Collector) -> None:
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
    assert "larger than" in root.metadata["recording_error"]
    (folder,) = folders()
    assert [path.suffix for path in folder.iterdir()] == [".wav"]


# Whose it is


def undelivered(collector: Collector, *events: dict[str, Any], **options: Any) -> Path:
    """The folder of a conversation whose process died before anything was sent."""
    with SessionTracer(client=client_of(collector), enabled=True, journal="keep", **options) as tracer:
        for event in events:
            tracer.server_event(event)
    assert flush(20)
    (folder,) = folders()
    died_before(folder, collector)
    return folder


CREATED = {"type": "session.created", "event_id": "event_0", "session": {}}


@pytest.mark.parametrize("other", ["endpoint", "key", "workspace", "nobody's"])
def test_what_is_meant_for_elsewhere_is_left_and_named(collector: Collector, other: str) -> None:
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
            text = (folder / LINES).read_text()
            (folder / LINES).write_text(text.replace('"salt": "', '"salt": "none'))
        (found,) = recover(client)
        assert found.fate is Fate.ELSEWHERE
        assert found.detail == first.url
        assert (folder / LINES).exists()
        assert [found.fate for found in recover(client_of(first))] == [
            Fate.ELSEWHERE if other == "nobody's" else Fate.COMPLETED
        ]


def test_what_somebody_alive_has_is_left_alone(tracing: Collector) -> None:
    tracer = SessionTracer(client=client_of(tracing))
    assert flush(10)
    (found,) = recover(client_of(tracing))
    assert found.fate is Fate.ALIVE
    tracer.close()
    assert the_tree(tracing).run.error is None


@pytest.mark.newest  # the journal matters, not what it is sent with
@pytest.mark.nocover
def test_of_two_that_recover_only_one_does(collector: Collector) -> None:
    with Collector() as first:
        folder = undelivered(first, *({**CREATED, "event_id": f"event_{number}"} for number in range(300)))
        text = (folder / LINES).read_text()
    (folder / LINES).write_text(text.replace(first.url, collector.url))
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


def test_a_journal_that_cannot_be_read_is_left_and_the_others_are_completed(collector: Collector) -> None:
    with Collector() as first:
        folder = undelivered(first, CREATED)
        text = (folder / LINES).read_text()
    broken = folder.parent / "00000000-0000-7000-8000-000000000000"
    for name, content in ((broken.name, "half a li"), (folder.name, text.replace(first.url, collector.url) + '{"t"')):
        (folder.parent / name).mkdir(exist_ok=True)
        (folder.parent / name / LINES).write_text(content)
    assert [found.fate for found in recover(client_of(collector))] == [Fate.UNREADABLE, Fate.COMPLETED]
    assert len(stored_trees(collector)) == 1
    assert folders() == [broken]


def test_what_cannot_be_delivered_is_left_for_the_next(collector: Collector) -> None:
    with Collector() as first:
        folder = undelivered(first, CREATED)
        text = (folder / LINES).read_text()
    (folder / LINES).write_text(text.replace(first.url, collector.url))
    collector.respond_with(403, times=1)
    assert [found.fate for found in recover(client_of(collector), patience=5)] == [Fate.UNDELIVERED]
    assert [found.fate for found in recover(client_of(collector))] == [Fate.COMPLETED]
    assert len(stored_trees(collector)) == 1


def test_where_inputs_are_hidden_the_same_runs_come_out_without_their_words(collector: Collector) -> None:
    hiding = Client(api_url=collector.url, api_key=KEY, hide_inputs=True, hide_outputs=True, info={})
    said = {**CREATED, "session": {"instructions": "Ann"}}
    with SessionTracer(client=hiding, enabled=True, journal="keep", tags=["shop"]) as tracer:
        tracer.server_event(said)
        tracer.server_event({"type": "response.created", "event_id": "event_1", "response": {"id": "resp_1"}})
        tracer.server_event({"type": "response.done", "event_id": "event_2", "response": {"id": "resp_1"}})
    live = the_tree(collector)
    (folder,) = folders()
    assert "Ann" not in (folder / DELIVERED).read_text()
    with Collector() as other:
        died_before(folder, other)
        client = Client(api_url=other.url, api_key=KEY, hide_inputs=True, hide_outputs=True, info={})
        assert [found.fate for found in recover(client)] == [Fate.COMPLETED]
        (again,) = stored_trees(other)
        assert told(again) == told(live)


# Forks, disks, commands


@unix_only
@pytest.mark.newest  # the journal matters, not what it is sent with
@pytest.mark.nocover
def test_a_child_leaves_its_parents_journal_alone(collector: Collector) -> None:
    # A thread that imports while its process forks leaves the child a lock that nobody opens: Python's, not ours.
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
@pytest.mark.newest  # the journal matters, not what it is sent with
@pytest.mark.nocover
def test_a_disk_that_takes_no_more_costs_the_journal_once_and_not_the_trace(collector: Collector) -> None:
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
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)  # what else it writes as it ends is whole
"""
    said, _ = ends(code, collector.url)
    assert said.count("tracing goes on without it") == 1
    assert [len(root.children) for root in stored_trees(collector)] == [200, 200]
    assert folders() == []


def test_the_command_completes_what_it_may_and_names_the_rest(
    tracing: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    undelivered(tracing, CREATED)
    assert main(["recover"]) == 0
    assert "1 completed, 0 left" in capsys.readouterr().out
    with Collector() as other:
        folder = undelivered(other, CREATED)
        assert main(["recover", "--dir", str(folder.parent)]) == 1
        said = capsys.readouterr().out
    assert f"{folder.name}: it is meant for another endpoint, workspace or API key ({other.url})" in said


def test_the_command_says_where_it_would_have_to_look(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["recover", "--dir", str(tmp_path / "mistyped")]) == 1
    assert "does not exist" in capsys.readouterr().err
    monkeypatch.setenv("LANGSMITH_REALTIME_DIR", "~nobody-has-that-name/journals")
    assert main(["recover"]) == 1
    assert "Set LANGSMITH_REALTIME_DIR, or use --dir" in capsys.readouterr().err
    assert tracing.runs() == []


def test_the_command_traces_a_kept_conversation_once_more(
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
    assert main(["replay", str(tmp_path)]) == 1
    assert "cannot be replayed" in capsys.readouterr().err


def test_a_kept_journal_is_read_by_a_tracer(tracing: Collector) -> None:
    with SessionTracer(client=client_of(tracing), journal="keep") as tracer:
        tracer.server_event(CREATED)
        tracer.client_event({"type": "response.create"})
    assert flush(10)
    (folder,) = folders()
    with SessionTracer(client=client_of(tracing)) as again:
        for line in JournalReader(folder).entries():
            if line.get("dir") == "server":
                again.server_event(line["event"])
            elif line.get("dir") == "client":
                again.client_event(line["event"])
    assert flush(10)
    first, second = trees(tracing)
    assert first.names() == second.names()


def test_a_process_looks_again_after_a_while(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    with Collector() as other:
        undelivered(other, CREATED)
        assert recovery.begin_in_background(client_of(other)) is None  # it did when the conversation opened
        assert len(folders()) == 1
        monkeypatch.setattr(recovery, "EVERY_S", 0.0)
        with SessionTracer(client=client_of(other), enabled=True, recording=False):
            pass
        assert flush(10)  # the worker's thread has begun the recovery
        recovery_ended()
        assert len(other.roots()) == 2
    assert folders() == []


def test_where_there_is_no_thread_to_be_had_it_looks_the_next_time(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(collector)
    with monkeypatch.context() as late:
        late.setattr(threads, "start_thread", lambda *_: None)
        assert recovery.begin_in_background(client) is None
    assert recovery.begin_in_background(client) is None  # not so soon
    monkeypatch.setattr(recovery, "EVERY_S", 0.0)
    assert recovery.begin_in_background(client) is not None
    recovery_ended()


def test_a_journal_that_is_damaged_inside_stands_in_nobodys_way(collector: Collector) -> None:
    with Collector() as other:
        first = undelivered(other, CREATED)
        lines = (first / LINES).read_text().replace('"start":1', '"start":9991')  # a date that there is not
        (first / LINES).write_text(lines)
        moved = first.parent.parent / first.name
        first.rename(moved)
        second = undelivered(other, CREATED)
        moved.rename(first)
        found = {each.folder: each.fate for each in recover(client_of(other))}
        assert found == {first: Fate.UNREADABLE, second: Fate.COMPLETED}


def test_what_there_was_no_room_for_is_delivered_by_a_recovery_in_the_same_process(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = client_of(collector, retry_config=Retry(0))
    recovery.begin_in_background(client)
    recovery_ended()  # nobody looks for a while
    collector.respond_with(503, times=6)
    with monkeypatch.context() as narrow:
        narrow.setattr(retry_queue, "WAITING_LIMIT", 10)
        narrow.setattr(retry_queue, "HEALTHY_FACTOR", 1)
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


def test_without_a_home_a_conversation_is_traced_without_its_journal(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LANGSMITH_REALTIME_DIR", "~nobody-has-that-name/journals")
    monkeypatch.setattr(journal, "_warned", set())
    with SessionTracer(recording=False) as tracer:
        tracer.server_event(CREATED)
    assert the_tree(tracing).names() == ["session.created"]
    assert "there is no journal of this conversation" in caplog.text
