"""One traced conversation as its callers' threads see it: stamp what happens, hand it over, know the parent.

Everything here runs between the caller's own lines, so it costs microseconds. What an event means is
decided by the worker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from langsmith import Client
from langsmith.run_trees import RunTree

from langsmith_realtime import context
from langsmith_realtime.audio.tracks import AGENT, USER, Tracks
from langsmith_realtime.conversation import Conversation
from langsmith_realtime.events import BETA_NAMES, Event, FrameError, mapping, parse
from langsmith_realtime.guard import Guard
from langsmith_realtime.ids import microseconds_of
from langsmith_realtime.options import Options
from langsmith_realtime.parents import Family, ParentRun, derive
from langsmith_realtime.root import begin
from langsmith_realtime.runs import Runs
from langsmith_realtime.scrub import scrub_message
from langsmith_realtime.session import Recorder, Session
from langsmith_realtime.worker import Worker, worker

#: A frame parsed twice comes soon after the first time.
REMEMBERED_EVENTS = 512


class LiveConversation:
    """A traced conversation as its callers see it."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._began = time.monotonic()
        self.guard = Guard()
        self.family = begin(options, self.guard)
        self._start = microseconds_of(self.family.root.start_time)
        self._last = self._start  # µs, of the latest event's run
        self._stamping = threading.Lock()
        self._latest: ParentRun = self.family.root
        self._next: ParentRun | None = None  # for who waits for the next event
        self._seen: dict[str, tuple[tuple[str, int], ParentRun | None]] = {}
        self._before: RunTree | None = None
        self._dropped = {"dropped_audio_chunks": 0, "dropped_events": 0}
        self._closed = False
        self._lost: BaseException | None = None
        self._worker: Worker = worker()
        self._worker.open[id(self)] = self
        self._session = _session(options, self.family, self._worker, self.guard)
        self._put(self._session.opened)

    # From the caller's threads

    def guarded(self, work: Callable[..., object], *arguments: Any) -> None:
        """Do it, and keep its failure from the caller."""
        try:
            work(*arguments)
        except Exception as error:
            self.guard.report(work.__name__, error)

    def server_event(self, event: object) -> None:
        arrived = time.monotonic()
        try:
            parsed = parse(event)
        except FrameError as error:
            frame = bytes(event) if isinstance(event, (bytearray, memoryview)) else event
            self.malformed(frame, str(error), arrived)
            return
        body = parsed.body if parsed.body is not event else dict(parsed.body)
        self.frame(body, parsed.name, parsed.body.get("event_id"), arrived)

    def frame(self, frame: object, name: str, event_id: object, arrived: float) -> None:
        """A frame that has a type arrived; a frame seen before only becomes the parent again."""
        if self._closed:
            return
        content = (name, len(frame) if isinstance(frame, bytes) else 0)
        if isinstance(event_id, str):
            # Nothing forbids a peer to use an id twice: only the same event is the same.
            seen = self._seen.get(event_id)
            if seen is not None and seen[0] == content:
                self._become(seen[1])
                return
            self._seen[event_id] = (content, None)
            if len(self._seen) > REMEMBERED_EVENTS:
                del self._seen[next(iter(self._seen))]
        if name.endswith(".delta"):
            self._put_event(self._session.server_frame, frame, arrived - self._began, None, None)
            self._become(None)
            return
        kind = BETA_NAMES.get(name, name)
        speaking = self._ask_speaking() if kind == "input_audio_buffer.speech_started" else None
        run = self._stamp(name, arrived, frame, kind)
        self._lost = None
        self._put_event(self._session.server_frame, frame, arrived - self._began, run, speaking)
        if isinstance(event_id, str):
            self._seen[event_id] = (content, run)
        self._become(run)

    def malformed(self, frame: object, reason: str, arrived: float) -> None:
        """A frame arrived that is no event."""
        if not self._closed:
            run = self._stamp("malformed_frame", arrived, None, "")
            self._put_event(self._session.malformed_frame, frame, reason, arrived - self._began, run)

    def client_event(self, event: object, sent: float) -> None:
        if self._closed:
            return
        t = sent - self._began
        if isinstance(event, Mapping) and event.get("type") == "input_audio_buffer.append":
            # The caller may use the same dict again for the next chunk.
            append = {"type": "input_audio_buffer.append", "audio": event.get("audio")}
            self._put_audio(self._session.client_frame, append, t)
            return
        parsed = _settled(event)
        if parsed is not None and parsed.name == "input_audio_buffer.append":
            self._put_audio(self._session.client_frame, parsed.body, t)
            return
        if parsed is not None and parsed.name == "conversation.item.create":
            call_id = mapping(parsed.body.get("item")).get("call_id")
            if isinstance(call_id, str):
                self.family.answered(call_id)
        self._put_event(self._session.client_frame, parsed.body if parsed else event, t)

    def audio(self, channel: int, pcm: object, at: float | None) -> None:
        if self._closed:
            return
        if not isinstance(pcm, (bytes, bytearray, memoryview)):
            raise TypeError(f"audio is bytes of PCM16, not {type(pcm).__name__}")
        work = self._session.user_audio if channel == USER else self._session.agent_audio
        position = None if at is None else float(at) - self._began
        self._put_audio(work, bytes(pcm), time.monotonic() - self._began, position)

    @contextmanager
    def tool(self, call_id: str) -> Iterator[None]:
        if self._closed:
            yield
            return
        before = context.get_current_run_tree()
        try:
            run = self.family.tool(call_id, self._latest)
            self._put(self._session.tool_entered, call_id, self._latest)
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
            self._put(self._session.tool_left, call_id, time.monotonic() - self._began, failure)

    # For the wrapper

    def expect(self) -> None:
        """Somebody begins to wait for an event: until it arrives, its parent is what it was.

        The run is set in the caller's own context, and filled where the event arrives, which may be in
        another task.
        """
        waiting = self._next
        if waiting is None:
            root = self.family.root
            waiting = self._next = derive(root, "", "chain", root.start_time, root.id)
            waiting.fill(self._latest)
        context.set_parent(waiting)

    def lost(self, error: BaseException) -> None:
        """Receiving failed: an error if the conversation ends with it, not if it reconnects."""
        self._lost = error

    def enter(self) -> None:
        """The block begins: what is traced in it nests under the conversation."""
        self._before = context.get_current_run_tree()
        context.set_parent(self.family.root)

    def leave(self, error: BaseException | None) -> None:
        """The block ends."""
        self.close(error)

    def close(self, error: BaseException | str | None = None) -> None:
        """The conversation ends; in this context, work nests where it did before."""
        current = context.get_current_run_tree()
        if isinstance(current, ParentRun) and current.family is self.family and current.is_conversation:
            context.set_parent(self._before)
        with self._stamping:
            if self._closed:
                return
            self._closed = True
        self._worker.open.pop(id(self), None)
        message = describe(error) or describe(self._lost)
        self._put(self._session.closed, time.monotonic() - self._began, message, self._dropped)

    def abandon(self) -> None:
        """The process was forked: the conversation goes on in the parent."""
        self._closed = True

    # Details

    def _stamp(self, name: str, arrived: float, frame: object, kind: str) -> ParentRun:
        """The run of an event that arrived then. Start times strictly increase: the trace's order is arrival."""
        with self._stamping:
            self._last = max(self._last + 1, self._start + int((arrived - self._began) * 1_000_000))
            return self.family.event(name, self._last, frame, kind)

    def _become(self, run: ParentRun | None) -> None:
        """Traced work from here on nests under ``run``, or under what it did before the delta."""
        if run is not None:
            self._latest = run
            waiting, self._next = self._next, None
            if waiting is not None:
                waiting.fill(run)
        if context.pinned() is not self._latest:
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

    def _put(self, work: Callable[..., None], *arguments: Any) -> bool:
        return self._worker.put(self.guard, work, *arguments)

    def _put_event(self, work: Callable[..., None], *arguments: Any) -> None:
        if not self._put(work, *arguments):
            self._dropped["dropped_events"] += 1

    def _put_audio(self, work: Callable[..., None], *arguments: Any) -> None:
        if not self._worker.put_audio(self.guard, work, *arguments):
            self._dropped["dropped_audio_chunks"] += 1


