"""Which operations share a request, and how one request is sent."""

from __future__ import annotations

from contextlib import nullcontext
from weakref import WeakSet

from langsmith import Client
from langsmith.run_trees import RunTree

from langsmith_realtime.delivery.langsmith_client.masking import calls_application
from langsmith_realtime.delivery.langsmith_client.multipart import multipart_ingest
from langsmith_realtime.delivery.langsmith_client.sampling import is_left_out, without_new_draw
from langsmith_realtime.delivery.langsmith_client.transport import (
    endpoint_count,
    http_statuses,
    needs_own_queue,
    streaming_attachments,
)
from langsmith_realtime.delivery.operations import Operation, application_keys, run_dict
from langsmith_realtime.options.limits import Limits

#: The route that takes runs with attachments, and the one to which LangSmith's client turns where that one is missing.
MULTIPART_ROUTE, JSON_ROUTE = "/runs/multipart", "/runs/batch"
#: HTTP status of a missing route.
NO_ROUTE = 404
#: HTTP status for a run that LangSmith has already; for a batch, at least one of its runs.
CONFLICT = 409

_json_only: WeakSet[Client] = WeakSet()  # clients whose latest batch went through the JSON route of an endpoint


def destination_of(run: RunTree) -> object:
    """A key that is equal for runs that may wait for each other: endpoint, workspace and API key.

    A client that masks with the application's code, or whose own queue the run must go through, may be slow and gets
    its own key.
    """
    client = run.client
    may_be_slow = needs_own_queue(client, run) or calls_application(client)
    workspace, key = getattr(client, "workspace_id", None), getattr(client, "api_key", None)
    return (client.api_url, workspace, key, id(client) if may_be_slow else None)


def split_batch(waiting: list[Operation], limits: Limits) -> tuple[list[Operation], list[Operation]]:
    """The operations at the front that fit into one request, and the rest.

    They have one client, and all of them have replicas or none has; an operation with attachments goes alone.
    """
    first = waiting[0]
    count, size = 1, first.size
    while count < min(len(waiting), limits.request_runs) and not first.attachments:
        following = waiting[count]
        size += following.size
        if following.attachments or size > limits.request_bytes or following.run.client is not first.run.client:
            break
        if bool(following.run.replicas) != bool(first.run.replicas):
            break
        count += 1
    return waiting[:count], waiting[count:]


def send_batch(client: Client, batch: list[Operation]) -> int | None:
    """Send the operations in one request, in the calling thread.

    Where an endpoint lacks the multipart route, LangSmith's client sends the runs to the JSON route instead, and that
    answer counts.

    Returns:
        None if an endpoint did not answer, or has neither route; 202 if the last answers had 2xx statuses, or if
        sampling leaves the trace out; :data:`NO_ROUTE` if an endpoint takes runs, but no attachments, which the batch
        has; otherwise the HTTP status, other than 2xx, of a last answer.
    """
    has_attachments = any(operation.attachments for operation in batch)
    if has_attachments and client in _json_only and not is_left_out(batch[0].run):
        return NO_ROUTE  # sent now, the run would be stored without its attachments, and could not be updated again
    with http_statuses(client) as statuses, streaming_attachments() if has_attachments else nullcontext():
        multipart_ingest(
            client,
            create=[without_new_draw(run_dict(operation), client) for operation in batch if not operation.update],
            update=[run_dict(operation) for operation in batch if operation.update],
            application_keys={key for operation in batch for key in application_keys(operation.run)},
        )
    if not statuses and is_left_out(batch[0].run):
        return 202
    last: dict[str, int] = {}  # by endpoint, whose multipart route answers before its JSON route
    for url, status in statuses.items():
        last[url.removesuffix(MULTIPART_ROUTE).removesuffix(JSON_ROUTE)] = status
    if len(last) < endpoint_count(client) or NO_ROUTE in last.values():
        return None
    outcome = next((status for status in last.values() if not 200 <= status < 300), 202)
    if NO_ROUTE not in statuses.values():
        _json_only.discard(client)
    elif outcome in (202, CONFLICT):
        _json_only.add(client)
        return NO_ROUTE if has_attachments else outcome
    return outcome
