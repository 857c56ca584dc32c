"""Clients for a local server, recorded conversations, and traces as trees."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from langsmith import run_trees, utils
from openai import AsyncOpenAI, OpenAI

from langsmith_realtime import flush
from langsmith_realtime.collector import Collector, StoredRun
from langsmith_realtime.testing import RealtimeServer
from tests import ROOT

RECORDINGS = Path(os.environ.get("REALTIME_RECORDINGS", ROOT / "../shared/recordings"))


#: Prefixes of recordings of other protocols than Realtime.
OTHER_PROTOCOLS = ("live-", "translation-")


def recording_paths() -> list[Path]:
    """Returns the files of the recorded Realtime conversations."""
    return sorted(path for path in RECORDINGS.glob("*.jsonl") if not path.name.startswith(OTHER_PROTOCOLS))


@cache
def recordings() -> dict[str, list[dict[str, Any]]]:
    """Returns the frames of each recorded conversation, by name, for reading only: they are parsed once for all tests.

    Skips the test without recordings, but not on CI.
    """
    paths = recording_paths()
    if not paths:
        assert not os.environ.get("CI"), f"no recordings in {RECORDINGS}"
        pytest.skip(f"no recordings in {RECORDINGS}")
    return {path.stem: [json.loads(line) for line in path.read_text("utf-8").splitlines()] for path in paths}


def server_events(frames: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [frame["event"] for frame in frames if frame["dir"] == "server"]


def spanned(events: Iterable[dict[str, Any]]) -> list[str]:
    """Returns the types of the events that become runs: all but deltas."""
    return [event["type"] for event in events if not event["type"].endswith(".delta")]


def async_client(server: RealtimeServer) -> AsyncOpenAI:
    # openai 1 takes ws:// URLs only from websocket_base_url.
    return _async_client().copy(base_url=server.base_url, websocket_base_url=server.websocket_base_url)


def sync_client(server: RealtimeServer) -> OpenAI:
    return _sync_client().copy(base_url=server.base_url, websocket_base_url=server.websocket_base_url)


@cache
def _async_client() -> AsyncOpenAI:
    """A client whose copies share its HTTP client, which takes 20 ms to load certificates."""
    return AsyncOpenAI(api_key="test")


@cache
def _sync_client() -> OpenAI:
    return OpenAI(api_key="test")


@dataclass
class Node:
    """A run and its descendants, in the order of the trace."""

    run: StoredRun
    children: list[Node] = field(default_factory=list)

    def __getitem__(self, name: str) -> Node:
        """Returns the first descendant with that name."""
        return next(self.find(name))

    def find(self, name: str) -> Iterator[Node]:
        for child in self.children:
            if child.run.name == name:
                yield child
            yield from child.find(name)

    def names(self) -> list[str]:
        return [child.run.name for child in self.children]

    def shape(self) -> Any:
        """Returns the names of the tree: a leaf is its name, an inner run a pair of name and children."""
        return (self.run.name, [child.shape() for child in self.children]) if self.children else self.run.name

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(self.run.metadata)


def trees(collector: Collector) -> list[Node]:
    """Flushes all traces and returns those of the collector. Fails if a run broke a rule of the collector."""
    assert flush(timeout=60), "the traces were not sent within 60 s"
    if run_trees._CLIENT is not None:
        run_trees._CLIENT.flush()  # runs of the application
    return stored_trees(collector)


def stored_trees(collector: Collector, *, broken: Collection[str] = ()) -> list[Node]:
    """Returns the traces of the collector. Fails if a run broke a rule other than those in `broken`."""
    violations = [violation for violation in collector.violations if violation.rule not in broken]
    assert violations == [], violations
    nodes: dict[str, Node] = {}
    roots: list[Node] = []
    runs = sorted(collector.runs(), key=lambda run: (run.dotted_order.count("."), run.dotted_order))
    for run in runs:
        node = nodes[str(run.id)] = Node(run)
        if run.parent_run_id is None:
            roots.append(node)
        else:
            nodes[str(run.parent_run_id)].children.append(node)
    return roots


def the_tree(collector: Collector) -> Node:
    """Flushes all traces and returns the only one."""
    (root,) = trees(collector)
    return root


@contextmanager
def tracing_to(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sets the environment variables of a LangSmith user, with the collector as the endpoint."""
    with monkeypatch.context() as patched:
        patched.setenv("LANGSMITH_ENDPOINT", collector.url)
        patched.setenv("LANGSMITH_API_KEY", "lsv2_pt_0123456789abcdef")
        patched.setenv("LANGSMITH_TRACING", "true")
        patched.setattr(run_trees, "_CLIENT", None)
        for read in (utils.get_env_var, utils.get_tracer_project):
            getattr(read, "cache_clear")()  # noqa: B009 - the overloads' type hides the cache
        yield
        flush(timeout=20)
