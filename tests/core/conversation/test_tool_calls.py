"""Function calls: parent and end of their tool runs, and the response.done events that wait for results."""

from __future__ import annotations

from langsmith_realtime.core.conversation.run_data import EventRun, ToolRun
from langsmith_realtime.core.conversation.tool_calls import ToolCalls
from langsmith_realtime.core.protocol.events import Call
from langsmith_realtime.core.protocol.inputs import Ref

LOOK = Call("call_1", "look", '{"x": 1}')
BUY = Call("call_2", "buy", "{}")


def done(start: int = 9) -> EventRun:
    return EventRun(Ref(start), "response.done", {})


def output(call_id: str, result: object = "ok") -> dict[str, object]:
    return {"type": "function_call_output", "call_id": call_id, "output": result}


def test_a_call_hangs_below_response_done_which_waits_for_the_result() -> None:
    calls = ToolCalls()
    calls.announced([LOOK], Ref(5))
    assert calls.response_done(done(), [LOOK]) == []
    assert calls.answered(output("call_1"), 3.0) == [
        ToolRun(
            parent=Ref(9),
            call_id="call_1",
            name="look",
            arguments='{"x": 1}',
            output={"role": "tool", "tool_call_id": "call_1", "content": "ok"},
            end=3.0,
            answered=True,
            began=5,
        ),
        EventRun(Ref(9), "response.done", {}, end=3.0),
    ]
    assert calls.close() == []


def test_a_call_answered_before_response_done_hangs_below_the_arguments_event() -> None:
    calls = ToolCalls()
    calls.announced([LOOK], Ref(5))
    calls.announced([LOOK], Ref(6))  # output_item.done repeats the call
    (run,) = calls.answered(output("call_1"), 3.0)
    assert isinstance(run, ToolRun)
    assert run.parent == Ref(5)
    assert calls.response_done(done(), [LOOK]) == [done()], "it waits for no result"


def test_response_done_waits_for_the_last_of_its_calls() -> None:
    calls = ToolCalls()
    assert calls.response_done(done(), [LOOK, BUY]) == []
    assert [type(run) for run in calls.answered(output("call_2"), 3.0)] == [ToolRun]
    assert calls.answered(output("call_1"), 4.0)[1] == EventRun(Ref(9), "response.done", {}, end=4.0)


def test_each_response_done_waits_for_its_own_calls() -> None:
    calls = ToolCalls()
    assert calls.response_done(done(8), [LOOK]) == []
    assert calls.response_done(done(9), [BUY]) == []
    assert calls.answered(output("call_2"), 3.0)[1] == EventRun(Ref(9), "response.done", {}, end=3.0)
    assert calls.answered(output("call_1"), 4.0)[1] == EventRun(Ref(8), "response.done", {}, end=4.0)


def test_a_result_that_the_server_repeats_counts_once() -> None:
    calls = ToolCalls()
    calls.response_done(done(), [LOOK])
    assert len(calls.answered(output("call_1"), 3.0)) == 2
    assert calls.answered(output("call_1"), 3.1) == []


def test_a_result_without_a_call_has_no_run() -> None:
    calls = ToolCalls()
    assert calls.answered(output("call_from_yesterday"), 3.0) == []
    assert calls.answered({"call_id": ["x"]}, 3.0) == []
    assert calls.answered({}, 3.0) == []
    assert calls.close() == []


def test_an_unanswered_call_has_no_duration() -> None:
    calls = ToolCalls()
    calls.response_done(done(), [LOOK, BUY])
    calls.answered(output("call_2"), 3.0)
    unanswered, released = calls.close()
    assert unanswered == ToolRun(
        parent=Ref(9),
        call_id="call_1",
        name="look",
        arguments='{"x": 1}',
        output=None,
        end=None,
        answered=False,
        began=9,
    )
    assert released == EventRun(Ref(9), "response.done", {}, end=3.0), "it ends with the result that was sent"


def test_response_done_does_not_wait_for_an_incomplete_call() -> None:
    calls = ToolCalls()
    cut_off = Call("call_1", "look", '{"x', complete=False)
    assert calls.response_done(done(), [cut_off]) == [done()]
    (run,) = calls.answered(output("call_1"), 3.0)
    assert isinstance(run, ToolRun)
    assert (run.parent, run.end) == (Ref(9), 3.0), "the call was answered nevertheless"


def test_an_unanswered_call_ends_with_its_tool_block_and_has_its_error() -> None:
    calls = ToolCalls()
    calls.response_done(done(), [LOOK])
    calls.block_entered("call_1", Ref(9))
    calls.block_left("call_1", 2.5, "KeyError: 'city'")
    (run, *_) = calls.close()
    assert isinstance(run, ToolRun)
    assert (run.parent, run.end, run.answered, run.error) == (Ref(9), 2.5, False, "KeyError: 'city'")


def test_a_tool_block_for_an_unannounced_call_has_a_run() -> None:
    calls = ToolCalls()
    calls.block_entered("call_7", Ref(12))
    calls.block_left("call_7", 2.5, None)
    (run,) = calls.close()
    assert run == ToolRun(
        parent=Ref(12), call_id="call_7", name="tool", arguments=None, output=None, end=2.5, answered=False
    )


def test_a_call_stays_below_the_parent_that_its_tool_block_gave_it() -> None:
    calls = ToolCalls()
    calls.announced([LOOK], Ref(5))
    calls.block_entered("call_1", Ref(7))  # the application's work below the block is there
    calls.response_done(done(), [LOOK])
    (run, _) = calls.answered(output("call_1"), 3.0)
    assert isinstance(run, ToolRun)
    assert run.parent == Ref(7)


def test_a_call_that_the_application_traces_has_no_run_but_response_done_waits_for_its_result() -> None:
    calls = ToolCalls()
    calls.claimed("call_1")
    calls.response_done(done(), [LOOK, BUY])
    calls.claimed("call_2")
    assert calls.answered(output("call_1"), 3.0) == []
    assert calls.answered(output("call_2"), 4.0) == [EventRun(Ref(9), "response.done", {}, end=4.0)]
    calls.claimed("call_2")
    assert calls.close() == []


def test_events_after_the_result_make_no_second_run() -> None:
    calls = ToolCalls()
    calls.response_done(done(), [LOOK])
    calls.block_entered("call_1", Ref(12))
    calls.answered(output("call_1"), 2.0)
    calls.block_entered("call_1", Ref(13))
    calls.block_left("call_1", 2.5, None)
    calls.set_name("call_1", "look")
    calls.announced([LOOK], Ref(14))
    assert calls.response_done(done(15), [LOOK]) == [done(15)]
    assert calls.close() == []


def test_a_function_name_sent_only_before_the_arguments_is_used() -> None:
    calls = ToolCalls()
    calls.set_name("call_1", "look")
    calls.set_name(None, "look")
    calls.set_name("call_2", ["no name"])
    calls.announced([Call("call_1", None, "{}")], Ref(5))
    (run,) = calls.answered(output("call_1"), 3.0)
    assert isinstance(run, ToolRun)
    assert run.name == "look"
    assert calls.close() == [], "a name alone does not announce a call"
