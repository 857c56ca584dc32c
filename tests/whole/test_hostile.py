"""Any frame, however malformed, disturbs neither the caller nor the trace: it becomes a run, and the root closes."""

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
from langsmith_realtime.core.conversation.events.server_events import HANDLERS
from langsmith_realtime.core.conversation.run_data import EventRun
from langsmith_realtime.core.conversation.tool_calls import MAX_WAITING_EVENTS, ToolCalls
from langsmith_realtime.core.payloads.json_values import (
    CONTAINS_ITSELF,
    MAX_MEMBERS,
    TOO_DEEP,
    TOO_MANY,
    cut_to_size,
    json_copy,
)
from langsmith_realtime.core.protocol.events import Call, FrameError, parse
from langsmith_realtime.core.protocol.inputs import Ref
from langsmith_realtime.runtime import guard
from langsmith_realtime.testing import RealtimeServer, Script
from langsmith_realtime.trace.run_builder import PAYLOAD_BYTES
from tests.support.conversations import Node, async_client, stored_trees, the_tree, trees
from tests.support.hostile_conversations import (
    COLLECTED,
    CORE,
    FRAMES,
    SETTINGS,
    TAPPED,
    SessionFedByHand,
    assert_every_frame_is_a_run,
    conversations,
)
from tests.support.hostile_frames import (
    CLIENT_TYPES,
    SERVER_TYPES,
    EndlessMapping,
    RaisingDict,
    RaisingStr,
    UndumpableModel,
    Unprintable,
    UnreadableMapping,
    as_text,
    exponential,
    nested,
    oddities,
    self_referencing,
    server_events,
)

assert FRAMES * (2 * CORE + COLLECTED + TAPPED) >= 10_000


def examples(all_of_them: int) -> pytest.MarkDecorator:
    """A few examples, and all of them in a soak."""
    return pytest.mark.parametrize("examples", [20, pytest.param(all_of_them, marks=pytest.mark.soak)])


@pytest.mark.newest  # the core does not depend on the versions of other packages
@pytest.mark.nocover
@examples(CORE)
def test_every_frame_becomes_a_run_that_can_be_sent(examples: int) -> None:
    settings(SETTINGS, max_examples=examples)(given(conversations)(assert_every_frame_is_a_run))()


def runs_expected(frames: list[Any], *, raw: bool = False) -> int:
    """Returns how many runs the server frames become. A repeated event id with equal content adds no run.

    With ``raw``, neither does a frame without an event id that is the object of the previous frame: it is parsed twice.
    """
    seen: dict[str, tuple[str, str]] = {}
    last_without_id: object = None
    count = 0
    for frame in frames:
        try:
            event = parse(json_copy(frame) if isinstance(frame, Mapping) else frame)
        except FrameError:
            count += 1
            continue
        event_id = event.body.get("event_id")
        if isinstance(event_id, str) and event_id:
            content = (event.name, repr(frame if raw else event.body))
            if seen.get(event_id) == content:
                continue
            seen[event_id] = content
        elif raw and frame is last_without_id:
            continue
        else:
            last_without_id = frame
        count += not event.is_delta
    return count


@pytest.mark.nocover
@examples(COLLECTED)
def test_a_tracer_accepts_any_object_and_the_collector_receives_its_run(tracing: Collector, examples: int) -> None:
    expected_runs: dict[str, int] = {}

    @settings(SETTINGS, max_examples=examples)
    @given(conversations)
    def check(frames: list[tuple[str, Any]]) -> None:
        with SessionTracer(recording=False) as tracer:
            for side, frame in frames:
                (tracer.server_event if side == "server" else tracer.client_event)(frame)
            tracer.record_user_audio(frames[0][1])
            tracer.record_agent_audio(b"\0\0", at=math.nan)
            with tracer.tool(cast("str", frames[1][1])):
                pass
            tracer.server_event({"type": "the.last"})
        expected_runs[str(tracer.run_id)] = 1 + runs_expected([frame for side, frame in frames if side == "server"])

    check()
    roots = trees(tracing)
    assert len(roots) == len(expected_runs)
    for root in roots:
        assert root.run.status == "success"
        assert root.run.end_time is not None
        assert (
            len([child for child in root.children if child.run.run_type == "chain"]) == expected_runs[str(root.run.id)]
        )
        assert "the.last" in root.names()
    assert {type(failure) for failure in guard.failures} == {TypeError, ValueError}  # from audio that is not bytes
    guard.failures.clear()


raw_frames = st.one_of(
    server_events.map(as_text),
    server_events.map(lambda event: as_text(event).encode()[:-1]),
    st.binary(max_size=40),
    oddities,
)


@pytest.mark.nocover
@examples(TAPPED)
def test_a_connection_that_receives_any_frame_behaves_as_if_untraced_and_is_traced(
    tracing: Collector, examples: int
) -> None:
    expected_runs: dict[str, int] = {}

    def outcome(parse_event: Any, frame: Any) -> Any:
        try:
            return parse_event(frame).to_dict()
        except Exception as error:
            return type(error)

    async def talk() -> None:
        with RealtimeServer(Script()) as server:
            async with async_client(server).realtime.connect(model="gpt-realtime") as raw:
                untraced = raw.parse_event

                @settings(SETTINGS, max_examples=examples)
                @given(st.lists(raw_frames, min_size=FRAMES, max_size=FRAMES))
                def check(frames: list[Any]) -> None:
                    block = cast("Any", wrap_realtime(raw, recording=False))
                    connection = block._begin()
                    for frame in frames:
                        assert repr(outcome(connection.parse_event, frame)) == repr(outcome(untraced, frame))
                    block.end(None, None, None)
                    read = [frame for frame in frames if not isinstance(frame, Mapping)]  # openai parses no mappings
                    expected_runs[connection.langsmith.run_id] = len(frames) - len(read) + runs_expected(read, raw=True)

                check()

    asyncio.run(talk())
    roots = trees(tracing)
    assert len(roots) == len(expected_runs)
    for root in roots:
        assert root.run.status == "success"
        assert root.names().count("malformed_frame") == root.metadata.get("malformed_frames", 0)
        assert (
            len([child for child in root.children if child.run.run_type == "chain"]) == expected_runs[str(root.run.id)]
        )


# Single frames


