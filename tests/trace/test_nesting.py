"""Traced work of the caller's nests under the event that is being handled, in any task or thread."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langsmith import RunTree, get_current_run_tree, traceable, tracing_context
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from langsmith_realtime import SessionTracer, wrap_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, uuid7
from tests.support.conversations import Node, async_client, sync_client, the_tree, trees


@traceable(run_type="tool")
def lookup_weather(city: str) -> str:
    """A traced tool of the application's."""
    return f"{city}: {look_outside(city)}"


@traceable
def look_outside(city: str) -> str:
    return f"sunny in {city}"


WEATHER = Script(
    [Turn(Call("lookup_weather", {"city": "Paris"}, call_id="call_weather")), Turn(Say("Sunny."))], speed=0
)

Handle = Callable[[], Awaitable[object]]


def run_conversation(
    server: RealtimeServer,
    handle: Handle,
    *,
    on: str = "response.done",
    receive: Callable[[AsyncRealtimeConnection], Awaitable[Any]] | None = None,
) -> None:
    """Holds a conversation with a tool call, and runs ``handle`` when the event of type ``on`` arrives."""

    async def talk() -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw, thread_id="t-1", tags=["shop"], metadata={"shop": "7"}) as connection,
        ):
            await connection.response.create()
            while True:
                event = await (receive(connection) if receive else connection.recv())
                if event.type == on:
                    gc.collect()  # LangSmith holds the context's run by a weak reference
                    await handle()
                if event.type == "response.done":
                    break
            await connection.conversation.item.create(
                item={"type": "function_call_output", "call_id": "call_weather", "output": "sunny"}
            )

    asyncio.run(talk())


async def inline() -> None:
    lookup_weather("Paris")


async def in_a_task() -> None:
    async def work() -> None:
        lookup_weather("Paris")

    await asyncio.create_task(work())


async def in_a_thread() -> None:
    await asyncio.to_thread(lookup_weather, "Paris")


async def in_an_executor() -> None:
    copied = contextvars.copy_context()
    with ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, copied.run, lookup_weather, "Paris")


async def in_a_new_thread() -> None:
    thread = threading.Thread(target=contextvars.copy_context().run, args=(lookup_weather, "Paris"))
    thread.start()
    await asyncio.to_thread(thread.join)


async def wait_for(connection: AsyncRealtimeConnection) -> Any:
    return await asyncio.wait_for(connection.recv(), 20)


async def task(connection: AsyncRealtimeConnection) -> Any:
    return await asyncio.create_task(connection.recv())


async def two_steps(connection: AsyncRealtimeConnection) -> Any:
    return connection.parse_event(await connection.recv_bytes())


@pytest.mark.parametrize("handle", [inline, in_a_task, in_a_thread, in_an_executor, in_a_new_thread])
@pytest.mark.parametrize("on", ["response.done", "response.output_item.done", "response.function_call_arguments.done"])
def test_a_traced_tool_nests_under_the_event_during_which_it_is_called(
    tracing: Collector, handle: Handle, on: str
) -> None:
    with RealtimeServer(WEATHER) as server:
        run_conversation(server, handle, on=on)
    root = the_tree(tracing)
    assert root[on].shape() == (on, [("lookup_weather", ["look_outside"])])
    assert_application_run(root[on])
    assert len(list(root.find("lookup_weather"))) == 1  # no second run made by the tracing


@pytest.mark.parametrize("receive", [wait_for, task, two_steps])
def test_a_traced_tool_nests_under_its_event_for_every_way_to_receive_events(
    tracing: Collector, receive: Callable[[AsyncRealtimeConnection], Awaitable[Any]]
) -> None:
    with RealtimeServer(WEATHER) as server:
        run_conversation(server, inline, receive=receive)
    assert the_tree(tracing)["response.done"].names() == ["lookup_weather"]


def assert_application_run(parent: Node) -> None:
    """Asserts that the application's run has the conversation's metadata and tags, and its call's id."""
    tool = parent["lookup_weather"].run
    deeper = parent["look_outside"].run
    for run in (tool, deeper):
        assert run.metadata["thread_id"] == "t-1"
        assert run.metadata["shop"] == "7"
        assert "ls_modality" not in run.metadata
        assert run.tags == ["shop"]
    assert tool.metadata["tool_call_id"] == "call_weather"
    assert "tool_call_id" not in deeper.metadata
    assert (tool.outputs or {})["output"] == "Paris: sunny in Paris"


