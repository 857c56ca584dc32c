"""The only module that uses LangSmith's private names: what its client hides, and how it posts."""

from __future__ import annotations

import copy
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from langsmith import Client
from langsmith import client as langsmith_client
from langsmith.run_trees import RunTree

from langsmith_realtime.core.payloads.scrubbing import NOT_KEPT
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.delivery.operations import FREE_METADATA, LEFT_OUT, Operation
from langsmith_realtime.runtime.forks import at_fork
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, format_without_message, logger

#: What a client masks with.
_MASKS = ("_anonymizer", "_hide_inputs", "_hide_outputs", "_hide_metadata")


_told: WeakSet[Client] = WeakSet()


def unmasking(client: Client) -> Client:
    """The client as it would be if it took runs as they are."""
    like = copy.copy(client)
    for mask in _MASKS:
        setattr(like, mask, None if mask == "_anonymizer" else False)
    like._omit_traced_runtime_info = True  # noqa: SLF001 - it is there already, masked
    return like


def tell_of_failed_masking(client: Client, error: BaseException) -> None:
    """Say once for each client that runs are sent without what was to be masked."""
    if client not in _told:
        _told.add(client)
        said = "what you mask runs with failed; such runs are sent without inputs, outputs and errors, and say %s\n%s"
        logger.warning(said, LEFT_OUT, format_without_message(error))


