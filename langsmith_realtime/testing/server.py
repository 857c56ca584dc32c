"""A WebSocket server on a thread of its own that runs a `Session` or a `ReplaySession` for each connection."""

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
from langsmith_realtime.testing.state.dialect import DIALECTS
from langsmith_realtime.testing.state.scheduler import Outgoing

HOST = "127.0.0.1"
PATH = "/v1/realtime"
AZURE_PATHS = ("/openai/realtime", "/openai/v1/realtime", "/voice-live/realtime")
"""Paths of Azure OpenAI and of Azure Voice Live, where the server answers, too."""
LARGEST_FRAME = 16 * 2**20
"""Largest frame that the server receives, in bytes."""
CLOSE_SECONDS = 1.0
"""Seconds that a client has to answer the close frame when the server stops."""
START_SECONDS = 10.0
"""Seconds that the thread has to start listening."""

Source: TypeAlias = Script | Replay


class _Session(Protocol):
    """The methods that `Session` and `ReplaySession` have in common."""

    @property
    def next_at(self) -> float | None: ...
    def open(self, now: float) -> list[Outgoing]: ...
    def receive(self, frame: str | bytes, now: float) -> list[Outgoing]: ...
    def advance(self, now: float) -> list[Outgoing]: ...


class RealtimeServer:
    """A Realtime server on 127.0.0.1 that follows a `Script`, or repeats a `Replay`.

    Use the server as a context manager, or call `start` and `stop`. The server accepts any API key and stores none. It
    compares every frame of a client with the Realtime API's reference, and adds deviations to `problems`.

    Args:
        script: A script or a recording, which every connection begins anew. With a sequence, the first connection gets
            the first script, the second connection the second script, and so on; all further connections get the last
            script. None for ``Script()``.
        port: TCP port; 0 for a free port.
        refuse: HTTP status, for example 401, with which the server refuses every client.
        keep_frames: Whether the server keeps every frame for `received`, `sent` and `wait_for`. A server that runs for
            long should not.
        strict: Whether the server raises WrongFramesError when it stops and `problems` is not empty. The exception of a
            ``with`` block has precedence.

    Raises:
        ValueError: The sequence of scripts is empty, or a script has an invalid `session`.
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
            raise ValueError("script must be a script or a sequence of at least one script, got an empty sequence")
        for source in sources:
            if isinstance(source, Script):
                Session(source)  # raises ValueError here, and not when the first client connects
        self._sources = sources
        self._requested_port = port
        self._refuse = refuse
        self._port: int | None = None
        self._connection_numbers = itertools.count()
        self._failures: list[BaseException] = []
        dialects = [DIALECTS[source.dialect] for source in sources if isinstance(source, Script)]
        texts = {kind: names for dialect in dialects for kind, names in dialect.texts.items()}
        self._log = FrameLog(keep=keep_frames, texts=texts)
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
            self._raise_if_strict()

    def start(self) -> Self:
        """Start the server. Returns when clients can connect.

        Raises:
            OSError: The port is in use.
            RuntimeError: The server is already running.
        """
        if self._thread is not None:
            raise RuntimeError("the server is already running; call stop() before start()")
        listening: Future[None] = Future()
        thread = threading.Thread(target=self._run, args=(listening,), name="realtime-server", daemon=True)
        thread.start()
        listening.result(START_SECONDS)
        self._thread = thread
        return self

    def stop(self) -> None:
        """Close every connection with code 1001, and stop the server.

        Raises:
            Exception: The first exception that a connection raised within the server, for example because an event of
                the script is not JSON.
            WrongFramesError: The server is strict, and a client sent frames that the Realtime API does not accept.
        """
        self._stop()
        self._raise_if_strict()

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

    def _raise_if_strict(self) -> None:
        if self._strict and self.problems:
            raise WrongFramesError(self.problems)

    @property
    def port(self) -> int:
        """The TCP port. Raises RuntimeError before the server starts."""
        if self._port is None:
            raise RuntimeError("the server was not started; use it in a with block, or call start()")
        return self._port

    @property
    def base_url(self) -> str:
        """The address for ``OpenAI(base_url=…)``, which newer clients use for HTTP and WebSockets."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def websocket_base_url(self) -> str:
        """The address for ``OpenAI(websocket_base_url=…)``, without which clients before version 2 use TLS."""
        return f"ws://{HOST}:{self.port}/v1"

    @property
    def url(self) -> str:
        """The address for a WebSocket client, without ``?model=…``."""
        return f"ws://{HOST}:{self.port}{PATH}"

    @property
    def received(self) -> list[LoggedFrame]:
        """The frames that the server has received so far, in order of arrival."""
        return self._log.of("client")

    @property
    def sent(self) -> list[LoggedFrame]:
        """The frames that the server has sent so far, in order."""
        return self._log.of("server")

    @property
    def problems(self) -> list[Problem]:
        """The first 1000 deviations of client frames from the Realtime API's reference, in the order of the frames."""
        return self._log.problems

    def wait_for(self, predicate: Callable[[LoggedFrame], bool], timeout: float = 5.0) -> LoggedFrame:
        """Return the first received or sent frame for which `predicate` is true; wait for it if necessary.

        The method blocks the calling thread; call it from a coroutine with ``asyncio.to_thread``.

        Args:
            predicate: Receives a frame.
            timeout: Seconds to wait.

        Raises:
            TimeoutError: The predicate was not true in time; the message has the types of all frames.
        """
        return self._log.wait_for(predicate, timeout)

    # The methods below run on the server's thread.

    def _run(self, listening: Future[None]) -> None:
        asyncio.run(self._listen(listening))

    async def _listen(self, listening: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            server: Server = await serve(
                self._serve,
                HOST,
                self._requested_port,
                process_request=self._check,
                origins=[None],  # refuses web pages: a browser sends an Origin header
                compression=None,
                max_size=LARGEST_FRAME,
                ping_interval=None,
                close_timeout=CLOSE_SECONDS,
            )
        except OSError as error:
            listening.set_exception(error)
            return
        self._port = next(iter(server.sockets)).getsockname()[1]
        async with server:
            listening.set_result(None)
            await self._stopping.wait()

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        # A web page may reach 127.0.0.1 under a name of its own domain, but it cannot fake the Host header.
        host = urlsplit("//" + request.headers.get("Host", "")).hostname
        if host not in (HOST, "localhost"):
            return connection.respond(
                HTTPStatus.FORBIDDEN, f"The Host header must be {HOST} or localhost, got {host}.\n"
            )
        if self._refuse is not None:
            message = f"The server refuses every client, because it was created with refuse={self._refuse}."
            error = {"message": message, "type": "invalid_request_error"}
            return connection.respond(HTTPStatus(self._refuse), json.dumps({"error": error}))
        if urlsplit(request.path).path not in (PATH, *AZURE_PATHS):
            problem = f"The path must be {PATH}, got {urlsplit(request.path).path}."
            remedy = f"Set the client's base_url to {self.base_url}."
            return connection.respond(HTTPStatus.NOT_FOUND, f"{problem} {remedy}\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        number = next(self._connection_numbers)
        session = self._new_session(number, connection.request.path if connection.request else "")
        outbox: asyncio.Queue[Outgoing] = asyncio.Queue()
        tasks = [
            asyncio.create_task(self._converse(number, connection, session, outbox)),
            asyncio.create_task(self._send_all(number, connection, outbox)),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionClosed):
                self._failures.append(outcome)
                await connection.close(1011)

    def _new_session(self, number: int, path: str) -> _Session:
        source = self._sources[min(number, len(self._sources) - 1)]
        if isinstance(source, Replay):
            return ReplaySession(source)
        query = parse_qs(urlsplit(path).query)
        return Session(
            source,
            model=(query.get("model") or query.get("deployment") or ["gpt-realtime"])[0],
            sideband="call_id" in query,
            now=time.monotonic(),
            epoch=time.time(),
            seed=None if source.seed is None else f"{source.seed}/{number}",
        )

    async def _converse(
        self, number: int, connection: ServerConnection, session: _Session, outbox: asyncio.Queue[Outgoing]
    ) -> None:
        """Pass received frames and the time to the session, and queue the returned frames. Never waits for a send."""

        def queue(outgoing: list[Outgoing]) -> None:
            for each in outgoing:
                outbox.put_nowait(each)

        queue(session.open(time.monotonic()))
        receiving = _receive(connection)
        try:
            while True:
                wait = None if session.next_at is None else max(0.0, session.next_at - time.monotonic())
                await asyncio.wait([receiving], timeout=wait)
                if receiving.done():
                    frame = receiving.result()
                    self._log.add(number, "client", frame)
                    queue(session.receive(frame, time.monotonic()))
                    receiving = _receive(connection)
                else:
                    queue(session.advance(time.monotonic()))
        finally:
            receiving.cancel()

    async def _send_all(self, number: int, connection: ServerConnection, outbox: asyncio.Queue[Outgoing]) -> None:
        """Send the queued frames until the script ends the connection."""
        while True:
            what = (await outbox.get()).what
            if isinstance(what, Close):
                await connection.close(what.code, what.reason)
                return
            if isinstance(what, Drop):
                if what.mid_frame:
                    connection.transport.write(b"\x81\x7e\x04\x00" + b'{"type": "response.output_audio.delta", ')
                connection.transport.close()  # sends the bytes written before, but no close frame
                return
            raw = what.data if isinstance(what, Raw) else json.dumps(what)
            self._log.add(number, "server", raw)
            await connection.send(raw)


def _receive(connection: ServerConnection) -> asyncio.Task[str | bytes]:
    task = asyncio.create_task(connection.recv())
    # The callback retrieves the task's exception, because asyncio logs an error for one that nothing retrieves.
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    return task
