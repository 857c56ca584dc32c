"""The endpoints about feedback, except those that create it with an API key (``ingest``)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from langsmith_realtime.collector.not_served import not_served
from langsmith_realtime.collector.read.query import numbered_page, read_json, read_object
from langsmith_realtime.collector.rules import Batch, Refused, json_type, time, uuid_text
from langsmith_realtime.collector.storage.store import project_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request

    from langsmith_realtime.collector.storage.store import Store

#: Fields that an update or a token may set.
_CHANGEABLE: Final = ("score", "value", "comment", "correction", "extra")
_FILTERS: Final[dict[str, Callable[[Mapping[str, Any], list[str]], bool]]] = {
    "key": lambda feedback, values: feedback["key"] in values,
    "source": lambda feedback, values: (feedback["feedback_source"] or {}).get("type") in values,
    "session": lambda feedback, values: feedback["session_id"] in [value.lower() for value in values],
    "trace": lambda feedback, values: feedback["trace_id"] in [value.lower() for value in values],
    "has_comment": lambda feedback, values: bool(feedback["comment"]) is (values[-1].lower() == "true"),
    "has_score": lambda feedback, values: (feedback["score"] is not None) is (values[-1].lower() == "true"),
}
_PAGING: Final = frozenset({"limit", "offset", "include_user_names"})
#: How long a token is valid unless its request says so.
_EXPIRES: Final = timedelta(hours=3)


class FeedbackEndpoints:
    """The endpoints that return, change and delete feedback, and those of its presigned tokens.

    Args:
        store: Holds the feedback.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def listed(self, request: Request) -> Response:
        """``GET /feedback``: a page of feedback, oldest first; the parameters of :data:`_FILTERS` filter it."""
        params = request.query_params
        unknown = sorted(set(params) - _PAGING - set(_FILTERS) - {"run"})
        if unknown:
            return not_served(f"The collector does not filter feedback by {unknown[0]}")
        runs = [each.lower() for each in params.getlist("run")]
        found = map(self._view, self._store.feedback.all(runs or None))
        wanted = [(_FILTERS[key], params.getlist(key)) for key in params if key in _FILTERS]
        return JSONResponse(
            numbered_page(request, [each for each in found if all(holds(each, values) for holds, values in wanted)])
        )

    async def one(self, request: Request) -> Response:
        """``GET /feedback/{feedback_id}``: one feedback."""
        return JSONResponse(self._view(self._stored(request)))

    async def update(self, request: Request) -> Response:
        """``PATCH /feedback/{feedback_id}``: changes the fields in the body; null clears a field."""
        body = await read_object(request)
        changed: dict[str, Any] = {key: body[key] for key in _CHANGEABLE if key in body}
        feedback = {**self._stored(request), **changed, "modified_at": datetime.now(UTC).isoformat()}
        self._write(feedback)
        return JSONResponse(self._view(feedback))

    async def delete(self, request: Request) -> Response:
        """``DELETE /feedback/{feedback_id}``."""
        self._store.feedback.delete(self._stored(request)["id"])
        return JSONResponse({})

    async def create_tokens(self, request: Request) -> Response:
        """``POST /feedback/tokens``: a URL that creates feedback without an API key; several for an array."""
        body = await read_json(request)
        address = str(request.url.replace(query=""))
        made = [self._token(each, address) for each in (body if isinstance(body, list) else [body])]
        return JSONResponse(made if isinstance(body, list) else made[0])

    async def tokens(self, request: Request) -> Response:
        """``GET /feedback/tokens?run_id=…``: a page of a run's tokens that have not expired."""
        address = str(request.url.replace(query=""))
        found = self._store.documents.all("feedback-token", request.query_params.get("run_id", "").lower())
        views = [_token_view(token, content, address) for token, content in found.items() if not _expired(content)]
        return JSONResponse(numbered_page(request, views))

    async def use_token(self, request: Request) -> Response:
        """``GET`` (fields as parameters) or ``POST /feedback/tokens/{token}``: creates the token's feedback."""
        token = self._store.documents.get("feedback-token", request.path_params["token"].lower())
        if token is None or _expired(token):
            raise HTTPException(404, "The feedback token does not exist or has expired; create another one")
        given: Mapping[str, Any] = request.query_params
        if request.method == "POST":
            given = await read_object(request)
        fields = {key: given[key] for key in _CHANGEABLE if given.get(key) is not None}
        if request.method != "POST" and "score" in fields:
            fields["score"] = _score(fields["score"])
        source = {"type": "api", "metadata": given.get("metadata") if request.method == "POST" else None}
        feedback_id = token["feedback_id"] or str(uuid4())
        self._write({"id": feedback_id, **token["feedback"], **fields, "feedback_source": source})
        return JSONResponse({"id": feedback_id})

    def _token(self, body: object, address: str) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise Refused("query", f"a token's request must be a JSON object, got {json_type(body)}")
        run_id = uuid_text(body.get("run_id"), "run_id")
        key = body.get("feedback_key")
        if not isinstance(key, str):
            raise Refused("query", f"feedback_key must be a string, got {json_type(key)}")
        token = str(uuid4())
        content = {
            "expires_at": _expiry(body).isoformat(),
            "feedback_id": uuid_text(body["id"], "id") if body.get("id") else None,
            "feedback": {"run_id": run_id, "key": key},
        }
        self._store.documents.put("feedback-token", token, content, run_id)
        return _token_view(token, content, address)

    def _write(self, feedback: dict[str, Any]) -> None:
        batch = Batch(feedback=[feedback])
        batch.check(0)
        self._store.apply(batch)

    def _stored(self, request: Request) -> dict[str, Any]:
        feedback = self._store.feedback.one(request.path_params["feedback_id"].lower())
        if feedback is None:
            raise HTTPException(404, f"Feedback not found: {request.path_params['feedback_id']}")
        return feedback

    def _view(self, feedback: dict[str, Any]) -> dict[str, Any]:
        """Return feedback with the trace and the project of its run, which clients may leave out."""
        place = self._store.place(str(feedback.get("run_id") or feedback.get("trace_id")).lower())
        trace_id, project = (None, None) if place is None else (place[0], project_id(place[1]))
        found: dict[str, Any] = {
            "run_id": None,
            "score": None,
            "value": None,
            "comment": None,
            "correction": None,
            "feedback_source": {"type": "api"},
            **feedback,
        }
        return {
            **found,
            "trace_id": found.get("trace_id") or trace_id,
            "session_id": found.get("session_id") or project,
        }


def _token_view(token: str, content: Mapping[str, Any], address: str) -> dict[str, Any]:
    return {"id": token, "url": f"{address.rstrip('/')}/{token}", "expires_at": content["expires_at"]}


def _expired(content: Mapping[str, Any]) -> bool:
    return time(content["expires_at"], "expires_at") <= datetime.now(UTC)


def _expiry(body: Mapping[str, Any]) -> datetime:
    if body.get("expires_at") is not None:
        return time(body["expires_at"], "expires_at")
    given = body.get("expires_in")
    if given is None:
        return datetime.now(UTC) + _EXPIRES
    try:
        parts = {key: float(given.get(key) or 0) for key in ("days", "hours", "minutes")}
        return datetime.now(UTC) + timedelta(**parts)
    except (AttributeError, TypeError, ValueError, OverflowError):
        message = f"expires_in must be an object with days, hours and minutes, got {given!r}"
        raise Refused("query", message) from None


def _score(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Refused("query", f"score must be a number, got {text!r}") from None
