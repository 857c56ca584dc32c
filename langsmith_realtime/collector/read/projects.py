"""The endpoints about projects, "sessions" in LangSmith's API, v1 and v2."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from langsmith_realtime.collector import numbers
from langsmith_realtime.collector.not_served import not_served
from langsmith_realtime.collector.read import views
from langsmith_realtime.collector.read.query import numbered_page, page, read_object
from langsmith_realtime.collector.rules import Refused, conflicting_name, json_type, time
from langsmith_realtime.collector.storage.store import project_id

if TYPE_CHECKING:
    from starlette.requests import Request

    from langsmith_realtime.collector.storage.store import Store

_SETTINGS: Final[dict[str, type]] = {
    "description": str,
    "extra": dict,
    "end_time": str,
    "reference_dataset_id": str,
    "start_time": str,
}
#: Filters of LangSmith's lists of projects that the collector does not have.
_NOT_SERVED: Final = ("filter", "sort_by_feedback_key", "tag_value_id", "dataset_version", "stats_filter")


class ProjectEndpoints:
    """The endpoints that list, create, change and delete projects.

    A project's id is made from its name, whatever id the request has.

    Args:
        store: Holds the runs, and what projects were created with.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def listed(self, request: Request) -> Response:
        """``GET /sessions``: a page of projects, newest first."""
        return self._refusal(request) or JSONResponse(
            self._with_stats(request, numbered_page(request, self._found(request)))
        )

    def v2_listed(self, request: Request) -> Response:
        """``GET /api/v2/sessions``: a page of projects with a cursor, newest first or by ``sort_by``."""
        params = request.query_params
        items, cursor = page(
            self._found(request), params.get("page_size"), params.get("cursor"), largest=100, default=100
        )
        return self._refusal(request) or JSONResponse(
            {"items": self._with_stats(request, items), "next_cursor": cursor}
        )

    def one(self, request: Request) -> Response:
        """``GET /sessions/{session_id}``: one project."""
        return JSONResponse(self._with_stats(request, [self._project(request)])[0])

    async def create(self, request: Request) -> Response:
        """``POST /sessions``: a project without runs. 409 if there is one, unless ``upsert`` is true."""
        body = await read_object(request)
        name = body.get("name")
        if not isinstance(name, str) or not name:
            raise Refused("query", f"name must be a non-empty string, got {name!r}")
        known = self._store.documents.get("project", name)
        if known is not None or name in self._store.projects():
            if request.query_params.get("upsert", "").lower() != "true":
                raise conflicting_name("project", name)
        else:
            known = {"start_time": datetime.now(UTC).isoformat()}
        given = _settings(body)
        self._store.documents.put("project", name, {**(known or {}), **given})
        return JSONResponse(self._view(name))

    async def update(self, request: Request) -> Response:
        """``PATCH /sessions/{session_id}``: changes the fields that are not null, except the name."""
        body = await read_object(request)
        name = str(self._project(request)["name"])
        if body.get("name") not in (None, name):
            return not_served("The collector does not rename projects, because a project's id is made from its name")
        given = _settings(body)
        self._store.documents.put("project", name, {**(self._store.documents.get("project", name) or {}), **given})
        return JSONResponse(self._view(name))

    async def delete(self, request: Request) -> Response:
        """``DELETE /sessions/{session_id}``: deletes a project with all traces that have a run in it."""
        name = str(self._project(request)["name"])
        self._store.delete_traces(self._store.traces_of(name))
        self._store.documents.delete("project", name)
        return JSONResponse({}, 202)

    def _refusal(self, request: Request) -> Response | None:
        unknown = [key for key in _NOT_SERVED if key in request.query_params]
        return not_served(f"The collector does not filter projects by {unknown[0]}") if unknown else None

    def _found(self, request: Request) -> list[dict[str, Any]]:
        params = request.query_params
        ids = {each.lower() for each in params.getlist("id")}
        datasets = {
            each.lower() for key in ("reference_dataset", "reference_dataset_id") for each in params.getlist(key)
        }
        metadata = _object(params.get("metadata"))
        found = [
            view
            for view in map(self._view, self._names())
            if (not ids or view["id"] in ids)
            and params.get("name") in (None, view["name"])
            and params.get("name_contains", "").lower() in str(view["name"]).lower()
            and (not datasets or view["reference_dataset_id"] in datasets)
            and not (params.get("reference_free") == "true" and view["reference_dataset_id"])
            and metadata.items() <= ((view["extra"] or {}).get("metadata") or {}).items()
        ]
        by_name = params.get("sort_by", "").upper() == "NAME"
        ascending = params.get("sort_order", "asc" if by_name else "desc") == "asc"
        return sorted(found, key=lambda view: str(view["name" if by_name else "start_time"]), reverse=not ascending)

    def _with_stats(self, request: Request, projects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return projects with the statistics of their traces, if the request has ``include_stats``."""
        if request.query_params.get("include_stats", "").lower() != "true":
            return projects
        found = []
        for project in projects:
            traces = self._store.traces.traces([project["name"]])
            stats = views.project_stats(traces, self._store.traces.feedback(traces))
            of_project = (each for each in self._store.feedback.all() if _is_about(each, project["id"]))
            found.append({**project, **stats, "session_feedback_stats": numbers.feedback_stats(of_project) or {}})
        return found

    def _names(self) -> list[str]:
        return list(dict.fromkeys([*self._store.projects(), *self._store.documents.all("project")]))

    def _view(self, name: str) -> dict[str, Any]:
        return views.project(name, self._store.projects().get(name), self._store.documents.get("project", name))

    def _project(self, request: Request) -> dict[str, Any]:
        wanted = request.path_params["session_id"].lower()
        for name in self._names():
            if project_id(name) == wanted:
                return self._view(name)
        raise HTTPException(404, f"Session not found: {request.path_params['session_id']}")


def _is_about(feedback: dict[str, Any], project: str) -> bool:
    """Return whether feedback is about a whole project, as that of a summary evaluator."""
    return not feedback.get("run_id") and str(feedback.get("session_id")).lower() == project


def _settings(body: dict[str, Any]) -> dict[str, Any]:
    """Return the settings in a body that are not null. Raises Refused if one is of the wrong type."""
    given = {key: body[key] for key in _SETTINGS if body.get(key) is not None}
    for key, value in given.items():
        if not isinstance(value, _SETTINGS[key]):
            raise Refused("query", f"{key} must be of another type, got {json_type(value)}")
        if key.endswith("_time"):
            time(value, key)
    if isinstance(given.get("extra", {}).get("metadata", {}), dict):
        return given
    raise Refused("query", f"extra.metadata must be an object, got {json_type(given['extra']['metadata'])}")


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Refused("query", f"metadata must be a JSON object, got {text!r}")
    return value
