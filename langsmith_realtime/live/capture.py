"""One traced conversation as its callers' threads see it: stamp what happens, hand it over, know the parent.

Everything here runs between the caller's own lines, so it costs microseconds. What an event means is
decided by the worker.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any, cast

from langsmith.run_trees import RunTree

from langsmith_realtime.core.payloads.errors import describe
from langsmith_realtime.core.payloads.json_values import plain, plain_frame
from langsmith_realtime.core.protocol.audio_formats import USER
from langsmith_realtime.core.protocol.events import APPEND, BETA_NAMES, Event, FrameError, mapping, parse
from langsmith_realtime.delivery.langsmith_client import context, sampling
from langsmith_realtime.delivery.langsmith_client.context import (
    ParentReference,
    current_parent_reference,
    set_parent_reference,
)
from langsmith_realtime.delivery.langsmith_client.masking import calls_application
from langsmith_realtime.delivery.tail_sampling import HeldConversation
from langsmith_realtime.live.bounded_queue import Intake
from langsmith_realtime.live.duplicates import RecentFrames
from langsmith_realtime.live.process import Process, process
from langsmith_realtime.live.worker import LazySession, Worker
from langsmith_realtime.options.silence import checked_silence
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.guard import Guard, logger
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns, ParentRun
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of
from langsmith_realtime.trace.run_trees.run_limits import Priority, priority_of

if TYPE_CHECKING:
    from langsmith_realtime.live.coalescing import Coalescing

#: How the text of a microphone chunk begins: what is so frequent is not read in the caller's thread.
_APPENDS = tuple(f'{{"type":{space}"{APPEND}"' for space in ("", " "))
#: The agent's sound.
AUDIO_DELTAS = frozenset({"response.output_audio.delta", "response.audio.delta"})
#: How far ahead of now a time of fed audio may lie, in seconds; what lies further is another clock's.
AHEAD = 60.0


class LiveConversation:
    """A traced conversation as its callers see it.

    Args:
        options: how it is traced.
        family: its runs, as :func:`~langsmith_realtime.trace.run_trees.root_run.start_conversation_runs` makes them.
    """

    #: False where LangSmith's sampling leaves it out.
    is_sampled = True

    def __init__(self, options: Options, family: ConversationRuns) -> None:
        self._options = options
        self.guard = family.guard
        self.family = family
        self._start = microseconds_of(self.family.root.start_time)
        # The root's start, on the clock that never jumps: an earlier one would put every event into the future.
        elapsed = time.time() - self._start / 1_000_000
        self._began = time.monotonic() - max(0.0, elapsed)
        self._last = self._start  # µs, of the latest event's run
        self._stamping = threading.RLock()
        self._latest: ParentRun = self.family.root
        self._next: ParentReference | None = None  # for who waits for the next event
        self._seen: RecentFrames[ParentRun | None] = RecentFrames()
        self._closed = False
        #: What receiving failed with the last time, if it did.
        self.lost_with: BaseException | None = None
        self._open()

    def _open(self) -> None:
        options, family = self._options, self.family
        self._process = process()
        self._process.open[id(self)] = self
        asks = options.redact is not None or calls_application(family.root.client)
        worker = self._process.apart if asks else self._process.worker
        if options.keep is not None:
            family.held_conversation = HeldConversation(self._process.sender, options.keep, self.guard)
        make = partial(_pipeline, options, family, self._process, worker, self.guard)
        self._session = cast("Coalescing", LazySession(make))
        self._client_frame, self._server_frame = self._session.client_frame, self._session.server_frame
        self._intake = Intake(worker.inbox(self.guard, self._session.chunks), self._session, self.guard)
        self._gaps = self._intake.gaps
        self._intake.insist(self._session.opened)

    # From the caller's threads

    def guarded(self, work: Callable[..., object], *arguments: Any) -> None:
        """Do it, and keep its failure from the caller."""
        try:
            work(*arguments)
        except Exception as error:
            self.guard.report(work.__name__, error)

    def server_event(self, event: object) -> None:
        arrived = time.monotonic()
        if isinstance(event, Mapping):
            event = plain(event)  # as it is now, whatever its owner does with it later
        try:
            parsed = parse(event)
        except FrameError as error:
            self.malformed(event, str(error), arrived)
            return
        self.frame(parsed.body, parsed.name, parsed.body.get("event_id"), arrived)

    def frame(self, frame: object, name: str, event_id: object, arrived: float) -> None:
        """A frame that has a type arrived; a frame seen before only becomes the parent again."""
        if self._closed:
            return
        speaking = self._ask_speaking() if name == "input_audio_buffer.speech_started" else None
        size = len(frame) if isinstance(frame, (bytes, str)) else _size(frame, "delta")
        with self._stamping:  # events of several threads keep one order
            known = self._seen.find(event_id, name, size, frame)
            if known is not None:
                run = known.run
            else:
                run = self._put_frame(frame, size, name, arrived, speaking)
                self._seen.remember(event_id, name, size, frame, run)
        self._become(run)

    def _put_frame(
        self, frame: object, size: int, name: str, arrived: float, speaking: bool | None
    ) -> ParentRun | None:
        """Hand a frame over; its run when it has one."""
        t = arrived - self._began
        if name in AUDIO_DELTAS:
            self._intake.audio(size, self._gaps.received, self._server_frame, frame, t, None, None)
            return None
        if name.endswith(".delta"):
            self._intake.event(self._server_frame, frame, t, None, None, light=True)
            return None
        run = self._stamp(name, arrived, frame, BETA_NAMES.get(name, name))
        self.lost_with = None
        light = self._intake.is_crowded and priority_of(name) is Priority.LOW
        self._intake.event(self._server_frame, frame, t, run, speaking, light=light)
        return run

    def malformed(self, frame: object, reason: str, arrived: float) -> None:
        """A frame arrived that is no event."""
        if not self._closed:
            frame = plain_frame(frame)
            with self._stamping:
                run = self._stamp("malformed_frame", arrived, None, "")
                self._intake.event(self._session.malformed_frame, frame, reason, arrived - self._began, run)

    def chunk(self, event: object, sent: float) -> bool:
        """A chunk of the microphone was sent; False, and nothing done, when the event is none, or a strange one.

        There are more of them than of anything else.
        """
        if type(event) is dict:
            if event.get("type") != APPEND:
                return False
            chunk = event.get("audio")
            if type(chunk) is not str:
                return False
        elif type(event) is str and event.startswith(_APPENDS):
            chunk = event
        else:
            return False
        if not self._closed:
            self._intake.chunk(self._client_frame, chunk, sent - self._began, chunk is event)
        return True

    def client_event(self, event: object, sent: float) -> None:
        """The application sent an event."""
        if self.chunk(event, sent) or self._closed:
            return
        t = sent - self._began
        parsed = _settled(event)
        if parsed is not None and parsed.name == APPEND:
            size = _size(parsed.body, "audio")
            self._intake.audio(size, self._gaps.sent, self._client_frame, parsed.body, t)
            return
        if parsed is not None and parsed.name == "conversation.item.create":
            call_id = mapping(parsed.body.get("item")).get("call_id")
            if isinstance(call_id, str):
                self.family.note_answer(call_id)
        self._intake.event(self._client_frame, parsed.body if parsed else None, t)

    def audio(self, channel: int, pcm: object, at: float | None) -> None:
        if self._closed:
            return
        if not isinstance(pcm, (bytes, bytearray, memoryview)):
            raise TypeError(f"audio is bytes of PCM16, not {type(pcm).__name__}")
        gaps, session = self._gaps, self._session
        lost, work = (gaps.user_fed, session.user_audio) if channel == USER else (gaps.agent_fed, session.agent_audio)
        now = time.monotonic()
        position = None if at is None else self._time_of(at, now)
        self._intake.audio(len(pcm), lost, work, bytes(pcm), now - self._began, position)

    def played(self, item_id: object, ms: object, at: float | None) -> None:
        if self._closed:
            return
        if not isinstance(item_id, str):
            raise TypeError(f"item_id is a string, not {type(item_id).__name__}")
        if isinstance(ms, bool) or not isinstance(ms, Real):
            raise TypeError(f"ms is a number of milliseconds, not {type(ms).__name__}")
        milliseconds = float(ms)
        if not 0 <= milliseconds < math.inf:
            raise ValueError(f"ms is how much was played, in milliseconds; {ms} is none")
        now = time.monotonic()
        position = self._time_of(now if at is None else at, now)
        t = now - self._began
        self._intake.audio(0, self._gaps.played, self._session.agent_played, item_id, milliseconds, t, position)

    def silence(self, seconds: object, item_id: object, since: object, until: object) -> None:
        now = time.monotonic()
        begin, end, item = checked_silence(now, seconds=seconds, item_id=item_id, since=since, until=until)
        if self._closed:
            if self.is_sampled:
                logger.warning("the conversation has ended: nothing more of its recording is silenced")
            return
        times = (None if at is None else at - self._began for at in (begin, end))
        # Whatever waits: nobody may hear it.
        self._intake.insist(self._session.silence, now - self._began, *times, item)

    @contextmanager
    def tool(self, call_id: str) -> Iterator[None]:
        if self._closed or not isinstance(call_id, str):
            yield
            return
        before = context.get_current_run_tree()
        try:
            run = self.family.tool(call_id, self._latest)
            self._intake.event(self._session.tool_entered, call_id, self._latest)
            context.set_parent(run)
        except Exception as error:
            self.guard.report("tool", error)
        failure: str | None = None
        try:
            yield
        except BaseException as error:
            failure = describe(error)
            raise
        finally:
            context.set_parent(before)
            self._intake.event(self._session.tool_left, call_id, time.monotonic() - self._began, failure)

    # For the wrapper

    def expect(self) -> None:
        """Somebody begins to wait for an event: until it arrives, its parent is what it was.

        The pin is set in the caller's own context, and stands for the event's run from when that arrives, which may
        be in another task.
        """
        if self._closed:
            return
        waiting = self._next
        if waiting is None:
            waiting = self._next = ParentReference(self._latest)
        set_parent_reference(waiting)

    def lost(self, error: BaseException) -> None:
        """Receiving failed: an error if the conversation ends with it, not if it reconnects."""
        self.lost_with = error

    @property
    def is_closed(self) -> bool:
        return self._closed

    def enter(self) -> None:
        """The block begins: what is traced in it nests under the conversation."""
        self.family.previous_parent = context.get_current_run_tree()
        context.set_parent(self.family.root)

    def leave(self, error: BaseException | None) -> None:
        """The block ends."""
        self.close(error)

    def close(self, error: BaseException | str | None = None) -> None:
        """The conversation ends; in this context, work nests where it did before."""
        current = context.get_current_run_tree()
        self.family.previous_parent = _still_open(self.family.previous_parent)
        if isinstance(current, ParentRun) and current.conversation_runs is self.family and current.is_root_or_event:
            context.set_parent(self.family.previous_parent)
        with self._stamping:
            if self._closed:
                return
            self._closed = self.family.ended = True
        self._process.open.pop(id(self), None)
        message = describe(error) or describe(self.lost_with)
        self._intake.insist(self._session.closed, time.monotonic() - self._began, message, self._intake.dropped)

    def abandon(self) -> None:
        """The process was forked: the conversation goes on in the parent."""
        self._stamping = threading.RLock()  # a thread that the child does not have may hold the parent's
        self._closed = True

    # Details

    def _time_of(self, at: float, now: float) -> float:
        """A time the application gave, in seconds since the conversation opened."""
        if not (math.isfinite(at) and at <= now + AHEAD):
            raise ValueError(
                f"at is a time of time.monotonic(), which is {now:.3f} s now; {at} is none of this conversation"
            )
        return float(at) - self._began

    def _stamp(self, name: str, arrived: float, frame: object, kind: str) -> ParentRun:
        """The run of an event that arrived then; who asks for it holds the lock.

        Start times strictly increase: the trace's order is arrival.
        """
        self._last = max(self._last + 1, self._start + int((arrived - self._began) * 1_000_000))
        return self.family.event(name, self._last, frame, kind)

    def _become(self, run: ParentRun | None) -> None:
        """Traced work from here on nests under ``run``, or under what it did before the delta."""
        waiting, pin = self._next, current_parent_reference()
        if run is None:
            if pin is waiting:
                self._next = None  # what has it now keeps what it stands for, whatever arrives later
        else:
            self._latest = run
            if waiting is not None:
                self._next, waiting.run = None, run
        if pin is None or pin.run is not self._latest:
            context.set_parent(self._latest)

    def _ask_speaking(self) -> bool | None:
        asks = self._options.is_agent_speaking
        if asks is None:
            return None
        try:
            return bool(asks())
        except Exception as error:
            self.guard.report("is_agent_speaking", error)
            return None


def _pipeline(options: Options, family: ConversationRuns, process: Process, worker: Worker, guard: Guard) -> Coalescing:
    """Import the pipeline and make it; on the worker's thread, as the imports take a fifth of a second."""
    from langsmith_realtime.live.pipeline import build_pipeline  # noqa: PLC0415

    return build_pipeline(options, family, process, worker, guard)


