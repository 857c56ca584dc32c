"""Many conversations in one process: each has its own trace, whatever the tasks and threads do, and however it ends."""

from __future__ import annotations

import asyncio
import contextvars
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
    """A user's own traced tool."""
    return f"sunny in {look_outside(city)}"


@traceable
def look_outside(city: str) -> str:
    return city


def typed(words: str) -> Any:
    content = [{"type": "input_text", "text": words}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}


def result(call_id: str, output: str) -> Any:
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return {"type": "conversation.item.create", "item": item}


def scripts(count: int) -> list[Script]:
    """For each connection its own call, and its own answer."""
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


# One conversation, and what it knows of itself.


@dataclass
class Talk:
    """A conversation as its own task or thread has seen it."""

    name: str
    heard: list[str] = field(default_factory=list)  # ids of the events that are no delta
    city: str = ""
    call_id: str = ""
    answer: str = ""

    def hear(self, event: Any) -> bool:
        """Note it. Whether it is the end of the conversation."""
        if not event.type.endswith(".delta"):
            self.heard.append(event.event_id)
        if event.type == "response.function_call_arguments.done":
            self.call_id = event.call_id
            self.city = f"City {event.call_id.removeprefix('call_')}"
        if event.type == "response.output_audio_transcript.done":
            self.answer = event.transcript
        return bool(event.type == "rate_limits.updated" and self.answer)

    def is_called(self, event: Any) -> bool:
        return bool(event.type == DONE and not self.answer)


async def converse(client: AsyncOpenAI, talk: Talk, *, opened: Callable[[], Awaitable[object]] | None = None) -> None:
    """Ask, have the tool called, hear the answer. `opened` is awaited when the conversation is open."""
    async with (
        client.realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw, thread_id=talk.name) as connection,
    ):
        if opened is not None:
            await opened()
        await connection.send(typed(f"This is {talk.name}."))
        await connection.send(ASK)
        async for event in connection:
            if talk.hear(event):
                break
            if talk.is_called(event):
                output = await asyncio.to_thread(lookup_weather, talk.city)
                await connection.send(result(talk.call_id, output))
                await connection.send(ASK)


def converse_sync(client: OpenAI, talk: Talk, opened: Callable[[], object]) -> None:
    with (
        client.realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw, thread_id=talk.name) as connection,
    ):
        opened()
        connection.send(typed(f"This is {talk.name}."))
        connection.send(ASK)
        for event in connection:
            if talk.hear(event):
                break
            if talk.is_called(event):
                connection.send(result(talk.call_id, lookup_weather(talk.city)))
                connection.send(ASK)


def below(node: Node) -> Iterator[Node]:
    for child in node.children:
        yield child
        yield from below(child)


def assert_its_own(root: Node, talk: Talk) -> None:
    """The trace has all of this conversation, and nothing of another."""
    assert [child.run.inputs["event"]["event_id"] for child in root.children] == talk.heard
    messages = [(message["role"], message["content"]) for message in (root.run.outputs or {})["messages"]]
    assert messages == [
        ("user", f"This is {talk.name}."),
        ("assistant", ""),
        ("tool", f"sunny in {talk.city}"),
        ("assistant", talk.answer),
    ]
    (tool,) = root.find("lookup_weather")
    assert root[DONE].shape() == (DONE, [("lookup_weather", ["look_outside"])])
    assert tool.run.inputs == {"city": talk.city}
    assert tool.metadata["tool_call_id"] == talk.call_id
    runs = [root.run, *(node.run for node in below(root))]
    assert {run.thread_id for run in runs} == {talk.name}
    assert {run.trace_id for run in runs} == {root.run.id}
    assert_ended(root)


def assert_ended(root: Node) -> None:
    """It came to an ordinary end, with all that is in it."""
    runs = [root.run, *(node.run for node in below(root))]
    assert all(run.end_time is not None for run in runs)
    assert [run.error for run in runs if run.error] == []


# Many at once.


def assert_separate(collector: Collector, talks: list[Talk]) -> None:
    roots = {root.run.thread_id: root for root in trees(collector)}
    assert set(roots) == {talk.name for talk in talks}
    assert len({talk.answer for talk in talks}) == len(talks)
    for talk in talks:
        assert_its_own(roots[talk.name], talk)


at_once = pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.soak)])


