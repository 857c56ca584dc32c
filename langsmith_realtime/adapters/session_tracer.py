"""``SessionTracer``: traces one conversation over a connection that the application manages itself."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from pydantic import BaseModel

from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.delivery.langsmith_client.links import openable
from langsmith_realtime.delivery.langsmith_client.sampling import is_sampled
from langsmith_realtime.live.capture import LiveConversation, Posting
from langsmith_realtime.live.process import process
from langsmith_realtime.live.unsampled import UnsampledConversation
from langsmith_realtime.options.recording import Recording
from langsmith_realtime.options.tracing import Options, TracingOptions
from langsmith_realtime.runtime.guard import Guard, logger
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns
from langsmith_realtime.trace.run_trees.root_run import RootIdentity, __version__, start_conversation_runs

if TYPE_CHECKING:
    from langsmith_realtime.adapters.agents.listener import AgentsListener
    from langsmith_realtime.trace.otel.spans.conversation_spans import ConversationSpans


class SessionTracer:
    """Traces one conversation of the Realtime API over a connection of your own.

    Pass it every event that you receive and every event that you send. The trace is equal to that of
    ``wrap_realtime``::

        with SessionTracer(thread_id=call_id) as tracer:
            ...
            tracer.server_event(frame)   # a dict, JSON text (str or bytes), or an openai model
            tracer.client_event(frame)

    The trace begins when the tracer is made, and ends with the ``with`` or ``async with`` block, or with :meth:`close`.
    Only the constructor and :meth:`listener` raise. Any thread may call the methods. They do not block, except ``url``.
    The root run counts wrong arguments (``tracing_failures``; ``malformed_frames`` for events). If tracing is off, the
    methods do nothing.

    Args:
        **options: options of the conversation; see :class:`Options`.

    Raises:
        TypeError: an option is unknown or has the wrong type.
        ValueError: an option's value cannot be used.
    """

    def __init__(self, **options: Unpack[TracingOptions]) -> None:
        checked = Options.of(**options)
        #: The conversation, which the taps of ``wrap_realtime`` use; None if tracing is off.
        self.live = open_conversation(checked)

    @classmethod
    def of(cls, live: LiveConversation | None) -> Self:
        """Return the tracer of a conversation that is open; None: tracing is off."""
        tracer = cls.__new__(cls)
        tracer.live = live
        return tracer

    @property
    def enabled(self) -> bool:
        """Whether this conversation is traced: tracing is on, and LangSmith's sampling keeps the trace."""
        return self.live is not None and self.live.is_sampled

    @property
    def trace_id(self) -> str | None:
        """Id of the trace, also if LangSmith's sampling leaves it out; None if tracing is off."""
        return None if self.live is None else str(self.live.runs.root.trace_id)

    @property
    def run_id(self) -> str | None:
        """Id of the conversation's root run; None if tracing is off.

        It equals ``trace_id``, unless the conversation is nested under a run of the application.
        """
        return None if self.live is None else str(self.live.runs.root.id)

    @property
    def thread_id(self) -> str | None:
        """Id of the thread that the conversation belongs to in LangSmith; None if tracing is off."""
        return None if self.live is None else str(self.live.runs.metadata["thread_id"])

    @property
    def url(self) -> str | None:
        """Web address of the conversation's root run; None if tracing is off, if LangSmith does not answer, or if the
        project is new and LangSmith has no run of it yet.

        Blocks, because it asks LangSmith for the id of the project.
        """
        if self.live is None or not self.live.runs.is_sent:
            return None
        try:
            root = self.live.runs.root
            return openable(root.get_url(), root.client)
        except Exception as error:
            logger.debug("the URL of the trace is unknown: %s", error)
            return None

    def server_event(self, event: Mapping[str, Any] | str | bytes | BaseModel) -> None:
        """Record an event that arrived from the server just now.

        From here on, traced work in this context nests under the run of the event, until the next event arrives. A
        delta has no run and changes nothing.

        Args:
            event: the event; a frame that is no event becomes a ``malformed_frame`` run.
        """
        if self.live is not None:
            self.live.guarded(self.live.server_event, event)

    def client_event(self, event: Mapping[str, Any] | str | bytes | BaseModel) -> None:
        """Record an event that was sent to the server just now. Call it after the send succeeded.

        Args:
            event: the event; one that is not valid is counted on the root run (``malformed_frames``).
        """
        if self.live is not None:
            self.live.guarded(self.live.client_event, event, time.monotonic())

    def record_user_audio(self, pcm: bytes, *, at: float | None = None) -> None:
        """Record a chunk of the user's audio as the application captured it.

        From the first call on, the user's channel of the recording has this audio alone; the audio of all
        ``input_audio_buffer.append`` events, earlier ones included, is silent.

        Args:
            pcm: PCM16, little-endian, mono, at ``sample_rate``, or in the encoding of ``user_format``. A chunk may have
                any number of bytes.
            at: time at which the first frame was captured, in seconds of ``time.monotonic()``. Without it, chunks are
                placed one after the other, and each ends at the time of the call or earlier.
        """
        if self.live is not None:
            self.live.guarded(self.live.fed_audio, USER, pcm, at)

    def record_agent_audio(self, pcm: bytes, *, at: float | None = None) -> None:
        """Record a chunk of the agent's audio as the application played it.

        From the first call on, the agent's channel of the recording has this audio alone; the audio of all
        ``response.output_audio.delta`` events, earlier ones included, is silent.

        Args:
            pcm: PCM16, little-endian, mono, at ``sample_rate``, or in the encoding of ``agent_format``. A chunk may
                have any number of bytes.
            at: time at which the first frame was heard, in seconds of ``time.monotonic()``. Without it, chunks are
                placed one after the other, and a barge-in cuts those that were not played yet.
        """
        if self.live is not None:
            self.live.guarded(self.live.fed_audio, AGENT, pcm, at)

    def played(self, item_id: str, ms: float, *, at: float | None = None) -> None:
        """Record the playback position of an item, if the application knows it: from Twilio's marks, or from a player.

        The agent's channel of the recording follows the positions, and they say how much of the item was heard before a
        barge-in. Audio of ``record_agent_audio`` is not moved. Call it whenever a new position is known.

        Args:
            item_id: item that is played, as in the ``item_id`` of its audio deltas.
            ms: length of the item's audio that was played, in milliseconds from its begin.
            at: time of that position, in seconds of ``time.monotonic()``; by default now.
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
        """Silence a part of the recording and of the journal, for example a spoken card number.

        The audio is deleted from every file of the recording, and audio that arrives later for that time is silenced,
        too. A time silences both channels, an item only the channel of its speaker. Events and transcripts are not
        changed; use the options ``redact`` and ``transcripts`` for them. Pass exactly one of ``seconds``, ``item_id``
        and ``since``/``until``.

        Args:
            seconds: length of the time to silence before now, in seconds.
            item_id: item whose audio to silence. For an item of the user, and for audio of ``record_agent_audio``, some
                audio before and after the item is silenced, too.
            since: begin of the time to silence, in seconds of ``time.monotonic()``.
            until: end of the time to silence, in seconds of ``time.monotonic()``; it may be in the future. Without
                ``until``, the silence goes on until another call with ``until`` alone. ``until`` alone, without a
                silence to end, silences everything from the beginning.
        """
        if self.live is not None:
            self.live.guarded(self.live.silence, seconds, item_id, since, until)

    def add(
        self,
        *,
        metadata: Mapping[str, Any] | None = None,
        tags: Collection[str] | None = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Add to the conversation's root run what the application learns while it runs, at any time until the end.

        Retrieved documents, a customer's id, a verdict of the application. It is sent with the root's update.

        Args:
            metadata: metadata; the numbers and facts of this package win over an equal key.
            tags: tags.
            outputs: outputs beside ``messages``, the transcript.
        """
        if self.live is not None:
            self.live.guarded(self.live.add, metadata, tags, outputs)

    @contextmanager
    def tool(self, call_id: str) -> Iterator[None]:
        """Nest traced work inside the block under the tool run of a function call.

        Needed only if LangSmith's context does not lead to the call: for several conversations in one task, or if one
        task receives the events and another one carries out the calls.

        Args:
            call_id: ``call_id`` of the ``function_call`` item.
        """
        if self.live is None:
            yield
            return
        with self.live.tool(call_id):
            yield

    def listener(self, session: Any) -> AgentsListener:
        """Feed this tracer from a session of the OpenAI Agents SDK that the application makes and enters itself.

        ::

            session = RealtimeSession(model, agent, context)
            with SessionTracer() as tracer, tracer.listener(session):
                async with session:
                    ...

        ``wrap_realtime_session`` does all of this at once.

        Args:
            session: a ``RealtimeSession`` with any model that passes raw server events to its listeners.

        Raises:
            TypeError: the session is not one of the Agents SDK.
        """
        from langsmith_realtime.adapters.agents.listener import (  # noqa: PLC0415 - needs openai-agents
            AgentsListener,
            check_session,
        )

        check_session(session)
        return AgentsListener(self.live, session)

    def close(self, error: BaseException | str | None = None) -> None:
        """End the conversation. Does not wait until the trace is sent; :func:`flush` does.

        Args:
            error: error of the root run, as an exception or as text.
        """
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


