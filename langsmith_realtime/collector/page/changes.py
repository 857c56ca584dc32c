"""Event streams: an object that a page shows, whole when the stream begins, and from then on what changed of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

#: Shortest time between two events of a stream, in seconds: many runs that come together are one event.
PAUSE_S: Final = 0.3
#: Longest time between two looks at the object, in seconds. A running conversation that falls silent changes by time.
IDLE_S: Final = 15.0
#: How long a browser waits before it connects again, in ms.
_RETRY_MS: Final = 1000


class Changes:
    """Wakes the event streams of all open pages when something was stored or decoded, and ends them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()
        self._streams: set[asyncio.Event] = set()

    @property
    def stream_count(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def start(self) -> None:
        """Wake streams in the running event loop from now on."""
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """End all streams, and those that begin later after their first event; called in the event loop."""
        self._loop = None
        self._closing.set()
        self._wake()

    def notify(self, *_: object) -> None:
        """Note that something changed. Any thread may call this, before the start and after the end, too."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop ended in the meantime
                loop.call_soon_threadsafe(self._wake)

    def stream(self, look: Callable[[], Mapping[str, Any] | None], headers: Mapping[str, str]) -> StreamingResponse:
        """Return an answer that tells a browser how an object changes until the browser closes the connection.

        Args:
            look: Returns the object, or None to end the stream. It runs in a thread, once at a time. An object that it
                returns must not change later.
            headers: Headers of the answer.
        """
        return StreamingResponse(self._events(look), media_type="text/event-stream", headers=dict(headers))

    async def _events(self, look: Callable[[], Mapping[str, Any] | None]) -> AsyncIterator[str]:
        changed = asyncio.Event()
        self._streams.add(changed)
        try:
            yield f"retry: {_RETRY_MS}\n\n"
            sent: Mapping[str, Any] = {}
            while True:
                changed.clear()  # before looking, so that no change is missed
                shown = await run_in_threadpool(look)
                if shown is None:
                    return
                news = difference(sent, shown)
                sent = shown
                yield f"data: {json.dumps(news, ensure_ascii=False)}\n\n" if news else ": nothing changed\n\n"
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._closing.wait(), PAUSE_S)
                if self._closing.is_set():
                    return
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(changed.wait(), IDLE_S)
        finally:
            self._streams.discard(changed)

    def _wake(self) -> None:
        for changed in self._streams:
            changed.set()


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a reader of ``before`` needs to make ``after`` of it; empty if they are equal.

    Args:
        before: A JSON object, ``{}`` for a reader that has nothing.
        after: The object that came of it. It has all keys of ``before``.

    Returns:
        ``values`` has the keys whose value is new. ``rows`` has the keys of lists that changed; for each, the list's
        ``length`` and the rows that are new at their index, ``[[index, row], …]``.
    """
    values: dict[str, Any] = {}
    rows: dict[str, Any] = {}
    for key, value in after.items():
        old = before.get(key)
        if key in before and (old is value or old == value):
            continue
        if not isinstance(value, list) or not isinstance(old, list):
            values[key] = value
            continue
        new = [[at, row] for at, row in enumerate(value) if at >= len(old) or old[at] != row]
        rows[key] = {"length": len(value), "rows": new}
    return {name: part for name, part in (("values", values), ("rows", rows)) if part}
