"""Runs the collector's ASGI application on a thread of its own, and reads the stored runs for tests."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from langsmith_realtime.collector import app
from langsmith_realtime.collector.addresses import Addresses, is_loopback
from langsmith_realtime.collector.ingest.endpoints import Fault, Limits, WriteEndpoints
from langsmith_realtime.collector.page.access import PAGE, Access
from langsmith_realtime.collector.page.changes import Changes
from langsmith_realtime.collector.page.sound import Sounds
from langsmith_realtime.collector.records import Attachment, RequestLog
from langsmith_realtime.collector.rules import Batch, Operation, Refused
from langsmith_realtime.collector.storage import retention, store
from langsmith_realtime.collector.storage.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from starlette.types import Scope

    from langsmith_realtime.collector.records import Request, StoredRun, Violation

#: Seconds that requests in progress have to end when the collector stops.
_GRACE_S = 2.0
#: Smallest number of characters of a key if other machines can reach the collector.
_SHORTEST_KEY = 16


class Collector:
    """A LangSmith-compatible server, on 127.0.0.1 unless it is given a host and a key.

    The collector enforces LangSmith's rules, and answers a broken rule with LangSmith's HTTP status. LangSmith's client
    and the methods of this class read the accepted runs. Use it as a context manager::

        with Collector() as collector:
            client = langsmith.Client(api_url=collector.url, api_key="local")

    Any thread may call the methods while the collector runs; ``violations`` and ``requests`` work afterwards, too.

    Attributes:
        url: Address for ``langsmith.Client(api_url=…)``; set on entering.
        directory: Absolute path of the folder with runs and attachments; set on entering.

    Args:
        directory: Folder for runs and attachments. It is created if it does not exist; runs that it has already stay.
            None for a temporary folder that is deleted when the collector stops.
        port: TCP port; 0 for a free port.
        api_key: The key that clients must send in ``x-api-key``, and that opens the page; None accepts any key or
            none. The key is neither written to disk nor logged.
        limits: Sizes above which the collector refuses requests; None for the defaults.
        host: The name or address to listen at. Other machines can reach any but a loopback address, so any other needs
            an ``api_key`` of at least 16 characters.
        keep_days: Days after the last write to a trace until the trace is deleted; None for no limit.
        keep_gb: Largest size of the folder in gigabytes, above which the oldest traces are deleted; None for no limit.
        state: The folder in which traced processes of this user keep the state of running conversations. The page shows
            the waveforms of their unfinished recordings, which it only reads. None shows a waveform at the end.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: ``host`` is no loopback address and the key is missing or too short, or a limit is not above 0.
        OSError: On entering, if the port is in use or the directory cannot be written.
    """

    def __init__(
        self,
        directory: str | Path | None = None,
        *,
        port: int = 0,
        api_key: str | None = None,
        limits: Limits | None = None,
        host: str = "127.0.0.1",
        keep_days: float | None = None,
        keep_gb: float | None = None,
        state: str | Path | None = None,
    ) -> None:
        _check_key(host, api_key)
        self._host = host
        self._retention = Retention(keep_days, keep_gb)
        self._requested_directory = directory
        self._port = port
        self._api_key = api_key
        self._limits = limits or Limits()
        self._state = None if state is None else Path(state).absolute()
        self._changed = threading.Condition()
        self._request_count = 0
        self._request_log = RequestLog(self._notify)

    def __enter__(self) -> Self:
        """Start the server; returns when clients can connect."""
        with ExitStack() as opened:
            listener = opened.enter_context(_listen(self._host, self._port))
            self.url = f"http://{_own_address(listener)}:{listener.getsockname()[1]}"
            directory = self._requested_directory
            if directory is None:
                directory = opened.enter_context(tempfile.TemporaryDirectory(prefix="langsmith-realtime-"))
            # Absolute, so that paths of attachments stay valid if the caller changes its working directory.
            self.directory = Path(directory).absolute()
            self._store = store.Store(
                self.directory, trace_limit=self._limits.trace_runs, durable=self._requested_directory is not None
            )
            opened.callback(self._store.close)
            self._page_access = Access(self._api_key, self._store.documents.signing_key())
            self._retention.apply(self._store)
            self._sounds = Sounds()
            opened.callback(self._sounds.close)
            self._store.on_recording = self._sounds.start
            self._page_changes = Changes()
            self._store.on_change = self._sounds.on_decoded = self._page_changes.notify
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
        """Stop the server; requests in progress have two seconds to end."""
        self._opened.close()

    def runs(self, trace_id: str | None = None, project: str | None = None) -> list[StoredRun]:
        """Return stored runs in ``dotted_order`` order: parents before children, siblings by start time.

        Args:
            trace_id: Only runs of this trace.
            project: Only runs of the project with this name.
        """
        return self._store.runs(trace_id, project)

    def roots(self, project: str | None = None) -> list[StoredRun]:
        """Return the root runs of a project, or of all projects, oldest first."""
        return [run for run in self.runs(project=project) if run.parent_run_id is None]

    def attachment(self, run_id: str, name: str) -> tuple[str, Path]:
        """Return the MIME type and the file of an attachment.

        Raises:
            KeyError: The run does not exist, or it has no attachment of this name.
        """
        run = self._store.run(run_id)
        if run is None or name not in run.attachments:
            names = ", ".join(run.attachments) if run else ""
            found = "is not stored" if run is None else f"has the attachments: {names or 'none'}"
            raise KeyError(f"run {run_id} must have an attachment {name!r}, but the run {found}")
        return run.attachments[name].mime_type, run.attachments[name].path

    def feedback(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """Return the JSON objects of feedback, oldest first: the feedback of one run, or all feedback for None."""
        return self._store.feedback.all(None if run_id is None else [run_id.lower()])

    def add(self, runs: list[dict[str, Any]], files: dict[tuple[str, str], tuple[str, bytes]] | None = None) -> None:
        """Store runs of another server, and files; runs that are stored already stay as they are.

        Args:
            runs: The fields of each run, as a create has them.
            files: The MIME type and content of attachments, by the run's id and the attachment's name.

        Raises:
            ValueError: A run breaks a rule of LangSmith's; nothing is stored.
        """
        batch = Batch([Operation("post", run["id"], run) for run in runs if self._store.run(run["id"]) is None])
        for operation in batch.operations:
            for (run_id, name), (mime_type, content) in (files or {}).items():
                if run_id == operation.id:
                    path = self._store.incoming / f"incoming-{uuid4()}"
                    path.touch(mode=0o600)
                    path.write_bytes(content)
                    operation.attachments[name] = Attachment(mime_type, path)
        try:
            if batch.operations:
                batch.check(self._limits.run_bytes)
                self._store.apply(batch)
        except Refused as refused:
            raise ValueError(refused.message) from None
        finally:
            batch.discard()

    def add_recording(self, run_id: str, mime_type: str, file: Path) -> None:
        """Attach a copy of a recording to a stored conversation, in the place of the one that it has."""
        self._sounds.start(self._store.attach(run_id, "conversation", mime_type, file))

    def conversation_id(self, given: str) -> str | None:
        """Return the id of the stored conversation whose run or trace has this id; None if there is none."""
        row = self._store.conversations.row(given)
        return None if row is None else str(row["id"])

    def view_url(self, conversation_id: str | None = None, *, thread: str | None = None) -> str:
        """Return the address of the page in a browser: of the list, of one conversation, or of a thread.

        If clients must send a key, the address has a code that opens the page once, in one browser.
        """
        path = f"c/{conversation_id}" if conversation_id else f"thread/{quote(thread, safe='')}" if thread else ""
        address = f"{self.url}{PAGE}/{path}"
        code = self._page_access.code()
        return address if code is None else f"{address}?code={code}"

    @property
    def violations(self) -> list[Violation]:
        """The newest 100,000 broken rules, oldest first."""
        return list(self._request_log.violations)

    @property
    def requests(self) -> list[Request]:
        """The newest 100,000 requests, in the order of their answers."""
        return list(self._request_log.requests)

    def respond_with(self, status: int, times: int = 1, delay: float = 0.0, *, stored: bool = False) -> None:
        """Answer the next write requests with this status. Further calls apply to the write requests after these.

        Args:
            status: HTTP status of the answers. 0 closes the connection without an answer; any 2xx answers as usual,
                which together with ``delay`` makes a slow server.
            times: Number of write requests.
            delay: Seconds before each request is parsed, stored and answered.
            stored: Whether the collector stores the requests' runs although ``status`` is not 2xx.
        """
        self._write_endpoints.faults.extend([Fault(status, delay, stored)] * times)

    def wait_for(self, predicate: Callable[[list[StoredRun]], object], timeout: float = 5.0) -> list[StoredRun]:
        """Wait until a predicate of the stored runs is true.

        The predicate runs on the caller's thread, at once and again after new requests.

        Args:
            predicate: Receives all stored runs in ``dotted_order`` order, and returns a true or a false value.
            timeout: Seconds to wait.

        Returns:
            The runs for which the predicate was true.

        Raises:
            TimeoutError: The predicate was not true in time. The message has the newest three broken rules.
        """
        deadline = time.monotonic() + timeout
        runs_by_id: dict[str, StoredRun] = {}
        revision = 0
        while True:
            request_count = self._request_count
            revision, changed = self._store.changed_since(revision)
            runs_by_id.update((run.id, run) for run in changed)
            runs = sorted(runs_by_id.values(), key=lambda run: run.dotted_order)
            # Without the lock, because a predicate may send requests, and the server takes the lock for each.
            if predicate(runs):
                return runs
            with self._changed:
                while self._request_count == request_count:
                    if not self._changed.wait(max(0.0, deadline - time.monotonic())):
                        broken = "".join(f"; {violation}" for violation in self.violations[-3:])
                        stored = f"{len(runs)} runs are stored{broken}"
                        raise TimeoutError(f"the predicate was not true within {timeout} s; {stored}")

    def _notify(self) -> None:
        with self._changed:
            self._request_count += 1
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

        def abort_connection(scope: Scope) -> None:
            for connection in state.connections:
                if isinstance(connection, H11Protocol) and connection.client == scope["client"]:
                    connection.transport.abort()

        self._write_endpoints = WriteEndpoints(self._store, self._request_log, self._limits)
        config = uvicorn.Config(
            app.build(
                self._store,
                self._request_log,
                self._write_endpoints,
                self._sounds,
                self._page_access,
                addresses=Addresses(self._host),
                page_changes=self._page_changes,
                state=self._state,
                abort_connection=abort_connection,
            ),
            http="h11",
            access_log=False,
            log_config=None,
            lifespan="off",
            ws="none",
            proxy_headers=False,  # so that scope["client"] is the connection's address, for abort_connection
        )
        config.load()

        def new_protocol() -> H11Protocol:
            return H11Protocol(config=config, server_state=state, app_state={})

        # Only uvicorn's protocol, because uvicorn.Server polls for its end, which would cost each test 0.2 s.
        server = await loop.create_server(new_protocol, sock=listener)
        self._page_changes.start()
        ready.set_result(lambda: loop.call_soon_threadsafe(stop.set))
        while not stop.is_set():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), retention.INTERVAL_S)
            if not stop.is_set():
                await asyncio.to_thread(self._retention.apply, self._store)
        # asyncio accepts each connection in a task that is not in state.tasks. If the server closed before such a task
        # ended, the connection's socket would stay open.
        loop.remove_reader(listener)
        self._write_endpoints.closing.set()
        self._page_changes.close()
        await _wait_for({task for task in asyncio.all_tasks() if task not in state.tasks})
        server.close()
        for connection in list(state.connections):
            connection.shutdown()
        await _wait_for(state.tasks)
        while state.connections:
            for connection in list(state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)  # a transport closes in the loop's next iteration


async def _wait_for(tasks: set[asyncio.Task[None]]) -> None:
    if tasks := tasks - {asyncio.current_task()}:
        await asyncio.wait(tasks, timeout=_GRACE_S)


def _check_key(host: str, api_key: str | None) -> None:
    for name, value in (("host", host), ("api_key", "" if api_key is None else api_key)):
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a string, got {value!r}")
    if api_key == "":
        raise ValueError("api_key must not be empty; leave it out to accept any key")
    if not host:
        raise ValueError("host must not be empty; use 0.0.0.0 for all IPv4 addresses of this machine")
    if not is_loopback(host) and len(api_key or "") < _SHORTEST_KEY:
        got = "none" if api_key is None else f"{len(api_key)} characters"
        raise ValueError(
            f"api_key must have at least {_SHORTEST_KEY} characters if host is not a loopback address, because other "
            f"machines can reach {host}; got {got}"
        )


def _listen(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    # asyncio disables Nagle's algorithm only for sockets made with IPPROTO_TCP; with Nagle's algorithm, every answer on
    # a persistent connection would take 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # on Windows the option lets two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def _own_address(listener: socket.socket) -> str:
    """Return the address at which this machine reaches a listener, as it stands in a URL."""
    address = str(listener.getsockname()[0])
    if address in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return "127.0.0.1" if listener.family == socket.AF_INET else "[::1]"
    return f"[{address}]" if ":" in address else address
