"""What the conversation's events amount to: the runs to be, before anything of LangSmith is involved.

Pure. ``Ref`` names an event that was received; who receives the events makes it, the core hands it back
as the parent of what hangs below that event. Times are seconds since the conversation opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: Opaque to the core.
Ref: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class EventRun:
    """One server event. It ended when it arrived, or at ``end`` when it waited for tool results."""

    ref: Ref
    name: str
    payload: dict[str, Any]
    end: float | None = None
    error: str | None = None
    interrupted: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelRun:
    """One response: from the arrival of its parent event to ``end``."""

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
    """One tool call: from the arrival of its parent event to ``end`` (None: it ended right there)."""

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
