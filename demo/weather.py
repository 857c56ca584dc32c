"""The weather agent: its instructions and its tools."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from langsmith import traceable

INSTRUCTIONS = """\
You are a friendly weather desk on the telephone. Greet the caller and ask for a city. Look the weather up before you
talk about it, and describe it in three or four spoken sentences. When the caller says goodbye, say goodbye and then
call hang_up."""

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "name": "lookup_weather",
        "description": "The current weather and the forecast for today in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
    {
        "type": "function",
        "name": "hang_up",
        "description": "Ends the call, after both have said goodbye.",
        "parameters": {"type": "object", "properties": {}},
    },
]

_WEATHER = {
    "Paris": {
        "now": "sunny, light breeze from the west",
        "celsius": 18,
        "later": "some clouds, rain possible at night",
    },
    "London": {"now": "light rain", "celsius": 14, "later": "clearing up by the evening"},
}
_OTHER_CITIES = {"now": "partly cloudy", "celsius": 20, "later": "no change"}
_LOOKUP_S = 0.2  # typical for a weather service


@traceable(run_type="tool")
async def lookup_weather(city: str) -> dict[str, Any]:
    """Returns invented weather, which never changes for a city."""
    await asyncio.sleep(_LOOKUP_S)
    return {"city": city, **_WEATHER.get(city, _OTHER_CITIES)}


async def call_tool(name: str, arguments: str) -> str:
    """Runs a tool. `arguments` and the returned output are JSON; the output reports a wrong call to the model."""
    try:
        parsed = json.loads(arguments or "{}")
    except ValueError:
        return json.dumps({"error": "the arguments are not valid JSON"})
    if name == "lookup_weather":
        city = parsed.get("city") if isinstance(parsed, dict) else None
        if not isinstance(city, str):
            return json.dumps({"error": "city is missing"})
        return json.dumps(await lookup_weather(city))
    if name == "hang_up":
        return json.dumps({"ok": True})
    return json.dumps({"error": f"there is no tool {name}"})
