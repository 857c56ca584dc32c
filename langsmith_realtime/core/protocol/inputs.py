"""Everything that a conversation is ever told, as data.

The queue holds these inputs, the journal writes them as lines and reads them back, and the session takes them.

Pure. A live conversation, a replayed and a recovered one take the same inputs. Times ``t`` are seconds since the
conversation opened. Add a kind of input here; a reader leaves out kinds that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

#: The version of the union. A kind may be added, and a field with a default, without changing it.
VERSION = 2


class Ref(NamedTuple):
    """Refers to the run of an event: no other run of the conversation starts in that microsecond.

    Attributes:
        start: the run's start, in µs since the conversation opened; 0 is the root.
        turn: the start of the turn's run below which the event's run stands; None directly below the root.
    """

    start: int
    turn: int | None = None


#: The conversation's root run.
ROOT = Ref(0)


@dataclass(frozen=True, slots=True)
class Opened:
    """The conversation began."""

    t: float = 0.0


@dataclass(frozen=True, slots=True)
class ServerFrame:
    """The server sent an event.

    Attributes:
        frame: the frame as received; an :class:`~langsmith_realtime.core.protocol.events.Event` once it is parsed.
        t: when it arrived.
        run: the event's run; None for a delta, which has none.
        agent_speaking: what the option ``is_agent_speaking`` returned, if it was asked.
    """

    frame: object
    t: float
    run: Ref | None = None
    agent_speaking: bool | None = None


@dataclass(frozen=True, slots=True)
class ClientFrame:
    """The application sent an event.

    Attributes:
        frame: the frame as sent; an :class:`~langsmith_realtime.core.protocol.events.Event` once it is parsed.
        t: when it was sent.
    """

    frame: object
    t: float


@dataclass(frozen=True, slots=True)
class MalformedFrame:
    """A frame arrived that is no event.

    Attributes:
        frame: the frame, in JSON's types.
        reason: why it is no event.
        t: when it arrived or was sent.
        run: its run; None if the application sent it.
    """

    frame: object
    reason: str
    t: float
    run: Ref | None = None


@dataclass(frozen=True, slots=True)
class Audio:
    """Audio of one side was sent, received, or fed by the application.

    Attributes:
        channel: ``USER`` or ``AGENT``.
        data: the audio in the channel's encoding; base64 text until it is decoded, and if it cannot be.
        t: when it was sent, received or fed; of several chunks joined, when the user's last or the agent's first was.
        at: when its first frame was captured or played, if the application said so.
        event: the other fields of the event that carried it; None for audio that the application fed.
    """

    channel: int
    data: bytes | str
    t: float
    at: float | None = None
    event: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class DroppedAudio:
    """Audio was dropped because too much waited; silence of equal length takes its place.

    Attributes:
        channel: ``USER`` or ``AGENT``.
        size: its bytes in the channel's encoding.
        t: as in :class:`Audio`.
        at: as in :class:`Audio`.
        event: as in :class:`Audio`.
    """

    channel: int
    size: int
    t: float
    at: float | None = None
    event: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """The application reported at ``t`` that ``ms`` milliseconds of an item had been played at ``at``."""

    item_id: str
    ms: float
    t: float
    at: float


@dataclass(frozen=True, slots=True)
class Silence:
    """The application silenced an item, or the time from ``since`` to ``until``.

    Without ``until``, the silence goes on until an input with ``until`` alone. ``part`` is the part of the item that is
    meant, as shares of its time from 0 to 1; None: all of it. A part comes from a redactor, not from the application.
    """

    t: float
    since: float | None = None
    until: float | None = None
    item_id: str | None = None
    part: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class ToolClaimed:
    """A run of the application's own carries out a call, so that no other run is made for it.

    Attributes:
        call_id: the call.
        t: when the run began.
        run_id: the run's id.
    """

    call_id: str
    t: float
    run_id: str


@dataclass(frozen=True, slots=True)
class ToolBegun:
    """The application entered ``tool(call_id)``; the call's run stands below ``parent`` from here on."""

    call_id: str
    t: float
    parent: Ref


