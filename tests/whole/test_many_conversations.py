"""Many conversations in one process: each has a complete trace of its own, in tasks and threads, however it ends."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from langsmith import get_current_run_tree, traceable
from openai import AsyncOpenAI, OpenAI

from langsmith_realtime import wrap_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Call, Pause, RealtimeServer, Say, Script, Turn
from tests import ROOT
from tests.support.conversations import Node, async_client, stored_trees, sync_client, the_tree, trees

pytestmark = pytest.mark.nocover

DONE = "response.done"
ASK: Any = {"type": "response.create"}


@traceable(run_type="tool")
def lookup_weather(city: str) -> str:
    """A traced tool of the application."""
    return f"sunny in {read_thermometer(city)}"


@traceable
def read_thermometer(city: str) -> str:
    return city


def typed(words: str) -> Any:
    content = [{"type": "input_text", "text": words}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}


def result(call_id: str, output: str) -> Any:
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return {"type": "conversation.item.create", "item": item}


def scripts(count: int) -> list[Script]:
    """Returns a script for each connection, each with a tool call and a reply of its own."""
    return [
        Script(
            [
                Turn(Call("lookup_weather", {"city": f"City {number}"}, call_id=f"call_{number}")),
                Turn(Say(f"It is sunny in city {number}.", seconds=0.1)),
            ],
            speed=0,
        )
        for number in range(count)
    ]


# One conversation.


@dataclass
class ConversationRecord:
    """A conversation as its task or thread received it."""

    name: str
    event_ids: list[str] = field(default_factory=list)  # without those of deltas
    city: str = ""
    call_id: str = ""
    reply: str = ""

    def receive(self, event: Any) -> bool:
        """Stores an event. Returns whether it is the last one of the conversation."""
        if not event.type.endswith(".delta"):
            self.event_ids.append(event.event_id)
        if event.type == "response.function_call_arguments.done":
            self.call_id = event.call_id
            self.city = f"City {event.call_id.removeprefix('call_')}"
        if event.type == "response.output_audio_transcript.done":
            self.reply = event.transcript
        return bool(event.type == "rate_limits.updated" and self.reply)

    def is_tool_call(self, event: Any) -> bool:
        """Returns whether the event ends the response with the tool call."""
        return bool(event.type == DONE and not self.reply)


async def converse(
    client: AsyncOpenAI, record: ConversationRecord, *, opened: Callable[[], Awaitable[object]] | None = None
) -> None:
    """Asks, answers the tool call, and receives the reply. `opened` is awaited when the conversation is open."""
    async with (
        client.realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw, thread_id=record.name) as connection,
    ):
        if opened is not None:
            await opened()
        await connection.send(typed(f"This is {record.name}."))
        await connection.send(ASK)
        async for event in connection:
            if record.receive(event):
                break
            if record.is_tool_call(event):
                output = await asyncio.to_thread(lookup_weather, record.city)
                await connection.send(result(record.call_id, output))
                await connection.send(ASK)


def converse_sync(client: OpenAI, record: ConversationRecord, opened: Callable[[], object]) -> None:
    with (
        client.realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw, thread_id=record.name) as connection,
    ):
        opened()
        connection.send(typed(f"This is {record.name}."))
        connection.send(ASK)
        for event in connection:
            if record.receive(event):
                break
            if record.is_tool_call(event):
                connection.send(result(record.call_id, lookup_weather(record.city)))
                connection.send(ASK)


def descendants(node: Node) -> Iterator[Node]:
    for child in node.children:
        yield child
        yield from descendants(child)


def assert_trace_of(root: Node, record: ConversationRecord) -> None:
    """Asserts that the trace has everything of this conversation, and nothing of another."""
    assert [child.run.inputs["event"]["event_id"] for child in root.children] == record.event_ids
    messages = [(message["role"], message["content"]) for message in (root.run.outputs or {})["messages"]]
    assert messages == [
        ("user", f"This is {record.name}."),
        ("assistant", ""),
        ("tool", f"sunny in {record.city}"),
        ("assistant", record.reply),
    ]
    (tool,) = root.find("lookup_weather")
    assert root[DONE].shape() == (DONE, [("lookup_weather", ["read_thermometer"])])
    assert tool.run.inputs == {"city": record.city}
    assert tool.metadata["tool_call_id"] == record.call_id
    runs = [root.run, *(node.run for node in descendants(root))]
    assert {run.thread_id for run in runs} == {record.name}
    assert {run.trace_id for run in runs} == {root.run.id}
    assert_ended(root)


def assert_ended(root: Node) -> None:
    """Asserts that all runs have ended, without an error."""
    runs = [root.run, *(node.run for node in descendants(root))]
    assert all(run.end_time is not None for run in runs)
    assert [run.error for run in runs if run.error] == []


# At once.


def assert_separate(collector: Collector, records: list[ConversationRecord]) -> None:
    roots = {root.run.thread_id: root for root in trees(collector)}
    assert set(roots) == {record.name for record in records}
    assert len({record.reply for record in records}) == len(records)
    for record in records:
        assert_trace_of(roots[record.name], record)


at_once = pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.soak)])


@pytest.mark.newest  # the other tests cover the differences between versions
@at_once
def test_conversations_in_tasks_have_one_correct_trace_each(tracing: Collector, count: int) -> None:
    records = [ConversationRecord(f"task {number}") for number in range(count)]

    async def converse_at_once(client: AsyncOpenAI) -> None:
        waiting, all_open = itertools.count(1), asyncio.Event()

        async def opened() -> None:
            if next(waiting) == len(records):
                all_open.set()
            await all_open.wait()

        await asyncio.gather(*(converse(client, record, opened=opened) for record in records))

    with RealtimeServer(scripts(count)) as server:
        asyncio.run(converse_at_once(async_client(server)))
    assert_separate(tracing, records)


@pytest.mark.newest
@at_once
def test_conversations_in_threads_have_one_correct_trace_each(tracing: Collector, count: int) -> None:
    records = [ConversationRecord(f"thread {number}") for number in range(count)]
    all_open = threading.Barrier(count, timeout=60)
    with RealtimeServer(scripts(count)) as server, ThreadPoolExecutor(count) as pool:
        client = sync_client(server)
        for done in [pool.submit(converse_sync, client, record, all_open.wait) for record in records]:
            done.result()
    assert_separate(tracing, records)


def test_conversations_in_tasks_and_threads_at_once_have_separate_traces(tracing: Collector) -> None:
    records = [ConversationRecord(f"{kind} {number}") for number in range(10) for kind in ("task", "thread")]
    with RealtimeServer(scripts(20)) as server, ThreadPoolExecutor(10) as pool:
        client = sync_client(server)
        threads = [pool.submit(converse_sync, client, record, int) for record in records[1::2]]

        async def converse_at_once() -> None:
            tasks = async_client(server)
            await asyncio.gather(*(converse(tasks, record) for record in records[::2]))

        asyncio.run(converse_at_once())
        for done in threads:
            done.result()
    assert_separate(tracing, records)


# Several conversations in one task, and one conversation in several tasks.


def test_two_conversations_in_one_task_have_separate_traces(tracing: Collector) -> None:
    """The conversations alternate event by event, and the one opened first is closed first."""

    async def talk(client: AsyncOpenAI) -> None:
        managers = [client.realtime.connect(model="gpt-realtime") for _ in records]
        blocks = [wrap_realtime(await manager.__aenter__(), thread_id=t.name) for manager, t in zip(managers, records)]  # noqa: B905 - made from each other
        connections = [await block.__aenter__() for block in blocks]
        for connection, each in zip(connections, records):  # noqa: B905
            await connection.send(typed(f"This is {each.name}."))
            await connection.send(ASK)
        going = dict(enumerate(records))
        for number in itertools.cycle(range(len(records))):
            if not going:
                break
            if number not in going:
                continue
            each, connection = records[number], connections[number]
            event = await connection.recv()
            if each.receive(event):
                await blocks[number].__aexit__(None, None, None)
                await managers[number].__aexit__(None, None, None)
                del going[number]
            elif each.is_tool_call(event):
                await connection.send(result(each.call_id, lookup_weather(each.city)))
                await connection.send(ASK)
        assert get_current_run_tree() is None

    records = [ConversationRecord("first"), ConversationRecord("second")]
    with RealtimeServer(scripts(2)) as server:
        asyncio.run(talk(async_client(server)))
    assert_separate(tracing, records)


def test_a_conversation_can_be_opened_held_and_closed_in_three_tasks(tracing: Collector) -> None:
    record = ConversationRecord("handed over")

    async def hold(connection: Any) -> None:
        await connection.send(typed(f"This is {record.name}."))
        await connection.send(ASK)
        async for event in connection:
            if record.receive(event):
                return
            if record.is_tool_call(event):
                await connection.send(result(record.call_id, lookup_weather(record.city)))
                await connection.send(ASK)

    async def manage(client: AsyncOpenAI) -> None:
        async with client.realtime.connect(model="gpt-realtime") as raw:
            block = wrap_realtime(raw, thread_id=record.name)
            connection = await asyncio.create_task(block.__aenter__())
            await asyncio.create_task(hold(connection))
            await asyncio.create_task(block.__aexit__(None, None, None))
            assert get_current_run_tree() is None

    with RealtimeServer(scripts(1)) as server:
        asyncio.run(manage(async_client(server)))
    assert_separate(tracing, [record])


# Ends.


class CancelledAt:
    """A conversation whose task is cancelled at its `number`-th await since the trace began."""

    def __init__(self, client: AsyncOpenAI, name: str, number: int) -> None:
        self.cancelled = False
        self._coroutine = converse(client, ConversationRecord(name), opened=self._opened).__await__()
        self._number = number
        self._awaits: int | None = None

    async def run(self) -> None:
        await self

    async def _opened(self) -> None:
        self._awaits = 0

    def __await__(self) -> Generator[Any, Any, None]:
        thrown: BaseException | None = None
        while True:
            try:
                awaited = next(self._coroutine) if thrown is None else self._coroutine.throw(thrown)
            except StopIteration:
                return
            thrown = None
            if self._awaits is not None:
                self._awaits += 1
            if self._awaits == self._number:
                task = asyncio.current_task()
                assert task is not None
                self.cancelled = task.cancel()
            try:
                yield awaited
            except BaseException as error:
                thrown = error


# A client that is cancelled while it closes leaves its socket open until the loop ends.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_conversation_cancelled_at_any_await_has_a_complete_trace(tracing: Collector) -> None:
    async def cancel(client: AsyncOpenAI, number: int) -> bool:
        conversation = CancelledAt(client, str(number), number)
        task = asyncio.create_task(conversation.run())
        await asyncio.wait([task])
        assert task.cancelled() == conversation.cancelled
        return conversation.cancelled

    # A slow agent, so that the task awaits most events.
    turns = [
        Turn(Pause(0.002), Call("lookup_weather", {"city": "City 1"}, call_id="call_1"), Pause(0.002)),
        Turn(Pause(0.002), Say("It is sunny.", seconds=0.02), Pause(0.002)),
    ]
    with RealtimeServer(Script(turns, speed=10)) as server:
        client = async_client(server)
        awaits = sum(itertools.takewhile(bool, (asyncio.run(cancel(client, n)) for n in itertools.count(1))))
    gc.collect()  # the sockets here, where their warnings are ignored, and not in the next test

    by_thread = {root.run.thread_id: root for root in trees(tracing)}
    assert set(by_thread) == {str(number) for number in range(1, awaits + 2)}
    for root in by_thread.values():
        assert_ended(root)
    lengths = {len(root.children) for root in by_thread.values()}
    assert len(lengths) > 2  # at different points of the conversation
    assert by_thread[str(awaits + 1)].names().count(DONE) == 2  # there was no await left, so it was not cancelled


@pytest.mark.parametrize("events", range(0, 16, 5))
@pytest.mark.parametrize(
    ("leaves_with", "error"),
    [(RuntimeError("out of order"), "RuntimeError: out of order"), (SystemExit(3), None)],
    ids=["exception", "sys.exit"],
)
def test_a_conversation_left_early_has_a_complete_trace(
    tracing: Collector, events: int, leaves_with: BaseException, error: str | None
) -> None:
    async def leave(client: AsyncOpenAI) -> None:
        async with (
            client.realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw) as connection,
        ):
            await connection.send(ASK)
            for _ in range(events):
                await connection.recv()
            raise leaves_with

    with RealtimeServer(scripts(1)) as server, pytest.raises(type(leaves_with)) as left:
        asyncio.run(leave(async_client(server)))
    assert left.value is leaves_with
    root = the_tree(tracing)
    assert root.run.error == error
    assert all(node.run.end_time is not None for node in [root, *descendants(root)])
    assert len(root.children) <= events


LEAVE = """
import asyncio, sys
from openai import AsyncOpenAI
from langsmith_realtime import wrap_realtime
from langsmith_realtime.testing import RealtimeServer

