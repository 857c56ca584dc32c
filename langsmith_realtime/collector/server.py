"""The collector as a server in a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from langsmith_realtime.collector import app, store
from langsmith_realtime.collector.ingest.endpoints import Fault, Limits, WriteEndpoints
from langsmith_realtime.collector.records import RequestLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from starlette.types import Scope

    from langsmith_realtime.collector.records import Request, StoredRun, Violation

_GRACE_S = 2.0


class Collector:
    """A LangSmith-compatible ingest server on 127.0.0.1.

    It enforces LangSmith's rules and answers as LangSmith does when they are broken; what it accepted can be
    read through LangSmith's own client, or here. Use it as a context manager::

        with Collector() as collector:
            client = langsmith.Client(api_url=collector.url, api_key="local")

    All methods may be called from any thread while it runs; ``violations`` and ``requests`` also afterwards.

    Args:
        directory: Where runs and attachments are kept, made if missing and continued if not; None for a
            private folder that is removed at exit.
        port: TCP port, 0 for any free one.
        api_key: The key clients must send; None takes any. It is neither stored nor logged.
        limits: Sizes above which requests are refused.

    Raises:
        OSError: On entering: the port is taken, or the directory cannot be written.
    """

    def __init__(
        self,
        directory: str | Path | None = None,
        *,
        port: int = 0,
        api_key: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._wanted = directory
        self._port = port
        self._api_key = api_key
        self._limits = limits or Limits()
        self._changed = threading.Condition()
        self._requests_seen = 0
        self._journal = RequestLog(self._notify)

    def __enter__(self) -> Self:
        """Start serving; returns once connections are accepted."""
        with ExitStack() as opened:
            listener = opened.enter_context(_listen(self._port))
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            wanted = self._wanted
            if wanted is None:
                wanted = opened.enter_context(tempfile.TemporaryDirectory(prefix="langsmith-realtime-"))
            # Absolute, because the paths handed out must hold wherever the caller changes to.
            self.directory = Path(wanted).absolute()
            self._store = store.Store(
                self.directory, trace_limit=self._limits.trace_runs, durable=self._wanted is not None
            )
            opened.callback(self._store.close)
            ready: Future[Callable[[], object]] = Future()
            thread = threading.Thread(
                target=self._run, args=(listener, ready), name="langsmith-realtime-collector", daemon=True
            )
            thread.start()
            opened.callback(thread.join)
            opened.callback(ready.result())
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving; requests under way have two seconds to end."""
        self._opened.close()

    def runs(self, trace_id: str | None = None, project: str | None = None) -> list[StoredRun]:
        """Return the stored runs in ``dotted_order`` order: parents before children, siblings by start."""
        return self._store.runs(trace_id, project)

    def roots(self, project: str | None = None) -> list[StoredRun]:
        """Return the runs without a parent, oldest first."""
        return [run for run in self.runs(project=project) if run.parent_run_id is None]

    def attachment(self, run_id: str, name: str) -> tuple[str, Path]:
        """Return an attachment's MIME type and file.

        Raises:
            KeyError: There is no such attachment.
        """
        run = self._store.run(run_id)
        if run is None or name not in run.attachments:
            raise KeyError(f"no attachment {name!r} on run {run_id}")
        return run.attachments[name].mime_type, run.attachments[name].path

    def feedback(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return feedback as it was sent, of one run or all."""
        return self._store.feedback(None if run_id is None else [run_id])

    @property
    def violations(self) -> list[Violation]:
        """Every rule that was broken, in order (the newest 100,000)."""
        return list(self._journal.violations)

    @property
    def requests(self) -> list[Request]:
        """Every request, in the order of the answers (the newest 100,000)."""
        return list(self._journal.requests)

    def respond_with(self, status: int, times: int = 1, delay: float = 0.0, *, stored: bool = False) -> None:
        """Make the next write requests fail, after those of earlier calls.

        Args:
            status: What to answer; 0 drops the connection, 2xx gives the true answer (late, with ``delay``).
            times: How many write requests.
            delay: Seconds before each answer.
            stored: Whether the request is carried out although the answer says otherwise.
        """
        self._writes.faults.extend([Fault(status, delay, stored)] * times)

    def wait_for(self, predicate: Callable[[list[StoredRun]], object], timeout: float = 5.0) -> list[StoredRun]:
        """Wait until the stored runs satisfy a predicate, which is asked again after every request.

        Args:
            predicate: Given all runs in ``dotted_order`` order; what it returns is tested for truth.
            timeout: In seconds.

        Returns:
            Those runs.

        Raises:
            TimeoutError: They did not, in time.
        """
        deadline = time.monotonic() + timeout
        known: dict[str, StoredRun] = {}
        revision = 0
        while True:
            seen = self._requests_seen
            revision, changed = self._store.changed_since(revision)
            known.update((run.id, run) for run in changed)
            runs = sorted(known.values(), key=lambda run: run.dotted_order)
            # Not under the lock, which the server needs: a predicate may ask the server.
            if predicate(runs):
                return runs
            with self._changed:
                while self._requests_seen == seen:
                    if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                        broken = "".join(f"; {violation}" for violation in self.violations[-3:])
                        raise TimeoutError(f"not within {timeout} s; {len(runs)} runs are stored{broken}")

    def _notify(self) -> None:
        with self._changed:
            self._requests_seen += 1
            self._changed.notify_all()

    def _run(self, listener: socket.socket, ready: Future[Callable[[], object]]) -> None:
        try:
            asyncio.run(self._serve(listener, ready))
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def _serve(self, listener: socket.socket, ready: Future[Callable[[], object]]) -> None:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        state = ServerState()

        def drop(scope: Scope) -> None:
            for each in state.connections:
                if isinstance(each, H11Protocol) and each.client == scope["client"]:
                    each.transport.abort()

        self._writes = WriteEndpoints(self._store, self._journal, self._limits)
        config = uvicorn.Config(
            app.build(self._store, self._journal, self._writes, self._api_key, drop),
            http="h11",
            access_log=False,
            log_config=None,
            lifespan="off",
            ws="none",
            proxy_headers=False,  # a forwarded address is not the connection's
        )
        config.load()

        def connection() -> H11Protocol:
            return H11Protocol(config=config, server_state=state, app_state={})

        # uvicorn.Server polls for its end, which would cost each test 0.2 s; its protocol is all that is needed.
        server = await loop.create_server(connection, sock=listener)
        ready.set_result(lambda: loop.call_soon_threadsafe(stop.set))
        await stop.wait()
        # A connection being accepted is a task, unknown to the state until that ends; a server closed meanwhile
        # would forget its socket.
        loop.remove_reader(listener)
        self._writes.closing.set()
        await _ended({each for each in asyncio.all_tasks() if each not in state.tasks})
        server.close()
        for connected in list(state.connections):
            connected.shutdown()
        await _ended(state.tasks)
        while state.connections:
            for connected in list(state.connections):
                connected.transport.abort()
            await asyncio.sleep(0)  # a transport closes in the loop's next turn


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    if tasks := tasks - {asyncio.current_task()}:
        await asyncio.wait(tasks, timeout=_GRACE_S)


def _listen(port: int) -> socket.socket:
    # The protocol is named because asyncio switches Nagle's algorithm off only for sockets that name it, and
    # with it every answer on a kept connection would take 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener
