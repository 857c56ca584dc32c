"""Fetches conversations from LangSmith: by the id of a trace or a thread, or by the address of its page.

Calls of LangSmith's API v2 only, and one download for each recording.
"""

from __future__ import annotations

import json
import re
import urllib.request
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote, unquote, urljoin, urlsplit

from langsmith.utils import LangSmithAuthError, LangSmithConnectionError, LangSmithError, LangSmithNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langsmith import Client

_UUID: Final = r"(?i:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_SELECTS: Final = (
    "ID", "NAME", "RUN_TYPE", "START_TIME", "END_TIME", "ERROR", "EXTRA", "METADATA", "EVENTS", "INPUTS", "OUTPUTS",
    "PARENT_RUN_IDS", "TRACE_ID", "DOTTED_ORDER", "TAGS", "ATTACHMENTS",
)  # fmt: skip
#: Before any trace: without a time, LangSmith looks at the last day only.
_BEGINNING: Final = "2023-01-01T00:00:00Z"
#: Seconds that a download may take without a byte.
_TIMEOUT_S: Final = 60


class FetchError(Exception):
    """The conversation could not be fetched; the message says why, and what was searched."""


def fetch(client: Client, target: str, project: str) -> list[tuple[list[dict[str, Any]], dict[Any, Any]]]:
    """Return the runs and files of each conversation of a target.

    Args:
        client: Reads from LangSmith.
        target: The id of a trace or a thread, or the address of a run, a trace or a thread in LangSmith.
        project: The name of the project in which an id is searched.

    Raises:
        FetchError: Nothing was found, or LangSmith refuses.
    """
    try:
        project_id, traces = _traces(client, target, project)
        if "://" in target:  # the address names the project by its id
            project = str(client.read_project(project_id=project_id).name)
        return [_conversation(client, project_id, project, trace) for trace in traces]
    except (LangSmithError, OSError, KeyError, ValueError) as error:
        raise FetchError(f"{target} could not be fetched from {client.api_url}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return why a request failed, and the remedy, in one line without what LangSmith's client knows of the key."""
    if isinstance(error, LangSmithConnectionError):
        return "it does not answer. Check LANGSMITH_ENDPOINT and the network"
    if isinstance(error, LangSmithAuthError) or re.search(r"\b40[13] Client Error", str(error)):
        return "it refuses the API key. Set LANGSMITH_API_KEY to a key of the workspace that has the conversation"
    if isinstance(error, KeyError):
        return f"its answer has no {error}"
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    line = line.split(". HTTPError(")[0] if isinstance(error, LangSmithNotFoundError) else line
    return line[:300]


def _traces(client: Client, target: str, project: str) -> tuple[str, list[str]]:
    if "://" in target:
        address = urlsplit(target)
        parts = re.fullmatch(rf".*/projects/p/({_UUID})(?:/(r|t)/([^/]+))?/?", address.path)
        if parts is None or address.scheme not in ("http", "https"):
            raise FetchError(
                f"{target} must be the address of a run or a thread, such as https://…/projects/p/…/r/…; a shared page"
                " does not name the project"
            )
        project_id, kind, found = parts.groups()
        project_id = project_id.lower()
        if kind == "t":
            traces = _threads_traces(client, project_id, unquote(found))
            if not traces:
                raise FetchError(f"The thread {unquote(found)} is not in the project {project_id}")
            return project_id, traces
        asked = parse_qs(address.query)
        run_id = next((asked[key][0] for key in ("trace_id", "peek") if key in asked), found)
        if run_id is None:
            raise FetchError(f"{target} names a project; open a conversation in it, and give that address")
        return project_id, [_trace_of(client, project_id, run_id)]
    project_id = str(client.read_project(project_name=project).id)
    if re.fullmatch(_UUID, target):
        answer = _post(client, "/api/v2/runs/query", project_ids=[project_id], ids=[target], selects=["TRACE_ID"])
        if answer["items"]:
            return project_id, [answer["items"][0]["trace_id"]]
    traces = _threads_traces(client, project_id, target)
    if not traces:
        raise FetchError(
            f"Neither a trace nor a thread {target} is in the project {project!r}; name its project with --project, or"
            " with project= of show()"
        )
    return project_id, traces


def _trace_of(client: Client, project_id: str, run_id: str) -> str:
    answer = _post(client, "/api/v2/runs/query", project_ids=[project_id], ids=[run_id], selects=["TRACE_ID"])
    if not answer["items"]:
        raise FetchError(f"The run {run_id} is not in the project {project_id}")
    return str(answer["items"][0]["trace_id"])


def _threads_traces(client: Client, project_id: str, thread: str) -> list[str]:
    path = f"/api/v2/threads/{quote(thread, safe='')}/traces?project_id={project_id}&selects=TRACE_ID&page_size=100"
    traces: list[str] = []
    cursor = ""
    while True:
        page = client.request_with_retries("GET", path + cursor).json()
        traces += [item["trace_id"] for item in page["items"]]
        if not page.get("next_cursor"):
            return traces
        cursor = f"&cursor={quote(str(page['next_cursor']), safe='')}"


def _conversation(
    client: Client, project_id: str, project: str, trace: str
) -> tuple[list[dict[str, Any]], dict[Any, Any]]:
    asked = "&".join(f"selects={name}" for name in _SELECTS)
    path = f"/api/v2/traces/{trace}/runs?project_id={project_id}&{asked}"
    found = client.request_with_retries("GET", path).json()["items"]
    if not found:
        raise FetchError(f"The trace {trace} has no runs in the project {project_id}")
    runs, files = [], {}
    for run in found:
        runs.append(_created(run, project))
        if "conversation" in (run.get("attachments") or {}):
            url = urljoin(str(client.api_url), run["attachments"]["conversation"])
            files[run["id"], "conversation"] = _download(url)
    return runs, files


def _created(run: dict[str, Any], project: str) -> dict[str, Any]:
    """Return a run of API v2 as the fields of a create."""
    keys = ("id", "name", "start_time", "end_time", "error", "events", "inputs", "outputs", "trace_id", "dotted_order")
    fields = {key: run[key] for key in (*keys, "tags") if run.get(key) is not None}
    fields["run_type"] = str(run.get("run_type") or "chain").lower()
    fields["extra"] = {**(run.get("extra") or {}), "metadata": run.get("metadata") or {}}
    fields["session_name"] = project
    if run.get("parent_run_ids"):
        fields["parent_run_id"] = run["parent_run_ids"][-1]
    return fields


def _download(url: str) -> tuple[str, bytes]:
    if urlsplit(url).scheme not in ("http", "https"):
        raise FetchError(f"The recording must be at an http address, got {url[:80]}")
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - the scheme is checked
        content: bytes = answer.read()
    return _mime_type(content), content


def _mime_type(content: bytes) -> str:
    for mark, mime_type in (
        (b"RIFF", "audio/wav"),
        (b"RF64", "audio/wav"),
        (b"fLaC", "audio/flac"),
        (b"OggS", "audio/ogg"),
    ):
        if content.startswith(mark):
            return mime_type
    return "application/octet-stream"


def _post(client: Client, path: str, **query: Any) -> dict[str, Any]:
    body = json.dumps({**query, "min_start_time": _BEGINNING})
    answer: dict[str, Any] = client.request_with_retries("POST", path, request_kwargs={"data": body}).json()
    return answer


def conversations_in(runs: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the ids of the runs that are conversations."""
    for run in runs:
        if run["extra"]["metadata"].get("ls_integration") == "langsmith-realtime":
            yield run["id"]
