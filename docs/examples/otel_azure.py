"""A voice agent of the OpenAI Agents SDK in Azure Monitor: spans, metrics, and its logging in the span of its tool.

pip install 'langsmith-realtime[otel]' openai-agents azure-monitor-opentelemetry
export APPLICATIONINSIGHTS_CONNECTION_STRING=… OPENAI_API_KEY=… OTEL_TRACES_SAMPLER=always_on
"""

import asyncio
import logging
from typing import Any

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner
from azure.monitor.opentelemetry import configure_azure_monitor

from langsmith_realtime import Otel, SessionTracer

logger = logging.getLogger("shop")


@function_tool
async def look_up(city: str) -> str:
    """The weather of a city."""
    logger.info("looking up the weather")  # stands in the span of this call
    return f"sunny in {city}"


class Listener:
    """Gives the tracer every event that the SDK's model receives."""

    def __init__(self, tracer: SessionTracer) -> None:
        self._tracer = tracer

    async def on_event(self, event: Any) -> None:
        if event.type == "raw_server_event":
            self._tracer.server_event(event.data)


async def main(**model_config: Any) -> None:
    configure_azure_monitor(logger_name="shop")
    logger.setLevel(logging.INFO)
    agent = RealtimeAgent(name="clerk", instructions="Tell the weather, briefly.", tools=[look_up])
    session = await RealtimeRunner(agent).run(model_config=model_config or None)
    with SessionTracer(otel=Otel(preset="azure"), langsmith=False) as tracer:
        session.model.add_listener(Listener(tracer))
        async with session:
            await session.send_message("How is the weather in Paris?")
            async for event in session:
                if event.type in ("audio_end", "error"):
                    break


if __name__ == "__main__":
    asyncio.run(main())