def test_a_traced_tool_nests_under_its_event_on_a_synchronous_connection(tracing: Collector) -> None:
    with (
        RealtimeServer(WEATHER) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        connection.response.create()
        for event in connection:
            if event.type == "response.done":
                lookup_weather("Paris")
                break
    assert the_tree(tracing)["response.done"].names() == ["lookup_weather"]


def test_a_task_keeps_the_event_during_which_it_started_as_parent(tracing: Collector) -> None:
    """The parent lives as long as any context that captured it."""

    async def talk(server: RealtimeServer) -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw) as connection,
        ):
            started, finish = [], asyncio.Event()

            async def work() -> None:
                await finish.wait()
                lookup_weather("Paris")

            await connection.response.create()
            async for event in connection:
                if event.type == "response.created":
                    started.append(asyncio.create_task(work()))
                if event.type == "response.done":
                    break
            gc.collect()
            finish.set()
            await asyncio.gather(*started)

    with RealtimeServer(WEATHER) as server:
        asyncio.run(talk(server))
    assert "lookup_weather" in the_tree(tracing)["response.created"].names()


def test_work_during_a_delta_nests_under_the_last_event_with_a_run(tracing: Collector) -> None:
    async def talk(server: RealtimeServer) -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw) as connection,
        ):
            await connection.response.create()
            async for event in connection:
                if event.type == "response.output_audio.delta":
                    look_outside("Paris")
                    break

    with RealtimeServer(Script([Turn(Say("Hello."))], speed=0)) as server:
        asyncio.run(talk(server))
    assert the_tree(tracing)["response.content_part.added"].names() == ["look_outside"]


def test_a_task_started_during_a_delta_keeps_the_event_before_it_as_parent(tracing: Collector) -> None:
    under: Counter[str] = Counter()

    async def talk(server: RealtimeServer) -> None:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw) as connection,
        ):
            latest, started = "", []
            finish = asyncio.Event()

            async def work() -> None:
                await finish.wait()
                look_outside("Paris")

            await connection.response.create()
            async for event in connection:
                if event.type.endswith(".delta"):
                    under[latest] += 1
                    started.append(asyncio.create_task(work()))
                else:
                    latest = event.type
                if event.type == "response.done":
                    break
            finish.set()
            await asyncio.gather(*started)

    with RealtimeServer(Script([Turn(Say("Hello, how are you?"))], speed=0)) as server:
        asyncio.run(talk(server))
    assert under
    assert Counter(node.run.name for node in the_tree(tracing).children for _ in node.find("look_outside")) == under


def test_work_in_two_conversations_of_one_task_nests_under_the_right_conversation(tracing: Collector) -> None:
    async def talk(server: RealtimeServer) -> None:
        client = async_client(server)
        async with (
            client.realtime.connect(model="gpt-realtime") as raw_a,
            client.realtime.connect(model="gpt-realtime") as raw_b,
            wrap_realtime(raw_a, thread_id="a") as a,
            wrap_realtime(raw_b, thread_id="b") as b,
        ):
            await a.response.create()
            await b.response.create()
            open_ones = {"a": a, "b": b}
            while open_ones:
                for name, connection in list(open_ones.items()):
                    event = await connection.recv()
                    if event.type == "response.created":
                        look_outside(name)
                    if event.type == "response.done":
                        del open_ones[name]

    with RealtimeServer(Script([Turn(Say("Hello."))], speed=0)) as server:
        asyncio.run(talk(server))
    roots = trees(tracing)
    assert {root.metadata["thread_id"] for root in roots} == {"a", "b"}
    for root in roots:
        assert root.run.attachments or root.metadata["event_count"]
        outside = root["response.created"]["look_outside"].run
        assert outside.inputs == {"city": root.metadata["thread_id"]}
        assert outside.metadata["thread_id"] == root.metadata["thread_id"]


