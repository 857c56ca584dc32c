"""The ways a conversation is handled: not traced at all, traced by hand, by LangSmith's integration, by ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from langsmith import run_trees
from langsmith.run_trees import RunTree
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from langsmith_realtime import flush, wrap_realtime

#: Given a connection, what the loop runs in; what it yields has the methods below, where the way has them.
Way = Callable[[AsyncRealtimeConnection], AbstractAsyncContextManager[Any]]


class ByHand:
    """The loop of LangSmith's guide: a run for every event that is no delta, open until the next one."""

    def __init__(self) -> None:
        self._root = RunTree(name="realtime_session", run_type="chain", extra={"metadata": {"thread_id": "by-hand"}})
        self._root.post()
        self._open: RunTree | None = None

    def observe(self, event: Any) -> None:
        if event.type.endswith(".delta"):
            return
        self.close_event()
        self._open = self._root.create_child(name=event.type, run_type="chain", inputs={"event": event.model_dump()})
        self._open.post()

    def close_event(self) -> None:
        if self._open is not None:
            self._open.end()
            self._open.patch()

    def close(self) -> None:
        self.close_event()
        self._root.end()
        self._root.patch()


@asynccontextmanager
async def by_hand(_: AsyncRealtimeConnection) -> AsyncIterator[ByHand]:
    tracing = ByHand()
    try:
        yield tracing
    finally:
        tracing.close()


def langsmiths_own(connection: AsyncRealtimeConnection) -> AbstractAsyncContextManager[Any]:
    from langsmith.integrations import openai_realtime  # noqa: PLC0415 - older ones have none

    return openai_realtime.wrap_realtime(connection)


WAYS: dict[str, Way] = {
    "plain": nullcontext,
    "off": lambda raw: wrap_realtime(raw, enabled=False),
    "guide": by_hand,
    "langsmith": langsmiths_own,
    "ours": lambda raw: wrap_realtime(raw, enabled=True),
}


def flush_all() -> None:
    """Wait until everything is sent, whoever sends it."""
    flush(300)
    run_trees.get_cached_client().flush()