@pytest.mark.newest  # its other tests show what versions change
@at_once
def test_conversations_in_tasks_give_as_many_right_traces(tracing: Collector, count: int) -> None:
    talks = [Talk(f"task {number}") for number in range(count)]

    async def talk_at_once(client: AsyncOpenAI) -> None:
        waiting, all_open = itertools.count(1), asyncio.Event()

        async def opened() -> None:
            if next(waiting) == len(talks):
                all_open.set()
            await all_open.wait()

        await asyncio.gather(*(converse(client, talk, opened=opened) for talk in talks))

    with RealtimeServer(scripts(count)) as server:
        asyncio.run(talk_at_once(async_client(server)))
    assert_separate(tracing, talks)


@pytest.mark.newest
@at_once
def test_conversations_in_threads_give_as_many_right_traces(tracing: Collector, count: int) -> None:
    talks = [Talk(f"thread {number}") for number in range(count)]
    all_open = threading.Barrier(count, timeout=60)
    with RealtimeServer(scripts(count)) as server, ThreadPoolExecutor(count) as pool:
        client = sync_client(server)
        for done in [pool.submit(converse_sync, client, talk, all_open.wait) for talk in talks]:
            done.result()
    assert_separate(tracing, talks)


def test_tasks_and_threads_beside_each_other_do_not_mix(tracing: Collector) -> None:
    talks = [Talk(f"{kind} {number}") for number in range(10) for kind in ("task", "thread")]
    with RealtimeServer(scripts(20)) as server, ThreadPoolExecutor(10) as pool:
        client = sync_client(server)
        threads = [pool.submit(converse_sync, client, talk, int) for talk in talks[1::2]]

        async def talk_at_once() -> None:
            tasks = async_client(server)
            await asyncio.gather(*(converse(tasks, talk) for talk in talks[::2]))

        asyncio.run(talk_at_once())
        for done in threads:
            done.result()
    assert_separate(tracing, talks)


# Several in one task, one in several tasks.


def test_two_conversations_in_one_task_never_mix(tracing: Collector) -> None:
    """They take turns event by event, and the one opened first is closed first."""

    async def talk(client: AsyncOpenAI) -> None:
        managers = [client.realtime.connect(model="gpt-realtime") for _ in talks]
        blocks = [wrap_realtime(await manager.__aenter__(), thread_id=t.name) for manager, t in zip(managers, talks)]  # noqa: B905 - made from each other
        connections = [await block.__aenter__() for block in blocks]
        for connection, each in zip(connections, talks):  # noqa: B905
            await connection.send(typed(f"This is {each.name}."))
            await connection.send(ASK)
        going = dict(enumerate(talks))
        for number in itertools.cycle(range(len(talks))):
            if not going:
                break
            if number not in going:
                continue
            each, connection = talks[number], connections[number]
            event = await connection.recv()
            if each.hear(event):
                await blocks[number].__aexit__(None, None, None)
                await managers[number].__aexit__(None, None, None)
                del going[number]
            elif each.is_called(event):
                await connection.send(result(each.call_id, lookup_weather(each.city)))
                await connection.send(ASK)
        assert get_current_run_tree() is None

    talks = [Talk("first"), Talk("second")]
    with RealtimeServer(scripts(2)) as server:
        asyncio.run(talk(async_client(server)))
    assert_separate(tracing, talks)


def test_a_conversation_may_be_opened_held_and_closed_in_three_tasks(tracing: Collector) -> None:
    talk = Talk("handed over")

    async def hold(connection: Any) -> None:
        await connection.send(typed(f"This is {talk.name}."))
        await connection.send(ASK)
        async for event in connection:
            if talk.hear(event):
                return
            if talk.is_called(event):
                await connection.send(result(talk.call_id, lookup_weather(talk.city)))
                await connection.send(ASK)

    async def manage(client: AsyncOpenAI) -> None:
        async with client.realtime.connect(model="gpt-realtime") as raw:
            block = wrap_realtime(raw, thread_id=talk.name)
            connection = await asyncio.create_task(block.__aenter__())
            await asyncio.create_task(hold(connection))
            await asyncio.create_task(block.__aexit__(None, None, None))
            assert get_current_run_tree() is None

    with RealtimeServer(scripts(1)) as server:
        asyncio.run(manage(async_client(server)))
    assert_separate(tracing, [talk])


# However it ends.


class CancelledAt:
    """A conversation whose task is cancelled when it waits for the `number`-th time since its trace began."""

    def __init__(self, client: AsyncOpenAI, name: str, number: int) -> None:
        self.happened = False
        self._steps = converse(client, Talk(name), opened=self._opened).__await__()
        self._number = number
        self._waited: int | None = None

    async def run(self) -> None:
        await self

    async def _opened(self) -> None:
        self._waited = 0

    def __await__(self) -> Generator[Any, Any, None]:
        thrown: BaseException | None = None
        while True:
            try:
                awaited = next(self._steps) if thrown is None else self._steps.throw(thrown)
            except StopIteration:
                return
            thrown = None
            if self._waited is not None:
                self._waited += 1
            if self._waited == self._number:
                task = asyncio.current_task()
                assert task is not None
                self.happened = task.cancel()
            try:
                yield awaited
            except BaseException as error:
                thrown = error


