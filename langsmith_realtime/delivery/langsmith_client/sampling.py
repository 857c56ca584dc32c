"""LangSmith's sampling (``LANGSMITH_TRACING_SAMPLING_RATE``), decided once for a whole conversation when it opens.

The client's own rule decides. Newer clients derive the decision from the trace id, so that every run of the trace gets
an equal one. Older clients draw a random number when the trace's root is posted, and remember the traces left out.
"""

from __future__ import annotations

from typing import Any

from langsmith import Client
from langsmith.run_trees import RunTree


def is_sampled(root: RunTree) -> bool:
    """Decide whether the conversation of ``root`` is traced; to be called once, when the conversation opens.

    Always True for a root with replicas, and for an older client with a queue of its own: those sample when runs are
    sent. An older client remembers a trace that is left out, and leaves out the caller's own runs of that trace, too.
    """
    client = root.client
    keep = getattr(client, "_filter_for_sampling", None)
    if getattr(client, "tracing_sample_rate", None) is None or keep is None:
        return True
    if root.replicas or (_draws_at_random(client) and _has_own_queue(client)):
        return True  # each replica is a trace of its own, and a client with its own queue draws when the root is posted
    return bool(keep([{"id": root.id, "trace_id": root.trace_id}]))


def is_left_out(run: RunTree) -> bool:
    """Whether the client's sampling leaves out the trace of ``run``; does not draw a new random number."""
    client = run.client
    rate = getattr(client, "tracing_sample_rate", None)
    if rate is None:
        return False
    try:
        return not client._should_sample(run.trace_id)  # noqa: SLF001 - no public function answers this
    except TypeError:  # an older client's method takes no trace id, and would draw
        return rate == 0 or run.trace_id in getattr(client, "_filtered_post_uuids", ())


def forget(root: RunTree) -> None:
    """Have an older client forget a trace that was left out; it would remember the trace until the root's update."""
    if _draws_at_random(root.client):
        root.client._filter_for_sampling([{"id": root.id, "trace_id": root.trace_id}], patch=True)  # type: ignore[call-arg]  # noqa: SLF001


def without_new_draw(create: dict[str, Any], client: Client) -> dict[str, Any]:
    """The create of a run in a form for which an older client draws no random number, because sampling is decided.

    An older client draws where a run's id equals its trace id; a string never equals a UUID.
    """
    if getattr(client, "tracing_sample_rate", None) is not None and _draws_at_random(client):
        return {**create, "trace_id": str(create["trace_id"])}
    return create


def _draws_at_random(client: Client) -> bool:
    """Whether this is an older client, whose sampling draws a random number for each root."""
    return hasattr(client, "_filtered_post_uuids")


def _has_own_queue(client: Client) -> bool:
    return bool(getattr(client, "otel_exporter", None) or getattr(client, "_process_buffered_run_ops", None))
