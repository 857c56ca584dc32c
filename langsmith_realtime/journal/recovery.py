"""Completes conversations from their journals if their process died or could not deliver all of their runs.

The journal's lines drive a session, as a live conversation does, and the runs get the ids that they had. The operations
that LangSmith has neither acknowledged nor refused are sent; the root's update waits for all other runs. The spans of
OpenTelemetry are exported last, all of them. A conversation that only OpenTelemetry shows needs no client.
"""

from __future__ import annotations

import enum
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langsmith import Client

from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.inputs import Closed, Connected, Opened, SpanBegun
from langsmith_realtime.delivery.feedback import FeedbackSender
from langsmith_realtime.delivery.operations import SPANS, Operation
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.journal.file import Journal
from langsmith_realtime.journal.folder import LINES
from langsmith_realtime.journal.frame_lines import FrameLines
from langsmith_realtime.journal.header import goes_to_langsmith, is_meant_for, new_runs, options_of, runs_of
from langsmith_realtime.journal.reader import JournalError, JournalReader
from langsmith_realtime.journal.state_directory import folders, state_directory, tidy
from langsmith_realtime.options.otel import Otel
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime import threads
from langsmith_realtime.runtime.forks import at_fork
from langsmith_realtime.runtime.guard import Guard, logger
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns
from langsmith_realtime.trace.run_trees.root_run import __version__
from langsmith_realtime.trace.session import Session, build_session

if TYPE_CHECKING:
    from langsmith_realtime.trace.otel.spans.conversation_spans import ConversationSpans

#: The root run's error if the process ended before the conversation was closed.
DIED = Failure("the process died during the conversation")
#: How long a recovery waits for LangSmith to acknowledge a conversation's operations, in seconds.
PATIENCE_S = 60.0
#: How many operations a recovery queues before it waits for their delivery.
QUEUED_OPERATIONS = 500


#: When the latest recovery ended, in seconds, by state directory and destination; infinite while one runs.
_recovered: dict[tuple[object, ...], float] = {}
#: Conversations that the log has mentioned.
_logged: set[Found] = set()
_beginning = threading.Lock()


class Fate(enum.Enum):
    """The result of a recovery for one conversation."""

    COMPLETED = "completed"
    ALIVE = "its process is alive, or another process completes it"
    ELSEWHERE = "it is meant for another endpoint, workspace or API key"
    UNREADABLE = "its journal cannot be read"
    UNDELIVERED = "not everything could be delivered"
    NO_EXPORTER = "its spans have no exporter: set OTEL_EXPORTER_OTLP_ENDPOINT, or pass Otel(recover_with=)"


@dataclass(frozen=True, slots=True)
class Found:
    """A conversation that a recovery found.

    Attributes:
        folder: The folder of its journal.
        fate: The result.
        detail: The trace id if the runs were sent, the destination if it is another, the error if the journal cannot be
            read; otherwise empty.
    """

    folder: Path
    fate: Fate
    detail: str = ""


def recover(
    client: Client | None,
    directory: Path | None = None,
    *,
    patience: float = PATIENCE_S,
    otel: Otel | None = None,
) -> Iterator[Found]:
    """Complete the conversations that are meant for the client's endpoint, workspace and API key, or OpenTelemetry.

    Args:
        client: Sends the missing operations. Without a client, only the conversations that OpenTelemetry alone shows
            are looked at.
        directory: The state directory; by default the one of
            :func:`~langsmith_realtime.journal.state_directory.state_directory`.
        patience: How long each wait for LangSmith's acknowledgements may take, in seconds; a conversation has several.
        otel: Has the exporter of spans (``recover_with``) and the provider of loggers; by default OTLP as the
            environment configures it, and the global provider.

    Yields:
        Each conversation that has a journal, when its result is known. The journal of a completed conversation is
        removed, or renamed if it is to be kept; any other stays.
    """
    for folder in folders(directory or state_directory()):
        if (folder / LINES).exists():
            try:
                found = _recover(folder, client, patience, otel or Otel())
                if found is not None:
                    yield found
            except Exception as error:
                # The journal may be damaged in any way, or another program's file.
                yield Found(folder, Fate.UNREADABLE, str(error) or type(error).__name__)


def needs_client(directory: Path) -> bool:
    """Whether a conversation in the state directory goes to LangSmith, and not to OpenTelemetry alone."""
    for folder in folders(directory):
        with suppress(JournalError):
            if goes_to_langsmith(JournalReader(folder).header):
                return True
    return False


