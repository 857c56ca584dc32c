"""The workflow in .github runs on what the project promises. ``make build`` tries the package itself."""

from __future__ import annotations

import re

from tests import ROOT

PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
WORKFLOW = (ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8")
QUICK = (ROOT / "tests" / "quick.txt").read_text("utf-8")


def test_the_workflow_runs_the_lowest_and_the_highest_python_on_every_platform() -> None:
    minors = sorted(map(int, re.findall(r'"Programming Language :: Python :: 3\.(\d+)"', PROJECT)))
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert f'python: ["3.{minors[0]}", "3.{minors[-1]}"]' in WORKFLOW
    assert "os: [ubuntu-latest, macos-latest, windows-latest]" in WORKFLOW


def test_the_workflow_runs_the_quick_tests_and_the_whole() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^quick:.*\n\t.* -m pytest .*@tests/quick\.txt\n", makefile, re.MULTILINE)
    assert re.search(r"run: python -m pytest .*@tests/quick\.txt\n", WORKFLOW)
    assert "run: .ci/run\n" in WORKFLOW


def test_the_quick_selection_names_markers_and_files_that_exist() -> None:
    # pytest reads the file as arguments, one a line; it refuses a marker that pyproject.toml does not declare.
    _, expression = QUICK.split("-m\n")
    assert all((ROOT / name).exists() for name in re.findall(r"--ignore=(\S+)", QUICK))
    markers = set(re.findall(r"\w+", expression.splitlines()[0])) - {"and", "not", "or"}
    assert markers <= set(re.findall(r'^    "(\w+): ', PROJECT, re.MULTILINE))


def test_actions_are_pinned_to_major_versions() -> None:
    versions = re.findall(r"uses: \S+@(\S+)", WORKFLOW)
    assert versions
    assert all(re.fullmatch(r"v\d+", version) for version in versions)