# A client that is cancelled while it closes leaves its socket to the end of its loop.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_cancelled_at_any_await_a_conversation_ends_right(tracing: Collector) -> None:
    async def cancel(client: AsyncOpenAI, number: int) -> bool:
        cancelled = CancelledAt(client, str(number), number)
        task = asyncio.create_task(cancelled.run())
        await asyncio.wait([task])
        assert task.cancelled() == cancelled.happened
        return cancelled.happened

    # A slow agent, so that most events are waited for.
    turns = [
        Turn(Pause(0.002), Call("lookup_weather", {"city": "City 1"}, call_id="call_1"), Pause(0.002)),
        Turn(Pause(0.002), Say("It is sunny.", seconds=0.02), Pause(0.002)),
    ]
    with RealtimeServer(Script(turns, speed=10)) as server:
        client = async_client(server)
        awaits = sum(itertools.takewhile(bool, (asyncio.run(cancel(client, n)) for n in itertools.count(1))))

    by_thread = {root.run.thread_id: root for root in trees(tracing)}
    assert set(by_thread) == {str(number) for number in range(1, awaits + 2)}
    for root in by_thread.values():
        assert_ended(root)
    lengths = {len(root.children) for root in by_thread.values()}
    assert len(lengths) > 2  # here and there in the midst of it
    assert by_thread[str(awaits + 1)].names().count(DONE) == 2  # nothing was left to wait for: it ran through


@pytest.mark.parametrize("events", range(0, 16, 5))
@pytest.mark.parametrize(
    ("leaves_with", "error"),
    [(RuntimeError("out of order"), "RuntimeError: out of order"), (SystemExit(3), None)],
    ids=["exception", "sys.exit"],
)
def test_left_in_the_midst_of_it_a_conversation_ends_right(
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
    assert all(node.run.end_time is not None for node in [root, *below(root)])
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
def test_a_process_that_ends_in_the_midst_of_it_sends_the_whole_trace(
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


# Tools side by side.

CITIES = [f"City {number}" for number in range(8)]
CALLS = [Call("lookup_weather", {"city": city}, call_id=f"call {city}") for city in CITIES]


async def in_tasks(connection: Any) -> None:
    """All begin before any ends, and the last one ends first."""
    begun = itertools.count(1)
    turns = [asyncio.Event() for _ in [*CITIES, "all"]]

    async def carry_out(number: int, city: str) -> None:
        with connection.tool(f"call {city}"):
            if next(begun) == len(CITIES):
                turns[-1].set()
            await turns[number + 1].wait()
            lookup_weather(city)
            turns[number].set()
        await connection.send(result(f"call {city}", city))

    await asyncio.gather(*(carry_out(number, city) for number, city in enumerate(CITIES)))


async def in_threads(connection: Any) -> None:
    """All are at work at the same time, each in a thread."""
    all_begun = threading.Barrier(len(CITIES), timeout=60)

    def carry_out(city: str) -> None:
        with connection.tool(f"call {city}"):
            all_begun.wait()
            lookup_weather(city)

    with ThreadPoolExecutor(len(CITIES)) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.run_in_executor(pool, contextvars.copy_context().run, carry_out, city) for city in CITIES)
        )
    for city in CITIES:
        await connection.send(result(f"call {city}", city))


async def in_threads_without_context(connection: Any) -> None:
    """Plain threads, which carry no context at all."""

    def carry_out(city: str) -> None:
        with connection.tool(f"call {city}"):
            lookup_weather(city)

    threads = [threading.Thread(target=carry_out, args=(city,)) for city in CITIES]
    for thread in threads:
        thread.start()
    await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    for city in CITIES:
        await connection.send(result(f"call {city}", city))


@pytest.mark.parametrize("carry_out", [in_tasks, in_threads, in_threads_without_context])
def test_tools_side_by_side_land_under_their_own_calls(
    tracing: Collector, carry_out: Callable[[Any], Awaitable[None]]
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
                    await carry_out(connection)
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
        assert call.shape() == ("lookup_weather", [("lookup_weather", ["look_outside"])])
        assert call["look_outside"].run.inputs == {"city": city}
        assert call["look_outside"].run.thread_id == "side by side"
    assert_ended(root)