def begin_in_background(
    client: Client | None,
    directory: Path | None = None,
    *,
    interval_s: float = 60.0,
    otel: Otel | None = None,
) -> threading.Thread | None:
    """Recover conversations and tidy the state directory in a thread.

    No thread starts while one runs for the same directory and destination, nor within ``interval_s`` seconds after its
    end.

    Returns:
        The thread; None if none was started.
    """
    try:
        directory = directory or state_directory()
    except OSError:
        return None  # making the new conversation's journal fails, too, and logs why
    # Clients with other destinations complete other conversations.
    destination = [getattr(client, name, None) for name in ("api_url", "workspace_id", "api_key")]
    key, now = (directory, *destination), time.perf_counter()
    with _beginning:
        if now < _recovered.get(key, -math.inf) + interval_s:
            return None
        _recovered[key] = math.inf
    work = lambda: _recover_and_log(client, directory, key, otel)  # noqa: E731
    thread = threads.start_thread(work, "langsmith-realtime-recovery")
    if thread is None:
        _recovered[key] = now
    return thread


def replay_anew(
    source: Path | FrameLines, client: Client, *, project: str | None = None, patience: float = PATIENCE_S
) -> str | None:
    """Trace a kept conversation again, with new run ids.

    Args:
        source: The conversation's folder, or its frames.
        client: Sends the runs.
        project: The project of the new trace; by default the one in LangSmith's settings. An agent address in the
            journal takes its place.
        patience: How long each wait for LangSmith's acknowledgements may take, in seconds.

    Returns:
        The new trace's id; None if not all runs could be delivered in time.

    Raises:
        JournalError: The folder has no journal, or one that this version cannot read.
    """
    reader, guard = source if isinstance(source, FrameLines) else JournalReader(source), Guard()
    sender = _PacedSender(patience)
    runs = new_runs(reader.header, client, guard, project)
    options = reader.options if isinstance(reader, FrameLines) else options_of(reader.header)
    assembled = build_session(options, runs, sender, FeedbackSender(), guard)
    assembled.session.take(Opened())
    assembled.session.take(_replayed(reader, assembled.session))
    return str(runs.root.trace_id) if sender.delivered_all() else None


def _recover(folder: Path, client: Client | None, patience: float, otel: Otel) -> Found | None:
    """Complete one conversation; None if it goes to LangSmith, and there is no client."""
    journal = Journal.take(folder)
    if journal is None:
        return Found(folder, Fate.ALIVE)
    try:
        reader = JournalReader(folder)
        destination = reader.header["destination"]
        if not goes_to_langsmith(reader.header):
            client = None
            if not _can_export_spans(otel):
                return Found(folder, Fate.NO_EXPORTER)
        elif client is None:
            return None
        elif not is_meant_for(destination, client):
            return Found(folder, Fate.ELSEWHERE, _describe(destination))
        is_complete = _complete(journal, reader, client, patience, otel)
        return Found(folder, Fate.COMPLETED if is_complete else Fate.UNDELIVERED, str(reader.header["run"]["trace_id"]))
    finally:
        journal.release()


def _complete(journal: Journal, reader: JournalReader, client: Client | None, patience: float, otel: Otel) -> bool:
    journal.mark_settled(reader.settled())
    journal.keep(keep=bool(reader.header.get("keep")))
    guard, sender, feedback = Guard(), _PacedSender(patience), FeedbackSender()
    runs = runs_of(reader.header, client, guard)
    options = options_of(reader.header)
    if options.otel is not None and journal.expect(SPANS):
        runs.spans = _recovered_spans(reader, runs, options)
    _remove_recording(journal.folder, options.recording, str(runs.root.id))
    assembled = build_session(options, runs, sender, feedback, guard)
    assembled.use_journal(journal, journal.folder)
    assembled.session.take(Opened())
    end = _replayed(reader, assembled.session)
    # LangSmith takes a trace for complete once its root has ended, so the root's update comes last.
    if not sender.delivered_all():
        return False
    assembled.session.take(end)
    if not (sender.delivered_all() and feedback.flush(patience)):
        return False
    if not _export_spans(journal, runs, otel):
        return False
    journal.complete()
    return True


def _replayed(reader: JournalReader | FrameLines, session: Session) -> Closed:
    """Give the journal's inputs to the session, all but the end; return the end, or one that says that there is none.

    The inputs of a replay are those of the live conversation, and so are their times: the session's work is repeated.
    """
    t = 0.0
    for given in reader.inputs():
        if isinstance(given, Closed):
            return given
        if not isinstance(given, Opened):
            t = max(t, given.t)
            session.take(given)
    return Closed(t, DIED)