def _still_open(run: RunTree | None) -> RunTree | None:
    """The run, or what stood before its conversation where that has ended: the one opened first may end first."""
    while isinstance(run, ParentRun) and run.is_root_or_event and run.conversation_runs.ended:
        run = run.conversation_runs.previous_parent
    return run


def _size(frame: object, field: str) -> int:
    """About how many bytes of sound a frame has, whose ``field`` that is."""
    sound = frame.get(field) if isinstance(frame, dict) else frame
    return len(sound) if isinstance(sound, (str, bytes)) else 0


def _settled(event: object) -> Event | None:
    """The event as it is now, whatever its owner does with it later; None when it is none."""
    try:
        return parse(plain(event) if isinstance(event, Mapping) else event)
    except FrameError:
        return None


class UnsampledConversation(LiveConversation):
    """It knows its place in the context, and nothing else."""

    is_sampled = False

    def _open(self) -> None:
        self._closed = True

    def server_event(self, *_: object) -> None:
        self.expect()

    def frame(self, *_: object) -> None:
        self.expect()

    def expect(self) -> None:
        if not self.family.ended:
            self._become(None)

    def close(self, error: BaseException | str | None = None) -> None:
        super().close(error)
        if not self.family.ended:
            self.family.ended = True
            self.guarded(sampling.forget, self.family.root)
