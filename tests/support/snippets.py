"""The Python snippets of README and docs, and the one way in which tests ask for them.

A test names the snippet that it runs with ``snippet(page, *words)``. ``tests/docs/test_pages.py`` reads these calls in
the source of the tests and fails for a snippet that none of them names, so the arguments must be literals.
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

PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
#: Such a client takes ws:// only from websocket_base_url, as docs/testing.md says.
_OLD_CLIENT = int(openai.__version__.partition(".")[0]) < 2


def text_of(page: str) -> str:
    """The text of a page, named by its path from the root of the repository."""
    return (ROOT / page).read_text("utf-8")


def snippets(page: str, language: str = "python") -> list[str]:
    """The code blocks of a page that are in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(page), flags=re.DOTALL | re.MULTILINE)


def snippet(page: str, *words: str) -> str:
    """The only Python snippet of a page in which all of these words appear."""
    found = [each for each in snippets(page) if all(word in each for word in words)]
    assert len(found) == 1, f"{len(found)} snippets of {page} contain {words}"
    if _OLD_CLIENT:
        return found[0].replace(
            "base_url=server.base_url", "base_url=server.base_url, websocket_base_url=server.websocket_base_url"
        )
    return found[0]


def run(source: str, **names: Any) -> dict[str, Any]:
    """Run a snippet as it stands, in an event loop if it awaits; return its names."""
    code = compile(source, "<snippet>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:

        async def main() -> None:
            await eval(code, names)

        asyncio.run(main())
    else:
        exec(code, names)
    return names


def untested(tests: Path) -> list[str]:
    """The snippets of all pages that no test below that folder names, as ``page: first line``."""
    named: set[tuple[str, str]] = set()
    for path in tests.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "snippet":
                page, *words = (ast.literal_eval(argument) for argument in node.args)
                named |= {(page, each) for each in snippets(page) if all(word in each for word in words)}
    wanted = [(page, each) for page in PAGES for each in snippets(page)]
    return [f"{page}: {each.splitlines()[0]}" for page, each in wanted if (page, each) not in named]
