"""How LangSmith's client sends: its HTTP session, the status of each answer, and the client's own queue."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from langsmith import Client
from langsmith import client as langsmith_client
from langsmith.run_trees import RunTree

from langsmith_realtime.delivery.langsmith_client.masking import unmasked_client, warn_masking_failed, without_payload
from langsmith_realtime.delivery.operations import Operation, application_keys, run_dict
from langsmith_realtime.runtime.forks import at_fork
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS

#: LangSmith's name for the size, in bytes, up to which its client builds a multipart body in memory.
_INLINE_LIMIT = "_MULTIPART_INLINE_MAX_BYTES"

#: Redirections after which the same request is sent to another place; any other one makes a GET of it.
_REPEATED = (307, 308)

_thread = threading.local()  # statuses: the dictionary that the current thread's answers go into
_hooked: WeakSet[Client] = WeakSet()
_inherited_pools: list[object] = []  # connection pools of the parent process, kept so that they are never closed


@contextmanager
def http_statuses(client: Client) -> Iterator[dict[str, int]]:
    """Within the block, collect the status of the latest answer to this thread's requests, by URL (not ``/info``)."""
    if client not in _hooked:
        client.session.hooks["response"].append(_note_status)
        _hooked.add(client)
    statuses: dict[str, int] = {}
    _thread.statuses = statuses
    try:
        yield statuses
    finally:
        del _thread.statuses


def _note_status(response: Any, *_: Any, **__: Any) -> None:
    statuses = getattr(_thread, "statuses", None)
    if statuses is None or response.request.path_url.endswith("/info"):
        return
    if response.is_redirect and response.status_code in _REPEATED:
        return  # the session sends the request again to another place, and that answer counts
    statuses[response.request.url] = response.status_code


@contextmanager
def streaming_attachments() -> Iterator[None]:
    """Within the block, LangSmith's client streams attachments instead of reading up to 20 MB into memory twice.

    The limit is a global of LangSmith's, so requests of other threads are streamed meanwhile, too, with equal bodies.
    Versions of LangSmith without this limit are left as they are.
    """
    limit = getattr(langsmith_client, _INLINE_LIMIT, None)
    if limit is None:
        yield
        return
    setattr(langsmith_client, _INLINE_LIMIT, 0)
    try:
        yield
    finally:
        setattr(langsmith_client, _INLINE_LIMIT, limit)


def endpoint_count(client: Client) -> int:
    """The number of endpoints to which the client sends each request."""
    return len(getattr(client, "_write_api_urls", None) or [""])


def needs_own_queue(client: Client, run: RunTree) -> bool:
    """Whether the run must go through the client's own queue: replicas, OpenTelemetry and buffered processing do."""
    return bool(
        run.replicas or getattr(client, "otel_exporter", None) or getattr(client, "_process_buffered_run_ops", None)
    )


def send_through_own_queue(operation: Operation) -> None:
    """Put the operation into the queue of LangSmith's client; without its payload if that raises, as masking may."""
    try:
        _post_or_patch(operation.run, operation)
    except CALLBACK_ERRORS as error:
        run = copy.copy(operation.run)
        bare = without_payload(run.client, run_dict(operation), list(application_keys(run)))
        run.inputs, run.outputs, run.error, run.extra = {}, {}, bare.get("error"), bare["extra"]
        run.ls_client = unmasked_client(run.client)
        _post_or_patch(run, operation)
        warn_masking_failed(operation.run.client, error)


def _post_or_patch(run: RunTree, operation: Operation) -> None:
    if not operation.update:
        run.post()
        return
    # RunTree.patch refuses paths, so the file is read whole here.
    attachments: dict[str, Any] = {}
    for name, (mime, path) in operation.attachments.items():
        attachments[name] = (mime, path.read_bytes())
    run.attachments = attachments
    run.patch(exclude_inputs=False)


def flush_client(client: Client, timeout: float | None) -> None:
    """Wait until the client's own queue is sent, at most ``timeout`` seconds where the client supports a timeout."""
    try:
        client.flush(timeout=timeout)
    except TypeError:  # an older langsmith, whose flush takes no timeout
        client.flush()


def _reconnect_after_fork() -> None:
    """Give the child process connections of its own; on shared ones each process would read the other's answers."""
    for client in list(_hooked):
        adapters: list[Any] = list(client.session.adapters.values())
        for adapter in adapters:
            # Closing the old pool would take locks, which a thread that the child lacks may hold.
            _inherited_pools.append(getattr(adapter, "poolmanager", None))
            adapter.__setstate__(adapter.__getstate__())


at_fork(after_in_child=_reconnect_after_fork)
