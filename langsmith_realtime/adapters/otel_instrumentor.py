"""Switches OpenTelemetry on for every conversation of a process: ``opentelemetry-instrument`` finds it by itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from langsmith_realtime.adapters.no_code import import_hook
from langsmith_realtime.options.otel import Otel


class RealtimeInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # it has no types
    """Shows conversations in OpenTelemetry that do not have the option ``otel``, and those that nobody wraps.

    It never switches LangSmith on: a connection or session that the application does not wrap goes to LangSmith only if
    ``LANGSMITH_REALTIME_AUTO`` asks for that, too.

    ``instrument()`` takes the arguments of :class:`~langsmith_realtime.Otel`.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """The package whose connections are traced."""
        return ("openai >= 1.107",)

    def _instrument(self, **options: Any) -> None:
        known = {name: options[name] for name in Otel.__dataclass_fields__ if name in options}
        Otel.use_by_default(Otel(**known))
        import_hook.install(import_hook.OPENTELEMETRY)
        if import_hook.is_on():  # opentelemetry-instrument hides the file that installs it for langsmith-realtime run
            import_hook.install()

    def _uninstrument(self, **_: Any) -> None:
        Otel.use_by_default(None)
        import_hook.uninstall(import_hook.OPENTELEMETRY)
