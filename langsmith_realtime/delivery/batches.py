"""Which operations share a request, and how one request is sent."""

from __future__ import annotations

from contextlib import nullcontext

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

    Returns:
        None if an endpoint did not answer; 202 if the last answers had 2xx statuses, or if sampling leaves the trace
        out; otherwise the HTTP status, other than 2xx, of a last answer.
    """
    has_attachments = any(operation.attachments for operation in batch)
    with http_statuses(client) as statuses, streaming_attachments() if has_attachments else nullcontext():
        multipart_ingest(
            client,
            create=[without_new_draw(run_dict(operation), client) for operation in batch if not operation.update],
            update=[run_dict(operation) for operation in batch if operation.update],
            application_keys={key for operation in batch for key in application_keys(operation.run)},
        )
    if not statuses and is_left_out(batch[0].run):
        return 202
    if len(statuses) < endpoint_count(client):
        return None
    return next((status for status in statuses.values() if not 200 <= status < 300), 202)
