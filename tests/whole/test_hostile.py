"""Whatever arrives, the caller never hears of it and the trace goes on: every frame is a run, the root closes."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import math
import tracemalloc
from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langsmith import Client
from pydantic import BaseModel

from langsmith_realtime import SessionTracer, flush, wrap_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.core.conversation.conversation import HANDLERS, Conversation
from langsmith_realtime.core.conversation.run_data import EventRun
from langsmith_realtime.core.conversation.tool_calls import HELD, ToolCalls
from langsmith_realtime.core.payloads.json_values import AGAIN, MAX_MEMBERS, TOO_DEEP, TOO_MANY, fitted, plain
from langsmith_realtime.core.protocol.events import Call, FrameError, parse
from langsmith_realtime.runtime import guard
from langsmith_realtime.testing import RealtimeServer, Script
from langsmith_realtime.trace.run_builder import PAYLOAD_BYTES
from tests.support.conversations import Node, async_client, stored_trees, the_tree, trees
from tests.support.hostile_conversations import (
    COLLECTED,
    CORE,
    FRAMES,
    OLD_CLIENT,
    TAPPED,
    Frames,
    check_core,
    conversation,
    slowly,
)
from tests.support.hostile_frames import (
    CLIENT_TYPES,
    SERVER_TYPES,
    Endless,
    Shut,
    Treacherous,
    Undumped,
    Unspeakable,
    Word,
    as_text,
    laughing,
    nested,
    oddities,
    selfish,
    server_events,
)

assert OLD_CLIENT or FRAMES * (2 * CORE + COLLECTED + TAPPED) >= 10_000


@pytest.mark.newest  # the core alone, which no version changes
@pytest.mark.unmeasured
def test_every_frame_becomes_a_run_that_can_be_sent() -> None:
    check_core()


def runs_expected(frames: list[Any], *, raw: bool = False) -> int:
    """How many runs server frames make; one that was seen before, by its event's id, is no new one.

    A ``raw`` frame without an id is the one before when it is the same object, parsed twice.
    """
    seen: dict[str, tuple[str, str]] = {}
    nameless: object = None
    count = 0
    for frame in frames:
        try:
            event = parse(plain(frame) if isinstance(frame, Mapping) else frame)
        except FrameError:
            count += 1
            continue
        event_id = event.body.get("event_id")
        if isinstance(event_id, str) and event_id:
            content = (event.name, repr(frame if raw else event.body))
            if seen.get(event_id) == content:
                continue
            seen[event_id] = content
        elif raw and frame is nameless:
            continue
        else:
            nameless = frame
        count += not event.is_delta
    return count


@pytest.mark.unmeasured
def test_a_tracer_takes_anything_and_the_collector_has_it(tracing: Collector) -> None:
    told: dict[str, int] = {}

    @settings(slowly, max_examples=COLLECTED)
    @given(conversation)
    def check(frames: list[tuple[str, Any]]) -> None:
        with SessionTracer(recording=False) as tracer:
            for side, frame in frames:
                (tracer.server_event if side == "server" else tracer.client_event)(frame)
            tracer.record_user_audio(frames[0][1])
            tracer.record_agent_audio(b"\0\0", at=math.nan)
            with tracer.tool(cast("str", frames[1][1])):
                pass
            tracer.server_event({"type": "the.last"})
        told[str(tracer.run_id)] = 1 + runs_expected([frame for side, frame in frames if side == "server"])

    check()
    roots = trees(tracing)
    assert len(roots) == len(told)
    for root in roots:
        assert root.run.status == "success"
        assert root.run.end_time is not None
        assert len([child for child in root.children if child.run.run_type == "chain"]) == told[str(root.run.id)]
        assert "the.last" in root.names()
    assert {type(failure) for failure in guard.failures} == {TypeError, ValueError}  # the sound that is none
    guard.failures.clear()


raw_frames = st.one_of(
    server_events.map(as_text),
    server_events.map(lambda event: as_text(event).encode()[:-1]),
    st.binary(max_size=40),
    oddities,
)


@pytest.mark.unmeasured
def test_a_connection_that_receives_anything_is_traced_and_behaves_as_before(tracing: Collector) -> None:
    told: dict[str, int] = {}

    def outcome(parse_event: Any, frame: Any) -> Any:
        try:
            return parse_event(frame).to_dict()
        except Exception as error:
            return type(error)

    async def talk() -> None:
        with RealtimeServer(Script()) as server:
            async with async_client(server).realtime.connect(model="gpt-realtime") as raw:
                untapped = raw.parse_event

                @settings(slowly, max_examples=TAPPED)
                @given(st.lists(raw_frames, min_size=FRAMES, max_size=FRAMES))
                def check(frames: list[Any]) -> None:
                    block = cast("Any", wrap_realtime(raw, recording=False))
                    connection = block._begin()
                    for frame in frames:
                        assert repr(outcome(connection.parse_event, frame)) == repr(outcome(untapped, frame))
                    block._end(None, None, None)
                    read = [frame for frame in frames if not isinstance(frame, Mapping)]  # openai reads no mapping
                    told[connection.langsmith.run_id] = len(frames) - len(read) + runs_expected(read, raw=True)

                check()

    asyncio.run(talk())
    roots = trees(tracing)
    assert len(roots) == len(told)
    for root in roots:
        assert root.run.status == "success"
        assert root.names().count("malformed_frame") == root.metadata.get("malformed_frames", 0)
        assert len([child for child in root.children if child.run.run_type == "chain"]) == told[str(root.run.id)]


# One by one


def lone(tracing: Collector, event: object) -> Node:
    """The run that a frame became, between two that are as they should be."""
    with SessionTracer(recording=False) as tracer:
        tracer.server_event({"type": "before"})
        tracer.server_event(cast("Any", event))
        tracer.server_event({"type": "after"})
    root = the_tree(tracing)
    assert root.run.status == "success"
    (before, run, after) = root.children
    assert (before.run.name, after.run.name) == ("before", "after")
    return run


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("\ud800x", "\ufffdx"),
        ("\ud83d\ude00", "\U0001f600"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (2**63 - 1, 2**63 - 1),
        (10**30, str(10**30)),
        (10**6000, "<integer of 19932 bits>"),
        (b"\xff\xff", "<2 bytes>"),
        ({1}, [1]),
        ((1, 2), [1, 2]),
        (Unspeakable(), "<unreadable Unspeakable>"),
        (Undumped(), "<unreadable Undumped>"),
        (Shut(), "<unreadable Shut>"),
        (Treacherous({Word("a"): Word("b")}), {"a": "b"}),
        ({1: 2, None: 3, (4, 5): 6}, {"1": 2, "None": 3, "(4, 5)": 6}),
        ({Unspeakable(): 1, "\udc00": 2}, {"<unreadable Unspeakable>": 1, "\ufffd": 2}),
        (selfish(), {"me": [AGAIN, AGAIN]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_has_no_word_for_is_said_in_another(tracing: Collector, value: object, shown: object) -> None:
    run = lone(tracing, {"type": "x", "event_id": "event_1", "value": value})
    assert run.run.inputs == {"event": {"type": "x", "event_id": "event_1", "value": shown}}


def test_a_model_within_a_dict_is_traced_as_its_fields_without_its_secrets(tracing: Collector) -> None:
    part = ConversationItemMessage(type="message", api_key="hers", audio="AAAA")
    run = lone(tracing, {"type": "x", "value": part})
    assert run.run.inputs["event"]["value"] == {"type": "message", "api_key": "<secret removed>", "audio": "AAAA"}


class ConversationItemMessage(BaseModel):
    type: str
    api_key: str
    audio: str


def test_what_multiplies_or_has_no_end_is_cut(tracing: Collector) -> None:
    assert TOO_DEEP in json.dumps(plain(nested(1000)))
    laughs = json.dumps(plain(laughing()))
    assert TOO_MANY in laughs
    assert laughs.count("ha") <= MAX_MEMBERS
    run = lone(tracing, {"type": "x", "value": Endless()})
    assert run.run.inputs["event"]["value"]["…"] == TOO_MANY


@pytest.mark.parametrize("encoded", [False, True], ids=["dict", "text"])
def test_an_event_of_many_megabytes_is_one_run_that_the_server_takes(tracing: Collector, encoded: bool) -> None:
    event = {"type": "x", "long": "word " * 5_000_000, "short": "whole", "item_id": "item_1"}
    run = lone(tracing, json.dumps(event) if encoded else event)
    shown = run.run.inputs["event"]
    assert shown["short"] == "whole"
    assert shown["long"].startswith("word word")
    assert shown["long"].endswith("… <24000000 more characters>")


def test_many_large_events_in_a_row_all_arrive(tracing: Collector) -> None:
    with SessionTracer(recording=False) as tracer:
        for number in range(12):
            tracer.server_event({"type": f"x.{number}", "long": "\0\n" * 400_000})
    assert the_tree(tracing).names() == [f"x.{number}" for number in range(12)]


def test_a_conversation_whose_words_are_more_than_a_run_may_have_still_closes(tracing: Collector) -> None:
    with SessionTracer(recording=False) as tracer:
        tracer.server_event({"type": "session.created", "session": {"instructions": "rule " * 2_000_000}})
        for number in range(20):
            item = {"id": f"item_{number}", "type": "message", "role": "user"}
            content = [{"type": "input_text", "text": "word " * 100_000}]
            event = {"type": "conversation.item.added", "item": {**item, "content": content}}
            tracer.server_event(event)
        response = {"id": "r", "status": "failed", "metadata": {"m": "x " * 1_000_000}, "output": []}
        response["status_details"] = {"error": {"message": "wrong " * 200_000}}
        tracer.server_event({"type": "response.done", "response": response})
        tracer.close("bad " * 200_000)
    root = the_tree(tracing)
    assert root.run.end_time is not None
    assert len(cast("Any", root.run.outputs)["messages"]) == 20
    assert str(root.run.error).endswith("more characters>")
    assert len(root.children) == 22


def test_too_many_small_things_are_named_by_their_size() -> None:
    value, size = fitted({"all": [str(number) for number in range(100_000)]}, 10_000)
    assert value == {"left_out": "<788899 bytes>"}
    assert size < 100
    whole = {"a": ["b", 1, None]}
    assert fitted(whole, PAYLOAD_BYTES) == (whole, len(b'{"a":["b",1,null]}'))


def test_names_keep_within_what_langsmith_takes(tracing: Collector) -> None:
    run = lone(tracing, {"type": "\ud800" + "n" * 500})
    assert run.run.name == "\ufffd" + "n" * 127


def test_what_is_no_time_and_no_call_is_let_be(tracing: Collector) -> None:
    with SessionTracer(recording=False) as tracer:
        tracer.server_event({"type": "before"})
        for at in (math.nan, math.inf, "soon", 10**400):
            tracer.record_user_audio(b"\0\0", at=cast("Any", at))
        call_ids: list[Any] = [None, [], {}, Unspeakable()]
        for call_id in call_ids:
            with tracer.tool(call_id):
                pass
        tracer.close(SilentError())
    root = the_tree(tracing)
    assert root.run.error == "SilentError"
    assert root.names() == ["before"]
    assert {type(failure) for failure in guard.failures} == {ValueError, TypeError, OverflowError}
    guard.failures.clear()


class SilentError(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_sound_at_the_end_of_days_costs_no_disk_and_no_trace(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.record_agent_audio(b"\1\0" * 100, at=1e300)
        tracer.record_user_audio(b"\1\0" * 100, at=-1e300)
        tracer.server_event({"type": "after"})
    assert the_tree(tracing).names() == ["after"]
    assert {type(failure) for failure in guard.failures} <= {ValueError}
    guard.failures.clear()


def test_an_event_whose_meaning_cannot_be_worked_out_is_still_a_run(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setitem(HANDLERS, "response.done", fail)
    monkeypatch.setitem(HANDLERS, "response.created", fail)
    run = lone(tracing, {"type": "response.done", "response": {"id": "resp_1"}})
    assert run.run.inputs["event"]["response"] == {"id": "resp_1"}
    monkeypatch.setattr(Conversation, "_delta", fail)
    with SessionTracer(recording=False) as tracer:
        tracer.server_event({"type": "response.output_text.delta"})
    assert flush(20)
    assert [type(failure) for failure in guard.failures] == [ZeroDivisionError] * 2
    guard.failures.clear()


def test_a_run_that_cannot_be_masked_costs_its_payload_alone(
    tracing: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    def mask(inputs: dict[str, Any]) -> dict[str, Any]:
        if "secret" in json.dumps(inputs):
            raise LookupError("no rule for it")
        return inputs

    client = Client(api_url=tracing.url, api_key="k", hide_inputs=mask)
    with SessionTracer(client=client, recording=False) as tracer:
        for name in ("before", "secret", "after"):
            tracer.server_event({"type": name})
    assert flush(20)
    assert "your masking failed" in caplog.text
    root = stored_trees(tracing)[0]
    assert root.run.end_time is not None
    assert root.names() == ["before", "secret", "after"]
    assert [bool(node.run.inputs) for node in root.children] == [True, False, True]


def test_calls_that_are_never_answered_do_not_hold_their_events_for_ever() -> None:
    calls = ToolCalls()
    call = Call("call_1", "look_up", "{}")
    out = []
    for number in range(HELD + 10):
        out += calls.response_done(EventRun(number, "response.done", {}), [call, Call(f"call_1{number}", None, None)])
    assert [cast("EventRun", run).ref for run in out] == list(range(10))
    item: dict[str, object] = {"call_id": "call_10"}
    assert [type(run).__name__ for run in calls.answered(item, 1.0)] == ["ToolRun"]
    left = [run.ref for run in calls.close() if isinstance(run, EventRun)]
    assert left == list(range(10, HELD + 10))


@pytest.mark.newest  # the core alone
@pytest.mark.unmeasured
@pytest.mark.parametrize(("distinct", "limit"), [(False, 100), (True, 2000)], ids=["the same ids", "ever new ids"])
def test_memory_grows_with_what_was_said_and_with_nothing_else(distinct: bool, limit: int) -> None:
    """In bytes an event: near nothing for the same things again, a little for each new item or call."""
    fed = Frames()
    frames = itertools.count()

    def feed(rounds: int) -> int:
        for _ in range(rounds):
            for side, types in (("server", SERVER_TYPES), ("client", CLIENT_TYPES)):
                for name in types:
                    number = next(frames)
                    getattr(fed, side)(whole_event(name, number, str(number if distinct else number % 7)))
        fed.sender.operations.clear()
        fed.refs.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    feed(60)
    tracemalloc.start()
    try:
        before, fed_before = feed(5), next(frames)
        grown = feed(20) - before
        assert grown / (next(frames) - fed_before) < limit
    finally:
        tracemalloc.stop()
    assert fed.guard.count == 0


def whole_event(name: str, number: int, key: str) -> dict[str, Any]:
    """An event with every member any event has."""
    kind = ("message", "function_call", "mcp_call", "function_call_output")[number % 4]
    item = {"id": f"item_{key}", "type": kind, "call_id": f"call_{key}", "content": [{"type": "input_audio"}]}
    return {
        "type": name,
        "event_id": key,
        "item_id": f"item_{key}",
        "response_id": f"resp_{key}",
        "call_id": f"call_{key}",
        "audio_end_ms": 5,
        "audio": "AAAA",
        "transcript": "Hello.",
        "item": item,
        "response": {"id": f"resp_{key}", "conversation": "none", "metadata": {"k": key}, "output": [item]},
        "error": {"event_id": key},
        "session": {"id": key},
    }