def run_of(tracing: Collector, event: object) -> Node:
    """Traces a frame between two valid ones, and returns its run."""
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
        (Unprintable(), "<unreadable Unprintable>"),
        (UndumpableModel(), "<unreadable UndumpableModel>"),
        (UnreadableMapping(), "<unreadable UnreadableMapping>"),
        (RaisingDict({RaisingStr("a"): RaisingStr("b")}), {"a": "b"}),
        ({1: 2, None: 3, (4, 5): 6}, {"1": 2, "None": 3, "(4, 5)": 6}),
        ({Unprintable(): 1, "\udc00": 2}, {"<unreadable Unprintable>": 1, "\ufffd": 2}),
        (self_referencing(), {"me": [CONTAINS_ITSELF, CONTAINS_ITSELF]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_json_cannot_express_are_replaced(tracing: Collector, value: object, shown: object) -> None:
    run = run_of(tracing, {"type": "x", "event_id": "event_1", "value": value})
    assert run.run.inputs == {"event": {"type": "x", "event_id": "event_1", "value": shown}}


def test_a_model_within_a_dict_is_traced_as_its_fields_without_its_secrets(tracing: Collector) -> None:
    part = ConversationItemMessage(type="message", api_key="the key", audio="AAAA")
    run = run_of(tracing, {"type": "x", "value": part})
    assert run.run.inputs["event"]["value"] == {"type": "message", "api_key": "<secret removed>", "audio": "AAAA"}


class ConversationItemMessage(BaseModel):
    type: str
    api_key: str
    audio: str


@pytest.mark.newest  # limits do not depend on the versions of other packages
def test_exponential_and_endless_values_are_cut(tracing: Collector) -> None:
    assert TOO_DEEP in json.dumps(json_copy(nested(1000)))
    laughs = json.dumps(json_copy(exponential()))
    assert TOO_MANY in laughs
    assert laughs.count("ha") <= MAX_MEMBERS
    run = run_of(tracing, {"type": "x", "value": EndlessMapping()})
    assert run.run.inputs["event"]["value"]["…"] == TOO_MANY


@pytest.mark.newest  # limits do not depend on the versions of other packages
@pytest.mark.parametrize("encoded", [False, True], ids=["dict", "text"])
def test_an_event_of_many_megabytes_is_one_run_that_the_server_accepts(tracing: Collector, encoded: bool) -> None:
    long = "word " * (PAYLOAD_BYTES // 5)
    event = {"type": "x", "long": long, "short": "whole", "item_id": "item_1"}
    run = run_of(tracing, json.dumps(event) if encoded else event)
    shown = run.run.inputs["event"]
    assert shown["short"] == "whole"
    assert shown["long"].startswith("word word")
    assert shown["long"].endswith("… <7000000 more characters>")


@pytest.mark.newest  # limits do not depend on the versions of other packages
def test_many_large_events_in_a_row_all_arrive(tracing: Collector) -> None:
    with SessionTracer(recording=False) as tracer:
        for number in range(12):
            tracer.server_event({"type": f"x.{number}", "long": "\0\n" * 400_000})
    assert the_tree(tracing).names() == [f"x.{number}" for number in range(12)]


@pytest.mark.newest  # limits do not depend on the versions of other packages
def test_a_conversation_whose_text_exceeds_the_limit_of_a_run_still_closes(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tenth of the limit, which the test before this one reaches: ten copies of 8 MB take seconds.
    monkeypatch.setattr("langsmith_realtime.trace.run_builder.PAYLOAD_BYTES", PAYLOAD_BYTES // 10)
    with SessionTracer(recording=False) as tracer:
        tracer.server_event({"type": "session.created", "session": {"instructions": "rule " * 200_000}})
        for number in range(20):
            item = {"id": f"item_{number}", "type": "message", "role": "user"}
            content = [{"type": "input_text", "text": "word " * 10_000}]
            event = {"type": "conversation.item.added", "item": {**item, "content": content}}
            tracer.server_event(event)
        response = {"id": "r", "status": "failed", "metadata": {"m": "x " * 100_000}, "output": []}
        response["status_details"] = {"error": {"message": "wrong " * 50_000}}
        tracer.server_event({"type": "response.done", "response": response})
        tracer.close("bad " * 50_000)
    root = the_tree(tracing)
    assert root.run.end_time is not None
    assert len(cast("Any", root.run.outputs)["messages"]) == 20
    assert str(root.run.error).endswith("more characters>")
    assert len(root.children) == 22


def test_a_payload_of_too_many_small_values_is_replaced_by_its_size() -> None:
    value, size = cut_to_size({"all": [str(number) for number in range(100_000)]}, 10_000)
    assert value == {"left_out": "<788899 bytes>"}
    assert size < 100
    whole = {"a": ["b", 1, None]}
    assert cut_to_size(whole, PAYLOAD_BYTES) == (whole, len(b'{"a":["b",1,null]}'))


def test_run_names_are_cut_to_langsmiths_limit(tracing: Collector) -> None:
    run = run_of(tracing, {"type": "\ud800" + "n" * 500})
    assert run.run.name == "\ufffd" + "n" * 127


def test_invalid_times_and_call_ids_add_no_run(tracing: Collector) -> None:
    with SessionTracer(recording=False) as tracer:
        tracer.server_event({"type": "before"})
        for at in (math.nan, math.inf, "soon", 10**400):
            tracer.record_user_audio(b"\0\0", at=cast("Any", at))
        call_ids: list[Any] = [None, [], {}, Unprintable()]
        for call_id in call_ids:
            with tracer.tool(call_id):
                pass
        tracer.close(UnprintableError())
    root = the_tree(tracing)
    assert root.run.error == "UnprintableError"
    assert root.names() == ["before"]
    assert {type(failure) for failure in guard.failures} == {ValueError, TypeError, OverflowError}
    guard.failures.clear()


class UnprintableError(Exception):
    """An error whose ``str`` raises."""

    def __str__(self) -> str:
        raise RuntimeError("no")


def test_audio_at_absurd_times_uses_no_disk_and_leaves_the_trace_intact(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.record_agent_audio(b"\1\0" * 100, at=1e300)
        tracer.record_user_audio(b"\1\0" * 100, at=-1e300)
        tracer.server_event({"type": "after"})
    assert the_tree(tracing).names() == ["after"]
    assert {type(failure) for failure in guard.failures} <= {ValueError}
    guard.failures.clear()


def test_an_event_whose_handler_raises_is_still_a_run(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setitem(HANDLERS, "response.done", fail)
    monkeypatch.setitem(HANDLERS, "response.created", fail)
    run = run_of(tracing, {"type": "response.done", "response": {"id": "resp_1"}})
    assert run.run.inputs["event"]["response"] == {"id": "resp_1"}
    monkeypatch.setattr("langsmith_realtime.core.conversation.conversation.on_delta", fail)
    with SessionTracer(recording=False) as tracer:
        tracer.server_event({"type": "response.output_text.delta"})
    assert flush(20)
    assert [type(failure) for failure in guard.failures] == [ZeroDivisionError] * 2
    guard.failures.clear()


def test_a_run_whose_masking_raises_is_sent_without_its_payload(
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


def test_unanswered_tool_calls_release_their_events_beyond_a_limit() -> None:
    calls = ToolCalls()
    call = Call("call_1", "look_up", "{}")
    out = []
    for number in range(MAX_WAITING_EVENTS + 10):
        done = EventRun(Ref(number), "response.done", {})
        out += calls.response_done(done, [call, Call(f"call_1{number}", None, None)])
    assert [cast("EventRun", run).ref.start for run in out] == list(range(10))
    item: dict[str, object] = {"call_id": "call_10"}
    assert [type(run).__name__ for run in calls.answered(item, 1.0)] == ["ToolRun"]
    left = [run.ref.start for run in calls.close() if isinstance(run, EventRun)]
    assert left == list(range(10, MAX_WAITING_EVENTS + 10))


@pytest.mark.newest  # the core does not depend on the versions of other packages
@pytest.mark.nocover
@pytest.mark.parametrize(("distinct", "limit"), [(False, 100), (True, 2000)], ids=["repeated ids", "new ids"])
def test_memory_grows_with_new_items_only(distinct: bool, limit: int) -> None:
    """``limit`` is in bytes for each event: near zero for repeated ids, some for each new item or call."""
    driven = SessionFedByHand()
    frames = itertools.count()

    def feed(rounds: int) -> int:
        for _ in range(rounds):
            for side, types in (("server", SERVER_TYPES), ("client", CLIENT_TYPES)):
                for name in types:
                    number = next(frames)
                    getattr(driven, side)(whole_event(name, number, str(number if distinct else number % 7)))
        driven.sender.operations.clear()
        driven.refs.clear()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    feed(20)
    tracemalloc.start()
    try:
        before, frames_before = feed(5), next(frames)
        grown = feed(10) - before
        assert grown / (next(frames) - frames_before) < limit
    finally:
        tracemalloc.stop()
    assert driven.guard.count == 0


def whole_event(name: str, number: int, key: str) -> dict[str, Any]:
    """Returns an event with the fields of all events."""
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
