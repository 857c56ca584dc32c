"""The runs of a conversation as plain data, which ``trace`` turns into LangSmith runs.

Pure. Times are seconds since the conversation opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: Identifies the run of a server event. The caller creates it; the core only hands it back as a run's identity or
#: parent, and never looks inside.
Ref: TypeAlias = Any


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
    ``first_token`` is the arrival of the first delta. ``interrupted``: the response was cancelled.
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


@dataclass(frozen=True, slots=True)
class ToolRun:
    """The run of one tool call.

    The run starts when its ``parent`` event arrives, and ends at ``end``, in seconds since the conversation opened. If
    ``end`` is None, nobody knows how long the tool took, and the run ends when it starts. ``arguments`` is JSON text as
    the model wrote it, ``output`` a chat message with role ``tool``, None if there is none. ``answered`` is False if no
    result was seen; for an MCP call, if neither an event of its end nor its output or error was seen.
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


RunData: TypeAlias = EventRun | ModelRun | ToolRun
