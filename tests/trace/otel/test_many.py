"""Many conversations at once, and the cost on the caller's thread."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from opentelemetry import trace

from langsmith_realtime import SessionTracer
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers

pytestmark = pytest.mark.newest

CONVERSATIONS = 200


def test_of_200_conversations_at_once_no_span_is_lost_mixed_or_left_open(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    async def converse(number: int) -> None:
        async with SessionTracer(otel=providers.otel(), langsmith=False, thread_id=f"call-{number}") as tracer:
            tracer.server_event(talk.SESSION)
            await asyncio.sleep(0)
            talk.speaks(tracer)
            await asyncio.sleep(0)
            talk.begins(tracer, "resp_1")
            await asyncio.sleep(0)
            talk.ends(tracer, "resp_1", talk.CALL)
            await asyncio.sleep(0)
            with providers.tracer.get_tracer("app").start_as_current_span("rag", attributes={"call": number}):
                await asyncio.sleep(0)
            talk.answers(tracer)
            talk.begins(tracer, "resp_2")
            await asyncio.sleep(0)
            talk.ends(tracer, "resp_2", talk.says(tracer, "resp_2", "It is 21 degrees."))

    async def main() -> None:
        await asyncio.gather(*(converse(number) for number in range(CONVERSATIONS)))

    asyncio.run(main())
    talk.arrive(providers)
    kinds = Counter(span.name for span in receiver.spans())
    assert kinds == {
        "realtime_session": CONVERSATIONS,
        "user_speech": CONVERSATIONS,
        "chat gpt-realtime": 2 * CONVERSATIONS,
        "execute_tool look_up": CONVERSATIONS,
        "rag": CONVERSATIONS,
    }
    assert receiver.orphans() == []
    owners: dict[str, set[str]] = {}
    for span in receiver.spans():
        call = span.attributes.get("call")
        owner = f"call-{call}" if span.name == "rag" else span.attributes["gen_ai.conversation.id"]
        owners.setdefault(span.trace_id, set()).add(owner)
    assert len(owners) == CONVERSATIONS
    assert all(len(names) == 1 for names in owners.values()), "no trace has spans of two conversations"
    sessions = [record for record in receiver.records if record.event_name.endswith("realtime_session.ended")]
    assert len(sessions) == CONVERSATIONS


def test_waiting_for_events_costs_the_callers_thread_microseconds(providers: Providers) -> None:
    with SessionTracer(otel=providers.otel(), langsmith=False) as tracer:
        tracer.server_event(talk.SESSION)
        live = tracer.live
        assert live is not None
        took = []
        for _ in range(20):
            began = time.perf_counter()
            for _ in range(100):
                live.begin_receive()
            took.append((time.perf_counter() - began) / 100)
    assert min(took) < 50e-6, f"{min(took) * 1e6:.1f} µs"
    assert not trace.get_current_span().get_span_context().is_valid
