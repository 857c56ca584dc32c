"""Every snippet of README and docs has a test, and the pages agree with the package."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import langsmith_realtime
from langsmith_realtime.core.conversation.numbers.metric_names import SCORES
from langsmith_realtime.options.tracing import Options, TracingOptions
from tests import ROOT
from tests.support.snippets import PAGES, snippets, text_of, untested

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", flags=re.MULTILINE)


def test_every_snippet_has_a_test() -> None:
    assert untested(ROOT / "tests") == []


def test_a_snippet_without_a_test_is_reported(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text('snippet("docs/journal.md", "SessionTracer")\n', "utf-8")
    found = untested(tmp_path)
    assert len(found) == sum(len(snippets(page)) for page in PAGES) - 1
    assert not [each for each in found if each.startswith("docs/journal.md")]


@pytest.mark.parametrize("page", PAGES)
def test_every_code_block_names_a_known_language(page: str) -> None:
    languages = re.findall(r"^```(\w*)$", text_of(page), flags=re.MULTILINE)
    assert set(languages) <= {"", "sh", "python", "json", "diff"}  # the tests of the snippets look for "python"


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_every_link_has_a_target(page: str) -> None:
    for link in LINK.findall(text_of(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page} links to {link}"
        if anchor:
            anchors = {_anchor(heading) for heading in HEADING.findall(target.read_text("utf-8"))}
            assert anchor in anchors, f"{page} links to {link}"


def _anchor(heading: str) -> str:
    """Returns the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_table_of_options_is_complete() -> None:
    page = text_of("docs/options.md")
    table = page[page.index("| option | default | meaning |") :].split("\n\n", 1)[0]
    named = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
    assert sorted(named) == sorted(TracingOptions.__annotations__) == sorted(Options.__dataclass_fields__)


def test_the_numbers_page_lists_every_score() -> None:
    charts = text_of("docs/numbers.md").partition("## Charts")[2]
    assert all(f"`{re.sub('_(p50|p95)_ms$', '', name)}`" in charts for name in SCORES)


def test_every_log_message_of_the_troubleshooting_page_is_in_the_code() -> None:
    page = text_of("docs/troubleshooting.md")
    table = page[page.index("| message | what to do |") :]
    messages = [each for row in table.splitlines()[2:] for each in re.findall("`([^`]+)`", row.split("|")[1])]
    assert len(messages) > 20
    texts = "\n".join(_texts(Path(langsmith_realtime.__file__).parent))
    for message in messages:
        for piece in message.split("…"):
            assert piece.strip(" ;:") in texts, f"no code has the message {piece!r}: correct docs/troubleshooting.md"


def test_every_module_of_the_architecture_page_exists() -> None:
    page = text_of("docs/architecture.md")
    tree = page[page.index("langsmith_realtime/\n") : page.index("demo/ ")]
    places = re.findall(r"`([\w/]+/[\w/.]*)`", page) + re.findall(r"^  ([\w.]+/?) ", tree, flags=re.MULTILINE)
    assert len(places) > 40
    for place in places:
        path = ROOT / "langsmith_realtime" / place
        assert path.exists() or path.with_suffix(".py").exists() or (ROOT / place).exists(), place


def _texts(package: Path) -> list[str]:
    nodes = (node for path in package.rglob("*.py") for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
