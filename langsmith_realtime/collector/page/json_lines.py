"""A conversation's events as JSON lines, which ``langsmith-realtime view FILE`` makes a conversation of again. Pure.

A trace has no deltas. Where a server sends an answer's words in deltas alone, no event of the trace has them, but the
answer's ``model`` run does: then a line is added that gives the words in the event that other servers send.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from langsmith_realtime.collector.page.payloads import answer_of, item_id_of, known_text, response_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from langsmith_realtime.collector.records import StoredRun


def jsonl(runs: Sequence[StoredRun]) -> str:
    """Return the server's events, one JSON object a line: ``dir``, ``t`` in seconds, and ``event``.

    An event that the server did not send has ``added``, which is True.

    Args:
        runs: The conversation's run and all runs below it, in ``dotted_order`` order.
    """
    root = runs[0]
    lines = [
        {"dir": "server", "t": _seconds(root, run), "event": run.inputs["event"]}
        for run in runs[1:]
        if isinstance(run.inputs.get("event"), dict)
    ]
    known = _responses_with_words([line["event"] for line in lines])
    for run in runs[1:]:
        added = _words_event(run, known)
        if added is not None:
            _insert(lines, {"dir": "server", "t": _end(root, run), "event": added, "added": True})
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def _seconds(root: StoredRun, run: StoredRun) -> float:
    return round((run.start_time - root.start_time).total_seconds(), 6)


def _end(root: StoredRun, run: StoredRun) -> float:
    return round(((run.end_time or run.start_time) - root.start_time).total_seconds(), 6)


def _responses_with_words(events: Sequence[dict[str, Any]]) -> dict[str, bool]:
    """Return the ids of all responses that events tell of, and whether an event has words of the response."""
    items: dict[str, str] = {}
    for event in events:
        item, response = item_id_of(event), response_id_of(event)
        if item is not None and response is not None:
            items[item] = response
    found: dict[str, bool] = {}
    for event in events:
        response = response_id_of(event) or items.get(item_id_of(event) or "")
        if response is not None:
            found[response] = found.get(response, False) or any(_words(event))
    return found


def _words(value: object) -> Iterator[str]:
    """Yield the texts in an event that are words of somebody, not of a name or an id."""
    if isinstance(value, list):
        for each in value:
            yield from _words(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key in ("transcript", "text") and known_text(each):
                yield each
            else:
                yield from _words(each)


def _words_event(run: StoredRun, known: dict[str, bool]) -> dict[str, Any] | None:
    """Return an event with the words of a ``model`` run that no event has; None if there are none."""
    response, words = run.metadata.get("response_id"), answer_of(run).get("content")
    if run.run_type != "llm" or not words or known_text(words) is None or known.get(str(response)) is not False:
        return None
    where = {"response_id": response, "output_index": 0, "content_index": 0}
    if "first_audio_s" in run.metadata:
        return {"type": "response.output_audio_transcript.done", **where, "transcript": words}
    return {"type": "response.output_text.done", **where, "text": words}


def _insert(lines: list[dict[str, Any]], added: dict[str, Any]) -> None:
    """Insert a line before the end of its response, else at its time."""
    response = added["event"]["response_id"]
    for at, line in enumerate(lines):
        ends = line["event"].get("type") == "response.done" and response_id_of(line["event"]) == response
        if ends or line["t"] > added["t"]:
            lines.insert(at, {**added, "t": min(added["t"], line["t"])})
            return
    lines.append(added)
