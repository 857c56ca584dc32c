"""The runs of a conversation as plain data, which ``trace`` turns into LangSmith runs.

Pure. Times are seconds since the conversation opened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from langsmith_realtime.core.protocol.inputs import Ref


@dataclass(frozen=True, slots=True)
class EventRun:
    """The run of one server event.

    It starts when the event arrives. ``end`` is None if it ends at once; a ``response.done`` that announced
    function calls ends when the last result was sent. ``interrupted``: the event reports a cancelled response.
    """

    ref: Ref
    name: str
    payload: dict[str, Any]
    end: float | None = None
    error: str | None = None
    interrupted: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelRun:
    """The ``model`` run of one response, from the arrival of its ``parent`` event to ``end``.

    ``inputs`` are chat messages and ``message`` is the answer; ``usage`` is LangSmith's ``usage_metadata``.
    ``first_token`` is the arrival of the first delta, ``first_audio`` that of the first audio. ``cut_off`` is when the
    user's speech that interrupted the response was noticed; None without such speech. ``interrupted``: the response was
    cancelled. ``role`` has those of ``instructions``, ``tools`` and ``voice`` that were others when the response was
    created than the root run tells.
    ``parameters`` are the model's: temperature, modalities and more.
    ``input_tokens`` are the input tokens by modality, the cached ones included.
    ``settings`` are the fields of the ``response.create`` that the client sent for this response alone, such as
    ``tools``.
    """

    parent: Ref
    end: float
    inputs: list[dict[str, Any]]
    message: dict[str, Any]
    finish_reason: str
    model: str | None
    usage: dict[str, Any] | None
    metadata: dict[str, Any]
    first_token: float | None
    error: str | None = None
    interrupted: bool = False
    role: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    first_audio: float | None = None
    cut_off: float | None = None
    input_tokens: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ToolRun:
    """The run of one tool call.

    The run starts when its ``parent`` event arrives, and ends at ``end``, in seconds since the conversation opened. If
    ``end`` is None, nobody knows how long the tool took, and the run ends when it starts. ``arguments`` is JSON text as
    the model wrote it, None if no event told it. ``output`` is a chat message with role ``tool``, None if there is
    none. ``answered`` is False if no result was seen; for an MCP call, if neither an event of its end nor its output or
    error was seen. ``began`` is the start of the run of the first event that announced the complete call, in µs since
    the conversation opened, and ``response_id`` the response that made the call; None if they are not known.
    """

    parent: Ref
    call_id: str
    name: str
    arguments: str | None
    output: Any
    end: float | None
    answered: bool
    error: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    began: int | None = None
    response_id: str | None = None


@dataclass(frozen=True, slots=True)
class SpeechRun:
    """One utterance of the user: when it was spoken, and its words.

    It has no run in LangSmith, where its words are in the transcript and in the inputs of the response.

    Attributes:
        item_id: the item that it became.
        begin: when the user began to speak, in seconds; includes what turn detection adds before it.
        end: when the user had spoken, in seconds.
        message: the words, as a chat message; None if they are not known.
        error: why there is no transcript, if its transcription failed.
    """

    item_id: str
    begin: float
    end: float
    message: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AgentStep:
    """A step of an SDK's agents: a handoff, a guardrail that tripped, or the wait for an approval.

    It has no run in LangSmith, where the event that tells it has one.

    Attributes:
        kind: ``handoff``, ``guardrail`` or ``approval``.
        name: the agent that took over, the guardrail, or the tool; None if it is not known.
        begin: when it began, in seconds.
        end: when it ended, in seconds; equal to ``begin`` for a handoff and a guardrail, whose durations nobody tells.
        agent: the agent that handed over, that was checked, or that called the tool; None if it is not known.
        response_id: the response that the guardrail stopped.
        call_id: the call that handed over, that waited, or that the guardrail of its tool stopped.
        approved: the answer; None without one.
        found: ``info``, what the guardrail found, and ``message``, the text that it checked.
    """

    kind: Literal["handoff", "guardrail", "approval"]
    name: str | None
    begin: float
    end: float
    agent: str | None = None
    response_id: str | None = None
    call_id: str | None = None
    approved: bool | None = None
    found: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChildRun:
    """A run of the application's own stands in the trace, below ``parent`` or below another of its own runs (None)."""

    parent: Ref | None


@dataclass(frozen=True, slots=True)
class TurnRun:
    """The run of one turn, above the events whose :class:`Ref` names its ``start`` (µs since the conversation opened).

    It ends at ``end``, in seconds, with the last event, response or tool of the turn. ``inputs`` and ``outputs`` have
    ``text`` and ``modalities``, of the user's and of the agent's words. ``metadata``: see docs/numbers.md.
    """

    start: int
    end: float
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    metadata: dict[str, Any]
    error: str | None = None
    interrupted: bool = False


RunData: TypeAlias = EventRun | ModelRun | ToolRun | TurnRun | ChildRun | SpeechRun | AgentStep


@dataclass(frozen=True, slots=True)
class ConversationEnd:
    """What is known of the whole conversation when it has ended.

    Attributes:
        t: when it ended, in seconds.
        inputs: the session's configuration.
        messages: the transcript, as chat messages.
        metadata: numbers and facts of the conversation (docs/numbers.md).
        error: why it failed, if it did.
        scores: feedback scores, by metric.
    """

    t: float
    inputs: dict[str, Any]
    messages: list[dict[str, Any]]
    metadata: dict[str, Any]
    error: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