@dataclass(frozen=True, slots=True)
class ToolEnded:
    """The application left ``tool(call_id)``, with ``error`` if an exception left the block."""

    call_id: str
    t: float
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ChildBegun:
    """A run of the application's began below the conversation.

    Attributes:
        t: when it began.
        parent: the event's run that it stands below, which must exist then; None below another run of the application.
    """

    t: float
    parent: Ref | None = None


@dataclass(frozen=True, slots=True)
class ToolFailed:
    """A tool raised ``error``, which its result does not say: an SDK answered the call with a text of its own."""

    call_id: str
    t: float
    error: str


@dataclass(frozen=True, slots=True)
class AgentChanged:
    """An agent of an SDK took over the conversation: the first one, or another one after a handoff.

    Attributes:
        agent: its name.
        t: when it took over.
        run: the run that this becomes.
        previous_agent: the agent before it; None if it is the first one.
        response_id: the response that it already makes; None if it makes those that are created from now on.
        handoff: whether the previous agent handed the conversation over.
        instructions: its instructions; None if they are not known.
        tools: the names of its tools and handoffs.
        call_id: the call by which the previous agent handed over; None if it is not known, or without a handoff.
    """

    agent: str
    t: float
    run: Ref
    previous_agent: str | None = None
    response_id: str | None = None
    handoff: bool = False
    instructions: str | None = None
    tools: Sequence[str] = ()
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class GuardrailTripped:
    """An SDK's guardrail stopped the agent, or a call of a tool.

    Attributes:
        t: when it did.
        run: the run that this becomes.
        response_id: the response that it stopped; None if it is not known.
        guardrails: the guardrails that tripped, each with ``name``, ``agent`` and ``info``, what it found.
        message: the agent's text that was checked, or the output of the tool; empty if neither was.
        call_id: the call that a guardrail of its tool stopped; None if it was no guardrail of a tool.
    """

    t: float
    run: Ref
    response_id: str | None = None
    guardrails: Sequence[Mapping[str, Any]] = ()
    message: str = ""
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """An SDK waits for the application to approve or reject a call of ``agent`` of the tool ``name``."""

    call_id: str
    t: float
    run: Ref
    name: str | None = None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class ApprovalAnswered:
    """The application approved or rejected a call."""

    call_id: str
    t: float
    approved: bool


@dataclass(frozen=True, slots=True)
class SpanBegun:
    """A span began in OpenTelemetry, whose ids nobody can choose: a recovery gives the span the same ones.

    Attributes:
        t: when it was made.
        key: what the span is about, such as ``response resp_1``.
        start: when it starts.
        traceparent: its ids and flags, as in the header of that name.
    """

    t: float
    key: str
    start: float
    traceparent: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection goes to the server ``address``, a host name or an IP address, at ``port``."""

    t: float
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Annotated:
    """The application added metadata, tags and outputs to the conversation."""

    t: float
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Closed:
    """The conversation ended.

    Attributes:
        t: when it ended.
        error: why, if it failed.
        dropped: how many inputs were dropped, by the root's metadata key.
        close_code: the WebSocket's close code; None if it is not known.
        close_reason: the reason that came with the code; None if there was none.
        closed_by: ``server``, ``client``, or ``network`` if the connection broke without a close frame; None if it is
            not known.
    """

    t: float
    error: str | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    close_code: int | None = None
    close_reason: str | None = None
    closed_by: str | None = None


Input: TypeAlias = (
    Opened
    | ServerFrame
    | ClientFrame
    | MalformedFrame
    | Audio
    | DroppedAudio
    | Played
    | Silence
    | ToolClaimed
    | ToolBegun
    | ToolEnded
    | ChildBegun
    | ToolFailed
    | AgentChanged
    | GuardrailTripped
    | ApprovalAsked
    | ApprovalAnswered
    | SpanBegun
    | Connected
    | Annotated
    | Closed
)
