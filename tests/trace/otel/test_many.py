"""Many conversations at once."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from langsmith_realtime import flush, wrap_realtime
from langsmith_realtime.testing import Call, RealtimeServer, Say, Script, Turn
from tests import ROOT
from tests.support.conversations import async_client
from tests.support.otlp_receiver import OtlpReceiver, Providers

pytestmark = [pytest.mark.newest, pytest.mark.nocover]

#: Turns of each conversation: a question that calls a tool, and an answer, in turn.
TURNS = 10
SCRIPT = Script([Turn(Call("look_up", {"city": "Paris"})), Turn(Say("Sunny.", seconds=0.2))] * (TURNS // 2), speed=0)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_of_many_conversations_at_once_no_span_or_record_is_lost_mixed_or_left_open(
    count: int, receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/otel.md").read_text("utf-8")
    for name, value in re.findall(r"(?m)^export (OTEL_(?:BSP|BLRP)_\w+)=(\d+)$", page):
        monkeypatch.setenv(name, value)
    providers = Providers(receiver, by_environment=True)
    events: Counter[str] = Counter()

    async def converse(server: RealtimeServer, number: int) -> None:
        name = f"call-{number}"
        event: Any
        async with AsyncExitStack() as stack:
            async with opening:
                raw = await stack.enter_async_context(async_client(server).realtime.connect(model="gpt-realtime"))
                wrapped = wrap_realtime(raw, otel=providers.otel(), langsmith=False, thread_id=name)
                connection = await stack.enter_async_context(wrapped)
            await all_open.wait()
            for _ in range(TURNS):
                await connection.response.create()
                async for event in connection:
                    events[name] += not event.type.endswith(".delta")
                    if event.type == "response.done":
                        break
                for item in event.response.output or []:
                    if item.type == "function_call":
                        tracer = providers.tracer.get_tracer("app")
                        with tracer.start_as_current_span("rag", attributes={"call": number}):
                            await asyncio.sleep(0)
                        result: Any = {"type": "function_call_output", "call_id": item.call_id, "output": "21"}
                        await connection.conversation.item.create(item=result)

    opening, all_open = asyncio.Semaphore(8), asyncio.Barrier(count)

    async def main(server: RealtimeServer) -> None:
        await asyncio.gather(*(converse(server, number) for number in range(count)))

    with RealtimeServer(SCRIPT) as server:
        asyncio.run(main(server))
    assert flush(300)
    providers.flush()
    providers.shutdown()
    assert Counter(span.name for span in receiver.spans()) == {
        "realtime_session": count,
        "chat gpt-realtime": TURNS * count,
        "execute_tool look_up": TURNS // 2 * count,
        "rag": TURNS // 2 * count,
    }
    assert len({span.span_id for span in receiver.all_spans}) == len(receiver.all_spans)
    assert receiver.orphans() == []
    owners: dict[str, set[str]] = {}
    for span in receiver.spans():
        call = span.attributes.get("call")
        owner = f"call-{call}" if span.name == "rag" else span.attributes["gen_ai.conversation.id"]
        owners.setdefault(span.trace_id, set()).add(owner)
    assert len(owners) == count
    assert all(len(names) == 1 for names in owners.values()), "no trace has spans of two conversations"
    named = [record for record in receiver.records if record.event_name.startswith("openai.realtime.")]
    assert Counter(record.attributes["gen_ai.conversation.id"] for record in named) == events
    assert all(owners[record.trace_id] == {record.attributes["gen_ai.conversation.id"]} for record in named)
    ended = [record for record in receiver.records if record.event_name.endswith("realtime_session.ended")]
    assert len(ended) == count
