"""A journal's first line: whose conversation it is, where its runs go, and what they are made with."""

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

from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.payloads.json_values import plain
from langsmith_realtime.core.payloads.scrubbing import public_url
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER, Format
from langsmith_realtime.core.protocol.prices import PRICES, Price
from langsmith_realtime.journal.file import VERSION
from langsmith_realtime.options.recording import Recording
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns, ParentRun
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, segment, start_of, time_of, uuid7


def header(
    family: ConversationRuns,
    options: Options,
    shown: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    elsewhere: bool = False,
) -> dict[str, Any]:
    """The first line for a conversation.

    Args:
        family: its runs.
        options: what it is traced with.
        shown: what of metadata may be kept.
        elsewhere: whether it is sent in a way that only its own client knows, so that nobody else may.
    """
    root = family.root
    destination = {"endpoint": None} if elsewhere else _destination(root.client)
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
            "metadata": shown(dict(family.metadata)),
            "root_metadata": shown(dict((root.extra or {}).get("metadata") or {})),
            "session_id": None if root.session_id is None else str(root.session_id),
            "address": plain(getattr(root, "address", None)),
        },
        "options": {
            "sample_rate": options.sample_rate,
            "max_audio_seconds": options.max_audio_seconds,
            "transcripts": options.transcripts,
            "user_format": _format(options.user_format),
            "agent_format": _format(options.agent_format),
            "recording": _recording(options.recording),
            "prices": {
                name: dataclasses.asdict(price) for name, price in options.prices.items() if PRICES.get(name) != price
            },
            "feedback": sorted(options.feedback),
        },
    }


def is_meant_for(destination: dict[str, Any], client: Client) -> bool:
    """Whether what that client sends arrives where it was meant to: the same endpoint, workspace and API key."""
    if (destination.get("endpoint"), destination.get("workspace")) != (_endpoint(client), _workspace(client)):
        return False
    try:
        salt = bytes.fromhex(str(destination.get("salt")))
    except ValueError:
        return False
    return hmac.compare_digest(_hash(client, salt), str(destination.get("key")))


def family_of(head: dict[str, Any], client: Client, guard: Guard) -> ConversationRuns:
    """The conversation's runs again, with their own ids."""
    run = head["run"]
    parent = run["parent_run_id"]
    return _family(
        head,
        client,
        guard,
        id=UUID(run["id"]),
        trace_id=UUID(run["trace_id"]),
        parent_run_id=None if parent is None else UUID(parent),
        dotted_order=run["dotted_order"],
        project_name=head["destination"]["project"],
    )


def family_anew(head: dict[str, Any], client: Client, guard: Guard, project: str | None) -> ConversationRuns:
    """A second trace of the conversation, in that project or where LangSmith's settings say."""
    start = time_of(head["run"]["start"])
    run_id = uuid7(head["run"]["start"])
    named = {} if project is None else {"project_name": project}
    return _family(head, client, guard, id=run_id, trace_id=run_id, dotted_order=segment(start, run_id), **named)


def options_of(head: dict[str, Any]) -> Options:
    """What the conversation was traced with, as far as it matters afterwards."""
    said = head["options"]
    recording = said["recording"]
    return Options(
        sample_rate=said["sample_rate"],
        max_audio_seconds=said["max_audio_seconds"],
        transcripts=said["transcripts"],
        user_format=None if said["user_format"] is None else Format(**said["user_format"]),
        agent_format=None if said["agent_format"] is None else Format(**said["agent_format"]),
        recording=None if recording is None else Recording(**recording),
        prices={**PRICES, **{name: Price(**price) for name, price in said["prices"].items()}},
        feedback=frozenset(said["feedback"]),
    )


def _family(head: dict[str, Any], client: Client, guard: Guard, **place: Any) -> ConversationRuns:
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
    return ConversationRuns(root, outer_run=None, metadata=dict(run["metadata"]), tags=tuple(run["tags"]), guard=guard)


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
    # The key itself is never written; what is, says no more than whether another is the same.
    key = str(getattr(client, "api_key", None) or "")
    return hashlib.blake2b(key.encode(), key=salt, digest_size=16).hexdigest()


def _format(given: Format | None) -> dict[str, Any] | None:
    return None if given is None else dataclasses.asdict(given)


def _recording(recording: Recording | None) -> dict[str, Any] | None:
    if recording is None:
        return None
    said = {
        field.name: getattr(recording, field.name)
        for field in dataclasses.fields(recording)
        if getattr(recording, field.name) != field.default
    }
    if recording.url is not None:
        said["directory"] = public_url(recording.url)  # a URL may carry a password
    elif recording.directory is not None:
        said["directory"] = os.path.abspath(recording.directory)  # noqa: PTH100 - PathLike, and no expansion
    return said


#: What a line says of the direction of an event, and of the sound that was fed.
SERVER, CLIENT = "server", "client"


CHANNELS = {"user": USER, "agent": AGENT}


CHANNEL_NAMES = {channel: name for name, channel in CHANNELS.items()}


def place_of(ref: ParentRun | None) -> dict[str, Any]:
    """Which run an event became: all that cannot be made again from the line."""
    return {} if ref is None else {"id": str(ref.id), "start": microseconds_of(ref.start_time)}


def failure_of(message: str | None) -> Failure | None:
    # What was written down quotes nobody whom it may not quote.
    return None if message is None else Failure(message)


def place_in(body: Any) -> dict[str, Any] | None:
    """Where the sound of a line is, in the place of the sound."""
    members = body.values() if isinstance(body, dict) else ()
    return next((each for each in members if isinstance(each, dict) and each.keys() >= {"bytes", "ms"}), None)
