"""The first line of a journal: the root run, its destination, and the options that the conversation is traced with."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable
from typing import Any
from uuid import UUID

from langsmith import Client
from langsmith.run_trees import RunTree

from langsmith_realtime.core.payloads.json_values import json_copy
from langsmith_realtime.core.payloads.scrubbing import public_url
from langsmith_realtime.core.protocol.audio_formats import Format
from langsmith_realtime.core.protocol.events import mapping
from langsmith_realtime.core.protocol.prices import PRICES, Price
from langsmith_realtime.journal.file import VERSION
from langsmith_realtime.options.otel import Otel
from langsmith_realtime.options.recording import Recording
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, segment, start_of, time_of, uuid7


def header(
    runs: ConversationRuns,
    options: Options,
    mask: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    is_recoverable: bool = True,
) -> dict[str, Any]:
    """The first line of a conversation's journal.

    Args:
        runs: The conversation's runs. Without a client, they do not go to LangSmith, and no destination is named.
        options: The options that it is traced with.
        mask: Returns the metadata that may be written.
        is_recoverable: Whether another client may complete the conversation; False if only this client can send it.
    """
    root = runs.root
    if runs.client is None:
        destination: dict[str, Any] = {"endpoint": None, "langsmith": False}
    else:
        destination = _destination(runs.client) if is_recoverable else {"endpoint": None}
    return {
        "journal": VERSION,
        "destination": destination | {"project": root.session_name},
        "keep": options.journal == "keep",
        "run": {
            "id": str(root.id),
            "trace_id": str(root.trace_id),
            "parent_run_id": None if root.parent_run_id is None else str(root.parent_run_id),
            "dotted_order": root.dotted_order,
            "start": microseconds_of(root.start_time),
            "name": root.name,
            "tags": list(root.tags or []),
            "metadata": mask(dict(runs.metadata)),
            "root_metadata": mask(dict((root.extra or {}).get("metadata") or {})),
            "session_id": None if root.session_id is None else str(root.session_id),
            "address": json_copy(getattr(root, "address", None)),
        },
        "otel": None if runs.spans is None else runs.spans.described(),
        "options": {
            "sample_rate": options.sample_rate,
            "max_audio_seconds": options.max_audio_seconds,
            "transcripts": options.transcripts,
            "user_format": _format(options.user_format),
            "agent_format": _format(options.agent_format),
            "recording": _recording(options.recording),
            "model": options.model,
            "prices": {
                name: dataclasses.asdict(price) for name, price in options.prices.items() if PRICES.get(name) != price
            },
            "feedback": sorted(options.feedback),
        },
    }


def goes_to_langsmith(head: dict[str, Any]) -> bool:
    """Whether the conversation is sent to LangSmith, and not to OpenTelemetry alone."""
    return mapping(head.get("destination")).get("langsmith") is not False


def is_meant_for(destination: dict[str, Any], client: Client) -> bool:
    """Whether the client has the destination's endpoint, workspace and API key."""
    if (destination.get("endpoint"), destination.get("workspace")) != (_endpoint(client), _workspace(client)):
        return False
    try:
        salt = bytes.fromhex(str(destination.get("salt")))
    except ValueError:
        return False
    return hmac.compare_digest(_hash(client, salt), str(destination.get("key")))


def runs_of(head: dict[str, Any], client: Client | None, guard: Guard) -> ConversationRuns:
    """The conversation's runs, with the ids in the header; without a client, they are not sent."""
    run = head["run"]
    parent = run["parent_run_id"]
    return _make_runs(
        head,
        client,
        guard,
        id=UUID(run["id"]),
        trace_id=UUID(run["trace_id"]),
        parent_run_id=None if parent is None else UUID(parent),
        dotted_order=run["dotted_order"],
        project_name=head["destination"]["project"],
    )


def new_runs(head: dict[str, Any], client: Client, guard: Guard, project: str | None) -> ConversationRuns:
    """Runs with new ids for the conversation, in the project or, if that is None, in the one of LangSmith's settings.

    If the header has an agent address, the runs go there instead.
    """
    start = time_of(head["run"]["start"])
    run_id = uuid7(head["run"]["start"])
    project_name = {} if project is None else {"project_name": project}
    return _make_runs(
        head, client, guard, id=run_id, trace_id=run_id, dotted_order=segment(start, run_id), **project_name
    )


def options_of(head: dict[str, Any]) -> Options:
    """The options in the header: those that a replay needs."""
    written = head["options"]
    recording = written["recording"]
    return Options(
        sample_rate=written["sample_rate"],
        max_audio_seconds=written["max_audio_seconds"],
        transcripts=written["transcripts"],
        user_format=None if written["user_format"] is None else Format(**written["user_format"]),
        agent_format=None if written["agent_format"] is None else Format(**written["agent_format"]),
        recording=None if recording is None else Recording(**recording),
        model=written.get("model"),
        prices={**PRICES, **{name: Price(**price) for name, price in written["prices"].items()}},
        feedback=frozenset(written["feedback"]),
        otel=None if head.get("otel") is None else _otel(head["otel"]),
    )


def _otel(written: dict[str, Any]) -> Otel:
    content = {"both": True, "none": False}.get(written["content"], written["content"])
    return Otel(content=content, preset=written["preset"], session_span=written["session"] is not None)


def _make_runs(head: dict[str, Any], client: Client | None, guard: Guard, **place: Any) -> ConversationRuns:
    run = head["run"]
    if run["address"] is not None and "address" in RunTree.model_fields:
        place = {key: value for key, value in place.items() if key != "project_name"} | {"address": run["address"]}
    root = RunTree(
        name=run["name"],
        run_type="chain",
        start_time=start_of(place["dotted_order"]),
        inputs={},
        extra={"metadata": dict(run["root_metadata"])},
        tags=list(run["tags"]),
        ls_client=client,
        **place,
    )
    return ConversationRuns(
        root,
        outer_run=None,
        metadata=dict(run["metadata"]),
        tags=tuple(run["tags"]),
        guard=guard,
        is_sent=client is not None,
    )


def _destination(client: Client) -> dict[str, Any]:
    salt = secrets.token_bytes(16)
    return {
        "endpoint": _endpoint(client),
        "workspace": _workspace(client),
        "salt": salt.hex(),
        "key": _hash(client, salt),
    }


def _endpoint(client: Client) -> str:
    return public_url(str(client.api_url)).rstrip("/")


def _workspace(client: Client) -> str | None:
    workspace = getattr(client, "workspace_id", None)
    return None if workspace is None else str(workspace)


def _hash(client: Client, salt: bytes) -> str:
    # The API key itself is never written. The salted hash only tells whether another client has that key.
    key = str(getattr(client, "api_key", None) or "")
    return hashlib.blake2b(key.encode(), key=salt, digest_size=16).hexdigest()


def _format(given: Format | None) -> dict[str, Any] | None:
    return None if given is None else dataclasses.asdict(given)


def _recording(recording: Recording | None) -> dict[str, Any] | None:
    if recording is None:
        return None
    changed = {
        field.name: getattr(recording, field.name)
        for field in dataclasses.fields(recording)
        if getattr(recording, field.name) != field.default
    }
    if recording.url is not None:
        changed["directory"] = public_url(recording.url)  # without the password that a URL may have
    elif recording.directory is not None:
        changed["directory"] = os.path.abspath(recording.directory)  # noqa: PTH100 - PathLike, and no expansion
    return changed