def _settled(event: object) -> Event | None:
    """The event as it is now, whatever its owner does with it later; None when it is none."""
    try:
        parsed = parse(event)
    except FrameError:
        return None
    if parsed.body is not event:
        return parsed
    return Event(parsed.kind, parsed.name, _copied(parsed.body))


def _copied(value: Any, depth: int = 0) -> Any:
    if depth > 50:
        return value
    if isinstance(value, dict):
        return {key: _copied(member, depth + 1) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(member, depth + 1) for member in value]
    return value


def _session(options: Options, family: Family, process: Worker, guard: Guard) -> Session:
    client: Client = family.root.client
    recorder = None
    if options.recording is not None:
        hidden = {
            channel for channel, side in ((USER, "_hide_inputs"), (AGENT, "_hide_outputs")) if _hides(client, side)
        }
        name = str(family.root.id)
        recorder = Recorder(options.recording, name=name, limit_s=options.max_audio_seconds, hidden=hidden)
    tracks = Tracks(options.sample_rate)
    return Session(Conversation(tracks=tracks), Runs(family, process.sender), recorder, guard)


def _hides(client: Client, side: str) -> bool:
    """Whether the client hides everything of that side, so that its sound must be silent too."""
    hides = getattr(client, side, None)
    if not callable(hides):
        return hides is True
    try:
        return not hides({"event": {}, "messages": []})
    except Exception:
        return True  # it would refuse the runs as well; better silent than said


def describe(error: BaseException | str | None) -> str | None:
    """An exception as a root's error; None for the ordinary ends of a conversation."""
    if error is None or isinstance(error, str):
        return error
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)) or type(error).__name__ in _ORDINARY:
        return None
    return scrub_message(f"{type(error).__name__}: {error}")


#: A cancelled task, and a connection that was closed with 1000 or 1001.
_ORDINARY = frozenset({"CancelledError", "ConnectionClosedOK"})
