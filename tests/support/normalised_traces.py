"""Traces without ids and times, so that they can be compared."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.support.conversations import Node


def normalised(root: Node) -> Any:
    """Returns the tree without volatile values. Ids are replaced by numbers in order of appearance."""
    names: dict[str, str] = {}

    def name(found: re.Match[str]) -> str:
        return names.setdefault(found[0], f"<{found[1]} {len(names) + 1}>")

    text = re.sub(
        r"\b(event|item|resp|conv|sess)_[A-Za-z0-9]{8,}", name, json.dumps(describe(root), ensure_ascii=False)
    )
    return json.loads(re.sub(r'"(expires_at|start_ms|end_ms)": \d+', r'"\1": 0', text))


def describe(node: Node) -> dict[str, Any]:
    """Returns the fields of a run and of its descendants, without empty fields and volatile metadata."""
    run = node.run
    volatile = re.compile(
        r".*_m?s|heard_share|ls_audio_recording_started_at|ls_integration_version|revision_id|ls_run_depth|[^a-z]*"
    )
    fields: dict[str, Any] = {
        "name": run.name,
        "run_type": run.run_type,
        "inputs": run.inputs,
        "outputs": run.outputs,
        "error": run.error,
        "tags": run.tags,
        "metadata": {key: value for key, value in run.metadata.items() if not volatile.fullmatch(key)},
        "events": [event["name"] for event in run.events if event["name"] not in ("start", "end")],
        "attachments": sorted(run.attachments),
        "children": [describe(child) for child in node.children],
    }
    return {key: value for key, value in fields.items() if value}
