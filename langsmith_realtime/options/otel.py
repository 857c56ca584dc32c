"""How a conversation is shown in OpenTelemetry, beside LangSmith or alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from langsmith_realtime.runtime.guard import logger

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

#: The names of the presets. ``trace/otel/spans/presets.py`` says what each of them adds.
PRESETS = ("genai", "langsmith", "langfuse", "phoenix", "braintrust", "azure", "datadog", "honeycomb")
#: Where content may be shown.
CONTENT = ("none", "span", "event", "both")

CONTENT_VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
#: The values of the variable that the packages of the field use, in lower case, and what they mean.
_SPELLINGS: dict[str, Literal["none", "span", "event", "both"]] = {
    **dict.fromkeys(("", "no_content", "false", "0", "no", "off", "none"), "none"),
    **dict.fromkeys(("span_and_event", "true", "1", "yes", "on", "both"), "both"),
    **dict.fromkeys(("span_only", "span"), "span"),
    **dict.fromkeys(("event_only", "event"), "event"),
}
_warned: set[str] = set()
_default: list[Otel] = []


@dataclass(frozen=True)
class Otel:
    """How a conversation is shown in OpenTelemetry.

    Attributes:
        tracer_provider: makes the spans; by default the global provider.
        logger_provider: takes the log records; by default the global provider.
        meter_provider: takes the metrics; by default the global provider.
        content: whether words, tool arguments and tool results are shown: True, False, or ``"span"`` or ``"event"`` for
            one place alone. By default as ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` says, else False.
        preset: what is added for one backend: one of :data:`PRESETS`.
        session_span: whether the conversation is a span, above all others. False: it is two log records, and each
            response is a trace of its own, or stands below the caller's span.
        recover_with: function without arguments that returns the SDK's span exporter to which a recovery gives the
            spans of a conversation whose process died; by default OTLP as the environment configures it.
        headers: the headers of the option ``parent``, by their names in lower case, from which the caller's span is
            read; set by the package.

    Raises:
        TypeError: a value has the wrong type.
        ValueError: a value cannot be used.
    """

    tracer_provider: TracerProvider | None = None
    logger_provider: LoggerProvider | None = None
    meter_provider: MeterProvider | None = None
    content: bool | Literal["span", "event"] | None = None
    preset: str = "genai"
    session_span: bool = True
    recover_with: Callable[[], Any] | None = None
    headers: Mapping[str, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, method in (("tracer", "get_tracer"), ("logger", "get_logger"), ("meter", "get_meter")):
            given = getattr(self, f"{name}_provider")
            if given is not None and not callable(getattr(given, method, None)):
                raise TypeError(f"Otel.{name}_provider must have {method}(), got {type(given).__name__}")
        if not (self.content is None or isinstance(self.content, bool) or self.content in ("span", "event")):
            raise ValueError(f"Otel.content must be True, False, 'span' or 'event', got {self.content!r}")
        if self.preset not in PRESETS:
            raise ValueError(f"Otel.preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        if self.recover_with is not None and not callable(self.recover_with):
            raise TypeError(f"Otel.recover_with must be a function, got {type(self.recover_with).__name__}")
        if not isinstance(self.session_span, bool):
            raise TypeError(f"Otel.session_span must be a bool, got {type(self.session_span).__name__}")

    @staticmethod
    def use_by_default(otel: Otel | None) -> None:
        """Use ``otel`` for conversations that do not give the option; None: show those nowhere."""
        _default[:] = [] if otel is None else [otel]

    @staticmethod
    def default() -> Otel | None:
        """What :meth:`use_by_default` was given last."""
        return next(iter(_default), None)

    @property
    def shown_content(self) -> Literal["none", "span", "event", "both"]:
        """Where content is shown, by ``content`` or the environment variable."""
        if self.content is not None:
            return {True: "both", False: "none"}[self.content] if isinstance(self.content, bool) else self.content  # type: ignore[return-value]
        given = os.environ.get(CONTENT_VARIABLE, "").strip()
        shown = _SPELLINGS.get(given.lower())
        if shown is None and given not in _warned:
            _warned.add(given)
            logger.warning(
                "%s must be NO_CONTENT, SPAN_ONLY, EVENT_ONLY or SPAN_AND_EVENT, got %r; using NO_CONTENT",
                CONTENT_VARIABLE,
                given,
            )
        return shown or "none"
