"""``wrap_realtime_session``: conversations of the OpenAI Agents SDK, over sockets to a local server."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.agents_sdk import listeners, model_config, outputs, session_of, traced, until, until_answers  # isort: split

from agents import GuardrailFunctionOutput, OutputGuardrail, function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner, realtime_handoff
from langsmith import get_current_run_tree, traceable
from openai import AsyncOpenAI

from langsmith_realtime import SessionTracer, wrap_realtime, wrap_realtime_session
from langsmith_realtime.collector import Collector
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.options.tracing import TracingOptions
from langsmith_realtime.runtime import guard
from langsmith_realtime.testing import Call, LoggedFrame, RealtimeServer, Say, Script, Turn
from tests.support.conversations import Node, async_client, the_tree, trees

PRICE = "That will cost you 100 euros, and then there are many more words that nobody is to hear at all."
NO_WORK = RealtimeAgent[Any](name="Front", instructions="Greet the caller.")


@traceable
def look_at(city: str) -> str:
    return city


@function_tool
async def weather(city: str) -> str:
    """Says the weather."""
    await asyncio.sleep(0.1)
    return f"sunny in {look_at(city)}"


@function_tool
def population(city: str) -> str:
    """Says how many people live in a city."""
    run = get_current_run_tree()
    assert run is not None
    return f"{len(look_at(city))} in the run {run.name}"


@function_tool
def broken(city: str) -> str:
    """Fails."""
    raise LookupError(f"there is no {city}")


def has(words: str) -> Callable[[LoggedFrame], bool]:
    return lambda frame: words in str(frame.raw)


def models(root: Node) -> list[Node]:
    return list(root.find("model"))


def facts(node: Node) -> Any:
    """What must be equal in two traces of one conversation: names, payloads, tokens."""
    usage = node.metadata.get("usage_metadata")
    inputs = node.run.inputs if node.run.name == "model" or node.run.run_type == "tool" else None
    return node.run.name, inputs, node.run.outputs, usage, [facts(child) for child in node.children]


# The trace


def test_the_trace_is_that_of_a_plain_connection(tracing: Collector) -> None:
    turns = [Turn(Call("weather", {"city": "Paris"})), Turn(Say("It is sunny in Paris.")), Turn(Say("Goodbye."))]
    script = Script(turns, seed=7, speed=0, rate_limits=False)
    agent = RealtimeAgent[Any](name="Front", instructions="Be brief.", tools=[weather])

    async def with_the_sdk(server: RealtimeServer) -> None:
        async with traced(server, agent) as session:
            await session.send_message("Hello")
            await until_answers(session, 2)
            await session.send_message("Thanks")
            await until_answers(session)

    async def plain(client: AsyncOpenAI, sent: list[dict[str, Any]]) -> None:
        async with client.realtime.connect(model="gpt-realtime") as raw, wrap_realtime(raw) as connection:
            frames = iter(sent)

            async def send(last: str) -> None:
                for frame in frames:
                    await connection.send(frame)  # type: ignore[arg-type]
                    if frame["type"] == last:
                        return

            await send("response.create")
            done = 0
            async for event in connection:
                done += event.type == "response.done"
                if event.type == "response.done" and done < 3:
                    await send("response.create")
                elif event.type == "response.done":
                    return

    with RealtimeServer(script) as server:
        asyncio.run(with_the_sdk(server))
        sent = [frame.event for frame in server.received]
    with RealtimeServer(script) as server:
        asyncio.run(plain(async_client(server), [frame for frame in sent if frame is not None]))
    sdk, by_hand = trees(tracing)
    responses = [[facts(node) for node in models(root)] for root in (sdk, by_hand)]
    assert responses[0] == responses[1]
    assert len(responses[0]) == 3
    assert facts(next(sdk.find("weather")))[:3] == facts(next(by_hand.find("weather")))[:3]
    assert [each["role"] for each in outputs(sdk)["messages"]] == [
        each["role"] for each in outputs(by_hand)["messages"]
    ]
    assert sdk.run.inputs == by_hand.run.inputs  # the session's configuration
    added = ["agent_changed"]
    assert sorted(name for name in sdk.names() if name not in added) == sorted(by_hand.names())
    for name in ("total_tokens", "input_audio_tokens", "output_audio_tokens", "turns", "interruptions", "errors"):
        assert sdk.metadata[name] == by_hand.metadata[name], name


def test_the_block_yields_the_session_itself_and_leaves_it_as_it_was(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        session = await session_of(server, NO_WORK)
        before = dict(session.__dict__)
        async with wrap_realtime_session(session, thread_id="call-1", tags=["phone"]) as entered:
            assert entered is session
            assert entered.langsmith.thread_id == "call-1"
            entered.langsmith.add(metadata={"customer": "c-17"})
        assert set(session.__dict__) == set(before)
        assert listeners(session) == []
        assert "send_event" not in session.model.__dict__

    with RealtimeServer() as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert root.run.tags == ["phone"]
    assert root.metadata["customer"] == "c-17"
    assert "session.created" in root.names()


def test_nobody_need_iterate(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        async with traced(server, NO_WORK) as session:
            await session.send_message("Hello")
            await asyncio.to_thread(server.wait_for, lambda frame: frame.type == "rate_limits.updated")
            await asyncio.sleep(0.05)

    with RealtimeServer(Script([Turn(Say("Hi."))], speed=0)) as server:
        asyncio.run(converse(server))
    (answer,) = models(the_tree(tracing))
    assert answer.metadata["agent"] == "Front"


def test_nothing_of_the_context_object_is_in_the_trace(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        session = await session_of(server, agent, context={"password": "hunter2-of-the-caller"})
        async with wrap_realtime_session(session):
            await session.send_message("Hello")
            await until_answers(session, 2)

    agent = RealtimeAgent[Any](name="Front", tools=[weather])
    with RealtimeServer(Script([Turn(Call("weather", {"city": "Rome"})), Turn(Say("Hi."))], speed=0)) as server:
        asyncio.run(converse(server))
    trees(tracing)
    assert "hunter2" not in str([run.__dict__ for run in tracing.runs()])


def test_each_line_of_the_transcript_is_told_once(tracing: Collector) -> None:
    lines: list[tuple[str, str]] = []

    async def converse(server: RealtimeServer) -> None:
        async with traced(server, NO_WORK, on_message=lambda role, line: lines.append((role, line))) as session:
            await session.send_message("guardrail triggered: what is that?")
            await until_answers(session)

    with RealtimeServer(Script([Turn(Say("Hi there."))], speed=0)) as server:
        asyncio.run(converse(server))
    assert lines == [("user", "guardrail triggered: what is that?"), ("assistant", "Hi there.")]


def test_an_exception_of_on_message_does_not_end_the_session(tracing: Collector) -> None:
    def on_message(role: str, line: str) -> None:
        raise KeyError(line)

    async def converse(server: RealtimeServer) -> None:
        async with traced(server, NO_WORK, on_message=on_message) as session:
            await session.send_message("Hello")
            await until_answers(session)

    with RealtimeServer(Script([Turn(Say("Hi."))], speed=0)) as server:
        asyncio.run(converse(server))
    assert len(guard.failures) > 0
    guard.failures.clear()
    root = the_tree(tracing)
    assert root.metadata["tracing_failures"] == 2
    assert len(models(root)) == 1


# Tools


@pytest.mark.parametrize("in_tasks", [True, False])
def test_work_of_two_tools_at_once_nests_under_the_right_call(tracing: Collector, in_tasks: bool) -> None:
    agent = RealtimeAgent[Any](name="Front", tools=[weather, population])
    calls = Turn(Call("weather", {"city": "Rome"}), Call("population", {"city": "Oslo"}))

    async def converse(server: RealtimeServer) -> None:
        async with traced(server, agent, config={"async_tool_calls": in_tasks}) as session:
            await session.send_message("Hello")
            for output in ("sunny in Rome", "in the run population"):
                await asyncio.to_thread(server.wait_for, has(output))
            await until_answers(session, 2)

    with RealtimeServer(Script([calls], speed=0)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    slow, quick = root["weather"], root["population"]
    assert [slow.shape(), quick.shape()] == [("weather", ["look_at"]), ("population", ["look_at"])]
    assert slow["look_at"].run.inputs == {"city": "Rome"}
    assert quick["look_at"].run.inputs == {"city": "Oslo"}
    assert outputs(slow)["content"] == "sunny in Rome"
    assert outputs(quick)["content"] == "4 in the run population"
    assert slow.run.error is quick.run.error is None


def test_the_run_of_a_tool_that_raised_has_its_exception(tracing: Collector) -> None:
    def apologize(context: Any, error: Exception) -> str:
        return "Sorry."

    @function_tool(failure_error_function=apologize)
    def also_broken(city: str) -> str:
        """Fails, and the model reads a text of the application's."""
        raise ValueError(f"{city} is closed")

    agent = RealtimeAgent[Any](name="Front", tools=[broken, also_broken])
    calls = Turn(Call("broken", {"city": "Atlantis"}), Call("also_broken", {"city": "Rome"}))

    async def converse(server: RealtimeServer) -> None:
        async with traced(server, agent) as session:
            await session.send_message("Hello")
            await until_answers(session, 2)

    with RealtimeServer(Script([calls], speed=0)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert root["broken"].run.error == "LookupError: there is no Atlantis"
    assert root["also_broken"].run.error == "ValueError: Rome is closed"
    assert outputs(root["also_broken"])["content"] == "Sorry."


def test_a_tool_that_does_not_exist_is_an_error_of_its_run(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        async with traced(server, NO_WORK) as session:
            await session.send_message("Hello")
            await asyncio.to_thread(server.wait_for, lambda frame: frame.type == "response.done")
            await asyncio.sleep(0.1)

    with RealtimeServer(Script([Turn(Call("fly", {}))], speed=0)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert "Tool fly not found" in str(root["fly"].run.error)


@pytest.mark.skipif(
    "timeout" not in inspect.signature(function_tool).parameters, reason="an old version has no timeouts"
)
def test_a_tool_that_takes_too_long_has_failed(tracing: Collector) -> None:
    @function_tool(timeout=0.01)
    async def slow(city: str) -> str:
        """Takes too long."""
        await asyncio.sleep(60)
        return city

    async def converse(server: RealtimeServer) -> None:
        async with traced(server, RealtimeAgent[Any](name="Front", tools=[slow])) as session:
            await session.send_message("Hello")
            await until_answers(session, 2)

    with RealtimeServer(Script([Turn(Call("slow", {"city": "Rome"}))], speed=0)) as server:
        asyncio.run(converse(server))
    assert the_tree(tracing)["slow"].run.error == "Tool 'slow' timed out after 0.01 seconds."


@pytest.mark.skipif("timeout" not in inspect.signature(function_tool).parameters, reason="calls ran one by one")
def test_a_failed_tool_does_not_get_the_exception_of_an_earlier_one(tracing: Collector) -> None:
    refused, failed = asyncio.Event(), asyncio.Event()

    def refuse(context: Any) -> None:
        refused.set()
        raise LookupError("no such desk")

    @function_tool(failure_error_function=None)
    async def fatal(city: str) -> str:
        """Fails after the handoff."""
        await refused.wait()
        await later()
        failed.set()
        raise ValueError(f"{city} is closed")

    async def later() -> None:
        for _ in range(20):
            await asyncio.sleep(0)  # until the SDK has seen that the task is done

    async def converse(server: RealtimeServer) -> None:
        billing = RealtimeAgent[Any](name="Billing")
        agent = RealtimeAgent[Any](name="Front", tools=[fatal], handoffs=[realtime_handoff(billing, on_handoff=refuse)])
        async with traced(server, agent, config={"async_tool_calls": True}) as session:
            await session.send_message("Hello")
            await failed.wait()  # does not iterate, which would end the session
            await later()

    calls = Turn(Call("transfer_to_billing", {}), Call("fatal", {"city": "Rome"}))
    with RealtimeServer(Script([calls], speed=0)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert root["transfer_to_billing"].run.error == "LookupError: no such desk"
    assert root["fatal"].run.error == "Tool call task failed"


@pytest.mark.parametrize("in_tasks", [True, False])
def test_a_tool_whose_exception_the_sdk_lets_out_has_failed(tracing: Collector, in_tasks: bool) -> None:
    @function_tool(failure_error_function=None)
    async def fatal(city: str) -> str:
        """Fails, and ends the iteration."""
        raise ValueError(f"{city} is closed")

    async def converse(server: RealtimeServer) -> None:
        agent = RealtimeAgent[Any](name="Front", tools=[fatal])
        async with traced(server, agent, config={"async_tool_calls": in_tasks}) as session:
            await session.send_message("Hello")
            await until_answers(session, 9)

    script = Script([Turn(Call("fatal", {"city": "Rome"}))], speed=0)
    with RealtimeServer(script) as server, pytest.raises(ValueError, match="Rome is closed"):
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert root["fatal"].run.error == "ValueError: Rome is closed"
    assert root.run.error == "ValueError: Rome is closed"


# Azure


def test_a_session_on_azure_is_azures(tracing: Collector) -> None:
    async def converse(server: RealtimeServer, **metadata: Any) -> None:
        url = server.url.replace("/v1/realtime", "/openai/realtime?api-version=2025-04-01-preview&deployment=desk")
        session = await session_of(server, NO_WORK, url=url)
        async with wrap_realtime_session(session, metadata=metadata):
            await session.send_message("Hello")
            await until_answers(session)

    with RealtimeServer(Script(speed=0)) as server:
        asyncio.run(converse(server))
        asyncio.run(converse(server, ls_provider="our gateway"))
    azures, own = trees(tracing)
    assert azures.metadata["ls_provider"] == azures["model"].metadata["ls_provider"] == "azure"
    assert azures["model"].metadata["ls_model_name"] == "desk"
    assert own["model"].metadata["ls_provider"] == "our gateway"


# Agents, handoffs, guardrails


def test_each_response_names_its_agent_before_and_after_a_handoff(tracing: Collector) -> None:
    billing = RealtimeAgent[Any](name="Billing", instructions="Talk about bills.", tools=[population])
    front = RealtimeAgent[Any](name="Front", instructions="Greet.", handoffs=[realtime_handoff(billing)])

    async def converse(server: RealtimeServer) -> None:
        async with traced(server, front) as session:
            await session.send_message("My bill")
            await until_answers(session, 2)

    script = Script([Turn(Call("transfer_to_billing")), Turn(Say("Billing here."))], speed=0)
    with RealtimeServer(script) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert [answer.metadata["agent"] for answer in models(root)] == ["Front", "Billing"]
    first, handoff = root["agent_changed"].run.inputs["event"], root["handoff"].run.inputs["event"]
    assert first == {
        "type": "agent_changed",
        "agent": "Front",
        "instructions": "Greet.",
        "tools": [handoff_name(front)],
    }
    assert handoff == {
        "type": "handoff",
        "agent": "Billing",
        "previous_agent": "Front",
        "instructions": "Talk about bills.",
        "tools": ["population"],
    }
    assert json.loads(outputs(root["transfer_to_billing"])["content"]) == {"assistant": "Billing"}
    assert root.metadata["agents"] == ["Front", "Billing"]
    assert root.metadata["handoffs"] == 1


def handoff_name(agent: RealtimeAgent[Any]) -> str:
    (handoff,) = agent.handoffs
    assert not isinstance(handoff, RealtimeAgent)
    return handoff.tool_name


def test_an_agent_that_the_application_sets_is_named_from_its_first_response_on(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        async with traced(server, NO_WORK) as session:
            await session.send_message("Hello")
            await until_answers(session)
            await session.update_agent(RealtimeAgent[Any](name="Night", instructions="Whisper."))
            await session.send_message("Hello?")
            await until_answers(session)

    with RealtimeServer(Script([Turn(Say("Hi.")), Turn(Say("Shh."))], speed=0)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    assert [answer.metadata["agent"] for answer in models(root)] == ["Front", "Night"]
    assert "handoffs" not in root.metadata


def test_a_guardrail_that_trips_is_shown_with_what_it_cut(tracing: Collector) -> None:
    def no_prices(context: Any, agent: Any, output: str) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info={"found": "price"}, tripwire_triggered="euros" in output)

    guarded = RealtimeAgent[Any](
        name="Front", output_guardrails=[OutputGuardrail(guardrail_function=no_prices, name="no_prices")]
    )

    async def converse(server: RealtimeServer) -> None:
        settings = {"guardrails_settings": {"debounce_text_length": 10}}
        async with traced(server, guarded, config=settings) as session:
            await session.send_message("How much?")
            await until(session, "guardrail_tripped")
            await until_answers(session)
            # The oldest version cannot ask for the next answer, because it does not cancel this one.
            await asyncio.to_thread(server.wait_for, has("guardrail triggered"))
            await asyncio.sleep(0.1)

    with RealtimeServer(Script([Turn(Say(PRICE)), Turn(Say("I cannot say."))], speed=4)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    tripped = root["guardrail_tripped"].run.inputs["event"]
    assert tripped["guardrails"] == [{"name": "no_prices", "agent": "Front", "info": {"found": "price"}}]
    assert "euros" in tripped["message"]
    first = models(root)[0]
    assert first.metadata["guardrails"] == ["no_prices"]
    assert not [later for later in models(root)[1:] if "guardrails" in later.metadata]
    assert first.metadata["heard_ms"] < first.metadata["spoken_ms"]
    assert "was_interrupted" not in first.metadata  # not by the user
    assert root.metadata["interruptions"] == 0
    assert root.metadata["guardrails_tripped"] == 1
    assert root.metadata["turns"] == 1
    (theirs,) = [each for each in outputs(root)["messages"] if each.get("from_guardrail")]
    assert theirs["content"] == "guardrail triggered: no_prices"


@pytest.mark.parametrize("approved", [True, False])
def test_a_call_says_how_long_it_waited_for_its_approval(tracing: Collector, approved: bool) -> None:
    try:
        decorate = function_tool(needs_approval=True)
    except TypeError:
        pytest.skip("this version of the SDK knows no approvals")

    @decorate
    def refund(city: str) -> str:
        """Pays money back."""
        return look_at(city)

    agent = RealtimeAgent[Any](name="Front", tools=[refund])

    async def converse(server: RealtimeServer) -> None:
        async with traced(server, agent) as session:
            await session.send_message("Refund")
            async for event in session:
                if event.type == "tool_approval_required":
                    await asyncio.sleep(0.2)
                    answer = session.approve_tool_call if approved else session.reject_tool_call
                    await answer(event.call_id)
                    break
            await until_answers(session)

    with RealtimeServer(Script([Turn(Call("refund", {"city": "Rome"})), Turn(Say("Done."))], speed=0)) as server:
        asyncio.run(converse(server))
    root = the_tree(tracing)
    call = root["refund"]
    asked = root["tool_approval_required"].run.inputs["event"]
    assert asked["name"] == "refund"
    assert asked["agent"] == "Front"
    assert call.metadata["approval"] == ("approved" if approved else "rejected")
    assert 200 <= call.metadata["approval_wait_ms"] < 2000
    assert call.names() == (["look_at"] if approved else [])
    assert root.metadata["approvals"] == 1


# Wrong arguments


def test_wrong_arguments_raise_at_the_call() -> None:
    runner = RealtimeRunner(NO_WORK)
    session = asyncio.run(runner.run())
    with pytest.raises(TypeError, match="must be a RealtimeSession"):
        wrap_realtime_session(runner)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a RealtimeSession"), SessionTracer() as tracer:
        tracer.listener(runner)
    with pytest.raises(TypeError, match="on_message must be a function"):
        wrap_realtime_session(session, on_message="print")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is not a tracing option"):
        wrap_realtime_session(session, thread="x")  # type: ignore[call-arg]


def test_every_parameter_of_langsmiths_function_is_accepted() -> None:
    theirs = importlib.import_module("langsmith.integrations.openai_realtime").wrap_realtime_session
    wanted = set(inspect.signature(theirs).parameters) - {"session", "on_message"}
    assert wanted <= set(TracingOptions.__annotations__)


def test_a_session_is_traced_once_at_a_time(tracing: Collector) -> None:
    async def converse(server: RealtimeServer) -> None:
        session = await session_of(server, NO_WORK)
        async with wrap_realtime_session(session):
            with pytest.raises(ValueError, match="traced already"):
                wrap_realtime_session(session)

    with RealtimeServer() as server:
        asyncio.run(converse(server))
    assert len(trees(tracing)) == 1


def test_without_tracing_the_session_works_as_ever() -> None:
    async def converse(server: RealtimeServer) -> None:
        session = await RealtimeRunner(NO_WORK).run(model_config=model_config(server))
        async with wrap_realtime_session(session, enabled=False) as entered:
            await entered.send_message("Hello")
            assert "agent_start" in await until(entered, "agent_end")
            assert entered.langsmith.trace_id is None

    with RealtimeServer(Script([Turn(Say("Hi."))], speed=0)) as server:
        asyncio.run(converse(server))


# Privacy, and what is left after a crash


def test_hidden_words_are_hidden_in_what_the_sdk_says_and_in_the_journal(tracing: Collector) -> None:
    def no_prices(context: Any, agent: Any, output: str) -> GuardrailFunctionOutput:
        return GuardrailFunctionOutput(output_info={"quote": output}, tripwire_triggered="euros" in output)

    guarded = RealtimeAgent[Any](
        name="Front", output_guardrails=[OutputGuardrail(guardrail_function=no_prices, name="no_prices")]
    )

    async def converse(server: RealtimeServer) -> str:
        settings = {"guardrails_settings": {"debounce_text_length": 10}}
        async with traced(server, guarded, config=settings, transcripts=False, journal="keep") as session:
            await session.send_message("How much?")
            await until(session, "guardrail_tripped")
            await asyncio.sleep(0.2)
            return str(session.langsmith.run_id)

    with RealtimeServer(Script([Turn(Say(PRICE))], speed=4)) as server:
        run_id = asyncio.run(converse(server))
    root = the_tree(tracing)
    tripped = root["guardrail_tripped"].run.inputs["event"]
    assert tripped["guardrails"][0]["name"] == "no_prices"
    (journal,) = (state_directory() / run_id).glob("*.jsonl*")
    for shown in (str([run.__dict__ for run in tracing.runs()]), journal.read_text("utf-8")):
        assert "guardrail_tripped" in shown
        assert "euros" not in shown
