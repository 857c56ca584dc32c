"""The public face of one traced conversation, for people with a socket of their own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from pydantic import BaseModel
from typing_extensions import Self, Unpack

from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.delivery.langsmith_client.sampling import is_sampled
from langsmith_realtime.live.capture import LiveConversation, UnsampledConversation
from langsmith_realtime.options.tracing import Options, TracingOptions
from langsmith_realtime.runtime.guard import Guard, logger
from langsmith_realtime.trace.run_trees.root_run import start_conversation_runs


class SessionTracer:
    """Traces one Realtime conversation over a socket of your own.

    Tell it every event that arrives and every event you send; it makes the trace ``wrap_realtime`` makes
    for openai's connections::

        with SessionTracer(thread_id=call_id) as tracer:
            ...
            tracer.server_event(frame)   # a dict, JSON text or bytes, or an openai model
            tracer.client_event(frame)

    Args:
        **options: see :class:`Options`.

    Raises:
        TypeError: an unknown option, or one of the wrong type.
        ValueError: an option's value that cannot be used.

    No other method raises, whatever it is given, and all may be called from any thread. When tracing is
    off they do nothing.
    """

    def __init__(self, **options: Unpack[TracingOptions]) -> None:
        checked = Options.of(**options)
        #: What the taps of ``wrap_realtime`` talk to; None when tracing is off.
        self.live = _begin(checked)

    @property
    def enabled(self) -> bool:
        """Whether this conversation is traced: tracing is on, and LangSmith's sampling lets it through."""
        return self.live is not None and self.live.is_sampled

    @property
    def trace_id(self) -> str | None:
        """The trace's id; None when tracing is off."""
        return None if self.live is None else str(self.live.family.root.trace_id)

    @property
    def run_id(self) -> str | None:
        """The id of the conversation's root run; the trace's unless it is nested. None when tracing is off."""
        return None if self.live is None else str(self.live.family.root.id)

    @property
    def thread_id(self) -> str | None:
        """The thread the conversation belongs to; None when tracing is off."""
        return None if self.live is None else str(self.live.family.metadata["thread_id"])

    @property
    def url(self) -> str | None:
        """Where the trace is shown. Asks LangSmith for the project's id, so it blocks; None when it cannot."""
        if self.live is None:
            return None
        try:
            return self.live.family.root.get_url()
        except Exception as error:
            logger.debug("no URL: %s", error)
            return None

    def server_event(self, event: Mapping[str, Any] | str | bytes | BaseModel) -> None:
        """An event arrived from the server, just now.

        Traced work in this context nests under its run from here on, until the next one arrives.
        """
        if self.live is not None:
            self.live.guarded(self.live.server_event, event)

    def client_event(self, event: Mapping[str, Any] | str | bytes | BaseModel) -> None:
        """An event was sent to the server, just now; call it only for what was really sent."""
        if self.live is not None:
            self.live.guarded(self.live.client_event, event, time.monotonic())

    def record_user_audio(self, pcm: bytes, *, at: float | None = None) -> None:
        """The user's sound, as the application captured it; from then on the channel is taken from here alone.

        Args:
            pcm: PCM16 little-endian mono at ``sample_rate``, or as ``user_format`` says; any number of bytes.
            at: when its first frame was captured, in seconds of ``time.monotonic()``.
        """
        if self.live is not None:
            self.live.guarded(self.live.audio, USER, pcm, at)

    def record_agent_audio(self, pcm: bytes, *, at: float | None = None) -> None:
        """The agent's sound, as the application played it; from then on the channel is taken from here alone.

        Args:
            pcm: PCM16 little-endian mono at ``sample_rate``, or as ``agent_format`` says; any number of bytes.
            at: when its first frame was heard, in seconds of ``time.monotonic()``. Without it, chunks are
                taken to play one after another, and are cut at a barge-in.
        """
        if self.live is not None:
            self.live.guarded(self.live.audio, AGENT, pcm, at)

    def played(self, item_id: str, ms: float, *, at: float | None = None) -> None:
        """How far playing an item has come, for applications that know only that: Twilio's marks, a playback tracker.

        The recording of received speech follows it, and so does what a barge-in cuts; sound of
        ``record_agent_audio`` is not moved. Call it when the position is known anew, the more often the better.

        Args:
            item_id: the item whose audio it is, as the deltas name it.
            ms: milliseconds of it that had been played, from its beginning.
            at: when they had been, in seconds of ``time.monotonic()``; now by default.
        """
        if self.live is not None:
            self.live.guarded(self.live.played, item_id, ms, at)

    def silence(
        self,
        *,
        seconds: float | None = None,
        item_id: str | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> None:
        """Have a part of the recording, and of the journal, silent: a card number that was said.

        Both sides are silent in a time, the one that spoke for an item. It holds for what is recorded there
        later, and for every form of the recording; what was there is gone. Events and transcripts stay as they
        are: ``redact`` and ``transcripts`` are for those. Give one of:

        Args:
            seconds: how long back from now.
            item_id: all sound of that item, the user's or the agent's; of a user's, and of what
                ``record_agent_audio`` was given, some of what is before and after it as well.
            since, until: from when to when, in seconds of ``time.monotonic()``; until may lie ahead. Without
                ``until`` the silence goes on until another call with ``until`` alone ends it; ``until`` alone
                with nothing to end is all from the beginning.
        """
        if self.live is not None:
            self.live.guarded(self.live.silence, seconds, item_id, since, until)

    @contextmanager
    def tool(self, call_id: str) -> Iterator[None]:
        """Carry out a function call: traced work inside nests under the call's tool run, exactly.

        Needed only where context cannot follow by itself: several conversations in one task, or events
        received in another task than they are handled in.
        """
        if self.live is None:
            yield
            return
        with self.live.tool(call_id):
            yield

    def close(self, error: BaseException | str | None = None) -> None:
        """End the conversation; an error is shown on its root. Hands over, and does not wait to be sent."""
        if self.live is not None:
            self.live.guarded(self.live.close, error)

    def __enter__(self) -> Self:
        if self.live is not None:
            self.live.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.guarded(self.live.leave, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


def _begin(options: Options) -> LiveConversation | None:
    """The conversation when it is to be traced; one that cannot be is not, and goes on all the same."""
    if not options.is_on:
        return None
    try:
        family = start_conversation_runs(options, Guard())
        kind = LiveConversation if is_sampled(family.root) else UnsampledConversation
        return kind(options, family)
    except Exception as error:
        Guard().report("opening the trace", error)
        return None
