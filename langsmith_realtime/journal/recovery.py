"""Conversations whose process died, or whose runs could not be delivered, are completed from their journals.

The same path as live: the journal's lines drive a session again, and what the server has not acknowledged yet
is sent, with the same run ids, the root's update last.
"""

from __future__ import annotations

import enum
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langsmith import Client

from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.delivery.feedback import FeedbackSender
from langsmith_realtime.delivery.operations import ROOT_CREATE, Operation
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.journal.file import LINES, Journal, state_directory
from langsmith_realtime.journal.lines import family_anew, family_of, is_meant_for, options_of
from langsmith_realtime.journal.replay import JournalReader, ReplayEnd, replay
from langsmith_realtime.journal.retention import folders, tidy
from langsmith_realtime.runtime import threads
from langsmith_realtime.runtime.guard import Guard, logger
from langsmith_realtime.trace.session import SessionParts, build_session

#: What the root of a conversation says whose process did not live to close it.
DIED = Failure("the process died during the conversation")
#: How long a recovery waits for operations to be acknowledged before it leaves the rest to the next, in seconds.
PATIENCE = 60.0
#: Operations that wait in memory while a journal is read.
AT_ONCE = 500

#: How often a process looks for what there is to recover, when conversations open, in seconds.
EVERY_S = 60.0

#: When it did so the last time, by the folder and where the client sends.
_begun: dict[tuple[object, ...], float] = {}
#: What the log has told of.
_told: set[Found] = set()
_beginning = threading.Lock()


class Fate(enum.Enum):
    """What became of a folder."""

    COMPLETED = "completed"
    ALIVE = "its process is alive, or somebody else completes it"
    ELSEWHERE = "it is meant for another endpoint, workspace or API key"
    UNREADABLE = "its journal cannot be read"
    UNDELIVERED = "not everything could be delivered"


@dataclass(frozen=True, slots=True)
class Found:
    """A conversation that was found on disk, and what became of it; ``detail`` says more where there is more."""

    folder: Path
    fate: Fate
    detail: str = ""


def recover(client: Client, directory: Path | None = None, *, patience: float = PATIENCE) -> Iterator[Found]:
    """Complete what is in the folder and meant for where this client sends.

    Args:
        client: sends what is missing.
        directory: see :func:`~langsmith_realtime.journal.file.state_directory`.
        patience: how long to wait for the server, in seconds and for each conversation.

    Yields:
        Every conversation found, as soon as its fate is known. What was not completed is left as it is.
    """
    for folder in folders(directory or state_directory()):
        if (folder / LINES).exists():
            try:
                yield _recover(folder, client, patience)
            except Exception as error:
                # A journal of a stranger, or one that is damaged inside, in whatever way.
                yield Found(folder, Fate.UNREADABLE, str(error) or type(error).__name__)


def begin_in_background(client: Client, directory: Path | None = None) -> threading.Thread | None:
    """Recover in a thread of its own, and limit what stays on disk; not again for :data:`EVERY_S` seconds."""
    try:
        directory = directory or state_directory()
    except OSError:
        return None  # whose journal that was to be says so
    # What is meant for others it cannot complete: all that tells who that is.
    settings = [getattr(client, name, None) for name in ("api_url", "workspace_id", "api_key")]
    place, now = (directory, *settings), time.perf_counter()
    with _beginning:
        if now < _begun.get(place, -math.inf) + EVERY_S:
            return None
        _begun[place] = math.inf  # until it has ended
    thread = threads.start_thread(lambda: _quietly(client, directory, place), "langsmith-realtime-recovery")
    if thread is None:
        _begun[place] = now  # there is none to be had now
    return thread


