"""The span that a conversation makes current in its callers' contexts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanContext


class Owner(Protocol):
    """A conversation's part of its callers' contexts.

    Attributes:
        has_ended: whether the conversation has ended.
        before: the span that was current before the conversation's block.
    """

    has_ended: bool
    before: Span


class CurrentSpan(Span):
    """Stands for a span of a conversation in the contexts that hold it, and can be pointed at another one once.

    A caller that waits for an event holds one: when the event arrives, it is pointed at that event's span, also if
    another task parses the event. It never ends the span, which the conversation does. Everything else that the SDK's
    span has, such as ``attributes``, can be read here, too: processors read it of the parent.

    Args:
        span: the span.
        owner: the conversation's part of the contexts, by which a context is recognised as the conversation's.
    """

    def __init__(self, span: Span, owner: Owner) -> None:
        self.span = span
        self.owner = owner

    def __getattr__(self, name: str) -> Any:
        if name == "span":  # not set yet: a copy is being made
            raise AttributeError(name)
        return getattr(self.span, name)

    def get_span_context(self) -> SpanContext:
        return self.span.get_span_context()

    def is_recording(self) -> bool:
        return self.span.is_recording()

    def set_attribute(self, key: str, value: Any) -> None:
        self.span.set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        self.span.set_attributes(attributes)

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        self.span.add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        self.span.add_link(context, attributes)

    def set_status(self, status: Any, description: str | None = None) -> None:
        self.span.set_status(status, description)

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        self.span.record_exception(exception, attributes, timestamp, escaped)

    def update_name(self, name: str) -> None:
        """Do nothing: the conversation names its spans."""

    def end(self, end_time: int | None = None) -> None:
        """Do nothing: the conversation ends its spans."""


def make_current(span: Span) -> None:
    """Make a span the current one in this context, beside what else the context holds.

    Never detached with a token, because a block may be left in another task than the one that entered it.
    """
    context.attach(trace.set_span_in_context(span))


def nearest_open(span: Span) -> Span:
    """The span; if it is of a conversation that has ended, the span that was current before that conversation.

    Conversations may end in any order, and in another context than the one that they were opened in. None of them may
    stand below one that is over.
    """
    seen: set[int] = set()
    while isinstance(span, CurrentSpan) and span.owner.has_ended:
        if id(span.owner) in seen:
            return trace.INVALID_SPAN
        seen.add(id(span.owner))
        span = span.owner.before
    return span
