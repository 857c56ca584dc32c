"""The span that a conversation makes current in its callers' contexts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanContext


class CurrentSpan(Span):
    """Stands for a span of a conversation in the contexts that hold it, and can be pointed at another one once.

    A caller that waits for an event holds one: when the event arrives, it is pointed at that event's span, also if
    another task parses the event. It never ends the span, which the conversation does. Everything else that the SDK's
    span has, such as ``attributes``, can be read here, too: processors read it of the parent.

    Args:
        span: the span.
        owner: the conversation's spans, by which a context is recognised as the conversation's.
    """

    def __init__(self, span: Span, owner: object) -> None:
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
