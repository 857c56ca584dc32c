"""The tool calls of a session: which one a context carries out, and the exceptions that the SDK hides.

The SDK answers a call whose tool raised with a text of its own, and reports success.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from agents import default_tool_error_function

from langsmith_realtime.core.payloads.errors import Failure, describe_error
from langsmith_realtime.core.protocol.events import text
from langsmith_realtime.core.protocol.inputs import ToolFailed
from langsmith_realtime.live.capture import LiveConversation

#: Logger to which the SDK says that a tool raised.
sdk_logger = logging.getLogger("openai.agents")


@dataclass(frozen=True, slots=True)
class Call:
    """A function call of one session.

    Attributes:
        calls: the calls of that session.
        id: its ``call_id``.
        live: the conversation.
        next_agent: name of the agent that it hands the conversation over to; None if it is no handoff.
    """

    calls: ToolCalls
    id: str
    live: LiveConversation
    next_agent: str | None = None


#: The call that the current context carries out.
_current: ContextVar[Call | None] = ContextVar("langsmith_realtime_call", default=None)


def current_call() -> Call | None:
    """The call of any session that the current context carries out."""
    return _current.get()


class ToolCalls:
    """The function calls of one session."""

    def __init__(self) -> None:
        self._failed: set[str] = set()  # ids of calls whose tool raised

    @property
    def current(self) -> Call | None:
        """The call of this session that the current context carries out."""
        call = _current.get()
        return call if call is not None and call.calls is self else None

    @property
    def current_has_failed(self) -> bool:
        """Whether the error of that call is known."""
        call = self.current
        return call is not None and call.id in self._failed

    def begin(self, live: LiveConversation, call_id: str, next_agent: str | None) -> None:
        """A call begins: the SDK starts its task in this context, or carries it out in this context."""
        live.enter_tool(call_id)
        _current.set(Call(self, call_id, live, next_agent))

    def leave(self) -> None:
        """This context carries out no call any more."""
        if _current.get() is not None:
            _current.set(None)

    @contextmanager
    def carrying_out(self, live: LiveConversation, call_id: str) -> Iterator[None]:
        """Let this context carry out a call inside the block."""
        before = _current.get()
        with live.inside_tool(call_id):
            _current.set(Call(self, call_id, live))
            try:
                yield
            finally:
                _current.set(before)

    def failed(self, live: LiveConversation, failure: str | None) -> None:
        """Note the error of the call that this context carries out, if it carries out any."""
        call = self.current
        if call is not None and failure is not None:
            self._failed.add(call.id)
            live.told(lambda t: ToolFailed(call.id, t, failure))

    def logged(self, live: LiveConversation, record: logging.LogRecord) -> None:
        """Take the exception of a tool from the warning that the SDK logs while it handles the exception."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and "span" in str(record.msg):
            self.failed(live, describe_error(error))

    def answered(self, live: LiveConversation, item: Any) -> None:
        """The SDK has sent the result of a call: ``item``, a function call of its history that is completed."""
        call_id = text(getattr(item, "call_id", None))
        if call_id is None or item.output is None:
            return
        failure = None if call_id in self._failed else _failure_of(item.name, item.output)
        if failure is not None:
            live.told(lambda t: ToolFailed(call_id, t, failure))
        self._failed.discard(call_id)
        result = {"type": "function_call_output", "call_id": call_id, "output": item.output}
        live.client_event({"type": "conversation.item.create", "item": result}, time.monotonic())


def _failure_of(name: str, output: str) -> Failure | None:
    """The error that a tool's output says by the SDK's own texts; None if it is an ordinary output."""
    if output == f"Tool {name} not found":
        return Failure(output)
    if output.startswith(_timed_out(name)):
        return Failure(output, "the tool timed out")
    marker = "an exception of the tool"
    known: Any = default_tool_error_function
    expected = str(known(None, Exception(marker)))
    beginning, _, _ = expected.partition(marker)
    if output == expected or (beginning != expected and output.startswith(beginning)):
        return Failure(output, "the tool raised")
    return None


def _timed_out(name: str) -> str:
    """How the SDK's own text begins for a tool that took longer than its ``timeout``, which old versions lack."""
    return f"Tool '{name}' timed out after "