def _recovered_spans(reader: JournalReader, runs: ConversationRuns, options: Options) -> ConversationSpans | None:
    """The spans of the conversation; None if OpenTelemetry's SDK is missing, or the journal does not tell them."""
    try:
        from langsmith_realtime.trace.otel.recovery import recovered_spans  # noqa: PLC0415
        from langsmith_realtime.trace.otel.spans.conversation_facts import facts_of  # noqa: PLC0415 - an extra

        head = reader.header["otel"]
        facts = facts_of(
            options,
            thread_id=str(runs.metadata.get("thread_id")),
            has_given_thread=bool(head["has_given_thread"]),
            tags=runs.tags,
            metadata=runs.metadata,
        )
        begun = [given for given in reader.inputs() if isinstance(given, (SpanBegun, Connected))]
        return recovered_spans(head, options, facts, start_us=runs.start_us, begun=begun, version=__version__)
    except (ImportError, KeyError, TypeError, ValueError) as error:
        logger.warning("%s: its spans are not exported (%s)", reader.header["run"]["id"], type(error).__name__)
        return None


def _can_export_spans(otel: Otel) -> bool:
    try:
        from langsmith_realtime.trace.otel.recovery import can_export  # noqa: PLC0415 - an extra
    except ImportError:
        return False
    return can_export(otel.recover_with)


def _export_spans(journal: Journal, runs: ConversationRuns, otel: Otel) -> bool:
    """Export the spans of a recovery; False if that failed, and is to be tried again."""
    if runs.spans is None:
        journal.settle(SPANS, refused=True)
        return True
    from langsmith_realtime.trace.otel.recovery import export  # noqa: PLC0415 - an extra

    try:
        is_exported = export(runs.spans, otel, __version__)
    except Exception:
        logger.warning("%s: exporting its spans failed", runs.root.id, exc_info=True)
        return False
    if is_exported is None:
        message = "%s: its spans are not exported; set OTEL_EXPORTER_OTLP_ENDPOINT, or pass Otel(recover_with=)"
        logger.warning(message, runs.root.id)
    if is_exported is not False:
        journal.settle(SPANS, refused=is_exported is None)
    return is_exported is not False


class _PacedSender(Sender):
    """A sender whose :meth:`put` waits for delivery after every :data:`QUEUED_OPERATIONS` operations.

    Once a wait fails or takes longer than ``patience`` seconds, it drops all further operations.
    """

    def __init__(self, patience: float) -> None:
        super().__init__()
        self._patience = patience
        self._count = 0
        self._is_stuck = False

    def put(self, operation: Operation) -> None:
        if self._is_stuck:
            return
        super().put(operation)
        self._count += 1
        if self._count % QUEUED_OPERATIONS == 0:
            self.delivered_all()

    def run_apart(self, work: Callable[[], None]) -> None:
        work()  # a recovery has a thread of its own

    def delivered_all(self) -> bool:
        """Wait for the delivery of all operations; False if this or an earlier wait failed or took too long."""
        self._is_stuck = self._is_stuck or not self.flush(self._patience)
        return not self._is_stuck


def _recover_and_log(client: Client | None, directory: Path, key: tuple[object, ...], otel: Otel | None) -> None:
    try:
        for found in recover(client, directory, otel=otel):
            if found.fate is Fate.COMPLETED:
                logger.info("the conversation in %s was completed", found.folder)
            elif found.fate is not Fate.ALIVE and found not in _logged:
                _logged.add(found)
                logger.warning("%s: %s (%s)", found.folder, found.fate.value, found.detail)
        tidy(directory)
    except Exception:
        logger.warning("recovering conversations failed", exc_info=True)
    finally:
        _recovered[key] = time.perf_counter()


def _remove_recording(folder: Path, recording: Any, name: str) -> None:
    """Remove the dead process's unfinished recording, which the replay makes again."""
    if recording is None:
        return
    directory = folder if recording.url is not None or recording.directory is None else Path(recording.directory)
    for path in directory.glob(f"{name}.*"):
        path.unlink(missing_ok=True)


def _describe(destination: dict[str, Any]) -> str:
    workspace = destination.get("workspace")
    return f"{destination.get('endpoint')}" + (f", workspace {workspace}" if workspace else "")


def _reset_in_child() -> None:
    """In a forked child, which may begin a recovery at once."""
    global _beginning  # noqa: PLW0603 - the parent's may be locked by a thread that the child does not have
    _beginning = threading.Lock()
    _recovered.clear()


at_fork(after_in_child=_reset_in_child)
