"""Fixtures for every test."""

from __future__ import annotations

import gc
import itertools
import os
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from langsmith import utils

from langsmith_realtime.collector import Collector
from langsmith_realtime.journal import file as journal
from langsmith_realtime.live.process import process
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.runtime import guard
from tests.support.conversations import tracing_to

if TYPE_CHECKING:
    from collections.abc import Iterator


# A busy machine must not fail an example because of its duration.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

_tests = itertools.count()
gc.disable()  # while tests are collected: all that is imported stays


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the demo's conversations in real time first, so that other tests run while they wait."""
    items.sort(key=lambda item: item.path.name != "test_demo.py")


def pytest_collection_finish() -> None:
    """Hides the imported modules from the garbage collector, which took a sixth of the processor time of all tests."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_langsmith_settings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Removes LangSmith settings from the environment, and gives each test a journal folder of its own."""
    for name in list(os.environ):
        if name.startswith(("LANGSMITH_", "LANGCHAIN_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LANGSMITH_REALTIME_DIR", str(tmp_path_factory.getbasetemp() / f"state-{next(_tests)}"))
    _clear_cached_settings()
    monkeypatch.setattr(journal, "_warned", set[str]())  # so that each test sees the warnings
    yield
    process().worker.catch_up().wait(10)  # otherwise it would put runs of this test after the next line
    process().sender.give_up()
    _clear_cached_settings()


def _clear_cached_settings() -> None:
    """Makes LangSmith read the environment again: it caches what it has read."""
    for read in (utils.get_env_var, utils.get_tracer_project):
        getattr(read, "cache_clear")()  # noqa: B009 - the overloads' type hides the cache


@pytest.fixture
def limits() -> Iterator[Limits]:
    """The limits of the process, to be changed. They are restored after the test."""
    changed = process().limits
    before = replace(changed)
    yield changed
    for each in fields(Limits):
        setattr(changed, each.name, getattr(before, each.name))


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on a free port. Its data are deleted after the test."""
    with Collector() as running:
        yield running


@pytest.fixture
def tracing(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that receives all traces of the test, with tracing switched on."""
    with tracing_to(collector, monkeypatch):
        yield collector


@pytest.fixture(autouse=True)
def _no_guarded_failures() -> Iterator[None]:
    """Fails a test in which the guard caught an exception of the package."""
    guard.failures.clear()
    yield
    assert list(guard.failures) == [], "the guard caught these exceptions of the package; the log has their tracebacks"
