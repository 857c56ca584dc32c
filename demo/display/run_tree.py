"""Renders the runs of a trace as a tree in text, with the kind, start and duration of each run."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langsmith_realtime.collector.records import StoredRun


def render_run_tree(runs: Sequence[StoredRun]) -> str:
    """Returns one line for each run of a trace, or an empty text without runs. The order of `runs` does not matter."""
    runs = sorted(runs, key=lambda run: run.dotted_order)
    run_ids = {run.id for run in runs}
    children: defaultdict[str | None, list[StoredRun]] = defaultdict(list)
    for run in runs:
        children[run.parent_run_id if run.parent_run_id in run_ids else None].append(run)
    lines = [line for root in children[None] for line in _branch(root, root, children, "", "")]
    return "\n".join(lines)


def _branch(
    run: StoredRun, root: StoredRun, children: dict[str | None, list[StoredRun]], own_prefix: str, prefix: str
) -> Iterator[str]:
    yield own_prefix + _label(run, root)
    below = children.get(run.id, [])
    for child in below:
        last = child is below[-1]
        yield from _branch(
            child, root, children, prefix + ("└─ " if last else "├─ "), prefix + ("   " if last else "│  ")
        )


def _label(run: StoredRun, root: StoredRun) -> str:
    start_s = (run.start_time - root.start_time).total_seconds()
    fields = [run.name, run.run_type, f"at {start_s:.2f} s"]
    if run.end_time is None:
        fields.append("not ended")
    elif (duration_s := (run.end_time - run.start_time).total_seconds()) >= 0.001:
        fields.append(f"{duration_s:.2f} s")
    tokens = (run.metadata.get("usage_metadata") or {}).get("total_tokens")
    if tokens:
        fields.append(f"{tokens} tokens")
    fields += [f"attachment {name}" for name in run.attachments]
    if run.error:
        kind = "interrupted" if run.metadata.get("ls_is_error_interrupt") else "error"
        fields.append(f"{kind}: {run.error.splitlines()[0]}")
    return " · ".join(fields)