async def talk(server):
    client = AsyncOpenAI(api_key="test", base_url=server.base_url, websocket_base_url=server.websocket_base_url)
    async with client.realtime.connect(model="gpt-realtime") as raw, wrap_realtime(raw) as connection:
        async for event in connection:
            {leave}

with RealtimeServer() as server:
    asyncio.run(talk(server))
"""


@pytest.mark.parametrize(
    ("leave", "code", "error"),
    [("sys.exit(3)", 3, None), ("raise RuntimeError('out of order')", 1, "RuntimeError: out of order")],
    ids=["sys.exit", "exception"],
)
def test_a_process_that_exits_during_a_conversation_sends_the_whole_trace(
    collector: Collector, leave: str, code: int, error: str | None
) -> None:
    settings = {
        "LANGSMITH_ENDPOINT": collector.url,
        "LANGSMITH_API_KEY": "lsv2_pt_0123456789abcdef",
        "LANGSMITH_TRACING": "true",
    }
    done = subprocess.run(
        [sys.executable, "-c", LEAVE.format(leave=leave)],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    (root,) = stored_trees(collector)
    assert root.names() == ["session.created"]
    assert root.run.end_time is not None
    assert root.run.error == error


# Concurrent tools.

CITIES = [f"City {number}" for number in range(8)]
CALLS = [Call("lookup_weather", {"city": city}, call_id=f"call {city}") for city in CITIES]


async def in_tasks(connection: Any) -> None:
    """Runs the tools in tasks: all begin before any ends, and the last one ends first."""
    begun = itertools.count(1)
    turns = [asyncio.Event() for _ in [*CITIES, "all"]]

    async def run_tool(number: int, city: str) -> None:
        with connection.tool(f"call {city}"):
            if next(begun) == len(CITIES):
                turns[-1].set()
            await turns[number + 1].wait()
            lookup_weather(city)
            turns[number].set()
        await connection.send(result(f"call {city}", city))

    await asyncio.gather(*(run_tool(number, city) for number, city in enumerate(CITIES)))


async def in_threads(connection: Any) -> None:
    """Runs the tools at once, each in a thread with a copy of the context."""
    all_begun = threading.Barrier(len(CITIES), timeout=60)

    def run_tool(city: str) -> None:
        with connection.tool(f"call {city}"):
            all_begun.wait()
            lookup_weather(city)

    with ThreadPoolExecutor(len(CITIES)) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(pool, contextvars.copy_context().run, run_tool, city) for city in CITIES)
        )
    for city in CITIES:
        await connection.send(result(f"call {city}", city))


async def in_threads_without_context(connection: Any) -> None:
    """Runs the tools in plain threads, without the context."""

    def run_tool(city: str) -> None:
        with connection.tool(f"call {city}"):
            lookup_weather(city)

    threads = [threading.Thread(target=run_tool, args=(city,)) for city in CITIES]
    for thread in threads:
        thread.start()
    await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    for city in CITIES:
        await connection.send(result(f"call {city}", city))


@pytest.mark.parametrize("run_tool", [in_tasks, in_threads, in_threads_without_context])
def test_concurrent_tools_nest_under_their_own_calls(
    tracing: Collector, run_tool: Callable[[Any], Awaitable[None]]
) -> None:
    async def talk(client: AsyncOpenAI) -> None:
        async with (
            client.realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw, thread_id="side by side") as connection,
        ):
            await connection.send(ASK)
            results = 0
            async for event in connection:
                if event.type == DONE:
                    await run_tool(connection)
                elif event.type == "conversation.item.done" and event.item.type == "function_call_output":
                    results += 1
                    if results == len(CALLS):
                        break

    with RealtimeServer(Script([Turn(*CALLS)], speed=0)) as server:
        asyncio.run(talk(async_client(server)))
    root = the_tree(tracing)
    calls = root[DONE].children
    assert sorted(call.metadata["tool_call_id"] for call in calls) == [f"call {city}" for city in CITIES]
    for call in calls:
        city = call.metadata["tool_call_id"].removeprefix("call ")
        assert call.run.inputs == {"city": city}
        assert call.shape() == ("lookup_weather", [("lookup_weather", ["read_thermometer"])])
        assert call["read_thermometer"].run.inputs == {"city": city}
        assert call["read_thermometer"].run.thread_id == "side by side"
    assert_ended(root)
