"""The page's routes: its own files, and under ``/view/api`` the data. All are ``GET``, and none changes a trace."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from langsmith_realtime.collector.page import exports, html_file
from langsmith_realtime.collector.page.access import PAGE
from langsmith_realtime.collector.page.conversation import (
    RECORDING,
    FollowedConversation,
    conversation,
    recording_of,
)
from langsmith_realtime.collector.page.growing import growing_points, growing_recording
from langsmith_realtime.collector.page.json_lines import jsonl
from langsmith_realtime.collector.page.sound import LEVELS, SoundError, Sounds, peaks_file
from langsmith_realtime.collector.storage.conversations import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from langsmith_realtime.collector.page.access import Access
    from langsmith_realtime.collector.page.changes import Changes
    from langsmith_realtime.collector.records import StoredRun
    from langsmith_realtime.collector.storage.store import Store

_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".html": "text/html"}
_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; script-src 'self'; "
    "style-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_DATA_HEADERS: Final = {**_HEADERS, "Cache-Control": "no-store"}
#: Largest page of the list.
_LIMIT: Final = 500
_NOT_STORED: Final = "This conversation is not in the store"
_AUDIO_ENDINGS: Final = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/flac": "flac", "audio/ogg": "ogg"}


class PageEndpoints:
    """Serves the page.

    Args:
        store: Has the conversations.
        sounds: Decodes their recordings.
        access: Turns a code in the address into a cookie.
        changes: Wakes the event streams.
        link: Makes an attachment's URL from the request, the run's id and the attachment's name.
        state: Folder of running conversations on this machine; None without one.
    """

    def __init__(
        self,
        store: Store,
        sounds: Sounds,
        access: Access,
        changes: Changes,
        *,
        link: Callable[[Request, str, str], str],
        state: Path | None,
    ) -> None:
        self._store = store
        self._sounds = sounds
        self._access = access
        self._changes = changes
        self._link = link
        self._state = state
        self._files = {path.name: path for path in _STATIC.iterdir() if path.suffix in _TYPES}

    def routes(self) -> list[Route]:
        """Return the routes, for the application."""
        return [
            Route(PAGE, self.home),
            Route(f"{PAGE}/", self.list_page),
            Route(f"{PAGE}/threads", self.list_page),
            Route(f"{PAGE}/thread/{{thread:path}}", self.list_page),
            Route(f"{PAGE}/c/{{id}}", self.conversation_page),
            Route(f"{PAGE}/static/{{name}}", self.static),
            Route(f"{PAGE}/api/conversations", self.conversations),
            Route(f"{PAGE}/api/threads", self.threads),
            Route(f"{PAGE}/api/threads/changes", self.thread_changes),
            Route(f"{PAGE}/api/choices", self.choices),
            Route(f"{PAGE}/api/changes", self.list_changes),
            Route(f"{PAGE}/api/code", self.code),
            Route(f"{PAGE}/api/conversations/{{id}}", self.conversation),
            Route(f"{PAGE}/api/conversations/{{id}}/changes", self.conversation_changes),
            Route(f"{PAGE}/api/conversations/{{id}}/growing", self.growing),
            Route(f"{PAGE}/api/conversations/{{id}}/peaks/{{level:int}}", self.peaks),
            Route(f"{PAGE}/api/conversations/{{id}}/download.{{form}}", self.download),
            Route(f"{PAGE}/api/runs/{{run_id}}", self.run),
            Route(f"{PAGE}/{{path:path}}", self.nothing),
        ]

    # The page's own files

    async def home(self, _: Request) -> Response:
        return RedirectResponse(f"{PAGE}/")

    async def nothing(self, _: Request) -> Response:
        raise HTTPException(404, "Not found")

    async def list_page(self, request: Request) -> Response:
        return self._page(request, "list.html")

    async def conversation_page(self, request: Request) -> Response:
        return self._page(request, "conversation.html")

    async def static(self, request: Request) -> Response:
        path = self._files.get(request.path_params["name"])
        if path is None:
            raise HTTPException(404, "Not found")
        return FileResponse(path, media_type=_TYPES[path.suffix], headers={**_HEADERS, "Cache-Control": "no-cache"})

    def _page(self, request: Request, name: str) -> Response:
        if "code" in request.query_params or "token" in request.query_params:
            # Code and key leave the address, so that they are neither copied nor in the history.
            rest = request.url.remove_query_params(["code", "token"])
            address = f"{rest.path}?{rest.query}" if rest.query else rest.path
            response: Response = RedirectResponse(address, 303, _HEADERS)
            self._access.redeem(request, response)
            return response
        return FileResponse(
            self._files[name], media_type="text/html", headers={**_HEADERS, "Cache-Control": "no-cache"}
        )

    # The data

    async def conversations(self, request: Request) -> Response:
        """``GET /view/api/conversations``: a page of the list."""
        return self._data(await run_in_threadpool(self._store.conversations.page, self._query(request)))

    async def list_changes(self, request: Request) -> Response:
        """``GET /view/api/changes``: an event stream of a page of the list, which takes the list's parameters."""
        query = self._query(request)
        return self._changes.stream(lambda: self._store.conversations.page(query), _DATA_HEADERS)

    async def threads(self, request: Request) -> Response:
        """``GET /view/api/threads``: a page of the list of threads, which takes the parameters of conversations."""
        return self._data(await run_in_threadpool(self._store.threads.page, self._query(request)))

    async def thread_changes(self, request: Request) -> Response:
        """``GET /view/api/threads/changes``: an event stream of a page of the list of threads."""
        query = self._query(request)
        return self._changes.stream(lambda: self._store.threads.page(query), _DATA_HEADERS)

    def _query(self, request: Request) -> Query:
        asked = request.query_params
        return Query(
            q=asked.get("q", ""),
            project=asked.get("project", ""),
            thread=asked.get("thread", ""),
            tag=asked.get("tag", ""),
            model=asked.get("model", ""),
            only=tuple(filter(None, asked.get("only", "").split(","))),
            sort=asked.get("sort", "-start"),
            slow_ms=_slow_ms(request),
            after=int(_number(asked.get("after"), 0)),
            limit=min(_LIMIT, int(_number(asked.get("limit"), 100)) or 1),
        )

    async def code(self, _: Request) -> Response:
        """``GET /view/api/code``: a code that opens the page once, for who has the API key; null if none is needed."""
        return self._data({"code": self._access.code()})

    async def choices(self, _: Request) -> Response:
        """``GET /view/api/choices``: the choices of the list's filters."""
        return self._data(await run_in_threadpool(self._store.conversations.choices))

    async def conversation(self, request: Request) -> Response:
        """``GET /view/api/conversations/{id}``: the whole shape."""
        shape, root = await self._shape(request)
        return self._data(self._with_link(shape, request, root))

    async def conversation_changes(self, request: Request) -> Response:
        """``GET …/changes``: an event stream of the shape; 404 if the conversation is not stored."""
        if self._store.conversations.row(request.path_params["id"]) is None:
            raise HTTPException(404, _NOT_STORED)
        followed = FollowedConversation(
            self._store, self._sounds, request.path_params["id"], slow_ms=_slow_ms(request), state=self._state
        )

        def look() -> dict[str, Any] | None:
            shape = followed.look()
            return None if shape is None else self._with_link(shape, request, followed.root)

        return self._changes.stream(look, _DATA_HEADERS)

    def _with_link(self, shape: dict[str, Any], request: Request, root: StoredRun) -> dict[str, Any]:
        if recording_of(root) is None:
            return shape
        url = self._link(request, root.id, RECORDING)
        return {**shape, "recording": {**shape["recording"], "url": url[url.index("/attachments/") :]}}

    async def growing(self, request: Request) -> Response:
        """``GET …/growing?from&to``: points of the recording that is being written, 100 a second, at most 120 s."""
        row = self._store.conversations.row(request.path_params["id"])
        recording = None if row is None or not row["live"] else growing_recording(self._state, row["id"])
        if row is None or recording is None:
            raise HTTPException(404, "No recording of this conversation is being written on this machine")
        # The agent's sound may be ahead of what was heard, and what is cut off will not be in the recording.
        now = time.time() - row["started"]
        since, until = (_number(request.query_params.get(name), 0) for name in ("from", "to"))
        found = await run_in_threadpool(growing_points, recording, since, min(until, now))
        return Response(found, media_type="application/octet-stream", headers=_DATA_HEADERS)

    async def peaks(self, request: Request) -> Response:
        """``GET …/peaks/{level}``: bytes, four for each point; 503 while the recording is being decoded."""
        level = request.path_params["level"]
        row = self._store.conversations.row(request.path_params["id"])
        root = None if row is None else self._store.run(row["id"])
        recording = None if root is None else recording_of(root)
        if recording is None or level not in LEVELS:
            raise HTTPException(
                404, "No peaks: the conversation has no recording, or the level is none of 10, 100, 800"
            )
        try:
            sound = self._sounds.ready(recording.path)
        except SoundError as error:
            raise HTTPException(422, str(error)) from None
        if sound is None:
            return Response(status_code=503, headers={**_DATA_HEADERS, "Retry-After": "1"})
        path = peaks_file(recording.path, level)
        return FileResponse(path, media_type="application/octet-stream", headers=_DATA_HEADERS)

    async def run(self, request: Request) -> Response:
        """``GET /view/api/runs/{run_id}``: what a run holds."""
        run = self._store.run(request.path_params["run_id"].lower())
        if run is None:
            raise HTTPException(404, "Run not found")
        return self._data(
            {
                "id": run.id,
                "name": run.name,
                "run_type": run.run_type,
                "start_time": run.start_time.isoformat(),
                "end_time": run.end_time.isoformat() if run.end_time else None,
                "error": run.error,
                "inputs": run.inputs,
                "outputs": run.outputs,
                "metadata": {key: each for key, each in run.metadata.items() if not key.startswith("LANGSMITH_")},
            }
        )

    async def download(self, request: Request) -> Response:
        """``GET …/download.{audio,vtt,srt,json,jsonl,html}``; ``?sound=1`` puts the sound into the HTML file."""
        form = request.path_params["form"]
        shape, root = await self._shape(request, wait=form == "html")
        started = datetime.fromtimestamp(shape["start"], UTC)
        name = f"conversation-{started:%Y%m%d-%H%M%S}-{root.id[:8]}"
        recording = recording_of(root)
        if form == "audio":
            if recording is None:
                raise HTTPException(404, shape["recording"]["reason"])
            ending = _AUDIO_ENDINGS.get(recording.mime_type, "audio")
            return FileResponse(
                recording.path, media_type=recording.mime_type, filename=f"{name}.{ending}", headers=_DATA_HEADERS
            )
        if form == "json":
            return self._file(JSONResponse({**shape, "messages": (root.outputs or {}).get("messages")}), name, form)
        if form == "html":
            with_sound = request.query_params.get("sound") == "1"
            return self._file(await run_in_threadpool(self._html, shape, root, with_sound=with_sound), name, form)
        if form == "jsonl":
            content = jsonl(self._store.runs_below(root.dotted_order))
            return self._file(Response(content, media_type="application/x-ndjson"), name, form)
        if form in {"vtt", "srt"}:
            content = exports.vtt(shape) if form == "vtt" else exports.srt(shape)
            media_type = "text/vtt" if form == "vtt" else "application/x-subrip"
            return self._file(Response(content, media_type=media_type), name, form)
        raise HTTPException(404, "The form must be one of audio, vtt, srt, json, jsonl, html")

    def _html(self, shape: Mapping[str, Any], root: StoredRun, *, with_sound: bool) -> Response:
        recording = recording_of(root)
        is_ready = recording is not None and shape["recording"]["state"] == "ready"
        path = recording.path if recording is not None and is_ready else None
        try:
            sound = exports.opus(path) if with_sound and path is not None else None
        except exports.TooLargeError as error:
            raise HTTPException(413, f"{error}. Download the sound as a file of its own") from None
        return Response(html_file.page(shape, recording=path, sound=sound), media_type="text/html")

    async def _shape(self, request: Request, *, wait: bool = False) -> tuple[dict[str, Any], StoredRun]:
        found = await run_in_threadpool(
            lambda: conversation(
                self._store,
                self._sounds,
                request.path_params["id"],
                slow_ms=_slow_ms(request),
                wait=wait,
                state=self._state,
            )
        )
        if found is None:
            raise HTTPException(404, _NOT_STORED)
        return found

    def _data(self, content: object) -> Response:
        return JSONResponse(content, headers=_DATA_HEADERS)

    def _file(self, response: Response, name: str, form: str) -> Response:
        response.headers.update({**_DATA_HEADERS, "Content-Disposition": f'attachment; filename="{name}.{form}"'})
        return response


def _slow_ms(request: Request) -> float:
    return _number(request.query_params.get("slow"), 1500)


def _number(text: str | None, default: float) -> float:
    try:
        value = float(text) if text else default
    except ValueError:
        return default
    return value if 0 <= value < 1e9 else default  # not for nan