def without_payload(client: Client, row: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """A run of whose payload nobody can say what may be seen: what it is, when it was, and its metadata.

    Args:
        client: masks the metadata; where it cannot, numbers of ours are left of it, and LangSmith's own terms.
        row: the run as LangSmith's ingestion takes it.
        given: the names of metadata that are the application's.
    """
    bare = {key: value for key, value in row.items() if key not in ("inputs", "outputs", "error")}
    if row.get("error") is not None:
        bare["error"] = NOT_KEPT
    metadata = row["extra"]["metadata"]
    try:
        shown: object = client._hide_run_metadata(dict(metadata))  # noqa: SLF001
    except CALLBACK_ERRORS:
        shown = None
    if not isinstance(shown, dict):
        ours = {key: value for key, value in metadata.items() if key not in given and key != FREE_METADATA}
        terms = {key: value for key, value in ours.items() if key.startswith("ls_") and isinstance(value, str)}
        shown = {**_numbers(ours), **terms}
    return {**bare, "extra": {"metadata": {**shown, LEFT_OUT: True}}}


def _numbers(metadata: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: _numbers(value) if isinstance(value, dict) else value for key, value in metadata.items()}
    return {key: value for key, value in told.items() if isinstance(value, (int, float, dict)) and value != {}}


def hidden_sides(client: Client) -> frozenset[int]:
    """The sides of which the client hides everything, so that their sound must be silent too.

    So are those whose masking fails. The application's own functions are asked once, as they may take their time.
    """
    masks = tuple(getattr(client, setting, None) for setting in (*SETTINGS.values(), _FOR_BOTH))
    known = _asked.get(client)
    if known is None or known[0] != masks:
        known = masks, frozenset(side for side, setting in SETTINGS.items() if _hides(client, setting))
        _asked[client] = known
    return known[1]


def asks_the_application(client: Client) -> bool:
    """Whether functions of the application's have a say in what it sends."""
    return any(callable(getattr(client, setting, None)) for setting in (*SETTINGS.values(), _FOR_BOTH, _FOR_METADATA))


_asked: WeakKeyDictionary[Client, tuple[tuple[Any, ...], frozenset[int]]] = WeakKeyDictionary()


SETTINGS = {USER: "_hide_inputs", AGENT: "_hide_outputs"}


#: Takes the place of those of them that are functions.
_FOR_BOTH = "_anonymizer"


_FOR_METADATA = "_hide_metadata"


_PROBE = "a word that nobody said"


def _hides(client: Client, setting: str) -> bool:
    hides = getattr(client, setting, None)
    if hides is True:
        return True
    hides = getattr(client, _FOR_BOTH, None) or hides
    if not callable(hides):
        return False
    try:
        return _PROBE not in str(hides({"event": {"text": _PROBE}, "messages": [{"role": "user", "content": _PROBE}]}))
    except CALLBACK_ERRORS:
        return True  # better silent than said


#: What LangSmith's client calls the largest request that it does not stream, in bytes.
_INLINE = "_MULTIPART_INLINE_MAX_BYTES"


_heard = threading.local()


_listening: WeakSet[Client] = WeakSet()


_of_the_parent: list[object] = []


@contextmanager
def answers(client: Client) -> Iterator[dict[str, int]]:
    """The HTTP status of the last answer that this thread gets meanwhile, by address."""
    if client not in _listening:
        client.session.hooks["response"].append(_note_status)
        _listening.add(client)
    statuses: dict[str, int] = {}
    _heard.statuses = statuses
    try:
        yield statuses
    finally:
        del _heard.statuses


@contextmanager
def streaming_attachments() -> Iterator[None]:
    """While a file is sent: LangSmith's client reads a request of up to 20 MB whole, and holds it twice.

    Clients that do not let themselves be told otherwise do so still. Others that send meanwhile stream too,
    which changes nothing of what they send.
    """
    limit = getattr(langsmith_client, _INLINE, None)
    if limit is None:
        yield
        return
    setattr(langsmith_client, _INLINE, 0)
    try:
        yield
    finally:
        setattr(langsmith_client, _INLINE, limit)


def _note_status(response: Any, *_: Any, **__: Any) -> None:
    statuses = getattr(_heard, "statuses", None)
    if statuses is not None and not response.request.path_url.endswith("/info"):
        statuses[response.request.url] = response.status_code


def row(operation: Operation) -> dict[str, Any]:
    """A run as LangSmith's ingestion takes it."""
    run = operation.run
    fields: dict[str, Any] = {
        "id": run.id,
        "trace_id": run.trace_id,
        "parent_run_id": run.parent_run_id,
        "dotted_order": run.dotted_order,
        "name": run.name,
        "run_type": run.run_type,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "inputs": run.inputs,
        "outputs": run.outputs,
        "error": run.error,
        "extra": {**run.extra, "metadata": dict(run.extra["metadata"])},  # the client changes it
        "tags": run.tags,
        "events": run.events,
        "session_name": run.session_name,
        "session_id": run.session_id,
        "address": getattr(run, "address", None),
        "attachments": operation.attachments,
    }
    return {key: value for key, value in fields.items() if value is not None}


def given_fields(run: RunTree) -> Iterable[str]:
    """The names of metadata that are the application's."""
    return getattr(getattr(run, "family", None), "metadata", ())


def sends_on_its_own(client: Client, run: RunTree) -> bool:
    """Whether runs must go through the client's own queue, which does what only it does."""
    return bool(
        run.replicas or getattr(client, "otel_exporter", None) or getattr(client, "_process_buffered_run_ops", None)
    )


def hand_over(operation: Operation) -> None:
    try:
        _give(operation.run, operation)
    except CALLBACK_ERRORS as error:
        run = copy.copy(operation.run)
        bare = without_payload(run.client, row(operation), list(given_fields(run)))
        run.inputs, run.outputs, run.error, run.extra = {}, {}, bare.get("error"), bare["extra"]
        run.ls_client = unmasking(run.client)
        _give(run, operation)
        tell_of_failed_masking(operation.run.client, error)


def _give(run: RunTree, operation: Operation) -> None:
    if not operation.update:
        run.post()
        return
    # RunTree.patch takes no paths, so the file is read whole here.
    attachments: dict[str, Any] = {}
    for name, (mime, path) in operation.attachments.items():
        attachments[name] = (mime, path.read_bytes())
    run.attachments = attachments
    run.patch(exclude_inputs=False)


def flush_client(client: Client, timeout: float | None) -> None:
    try:
        client.flush(timeout=timeout)
    except TypeError:  # langsmith before flush(timeout=)
        client.flush()


def _connect_anew() -> None:
    """After a fork: on a connection that two processes share, each would read the other's answers."""
    for client in list(_listening):
        adapters: list[Any] = list(client.session.adapters.values())
        for adapter in adapters:
            # Not closed: that takes locks, which a thread that the child does not have may hold.
            _of_the_parent.append(getattr(adapter, "poolmanager", None))
            adapter.__setstate__(adapter.__getstate__())


at_fork(after_in_child=_connect_anew)
