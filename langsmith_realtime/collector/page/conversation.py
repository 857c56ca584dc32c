"""Reads one conversation from the store, with its sound, as the JSON object that the page shows."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final

from langsmith_realtime.collector.page.findings import findings
from langsmith_realtime.collector.page.shape import Shape
from langsmith_realtime.collector.page.sound import LEVELS, Sound, SoundError, Sounds

if TYPE_CHECKING:
    from langsmith_realtime.collector.records import Attachment, StoredRun
    from langsmith_realtime.collector.store import Store

#: The name of the recording among the attachments of a conversation's run.
RECORDING: Final = "conversation"


def recording_of(root: StoredRun) -> Attachment | None:
    """Return the attachment with the conversation's recording, or None."""
    found = root.attachments.get(RECORDING)
    if found is None or not found.mime_type.startswith("audio/") or not found.path.exists():
        return None
    return found


def conversation(
    store: Store, sounds: Sounds, conversation_id: str, *, slow_ms: float = 1500, wait: bool = False
) -> tuple[dict[str, Any], StoredRun] | None:
    """Return the shape of a conversation, and its run; None if it is not stored.

    Args:
        store: Has the conversation.
        sounds: Decodes its recording.
        conversation_id: The id of the conversation's run or trace.
        slow_ms: An answer above this is slow.
        wait: Whether to wait until the recording is decoded.
    """
    row = store.conversations.row(conversation_id)
    runs = [] if row is None else store.runs_below(row["dotted_order"])
    if row is None or not runs or not runs[0].creates:
        return None
    root = runs[0]
    live = bool(row["live"]) and root.end_time is None
    recording, sound = _recording(root, sounds, live=live, wait=wait)
    shape = Shape(runs, sound, slow_ms)
    numbers = {key: value for key, value in root.metadata.items() if not key.startswith(("LANGSMITH_", "ls_"))}
    thread = None
    if row["thread"] is not None:
        ids = store.conversations.thread(row["thread"])
        place = ids.index(root.id)
        thread = {
            "id": row["thread"],
            "index": place + 1,
            "count": len(ids),
            "previous": ids[place - 1] if place else None,
            "next": ids[place + 1] if place + 1 < len(ids) else None,
        }
    turns = shape.turns()
    shown = {
        "id": root.id,
        "trace_id": root.trace_id,
        "start": root.start_time.timestamp(),
        "duration_s": round(max(shape.duration_s, sound.seconds if sound else 0), 3),
        "live": live,
        "status": root.status,
        "error": root.error,
        "project": root.project,
        "tags": root.tags,
        "thread": thread,
        "numbers": numbers,
        "session": root.inputs,
        "recording": recording,
        "lines": shape.lines(),
        "turns": turns,
        "activity": {"user": sound.user, "agent": sound.agent} if sound else _from_lines(shape.lines()),
        "measured": sound is not None,
        "events": shape.events(),
        "slow_ms": slow_ms,
        "revision": row["revision"],
    }
    shown["findings"] = findings(shown, slow_ms)
    for turn in turns:
        del turn["order"]
    return shown, root


def _recording(root: StoredRun, sounds: Sounds, *, live: bool, wait: bool) -> tuple[dict[str, Any], Sound | None]:
    metadata = root.metadata
    hidden = metadata.get("recording_hidden")
    shown: dict[str, Any] = {"hidden": hidden if isinstance(hidden, list) else [hidden] if hidden else []}
    attachment = recording_of(root)
    if attachment is None:
        if live:
            return {**shown, "state": "pending", "reason": "The sound comes when the conversation has ended."}, None
        if metadata.get("recording_error"):
            reason = f"The recording is missing: {str(metadata['recording_error'])[:200]}."
            return {**shown, "state": "missing", "reason": reason}, None
        if metadata.get("recording_url"):
            reason = f"The recording is elsewhere: {str(metadata['recording_url'])[:200]}"
            return {**shown, "state": "off", "reason": reason}, None
        if root.end_time is None:
            return {
                **shown,
                "state": "missing",
                "reason": "The conversation has not ended, so it has no recording.",
            }, None
        return {**shown, "state": "off", "reason": "Nothing was recorded."}, None
    shown |= {"mime": attachment.mime_type, "bytes": attachment.path.stat().st_size}
    try:
        sound = sounds.start(attachment.path).result() if wait else sounds.ready(attachment.path)
    except (SoundError, CancelledError) as error:
        return {**shown, "state": "missing", "reason": f"{error}. The download works."}, None
    if sound is None:
        return {**shown, "state": "pending", "reason": "The recording is being decoded.", "decoding": True}, None
    return {**shown, "state": "ready", "seconds": sound.seconds, "levels": list(LEVELS)}, sound


def _from_lines(lines: list[dict[str, Any]]) -> dict[str, list[list[float]]]:
    """When each side was audible, as far as events tell."""
    return {
        side: sorted([line["from"], line["to"]] for line in lines if line["who"] == side and line["to"] > line["from"])
        for side in ("user", "agent")
    }