def open_conversation(
    options: Options, posting: Posting = Posting.AT_ONCE, identity: RootIdentity | None = None
) -> LiveConversation | None:
    """Open the conversation's trace; return None if tracing is off, or if opening failed (which is logged).

    Args:
        options: options of the conversation.
        posting: when to post the root run.
        identity: start, id and thread of the root run; by default it starts now.
    """
    is_sent = options.is_on
    if not is_sent and (options.otel is None or options.enabled is False):
        return None
    try:
        options = replace(options, langsmith=is_sent)
        runs = start_conversation_runs(options, Guard(), process().limits, identity)
        runs.is_sampled = not is_sent or is_sampled(runs.root)
        if options.otel is not None:
            runs.spans = _start_spans(options, runs)
        if runs.spans is None and not is_sent:
            return None
        if runs.spans is None and not runs.is_sampled:
            return UnsampledConversation(options, runs, posting)
        if runs.client is None and (runs.spans is None or not runs.spans.takes_recording):
            options = replace(options, recording=_stored(options.recording))
        return LiveConversation(options, runs, posting)
    except Exception as error:
        Guard().report("opening the trace", error)
        return None


def _start_spans(options: Options, runs: ConversationRuns) -> ConversationSpans | None:
    """Start the conversation's spans in OpenTelemetry; None if that fails, which is logged."""
    from langsmith_realtime.trace.otel.spans.conversation_facts import facts_of  # noqa: PLC0415 - an extra
    from langsmith_realtime.trace.otel.spans.conversation_spans import start_spans  # noqa: PLC0415

    try:
        facts = facts_of(
            options,
            thread_id=str(runs.metadata["thread_id"]),
            has_given_thread=options.thread_id is not None or runs.outer_run is not None,
            tags=runs.tags,
            metadata=runs.metadata,
        )
        return start_spans(options, facts, runs.start_us, __version__)
    except Exception as error:
        runs.guard.report("starting the spans", error)
        return None


def _stored(recording: Recording | None) -> Recording | None:
    """The recording of a conversation to which none is attached: only one that is stored or kept has a reader."""
    return recording if recording is not None and (recording.url is not None or recording.keep) else None
