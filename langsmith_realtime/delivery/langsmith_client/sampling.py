"""LangSmith's sampling, decided for a whole conversation when it opens, by its client's own rule.

Newer clients decide from the trace's id, again for every run. Older ones throw dice when the trace's root is
posted, and remember only the traces that they leave out.
"""

from __future__ import annotations

from typing import Any

from langsmith import Client
from langsmith.run_trees import RunTree


def lets_through(run: RunTree) -> bool:
    """Whether the conversation with that root is traced; asked once, as it opens.

    An older client remembers what it leaves out, so that the caller's own runs below it are left out too.
    """
    client = run.client
    keep = getattr(client, "_filter_for_sampling", None)
    if getattr(client, "tracing_sample_rate", None) is None or keep is None:
        return True
    if run.replicas or (_throws_dice(client) and _posts_itself(client)):
        return True  # each replica is a trace of its own, and what posts the root decides
    return bool(keep([{"id": run.id, "trace_id": run.trace_id}]))


def is_left_out(run: RunTree) -> bool:
    """Whether the client leaves out what it is given of the trace. Asks without deciding."""
    client = run.client
    rate = getattr(client, "tracing_sample_rate", None)
    if rate is None:
        return False
    try:
        return not client._should_sample(run.trace_id)  # noqa: SLF001 - there is no other way to ask
    except TypeError:  # an older one: it would throw dice
        return rate == 0 or run.trace_id in getattr(client, "_filtered_post_uuids", ())


def forget(run: RunTree) -> None:
    """The conversation that was left out has ended: an older client remembers it until its root's update."""
    if _throws_dice(run.client):
        run.client._filter_for_sampling([{"id": run.id, "trace_id": run.trace_id}], patch=True)  # type: ignore[call-arg]  # noqa: SLF001


def decided(row: dict[str, Any], client: Client) -> dict[str, Any]:
    """A root's create as a client takes it without throwing its dice for it: they have fallen.

    They fall where the run's id is the trace's, and a string is not equal to the id.
    """
    if getattr(client, "tracing_sample_rate", None) is not None and _throws_dice(client):
        return {**row, "trace_id": str(row["trace_id"])}
    return row


def _throws_dice(client: Client) -> bool:
    """Whether it is an older client."""
    return hasattr(client, "_filtered_post_uuids")


def _posts_itself(client: Client) -> bool:
    return bool(getattr(client, "otel_exporter", None) or getattr(client, "_process_buffered_run_ops", None))