def replay_anew(folder: Path, client: Client, *, project: str | None = None, patience: float = PATIENCE) -> str | None:
    """Trace a kept conversation a second time, under new ids.

    Returns:
        The new trace's id; None when not everything could be delivered in time.

    Raises:
        JournalError: there is no journal in the folder, or one that this version cannot read.
    """
    story, guard = JournalReader(folder), Guard()
    sender = _Paced(patience)
    family = family_anew(story.header, client, guard, project)
    options = options_of(story.header)
    made = build_session(options, family, sender, FeedbackSender(), guard)
    made.session.opened()
    _close(made, replay(story, made.session, family, anew=True))
    return str(family.root.trace_id) if sender.delivered_all() else None


def _recover(folder: Path, client: Client, patience: float) -> Found:
    journal = Journal.take(folder)
    if journal is None:
        return Found(folder, Fate.ALIVE)
    try:
        story = JournalReader(folder)
        destination = story.header["destination"]
        if not is_meant_for(destination, client):
            return Found(folder, Fate.ELSEWHERE, _named(destination))
        done = _complete(journal, story, client, patience)
        return Found(folder, Fate.COMPLETED if done else Fate.UNDELIVERED, str(story.header["run"]["trace_id"]))
    finally:
        journal.leave()


def _complete(journal: Journal, story: JournalReader, client: Client, patience: float) -> bool:
    journal.restore(story.settled())
    journal.keep(keep=bool(story.header.get("keep")))
    guard, sender, feedback = Guard(), _Paced(patience), FeedbackSender()
    family = family_of(story.header, client, guard)
    options = options_of(story.header)
    _remove_recording(journal.folder, options.recording, str(family.root.id))
    made = build_session(options, family, sender, feedback, guard)
    made.use_journal(journal)
    if journal.expect(ROOT_CREATE):
        made.session.opened()
    ending = replay(story, made.session, family)
    # The root ends when all else is there, or it would be complete before it is.
    if not sender.delivered_all():
        return False
    _close(made, ending)
    if not (sender.delivered_all() and feedback.flush(patience)):
        return False
    journal.complete()
    return True


def _close(made: SessionParts, ending: ReplayEnd) -> None:
    error = ending.error if ending.closed else DIED
    made.session.closed(ending.t, error, ending.dropped)


class _Paced(Sender):
    """A sender that lets nobody put faster than it sends; when nobody answers it takes no more."""

    def __init__(self, patience: float) -> None:
        super().__init__()
        self._patience = patience
        self._count = 0
        self._stuck = False

    def put(self, operation: Operation) -> None:
        if self._stuck:
            return
        super().put(operation)
        self._count += 1
        if self._count % AT_ONCE == 0:
            self.delivered_all()

    def aside(self, work: Callable[[], None]) -> None:
        work()  # nobody waits for this thread

    def delivered_all(self) -> bool:
        self._stuck = self._stuck or not self.flush(self._patience)
        return not self._stuck


def _quietly(client: Client, directory: Path, place: tuple[object, ...]) -> None:
    try:
        for found in recover(client, directory):
            if found.fate is Fate.COMPLETED:
                logger.info("the conversation in %s was completed", found.folder)
            elif found.fate is not Fate.ALIVE and found not in _told:
                _told.add(found)
                logger.warning("%s: %s (%s)", found.folder, found.fate.value, found.detail)
        tidy(directory)
    except Exception:
        logger.warning("recovering conversations failed", exc_info=True)
    finally:
        _begun[place] = time.perf_counter()


def _remove_recording(folder: Path, recording: Any, name: str) -> None:
    """What a dead process had written of the recording; it is made anew from the journal."""
    if recording is None:
        return
    place = folder if recording.url is not None or recording.directory is None else Path(recording.directory)
    for path in place.glob(f"{name}.*"):
        path.unlink(missing_ok=True)


def _named(destination: dict[str, Any]) -> str:
    workspace = destination.get("workspace")
    return f"{destination.get('endpoint')}" + (f", workspace {workspace}" if workspace else "")


def _forget() -> None:
    """After a fork the child is a process of its own."""
    global _beginning  # noqa: PLW0603 - the parent's may be held by a thread that the child does not have
    _beginning = threading.Lock()
    _begun.clear()


os.register_at_fork(after_in_child=_forget)
