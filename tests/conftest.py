"""Fixtures for every test."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from langsmith import utils

from langsmith_realtime.collector import Collector
from langsmith_realtime.journal import file as journal
from langsmith_realtime.live.process import process
from langsmith_realtime.runtime import guard
from tests.support.conversations import tracing_to

if TYPE_CHECKING:
    from collections.abc import Iterator


# A busy machine is no fault of the example that is drawn.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_tests = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the conversations in real time first: the other tests fill the time in which they wait."""
    items.sort(key=lambda item: item.path.name != "test_demo.py")


@pytest.fixture(autouse=True)
def _no_langsmith_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the caller's LangSmith settings out of the tests, and one test's, and its journals, out of the next."""
    for name in list(os.environ):
        if name.startswith(("LANGSMITH_", "LANGCHAIN_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LANGSMITH_REALTIME_DIR", str(tmp_path_factory.getbasetemp() / f"state-{next(_tests)}"))
    _forget_settings()
    monkeypatch.setattr(journal, "_warned", set[str]())  # each test is told anew
    yield
    process().sender.give_up()
    _forget_settings()


def _forget_settings() -> None:
    """Make LangSmith read the environment again, which it does once."""
    for read in (utils.get_env_var, utils.get_tracer_project):
        getattr(read, "cache_clear")()  # noqa: B009 - the overloads' type hides the cache


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on a free port, gone with everything it stored after the test."""
    with Collector() as running:
        yield running


@pytest.fixture
def tracing(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that LangSmith's settings point at, with tracing switched on."""
    with tracing_to(collector, monkeypatch):
        yield collector


@pytest.fixture(autouse=True)
def _no_hidden_failures() -> Iterator[None]:
    """What the guard keeps from a caller must not be kept from the tests."""
    guard.failures.clear()
    yield
    assert list(guard.failures) == [], "tracing failed inside; see the log"