def test_a_tool_block_nests_work_under_its_call_while_another_conversation_is_current(tracing: Collector) -> None:
    """One task handles two conversations; the latest event belongs to the other one."""

    async def talk(server: RealtimeServer) -> None:
        client = async_client(server)
        async with (
            client.realtime.connect(model="gpt-realtime") as raw_a,
            client.realtime.connect(model="gpt-realtime") as raw_b,
            wrap_realtime(raw_a, thread_id="a") as a,
            wrap_realtime(raw_b, thread_id="b") as b,
        ):
            await a.response.create()
            async for event in a:
                if event.type == "response.done":
                    break
            await b.recv()
            before = get_current_run_tree()
            with a.tool("call_weather"):
                look_outside("Paris")
            assert get_current_run_tree() is before
            await a.conversation.item.create(
                item={"type": "function_call_output", "call_id": "call_weather", "output": "sunny"}
            )

    with RealtimeServer(WEATHER) as server:
        asyncio.run(talk(server))
    (root,) = [root for root in trees(tracing) if root.metadata["thread_id"] == "a"]
    assert root["response.done"].shape() == ("response.done", [("lookup_weather", ["look_outside"])])
    tool = root["lookup_weather"].run
    assert tool.inputs == {"city": "Paris"}
    assert (tool.outputs or {})["content"] == "sunny"


