"""How LangSmith's client sends: its requests, their answers, and its own queue."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from langsmith import Client
from langsmith import client as langsmith_client
from langsmith.run_trees import RunTree

from langsmith_realtime.delivery.langsmith_client.masking import tell_of_failed_masking, unmasking, without_payload
from langsmith_realtime.delivery.operations import Operation, given_fields, row
from langsmith_realtime.runtime.guard import ANYTHING

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


def sends_on_its_own(client: Client, run: RunTree) -> bool:
    """Whether runs must go through the client's own queue, which does what only it does."""
    return bool(
        run.replicas or getattr(client, "otel_exporter", None) or getattr(client, "_process_buffered_run_ops", None)
    )


def endpoint_count(client: Client) -> int:
    """To how many endpoints the client sends each request."""
    return len(getattr(client, "_write_api_urls", None) or [""])


def hand_over(operation: Operation) -> None:
    try:
        _give(operation.run, operation)
    except ANYTHING as error:
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


os.register_at_fork(after_in_child=_connect_anew)
