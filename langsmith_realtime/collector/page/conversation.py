"""Reads one conversation from the store, with its sound, as the JSON object that the page shows."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final

from langsmith_realtime.collector.page.findings import findings
from langsmith_realtime.collector.page.gaps import gaps, mark_silenced
from langsmith_realtime.collector.page.growing import growing_recording
from langsmith_realtime.collector.page.shape import Shape
from langsmith_realtime.collector.page.sound import LEVELS, Sound, SoundError, Sounds

if TYPE_CHECKING:
    from pathlib import Path

    from langsmith_realtime.collector.records import Attachment, StoredRun
    from langsmith_realtime.collector.storage.store import Store

#: The name of the recording among the attachments of a conversation's run.
RECORDING: Final = "conversation"


def recording_of(root: StoredRun) -> Attachment | None:
    """Return the attachment with the conversation's recording, or None."""
    found = root.attachments.get(RECORDING)
    if found is None or not found.mime_type.startswith("audio/") or not found.path.exists():
        return None
    return found


def conversation(
    store: Store,
    sounds: Sounds,
    conversation_id: str,
    *,
    slow_ms: float = 1500,
    wait: bool = False,
    state: Path | None = None,
) -> tuple[dict[str, Any], StoredRun] | None:
    """Return the shape of a conversation, and its run; None if it is not stored.

    Args:
        store: Has the conversation.
        sounds: Decodes its recording.
        conversation_id: The id of the conversation's run or trace.
        slow_ms: An answer above this is slow.
        wait: Whether to wait until the recording is decoded.
        state: Folder where this user's traced processes write recordings of running conversations; None without one.
    """
    followed = FollowedConversation(store, sounds, conversation_id, slow_ms=slow_ms, state=state)
    shown = followed.look(wait=wait)
    return None if shown is None else (shown, followed.root)


class FollowedConversation:
    """Reads one conversation again and again while it grows: all its runs once, then only those written since.

    Use it in one thread at a time; the arguments are those of :func:`conversation`.
    """

    def __init__(
        self, store: Store, sounds: Sounds, conversation_id: str, *, slow_ms: float = 1500, state: Path | None = None
    ) -> None:
        self.root: StoredRun
        self._store = store
        self._sounds = sounds
        self._id = conversation_id
        self._slow_ms = slow_ms
        self._state = state
        self._revision = 0
        self._runs: dict[str, StoredRun] = {}
        self._known: tuple[object, ...] = ()
        self._shown: dict[str, Any] | None = None

    def look(self, *, wait: bool = False) -> dict[str, Any] | None:
        """Return the shape; the one that the last call returned if nothing changed; None if it is not stored."""
        row = self._store.conversations.row(self._id)
        root = None if row is None else self._store.run(row["id"])
        if row is None or root is None or not root.creates:
            return None
        self.root = root
        live = bool(row["live"]) and root.end_time is None
        recording, sound = _recording(root, self._sounds, live=live, wait=wait, state=self._state)
        thread = self._thread(row["thread"])
        known = (row["revision"], live, recording, thread)
        if known != self._known or self._shown is None:
            self._revision, changed = self._store.changed_below(root.dotted_order, self._revision)
            self._runs.update((run.id, run) for run in changed)
            self._runs[root.id] = root  # an attachment may be newer than the run's last write
            runs = sorted(self._runs.values(), key=lambda run: run.dotted_order)
            self._known = known
            self._shown = _shown(
                Shape(runs, _sides(sound), self._slow_ms), root, recording, sound, live=live, slow_ms=self._slow_ms
            )
            self._shown |= {"thread": thread, "revision": row["revision"]}
        return self._shown

    def _thread(self, thread: str | None) -> dict[str, Any] | None:
        """Return the thread's id, the conversation's place in it, and the conversations before and after it."""
        if thread is None:
            return None
        ids = self._store.conversations.thread(thread)
        place = ids.index(self.root.id)
        return {
            "id": thread,
            "index": place + 1,
            "count": len(ids),
            "previous": ids[place - 1] if place else None,
            "next": ids[place + 1] if place + 1 < len(ids) else None,
        }


def _shown(
    shape: Shape, root: StoredRun, recording: dict[str, Any], sound: Sound | None, *, live: bool, slow_ms: float
) -> dict[str, Any]:
    sides = _sides(sound)
    numbers = {key: value for key, value in root.metadata.items() if not key.startswith(("LANGSMITH_", "ls_"))}
    turns, lines = shape.turns(), shape.lines()
    duration_s = round(max(shape.duration_s, sound.seconds if sound else 0), 3)
    lacking = gaps(root.metadata, recording["hidden"], sound.seconds if sound else None, duration_s)
    mark_silenced(lines, lacking)
    shown = {
        "id": root.id,
        "trace_id": root.trace_id,
        "start": root.start_time.timestamp(),
        "duration_s": duration_s,
        "live": live,
        "status": root.status,
        "error": root.error,
        "project": root.project,
        "tags": root.tags,
        "numbers": numbers,
        "session": root.inputs,
        "recording": {**recording, "gaps": lacking},
        "lines": lines,
        "turns": turns,
        "activity": {"user": sides.user, "agent": sides.agent} if sides else _from_lines(lines),
        "measured": sides is not None,
        "events": shape.events(),
        "slow_ms": slow_ms,
    }
    shown["findings"] = findings(shown, slow_ms, conversation_s=None if live else shape.duration_s)
    for turn in turns:
        del turn["order"]
    return shown


def _recording(
    root: StoredRun, sounds: Sounds, *, live: bool, wait: bool, state: Path | None
) -> tuple[dict[str, Any], Sound | None]:
    metadata = root.metadata
    hidden = metadata.get("recording_hidden")
    shown: dict[str, Any] = {"hidden": hidden if isinstance(hidden, list) else [hidden] if hidden else []}
    attachment = recording_of(root)
    if attachment is None:
        if live and growing_recording(state, root.id) is not None:
            reason = "The sound can be heard when the conversation has ended."
            return {**shown, "state": "growing", "reason": reason}, None
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
    return {
        **shown,
        "state": "ready",
        "seconds": sound.seconds,
        "channels": sound.channels,
        "levels": list(LEVELS),
    }, sound


def _sides(sound: Sound | None) -> Sound | None:
    """Return a sound that tells who was audible, or None."""
    return None if sound is None or sound.channels == 1 else sound


def _from_lines(lines: list[dict[str, Any]]) -> dict[str, list[list[float]]]:
    """When each side was audible, as far as events tell."""
    return {
        side: sorted([line["from"], line["to"]] for line in lines if line["who"] == side and line["to"] > line["from"])
        for side in ("user", "agent")
    }