def test_a_tool_block_nests_work_under_the_callers_own_run_of_that_call(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event(announcement("call_1", "lookup_weather"))
        lookup_weather("Paris")
        with tracer.tool("call_1"):
            look_outside("London")
        tracer.client_event(answer("call_1"))
    root = the_tree(tracing)
    assert root.shape() == (
        "realtime_session",
        [("response.done", ["model", ("lookup_weather", ["look_outside", "look_outside"])])],
    )


def test_an_exception_in_a_tool_block_is_the_error_of_the_calls_run(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event(announcement("call_1", "lookup_weather"))
        with pytest.raises(ValueError, match="no such city"), tracer.tool("call_1"):
            raise ValueError("no such city")
        with tracer.tool("call_unheard_of"):
            look_outside("Atlantis")
    root = the_tree(tracing)
    tool = root["lookup_weather"].run
    assert tool.error == "ValueError: no such city"
    assert tool.metadata["answered"] is False
    assert root["tool"].names() == ["look_outside"]
    assert root["tool"].run.inputs == {"arguments": "[not received]"}


def announcement(*calls: str, event: str = "event_1") -> dict[str, Any]:
    """A response.done that announces calls; ``calls`` has an id and a name for each."""
    pairs = zip(calls[::2], calls[1::2], strict=True)
    output = [
        {"type": "function_call", "id": f"item_{call_id}", "call_id": call_id, "name": name, "arguments": "{}"}
        for call_id, name in pairs
    ]
    response = {"id": f"resp_{event}", "status": "completed", "output": output}
    return {"type": "response.done", "event_id": event, "response": response}


def answer(call_id: str) -> dict[str, Any]:
    item = {"type": "function_call_output", "call_id": call_id, "output": "done"}
    return {"type": "conversation.item.create", "item": item}


def test_runs_of_one_function_are_matched_to_its_calls_in_the_order_announced(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event(announcement("call_1", "lookup_weather", "call_2", "other", "call_3", "lookup_weather"))
        lookup_weather("Paris")
        lookup_weather("London")
        lookup_weather("a third time, of the user's own accord")
        for call_id in ("call_1", "call_2", "call_3"):
            tracer.client_event(answer(call_id))
    done = the_tree(tracing)["response.done"]
    tools = [node.run for node in done.children if node.run.run_type == "tool"]
    by_city = {run.inputs.get("city"): run.metadata.get("tool_call_id") for run in tools}
    assert by_city == {
        "Paris": "call_1",
        "London": "call_3",
        "a third time, of the user's own accord": None,
        None: "call_2",
    }


def test_a_tool_called_during_a_later_event_carries_out_the_announced_call(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event(announcement("call_1", "lookup_weather"))
        tracer.server_event({"type": "rate_limits.updated", "event_id": "event_2"})
        lookup_weather("Paris")
        tracer.client_event(answer("call_1"))
    root = the_tree(tracing)
    assert root["rate_limits.updated"]["lookup_weather"].run.metadata["tool_call_id"] == "call_1"
    assert root["response.done"].names() == ["model"]


def test_a_call_without_a_function_name_is_matched_to_a_run_below_its_event(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        arguments = {"type": "response.function_call_arguments.done", "event_id": "event_1", "call_id": "call_1"}
        tracer.server_event(arguments)
        lookup_weather("Paris")
        tracer.server_event(announcement("call_1", "lookup_weather", event="event_2"))
        tracer.client_event(answer("call_1"))
    root = the_tree(tracing)
    assert root[arguments["type"]]["lookup_weather"].metadata["tool_call_id"] == "call_1"
    assert len(list(root.find("lookup_weather"))) == 1


def test_a_conversation_opened_in_a_traced_function_nests_under_that_function(tracing: Collector) -> None:
    @traceable(metadata={"session_id": "outer-thread"})
    def handle_call() -> None:
        with SessionTracer() as tracer:
            tracer.server_event({"type": "session.created", "event_id": "event_1", "session": {}})
        look_outside("afterwards")

    handle_call()
    root = the_tree(tracing)
    assert root.shape() == (
        "handle_call",
        [("realtime_session", ["session.created"]), "look_outside"],
    )
    session = root["realtime_session"].run
    assert session.metadata["thread_id"] == "outer-thread"
    assert "session_id" not in session.metadata
    assert "session_id" not in root["session.created"].run.metadata
    assert "ls_agent_type" not in session.metadata
    assert session.trace_id == root.run.id


def test_a_conversation_opened_during_an_event_of_another_one_is_a_separate_trace(tracing: Collector) -> None:
    with SessionTracer(thread_id="first") as first:
        first.server_event({"type": "session.created", "event_id": "event_1", "session": {}})
        with SessionTracer(thread_id="second") as second:
            second.server_event({"type": "session.created", "event_id": "event_2", "session": {}})
    roots = trees(tracing)
    assert sorted(root.metadata["thread_id"] for root in roots) == ["first", "second"]
    assert all(root.names() == ["session.created"] for root in roots)


def test_a_conversation_opened_by_a_traced_tool_nests_under_the_tool(tracing: Collector) -> None:
    @traceable(run_type="tool")
    def transfer() -> None:
        with SessionTracer(thread_id="second") as second:
            second.server_event({"type": "session.created", "event_id": "event_2", "session": {}})

    with SessionTracer(thread_id="first") as first:
        first.server_event({"type": "session.created", "event_id": "event_1", "session": {}})
        transfer()
    root = the_tree(tracing)
    assert root["transfer"].shape() == ("transfer", [("realtime_session", ["session.created"])])
    assert root["transfer"]["realtime_session"].metadata["thread_id"] == "second"


def test_the_parent_option_accepts_headers_of_a_distributed_trace(tracing: Collector) -> None:
    with tracing_context(enabled=True):
        caller = RunTree(name="gateway", run_type="chain", extra={"metadata": {"conversation_id": "c-9"}})
        caller.post()
    with SessionTracer(parent=caller.to_headers()) as tracer:
        tracer.server_event({"type": "session.created", "event_id": "event_1", "session": {}})
    caller.end()
    caller.patch()
    root = the_tree(tracing)
    assert root.shape() == ("gateway", [("realtime_session", ["session.created"])])
    assert root["realtime_session"].metadata["thread_id"] == "c-9"


def test_the_block_may_be_left_in_another_task_than_the_one_that_entered_it(tracing: Collector) -> None:
    async def main() -> None:
        tracer = SessionTracer()
        await asyncio.create_task(enter(tracer))
        tracer.server_event({"type": "session.created", "event_id": "event_1", "session": {}})
        await asyncio.create_task(leave(tracer))

    async def enter(tracer: SessionTracer) -> None:
        await tracer.__aenter__()

    async def leave(tracer: SessionTracer) -> None:
        await tracer.__aexit__(None, None, None)

    asyncio.run(main())
    assert the_tree(tracing).names() == ["session.created"]


def test_leaving_the_block_restores_the_callers_own_parent(tracing: Collector) -> None:
    @traceable
    def outer() -> None:
        mine = get_current_run_tree()
        with SessionTracer() as tracer:
            tracer.server_event({"type": "session.created", "event_id": "event_1", "session": {}})
            assert get_current_run_tree() is not mine
        assert get_current_run_tree() is mine

    outer()
    with SessionTracer():
        pass
    assert get_current_run_tree() is None
    assert len(trees(tracing)) == 2


def test_runs_below_the_conversation_do_not_inherit_the_contexts_metadata_and_tags(tracing: Collector) -> None:
    @traceable(metadata={"request_cost_ms": 99}, tags=["outer"])
    def handle_call() -> None:
        with SessionTracer(metadata={"shop": 7}) as tracer:
            tracer.server_event({"type": "session.created", "event_id": "event_1", "session": {}})
            look_outside("Paris")
            with tracing_context(metadata={"mine": True}, tags=["inner"]):
                lookup_weather("Paris")

    handle_call()
    root = the_tree(tracing)
    plain, own = root["look_outside"].run, root["lookup_weather"].run
    assert "request_cost_ms" not in {**plain.metadata, **own.metadata}
    assert plain.tags == []
    assert (own.metadata["mine"], own.tags) == (True, ["inner"])
    assert plain.metadata["shop"] == own.metadata["shop"] == 7


def test_a_run_starts_within_the_millisecond_of_an_id_that_was_made_earlier(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event({"type": "session.created", "event_id": "event_1", "session": {}})
        parent = get_current_run_tree()
        assert parent is not None
        later = microseconds_of(parent.start_time) + 20_000
        child = parent.create_child("theirs", run_id=uuid7(later))
        child.end()
        child.post()
    started = the_tree(tracing)["theirs"].run.start_time  # the collector compares the start with the id
    assert microseconds_of(started) // 1000 == later // 1000


def item_done(call_id: str, name: str) -> dict[str, Any]:
    item = {"type": "function_call", "id": f"item_{call_id}", "call_id": call_id, "name": name, "arguments": "{}"}
    return {"type": "response.output_item.done", "event_id": f"event_{call_id}", "response_id": "resp_1", "item": item}


def test_work_that_begins_when_an_item_is_done_nests_below_its_call_also_after_response_done(
    tracing: Collector,
) -> None:
    """As an agent framework does that runs each tool in a task begun at the item, under a name of its own."""
    with SessionTracer() as tracer:
        tracer.server_event(item_done("call_1", "weather"))
        task = contextvars.copy_context()
        task.run(look_outside, "Paris")
        tracer.server_event(announcement("call_1", "weather"))
        task.run(look_outside, "London")
        tracer.client_event(answer("call_1"))
    root = the_tree(tracing)
    done = root["response.output_item.done"]
    assert sorted(done.names()) == ["model", "weather"]  # it is the first event of the response
    assert done["weather"].names() == ["look_outside", "look_outside"]
    tool = root["weather"].run
    assert tool.start_time == done.run.start_time, "it begins when it was called, not at response.done"
    assert tool.metadata["tool_call_id"] == "call_1"
    assert (tool.outputs or {})["content"] == "done"


def test_work_of_two_calls_at_once_nests_below_the_call_whose_item_it_began_at(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tasks = {}
        for call_id, name in (("call_1", "weather"), ("call_2", "traffic")):
            tracer.server_event(item_done(call_id, name))
            tasks[name] = contextvars.copy_context()
        tasks["traffic"].run(look_outside, "Rome")
        tasks["weather"].run(look_outside, "Paris")
        tracer.client_event(answer("call_2"))
        tracer.client_event(answer("call_1"))
    root = the_tree(tracing)
    assert {name: root[name]["look_outside"].run.inputs["city"] for name in tasks} == {
        "weather": "Paris",
        "traffic": "Rome",
    }


def test_work_at_an_item_that_is_no_call_or_an_answered_one_nests_below_the_event(tracing: Collector) -> None:
    message = {"id": "item_1", "type": "message", "role": "assistant", "content": []}
    with SessionTracer() as tracer:
        tracer.server_event({"type": "response.output_item.done", "event_id": "event_1", "item": message})
        look_outside("Paris")
        tracer.server_event(item_done("call_1", "weather"))
        tracer.client_event(answer("call_1"))
        look_outside("London")
    first, second = the_tree(tracing).children
    assert set(first.names()) == {"model", "look_outside"}  # the first event of a response
    assert [name for name in second.names() if name != "model"] == ["weather", "look_outside"]


def test_a_tool_of_the_calls_name_still_is_the_run_of_the_call_at_its_item(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event(item_done("call_1", "lookup_weather"))
        lookup_weather("Paris")
        tracer.server_event(announcement("call_1", "lookup_weather"))
        tracer.client_event(answer("call_1"))
    root = the_tree(tracing)
    assert root["response.output_item.done"]["lookup_weather"].names() == ["look_outside"]
    assert len(list(root.find("lookup_weather"))) == 1


def test_a_block_entered_during_an_event_of_its_own_conversation_does_not_hang_a_later_one(tracing: Collector) -> None:
    tracer = SessionTracer()
    tracer.server_event({"type": "session.created", "event_id": "event_1", "session": {}})
    with tracer:
        pass
    with SessionTracer():
        pass
    assert get_current_run_tree() is None
    assert len(trees(tracing)) == 2
