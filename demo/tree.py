"""A trace as text: its runs as a tree, each with its kind, when it began and how long it took."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langsmith_realtime.collector.records import StoredRun


def draw(runs: Sequence[StoredRun]) -> str:
    """The tree of one trace, from its runs in any order. Empty without runs."""
    runs = sorted(runs, key=lambda run: run.dotted_order)
    known = {run.id for run in runs}
    children: defaultdict[str | None, list[StoredRun]] = defaultdict(list)
    for run in runs:
        children[run.parent_run_id if run.parent_run_id in known else None].append(run)
    lines = [line for root in children[None] for line in _branch(root, root, children, "", "")]
    return "\n".join(lines)


def _branch(
    run: StoredRun, root: StoredRun, children: dict[str | None, list[StoredRun]], first: str, rest: str
) -> Iterator[str]:
    yield first + _label(run, root)
    below = children.get(run.id, [])
    for child in below:
        last = child is below[-1]
        yield from _branch(child, root, children, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


def _label(run: StoredRun, root: StoredRun) -> str:
    began = (run.start_time - root.start_time).total_seconds()
    parts = [run.name, run.run_type, f"at {began:.2f} s"]
    if run.end_time is None:
        parts.append("never ended")
    elif (took := (run.end_time - run.start_time).total_seconds()) >= 0.001:
        parts.append(f"{took:.2f} s")
    tokens = (run.metadata.get("usage_metadata") or {}).get("total_tokens")
    if tokens:
        parts.append(f"{tokens} tokens")
    parts += [f"attachment {name}" for name in run.attachments]
    if run.error:
        kind = "interrupted" if run.metadata.get("ls_is_error_interrupt") else "error"
        parts.append(f"{kind}: {run.error.splitlines()[0]}")
    return " · ".join(parts)
