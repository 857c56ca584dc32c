"""Headers that name a run, for another process that traces below it."""

from __future__ import annotations

from typing import Any

from langsmith.run_trees import RunTree

from langsmith_realtime.delivery.langsmith_client.context import get_current_run_tree
from langsmith_realtime.delivery.langsmith_client.sampling import is_left_out


def trace_headers() -> dict[str, str]:
    """Return the headers that name the current run of LangSmith's context: ``langsmith-trace``, ``baggage`` and
    ``traceparent``.

    For a connection of your own, or for ``extra_headers=`` of ``client.realtime.connect``, so that what answers the
    connection can trace below the current run. Inside the block of a conversation that is the conversation's root or
    latest event. ``wrap_openai_realtime(client, propagate=True)`` sends the headers of the conversation itself.

    Returns:
        The headers; none without a current run, or if LangSmith's sampling leaves out its trace.
    """
    run = get_current_run_tree()
    return {} if run is None else headers_of(run)


def headers_of(run: RunTree) -> dict[str, str]:
    """Return the headers that name a run.

    The baggage has the thread, tags and the project, but no other metadata of the application: the headers leave its
    systems. The ids of ``traceparent`` are those that LangSmith gives a run in OpenTelemetry.
    """
    if is_left_out(run):
        return {}
    thread_id = ((run.extra or {}).get("metadata") or {}).get("thread_id")
    fields: dict[str, Any] = {"extra": {"metadata": {} if thread_id is None else {"thread_id": thread_id}}}
    if run.replicas:
        fields["replicas"] = None
    named = run.model_copy(update=fields).to_headers()
    headers = {name: str(value) for name, value in named.items() if value}
    return {**headers, "traceparent": f"00-{run.trace_id.hex}-{run.id.bytes[:8].hex()}-01"}
