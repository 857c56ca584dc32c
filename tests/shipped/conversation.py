"""Runs in an environment that has the wheel and no extras: the README's first Python lines against the bundled server.

It stands in no package and imports nothing of the tests. Its only argument is the path of the README.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

import langsmith_realtime
from langsmith_realtime.testing import RealtimeServer, Say, Script, Turn


async def handle(connection: Any, event: Any) -> None:
    """Ask for one response, and hang up after it."""
    if event.type == "session.created":
        await connection.response.create()
    elif event.type == "response.done":
        await connection.close()


def main() -> None:
    assert Path(sys.prefix) in Path(langsmith_realtime.__file__).parents, "the installed package must be the one tried"
    for extra in ("fsspec", "rich", "sounddevice", "starlette", "uvicorn"):
        assert importlib.util.find_spec(extra) is None, f"{extra} belongs to an extra"
    readme = Path(sys.argv[1]).read_text("utf-8")
    lines = next(block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "async with" in block)
    assert lines.count("        ...\n") == 1, "the README's loop must have a place for the caller's code"
    body = lines.replace("        ...\n", "        await handle(connection, event)\n")
    with RealtimeServer(Script([Turn(Say("Hello."))]), strict=True) as server:
        client = AsyncOpenAI(api_key="any", base_url=server.base_url)
        names: dict[str, Any] = {"client": client, "call_id": "call-1", "handle": handle}
        exec("async def lines():\n" + textwrap.indent(body, "    "), names)
        asyncio.run(names["lines"]())


if __name__ == "__main__":
    main()
