"""Fixtures for every test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from langsmith import utils

from langsmith_realtime import guard
from langsmith_realtime.collector import Collector
from tests.talking import tracing_to

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_langsmith_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the caller's LangSmith settings out of the tests, and one test's out of the next."""
    for name in list(os.environ):
        if name.startswith(("LANGSMITH_", "LANGCHAIN_")):
            monkeypatch.delenv(name)
    _forget_settings()
    yield
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
