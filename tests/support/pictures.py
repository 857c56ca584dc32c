"""The pictures of docs/otel: a tree as text, made of what a backend received. A page's picture is its only plain block.

With ``UPDATE_OTEL_PAGES=1`` in the environment the pages are written instead of compared.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Line:
    """A span in a picture: its id, its parent's id, its name, and what stands beside the name."""

    id: str
    parent_id: str | None
    name: str
    cells: tuple[str, ...] = ()


def tree(lines: Sequence[Line], header: tuple[str, ...] = ()) -> str:
    """The lines as a tree in columns, children in the given order; a line without its parent among them is a root."""
    known = {line.id for line in lines}
    rows: list[tuple[str, ...]] = [header] if header else []

    def add(line: Line, before: str, below: str) -> None:
        rows.append((before + line.name, *line.cells))
        children = [each for each in lines if each.parent_id == line.id]
        for child in children:
            is_last = child is children[-1]
            add(child, below + ("└─ " if is_last else "├─ "), below + ("   " if is_last else "│  "))

    for line in lines:
        if line.parent_id not in known:
            add(line, "", "")
    widths = [max(len(row[column]) for row in rows if column < len(row)) for column in range(max(map(len, rows)))]
    texts = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) for row in rows)
    return "\n".join(text.rstrip() for text in texts)


def check_picture(name: str, picture: str) -> None:
    """Assert that the page ``docs/otel/<name>.md`` has this picture."""
    page = ROOT / "docs/otel" / f"{name}.md"
    if os.environ.get("UPDATE_OTEL_PAGES"):
        start, end = _place(page)
        text = page.read_text("utf-8")
        page.write_text(f"{text[:start]}{picture}\n{text[end:]}", "utf-8")
    start, end = _place(page)
    assert page.read_text("utf-8")[start:end] == f"{picture}\n", f"run with UPDATE_OTEL_PAGES=1 to write {page.name}"


def _place(page: Path) -> tuple[int, int]:
    """Where in the page's text the picture begins and ends."""
    places = [match.span(2) for match in _BLOCK.finditer(page.read_text("utf-8")) if not match[1]]
    assert len(places) == 1, f"{page.name} must have one block without a language, for its picture"
    return places[0]
