"""A voice agent of the OpenAI Agents SDK in Azure Monitor: spans, metrics, and its logging in the span of its tool.

pip install 'langsmith-realtime[agents,otel]' azure-monitor-opentelemetry
export APPLICATIONINSIGHTS_CONNECTION_STRING=… OPENAI_API_KEY=… OTEL_TRACES_SAMPLER=always_on
python otel_azure.py question.wav    # mono, 24 kHz, 16 bits: "How is the weather in Paris?"
"""

import asyncio
import logging
import sys
import wave
from typing import Any

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner
from azure.monitor.opentelemetry import configure_azure_monitor

from langsmith_realtime import Otel, wrap_realtime_session

logger = logging.getLogger("shop")


@function_tool
async def look_up(city: str) -> str:
    """The weather of a city."""
    logger.info("looking up the weather")  # stands in the span of this call
    return f"sunny in {city}"


async def main(question: bytes, **model_config: Any) -> None:
    """Ask the agent one question: PCM16, mono, 24 kHz."""
    configure_azure_monitor(logger_name="shop")
    logger.setLevel(logging.INFO)
    agent = RealtimeAgent(name="clerk", instructions="Tell the weather, briefly.", tools=[look_up])
    session = await RealtimeRunner(agent).run(model_config=model_config or None)
    async with wrap_realtime_session(session, otel=Otel(preset="azure"), langsmith=False):
        await session.send_audio(question + bytes(48_000))  # a second of silence ends the user's turn
        has_spoken = False
        async for event in session:
            has_spoken = has_spoken or event.type == "audio"
            if event.type == "error" or (has_spoken and event.type == "agent_end"):
                break


if __name__ == "__main__":
    with wave.open(sys.argv[1]) as file:
        asyncio.run(main(file.readframes(file.getnframes())))
