"""Finds and runs the Python snippets of README and docs.

A test gets the snippet that it runs with ``snippet(page, *words)``. ``tests/docs/test_pages.py`` searches the source of
the tests for these calls and fails for a snippet without one, so the arguments must be literals.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path
from typing import Any

import openai

from tests import ROOT

PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
#: openai 1 takes ws:// URLs only from websocket_base_url, as docs/testing.md says.
_OLD_CLIENT = int(openai.__version__.partition(".")[0]) < 2


def text_of(page: str) -> str:
    """Returns the text of a page, given its path from the root of the repository."""
    return (ROOT / page).read_text("utf-8")


def snippets(page: str, language: str = "python") -> list[str]:
    """Returns the code blocks of a page that are in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), flags=re.DOTALL | re.MULTILINE)


def snippet(page: str, *words: str) -> str:
    """Returns the one Python snippet of a page that contains all the words."""
    found = [each for each in snippets(page) if all(word in each for word in words)]
    assert len(found) == 1, f"{len(found)} snippets of {page} contain {words}"
    if _OLD_CLIENT:
        return found[0].replace(
            "base_url=server.base_url", "base_url=server.base_url, websocket_base_url=server.websocket_base_url"
        )
    return found[0]


def run(source: str, **names: Any) -> dict[str, Any]:
    """Runs a snippet unchanged, in an event loop if it awaits, and returns its names."""
    code = compile(source, "<snippet>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:

        async def main() -> None:
            await eval(code, names)

        asyncio.run(main())
    else:
        exec(code, names)
    return names


def untested(tests: Path) -> list[str]:
    """Returns the snippets of all pages that no test in the folder gets, as ``page: first line``."""
    named: set[tuple[str, str]] = set()
    for path in tests.rglob("test_*.py"):
        source = path.read_text("utf-8")
        for node in ast.walk(ast.parse(source if "snippet(" in source else "")):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "snippet":
                page, *words = (ast.literal_eval(argument) for argument in node.args)
                named |= {(page, each) for each in snippets(page) if all(word in each for word in words)}
    wanted = [(page, each) for page in PAGES for each in snippets(page)]
    return [f"{page}: {each.splitlines()[0]}" for page, each in wanted if (page, each) not in named]
