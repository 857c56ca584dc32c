"""The websocket shell: runs a `Session` or a replay for each client that connects, in a thread of its own."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from http import HTTPStatus
from types import TracebackType
from typing import Protocol, Self, TypeAlias
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from langsmith_realtime.testing.frame_log import FrameLog, LoggedFrame, Problem, WrongFramesError
from langsmith_realtime.testing.script.replay import Replay
from langsmith_realtime.testing.script.script import Close, Drop, Raw, Script
from langsmith_realtime.testing.session import ReplaySession, Session
from langsmith_realtime.testing.state.agenda import Outgoing

HOST = "127.0.0.1"
PATH = "/v1/realtime"
LARGEST_FRAME = 16 * 2**20
CLOSE_SECONDS = 1.0
"""How long a client that is still connected when the server stops may take to answer the close frame."""
START_SECONDS = 10.0

Source: TypeAlias = Script | Replay


class _Core(Protocol):
    @property
    def next_at(self) -> float | None: ...
    def open(self, now: float) -> list[Outgoing]: ...
    def receive(self, frame: str | bytes, now: float) -> list[Outgoing]: ...
    def advance(self, now: float) -> list[Outgoing]: ...


class RealtimeServer:
    """A Realtime server on 127.0.0.1 that does what a `Script` or a `Replay` says.

    Use it as a context manager, or call `start` and `stop`. Each client that connects begins the script anew; with
    a list of scripts the first client gets the first one, the second the second, and so on, and the last of them
    serves all others. Raises ValueError for no script, or one whose session cannot be. `port` 0 takes a free one.

    Any API key is accepted and none is kept; `refuse` is an HTTP status (401, say) with which every client is
    refused instead. `keep_frames=False` keeps no log, for servers that run long.

    Every frame of a client is held against the API's reference, and `problems` tells what is wrong. A `strict`
    server raises WrongFramesError when it stops if there is any, unless the ``with`` block raises anyway.
    """

    def __init__(
        self,
        script: Source | Sequence[Source] | None = None,
        *,
        port: int = 0,
        refuse: int | None = None,
        keep_frames: bool = True,
        strict: bool = False,
    ) -> None:
        sources = [Script()] if script is None else [script] if isinstance(script, Script | Replay) else list(script)
        if not sources:
            raise ValueError("a server needs at least one script")
        for source in sources:
            if isinstance(source, Script):
                Session(source)  # what is wrong with its session is told here, not to the first client
        self._sources = sources
        self._wanted_port = port
        self._refuse = refuse
        self._port: int | None = None
        self._numbers = itertools.count()
        self._failures: list[BaseException] = []
        self._log = FrameLog(keep=keep_frames)
        self._strict = strict
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()
        if error is None:
            self._complain()

    def start(self) -> Self:
        """Listen. Returns when clients can connect.

        Raises OSError if the port is taken, and RuntimeError if the server is running already.
        """
        if self._thread is not None:
            raise RuntimeError("the server is already running")
        listening: Future[None] = Future()
        thread = threading.Thread(target=self._run, args=(listening,), name="realtime-server", daemon=True)
        thread.start()
        listening.result(START_SECONDS)
        self._thread = thread
        return self

    def stop(self) -> None:
        """Close every connection (1001) and stop listening.

        Raises what went wrong within the server, if anything, and WrongFramesError if it is strict and has reason to.
        """
        self._stop()
        self._complain()

    def _stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        assert self._loop is not None and self._stopping is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join()
        failures, self._failures = self._failures, []
        if failures:
            raise failures[0]

    def _complain(self) -> None:
        if self._strict and self.problems:
            raise WrongFramesError(self.problems)

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._port is None:
            raise RuntimeError("the server was not started")
        return self._port

    @property
    def base_url(self) -> str:
        """For ``OpenAI(base_url=…)``."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def websocket_base_url(self) -> str:
        """For ``OpenAI(websocket_base_url=…)``: older clients speak TLS to any server that is not named there."""
        return f"ws://{HOST}:{self.port}/v1"

    @property
    def url(self) -> str:
        """For a websocket client: the address without ``?model=…``."""
        return f"ws://{HOST}:{self.port}{PATH}"

    @property
    def received(self) -> list[LoggedFrame]:
        """What clients have sent so far, in order of arrival."""
        return self._log.of("client")

    @property
    def sent(self) -> list[LoggedFrame]:
        """What was sent to clients so far, in order."""
        return self._log.of("server")

    @property
    def problems(self) -> list[Problem]:
        """What was wrong with what clients have sent so far, in order."""
        return self._log.problems

    def wait_for(self, predicate: Callable[[LoggedFrame], bool], timeout: float = 5.0) -> LoggedFrame:
        """The first frame, received or sent, past or to come, of which `predicate` is true.

        Blocks its thread: from a coroutine call it with ``asyncio.to_thread``. Raises TimeoutError after `timeout`
        seconds, with the types seen until then.
        """
        return self._log.wait_for(predicate, timeout)

    # In the server's thread.

    def _run(self, listening: Future[None]) -> None:
        asyncio.run(self._listen(listening))

    async def _listen(self, listening: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            server: Server = await serve(
                self._serve,
                HOST,
                self._wanted_port,
                process_request=self._check,
                origins=[None],  # no page in a browser has business here
                compression=None,
                max_size=LARGEST_FRAME,
                ping_interval=None,
                close_timeout=CLOSE_SECONDS,
            )
        except OSError as problem:
            listening.set_exception(problem)
            return
        self._port = next(iter(server.sockets)).getsockname()[1]
        async with server:
            listening.set_result(None)
            await self._stopping.wait()

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        # A page in a browser may reach loopback under a name of its own; it cannot fake the Host header.
        host = urlsplit("//" + request.headers.get("Host", "")).hostname
        if host not in (HOST, "localhost"):
            return connection.respond(HTTPStatus.FORBIDDEN, "Only 127.0.0.1 and localhost are served.\n")
        if self._refuse is not None:
            error = {"message": "This server refuses every client.", "type": "invalid_request_error"}
            return connection.respond(HTTPStatus(self._refuse), json.dumps({"error": error}))
        if urlsplit(request.path).path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"The server answers at {PATH}.\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        number = next(self._numbers)
        core = self._core(number, connection.request.path if connection.request else "")
        outbox: asyncio.Queue[Outgoing] = asyncio.Queue()
        tasks = [
            asyncio.create_task(self._converse(number, connection, core, outbox)),
            asyncio.create_task(self._send_all(number, connection, outbox)),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionClosed):
                self._failures.append(outcome)
                await connection.close(1011)

    def _core(self, number: int, path: str) -> _Core:
        source = self._sources[min(number, len(self._sources) - 1)]
        if isinstance(source, Replay):
            return ReplaySession(source)
        query = parse_qs(urlsplit(path).query)
        return Session(
            source,
            model=query.get("model", ["gpt-realtime"])[0],
            sideband="call_id" in query,
            now=time.monotonic(),
            epoch=time.time(),
            seed=None if source.seed is None else f"{source.seed}/{number}",
        )

    async def _converse(
        self, number: int, connection: ServerConnection, core: _Core, outbox: asyncio.Queue[Outgoing]
    ) -> None:
        """Give the core what arrives and the time, and queue what it answers. Never waits for the sending."""

        def queue(outgoing: list[Outgoing]) -> None:
            for each in outgoing:
                outbox.put_nowait(each)

        queue(core.open(time.monotonic()))
        arriving = _receiving(connection)
        try:
            while True:
                wait = None if core.next_at is None else max(0.0, core.next_at - time.monotonic())
                await asyncio.wait([arriving], timeout=wait)
                if arriving.done():
                    frame = arriving.result()
                    self._log.note(number, "client", frame)
                    queue(core.receive(frame, time.monotonic()))
                    arriving = _receiving(connection)
                else:
                    queue(core.advance(time.monotonic()))
        finally:
            arriving.cancel()

    async def _send_all(self, number: int, connection: ServerConnection, outbox: asyncio.Queue[Outgoing]) -> None:
        """Send what is queued until the script ends the connection."""
        while True:
            what = (await outbox.get()).what
            if isinstance(what, Close):
                await connection.close(what.code, what.reason)
                return
            if isinstance(what, Drop):
                if what.mid_frame:
                    connection.transport.write(b"\x81\x7e\x04\x00" + b'{"type": "response.output_audio.delta", ')
                connection.transport.close()  # what was written before still goes out; a close frame does not
                return
            raw = what.data if isinstance(what, Raw) else json.dumps(what)
            self._log.note(number, "server", raw)
            await connection.send(raw)


def _receiving(connection: ServerConnection) -> asyncio.Task[str | bytes]:
    task = asyncio.create_task(connection.recv())
    # Its outcome is looked at even where the conversation has ended meanwhile, or asyncio complains.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task
