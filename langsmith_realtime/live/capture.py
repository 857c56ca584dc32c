"""Records one live conversation in the callers' threads: stamps each input with its time and puts it into the queue.

This code runs between the caller's own lines, so each call costs microseconds. The worker thread interprets the inputs;
only the run of an event and that of an entered tool call are decided here, because the caller's next line may need them
as the parent of traced work.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from enum import Enum
from numbers import Real
from typing import TYPE_CHECKING, Any

from langsmith_realtime.core.payloads.errors import describe_error
from langsmith_realtime.core.payloads.json_values import json_copy, json_frame
from langsmith_realtime.core.protocol.audio_formats import AUDIO_FIELDS, USER
from langsmith_realtime.core.protocol.events import (
    ANNOUNCING,
    APPEND,
    SPEECH_STARTED,
    FrameError,
    ga_type,
    mapping,
    parse,
)
from langsmith_realtime.core.protocol.inputs import (
    Audio,
    ClientFrame,
    Closed,
    Input,
    MalformedFrame,
    Opened,
    Played,
    Ref,
    ServerFrame,
    Silence,
    ToolEnded,
)
from langsmith_realtime.delivery.langsmith_client import context, sampling
from langsmith_realtime.delivery.langsmith_client.masking import calls_application
from langsmith_realtime.delivery.tail_sampling import HeldConversation
from langsmith_realtime.live.closing import Closing, closing_of
from langsmith_realtime.live.duplicates import RecentFrames
from langsmith_realtime.live.parent_context import ParentContext
from langsmith_realtime.live.process import Process, process
from langsmith_realtime.live.run_refs import RunRefs
from langsmith_realtime.live.tool_claims import ToolClaims
from langsmith_realtime.options.calls import checked_annotation, checked_silence
from langsmith_realtime.options.tracing import Options
from langsmith_realtime.runtime.forks import holding_forks
from langsmith_realtime.runtime.guard import Guard, logger
from langsmith_realtime.runtime.threads import load_library
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns, EventParent
from langsmith_realtime.trace.run_trees.run_limits import Priority, priority_of

if TYPE_CHECKING:
    from langsmith_realtime.live.pipeline import Pipeline

#: How the JSON text of a microphone chunk begins. Chunks are too frequent to parse them in the caller's thread.
_APPEND_PREFIXES = tuple(f'{{"type":{space}"{APPEND}"' for space in ("", " "))
_APPEND_EVENT = {"type": APPEND}
#: Seconds from now within which the time of fed audio may lie. A later time must come from another clock than
#: time.monotonic().
MAX_AHEAD_S = 60.0


class Posting(Enum):
    """When the root run of a conversation is posted."""

    AT_ONCE = "at once"
    FIRST_INPUT = "with the first input"
    RELEASE = "when the conversation is released, or closed"


class LiveConversation(ParentContext):
    """A traced conversation as its callers see it.

    A time that is called ``arrived``, ``sent`` or ``at`` is in seconds of ``time.monotonic()``. In the queue, times are
    in seconds since the conversation opened.

    Args:
        options: options of the conversation.
        runs: runs of the conversation, from
            :func:`~langsmith_realtime.trace.run_trees.root_run.start_conversation_runs`.
        posting: when to post the root run. Until then, the conversation can be discarded without a trace.
    """

    #: False if LangSmith's sampling leaves the conversation out.
    is_sampled = True

    def __init__(self, options: Options, runs: ConversationRuns, posting: Posting = Posting.AT_ONCE) -> None:
        super().__init__(runs)
        self._options = options
        self.guard = runs.guard
        # The root's start on the monotonic clock, from which event times count. The root may start in the future, if
        # the clock of its parent's machine is ahead; then the conversation opens now.
        elapsed = time.time() - runs.start_us / 1_000_000
        self._opened_at = time.monotonic() - max(0.0, elapsed)
        self._refs = RunRefs(in_turns=options.layout == "turns")
        self._lock = threading.RLock()  # gives the events of several threads one order
        self._recent_frames: RecentFrames[EventParent | None] = RecentFrames()
        #: Latest exception of the connection; None again after the next event that is no delta.
        self.connection_error: BaseException | None = None
        #: How the connection was closed, as it is when its block ends; None if it is not known.
        self.closing: Closing | None = None
        #: Whether the conversation has to be released before anything of it is posted.
        self.is_held = posting is Posting.RELEASE
        self._open(posting)

    def _open(self, posting: Posting) -> None:
        options, runs = self._options, self.runs
        self._process = process()
        self._process.open[id(self)] = self
        client = runs.client
        has_callbacks = options.redact is not None or (client is not None and calls_application(client))
        worker = self._process.callback_worker if has_callbacks else self._process.worker
        if options.keep is not None:
            runs.held_conversation = HeldConversation(
                self._process.sender, options.keep, self.guard, self._process.limits
            )
        self._queue = worker.open_queue(_LazyPipeline(options, runs, self._process, self.guard).take)
        if self._spans is not None and options.journal:
            self._spans.note = self._queue.put_note
        self._claims = runs.observer = ToolClaims(runs, self._queue.put_always, self._now)
        if posting is Posting.AT_ONCE:
            self._queue.put_always(Opened())
        else:
            self._queue.put_quietly(Opened(), hold=self.is_held)

    @property
    def has_inputs(self) -> bool:
        """Whether the conversation has any input yet; unless its root is posted at once, which counts as one."""
        return not self._queue.has_only_opened

    def release(self) -> None:
        """Post the root run of a held conversation, and everything recorded since."""
        self.is_held = False
        self._queue.wake()

    def discard(self) -> None:
        """End a conversation of which nothing was posted, so that there is no trace of it."""
        self._leave()
        with self._lock:
            self.is_held = False
            self._closed = self.runs.ended = True
        self._process.open.pop(id(self), None)

    # Inputs, from the callers' threads

    def guarded(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call ``function(*arguments)`` and report its exception to the guard instead of the caller."""
        try:
            function(*arguments)
        except Exception as error:
            self.guard.report(function.__name__, error)

    def server_event(self, event: object) -> None:
        """Record an event that arrived just now: a mapping, JSON text or bytes, or an openai model.

        Anything else is recorded as a malformed frame.
        """
        arrived = time.monotonic()
        if isinstance(event, Mapping):
            event = json_copy(event)  # a copy, because the caller may change the dict later
        try:
            parsed = parse(event)
        except FrameError as error:
            self.malformed_frame(event, str(error), arrived)
            return
        self.parsed_frame(parsed.body, parsed.name, parsed.body.get("event_id"), arrived)

    def parsed_frame(self, frame: object, name: str, event_id: object, arrived: float) -> None:
        """Record a frame with the event type ``name``.

        A duplicate only makes the run of the first one the parent of traced work again.
        """
        if self._closed:
            return
        speaking = self._is_agent_speaking() if name == SPEECH_STARTED else None
        size = len(frame) if isinstance(frame, (bytes, str)) else _audio_size(frame, "delta")
        with self._lock:
            seen = self._recent_frames.find(event_id, size, frame)
            if seen is not None:
                parent = seen.run
            else:
                parent = self._put_frame(frame, size, name, arrived, speaking)
                self._recent_frames.remember(event_id, size, frame, parent)
        self._set_parent(parent)

    def _put_frame(
        self, frame: object, size: int, name: str, arrived: float, speaking: bool | None
    ) -> EventParent | None:
        """Put a frame into the queue; return its event as a parent, None for a delta."""
        kind, t = ga_type(name), arrived - self._opened_at
        if name.endswith(".delta"):
            if kind in AUDIO_FIELDS:
                self._queue.put_audio(ServerFrame(frame, t), size)
            else:
                self._queue.put_event(ServerFrame(frame, t), light=True)
            return None
        frame = self._refs.parsed_if_needed(frame)
        ref = self._refs.of_event(t, frame)
        parent = EventParent(self.runs, ref, name, frame if kind in ANNOUNCING else None)
        if kind in ANNOUNCING:
            self._claims.announced(parent)
        if self._callers is not None:
            self.guarded(self._callers.event, kind, t, frame)
        self.connection_error = None
        light = self._queue.load.is_nearly_full and priority_of(name) is Priority.LOW
        self._queue.put_event(ServerFrame(frame, t, ref, speaking), light=light)
        return parent

    def malformed_frame(self, frame: object, reason: str, arrived: float) -> None:
        """Record a frame from the server that is no event; do nothing after the end."""
        if not self._closed:
            frame, t = json_frame(frame), arrived - self._opened_at
            with self._lock:
                self._queue.put_event(MalformedFrame(frame, reason, t, self._refs.about(t)))

    def microphone_chunk(self, event: object, sent: float) -> bool:
        """Record an event if it is an ``input_audio_buffer.append`` in a common form; return whether it is.

        Records nothing after the end. A separate method, because microphone chunks are the most frequent inputs.
        """
        t = sent - self._opened_at
        if type(event) is dict:
            if event.get("type") != APPEND:
                return False
            chunk = event.get("audio")
            if type(chunk) is not str:
                return False
            given: Input = Audio(USER, chunk, t, None, _APPEND_EVENT)
        elif type(event) is str and event.startswith(_APPEND_PREFIXES):
            chunk, given = event, ClientFrame(event, t)
        else:
            return False
        if not self._closed:
            self._queue.put_audio(given, len(chunk))
        return True

    def client_event(self, event: object, sent: float) -> None:
        """Record an event that the application sent; do nothing after the end."""
        if self.microphone_chunk(event, sent) or self._closed:
            return
        t = sent - self._opened_at
        if isinstance(event, Mapping):
            event = json_copy(event)  # a copy, because the caller may change the dict later
        try:
            parsed = parse(event)
        except FrameError as error:
            self._queue.put_event(MalformedFrame(json_frame(event), str(error), t))
            return
        if parsed.kind == APPEND:
            if not self.microphone_chunk(parsed.body, sent):
                self._queue.put_audio(ClientFrame(parsed, t), _audio_size(parsed.body, "audio"))
            return
        if parsed.kind == "conversation.item.create":
            call_id = mapping(parsed.body.get("item")).get("call_id")
            if isinstance(call_id, str):
                self._claims.answered(call_id, self._refs.latest)
                if self._callers is not None:
                    self._callers.answered(call_id, t)
        elif self._callers is not None and parsed.kind in ("response.create", "input_audio_buffer.commit"):
            self._callers.response_requested(t)
        self._queue.put_event(ClientFrame(parsed, t))

    def fed_audio(self, channel: int, pcm: object, at: float | None) -> None:
        """Record audio that the application passed to ``record_user_audio`` or ``record_agent_audio``.

        Does nothing after the end.

        Args:
            channel: ``USER`` or ``AGENT``.
            pcm: the audio as bytes, bytearray or memoryview, encoded as the options say.
            at: when its first frame was captured or heard, in seconds of ``time.monotonic()``; None if unknown.

        Raises:
            TypeError: ``pcm`` is of another type.
            ValueError: ``at`` is not finite, or lies so far ahead that it comes from another clock.
        """
        if self._closed:
            return
        if not isinstance(pcm, (bytes, bytearray, memoryview)):
            raise TypeError(f"pcm must be bytes, got {type(pcm).__name__}")
        now = time.monotonic()
        position = None if at is None else self._since_opening(at, now)
        self._queue.put_audio(Audio(channel, bytes(pcm), now - self._opened_at, position), len(pcm))

    def played(self, item_id: object, ms: object, at: float | None) -> None:
        """Record that ``ms`` milliseconds of an item's audio had been played at the time ``at`` (None: now).

        Raises:
            TypeError: ``item_id`` is not a str, or ``ms`` is not a number.
            ValueError: ``ms`` is negative or not finite, or ``at`` is not finite or more than
                :data:`MAX_AHEAD_S` seconds ahead.
        """
        if self._closed:
            return
        if not isinstance(item_id, str):
            raise TypeError(f"item_id must be a str, got {type(item_id).__name__}")
        if isinstance(ms, bool) or not isinstance(ms, Real):
            raise TypeError(f"ms must be a number of milliseconds, got {type(ms).__name__}")
        milliseconds = float(ms)
        if not 0 <= milliseconds < math.inf:
            raise ValueError(f"ms must be a finite number of milliseconds that is not negative, got {ms}")
        now = time.monotonic()
        position = self._since_opening(now if at is None else at, now)
        self._queue.put_audio(Played(item_id, milliseconds, now - self._opened_at, position), 0)

    def silence(self, seconds: object, item_id: object, since: object, until: object) -> None:
        """Silence a part of the recording and of the journal; after the end of the conversation, only log a warning.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: no argument, arguments that exclude each other, or an impossible time.
        """
        now = time.monotonic()
        begin, end, item = checked_silence(now, seconds=seconds, item_id=item_id, since=since, until=until)
        if self._closed:
            if self.is_sampled:
                logger.warning("silence() has no effect: the conversation has ended. Call it before the end.")
            return
        since_s, until_s = (None if at is None else at - self._opened_at for at in (begin, end))
        # Also when the queue is full, because the audio is confidential.
        self._queue.put_always(Silence(now - self._opened_at, since_s, until_s, item))

    @contextmanager
    def tool(self, call_id: str) -> Iterator[None]:
        """Make the run of a function call the parent of traced work inside the block; do nothing after the end."""
        if self._closed or not isinstance(call_id, str):
            yield
            return
        before = context.get_current_run_tree()
        self.enter_tool(call_id)
        failure: str | None = None
        try:
            with nullcontext() if self._callers is None else self._callers.tool(call_id):
                yield
        except BaseException as error:
            failure = describe_error(error)
            raise
        finally:
            if self.runs.is_sent:
                context.set_parent(before)
            self._queue.put_event(ToolEnded(call_id, self._now(), failure))

    def enter_tool(self, call_id: str) -> None:
        """Make the run of a function call the parent of traced work in this context; do nothing after the end."""
        if self._closed:
            return
        try:
            run = self._claims.begin(call_id, self._refs.latest)
            if self.runs.is_sent:
                context.set_parent(run)
        except Exception as error:
            self.guard.report("tool", error)

    @contextmanager
    def inside_tool(self, call_id: str) -> Iterator[None]:
        """As :meth:`enter_tool`, for the context inside the block alone; the call may go on after it."""
        before = context.get_current_run_tree()
        self.enter_tool(call_id)
        try:
            with nullcontext() if self._callers is None else self._callers.tool(call_id):
                yield
        finally:
            if self.runs.is_sent:
                context.set_parent(before)

    def connected_to(self, address: str, port: int) -> None:
        """Note to which server the connection goes, for the spans in OpenTelemetry."""
        if self._spans is not None:
            self._spans.connected_to(address, port)

    def told(self, make: Callable[[float], Input]) -> None:
        """Record what an SDK said just now: ``make`` gets the time and returns the input. Do nothing after the end."""
        if not self._closed:
            self._queue.put_event(make(self._now()))

    def told_as_run(self, make: Callable[[float, Ref], Input], about: str | None = None) -> None:
        """As :meth:`told`, of an input that becomes a run: ``make`` also gets the run's ref.

        With ``layout="turns"``, the run stands below the turn of the response, the item or the call with the id
        ``about``, or else below the latest turn.
        """
        if not self._closed:
            with self._lock:
                t = self._now()
                self._queue.put_event(make(t, self._refs.about(t, about)))

    def add(self, metadata: object, tags: object, outputs: object) -> None:
        """Add metadata, tags and outputs to the root run; warn and do nothing after the end.

        Raises:
            TypeError: ``metadata`` or ``outputs`` is no mapping, or ``tags`` no collection of str.
            ValueError: ``outputs`` has the key ``messages``, which holds the transcript.
        """
        annotation = checked_annotation(self._now(), metadata, tags, outputs)
        if not self._closed:
            self._queue.put_always(annotation)
        elif self.is_sampled:
            logger.warning("add() has no effect: the conversation has ended. Call it before the end.")

    def connection_lost(self, error: BaseException) -> None:
        """Record an exception of the connection, which becomes the root's error.

        It does not if it is a normal closure, if :meth:`close` gets an error, or if an event that is no delta arrives.
        """
        self.connection_error = error

    def leave(self, error: BaseException | None) -> None:
        """End the conversation when its ``with`` block ends, with the exception that leaves the block."""
        self.close(error)

    def close(self, error: BaseException | str | None = None) -> None:
        """End the conversation and restore the parent that this context had before it.

        The parent is only restored if it still is the root or an event of this conversation. ``error``, if it is not an
        ordinary end such as a cancellation, is the root's error; else the connection's exception is, or its closing by
        a server that goes away.
        """
        self._leave()
        with self._lock:
            if self._closed:
                return
            self._closed = self.runs.ended = True
        self._process.open.pop(id(self), None)
        # The connection's own end first: the exception that leaves the block may come from another socket.
        closing = closing_of(self.connection_error) or self.closing or closing_of(error) or Closing()
        if not self.runs.is_sampled:
            self.guarded(sampling.forget, self.runs.root)
        message = describe_error(error) or describe_error(self.connection_error) or closing.error
        self._queue.put_always(Closed(self._now(), message, self._queue.dropped, *closing))

    def abandon(self) -> None:
        """Stop tracing the conversation in a forked child; it goes on in the parent process."""
        self._lock = threading.RLock()  # the old one may be held by a thread that the child does not have
        self._closed = True

    # Details

    def _since_opening(self, at: float, now: float) -> float:
        """Convert a time of ``time.monotonic()`` that the application gave to seconds since the conversation opened.

        Raises:
            ValueError: the time is not finite, or more than :data:`MAX_AHEAD_S` seconds after ``now``.
        """
        if not (math.isfinite(at) and at <= now + MAX_AHEAD_S):
            raise ValueError(f"at must be a time of time.monotonic(), which is {now:.3f} s now, got {at}")
        return float(at) - self._opened_at

    def _now(self) -> float:
        return time.monotonic() - self._opened_at

    def _is_agent_speaking(self) -> bool | None:
        """Return the answer of the option ``is_agent_speaking``; None without one, or if it raises."""
        is_agent_speaking = self._options.is_agent_speaking
        if is_agent_speaking is None:
            return None
        try:
            return bool(is_agent_speaking())
        except Exception as error:
            self.guard.report("is_agent_speaking", error)
            return None


class _LazyPipeline:
    """The pipeline of a conversation, made on the worker's thread with the first inputs.

    So numpy, the audio code, the journal and the delivery are imported there, and the caller's event loop does not
    wait for them.
    """

    def __init__(self, options: Options, runs: ConversationRuns, process: Process, guard: Guard) -> None:
        self._arguments = options, runs, process, guard
        self._pipeline: Pipeline | None = None

    def take(self, inputs: list[Input], pause: Callable[[], None]) -> None:
        """Process inputs, as :meth:`.Pipeline.take` does."""
        if self._pipeline is None:
            with holding_forks():
                load_library("numpy", "_core/_multiarray_umath*.so")
                from langsmith_realtime.live.pipeline import build_pipeline  # noqa: PLC0415

            self._pipeline = build_pipeline(*self._arguments)
        self._pipeline.take(inputs, pause)


def _audio_size(frame: object, field: str) -> int:
    """Return the length of the base64 audio in a field of an event, or of the frame if it is text or bytes."""
    audio = frame.get(field) if isinstance(frame, dict) else frame
    return len(audio) if isinstance(audio, (str, bytes)) else 0
