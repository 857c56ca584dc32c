"""The application's providers, as far as there are any, and which names of the conventions it asked for."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from opentelemetry import metrics, trace
from opentelemetry.metrics import Meter
from opentelemetry.trace import Tracer

from langsmith_realtime.options.otel import Otel
from langsmith_realtime.runtime import threads
from langsmith_realtime.runtime.forks import at_fork
from langsmith_realtime.runtime.guard import Guard, logger

_T = TypeVar("_T")

#: The name of the instrumentation scope.
SCOPE = "langsmith_realtime"
OPT_IN_VARIABLE = "OTEL_SEMCONV_STABILITY_OPT_IN"
OPT_IN = "gen_ai_latest_experimental"
_warned: set[str] = set()


def attempt(what: str, function: Callable[[], _T]) -> _T | None:
    """Call a function that runs the application's providers, processors or propagators.

    Returns:
        What the function returns; None if it raises. The exception is logged once of its kind, without its message,
        which may quote the conversation, and costs nothing else.
    """
    try:
        return function()
    except Exception as error:
        guard = Guard()
        guard.logs_messages = False
        guard.report(what, error)
        return None


def _set_by_application(provider: Any) -> Any | None:
    """The provider; None for one of the API's own, which record nothing. Logfire's providers have the same names."""
    kind = type(provider)
    is_of_api = kind.__module__.startswith("opentelemetry.") and not kind.__module__.startswith("opentelemetry.sdk")
    return None if is_of_api and kind.__name__.lstrip("_").startswith(("Proxy", "NoOp")) else provider


def _tracer_provider(otel: Otel) -> Any | None:
    return _set_by_application(otel.tracer_provider or trace.get_tracer_provider())


def logger_provider(otel: Otel) -> Any | None:
    """The application's provider of loggers; None without one."""
    try:
        from opentelemetry import _logs  # noqa: PLC0415 - its name says that it may change
    except ImportError:
        return None
    return _set_by_application(otel.logger_provider or _logs.get_logger_provider())


def _meter_provider(otel: Otel) -> Any | None:
    return _set_by_application(otel.meter_provider or metrics.get_meter_provider())


def has_provider(otel: Otel) -> bool:
    """Whether the application has set any provider, so that anything would be recorded."""
    return any(find(otel) is not None for find in (_tracer_provider, logger_provider, _meter_provider))


def warn_of_no_provider() -> None:
    """Say once that nothing is shown, unless ``OTEL_SDK_DISABLED`` asks for that."""
    if "providers" in _warned or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return
    _warned.add("providers")
    logger.warning(
        "the conversation is not shown in OpenTelemetry: the application has set no provider. Set one before the"
        " conversation opens, or pass Otel(tracer_provider=)"
    )


def tracer_of(otel: Otel, version: str) -> Tracer | None:
    """The application's tracer; None if it has set no provider, so that nothing would be recorded."""
    provider = _tracer_provider(otel)
    if provider is None:
        return None
    _used[id(provider)] = provider
    tracer: Tracer = provider.get_tracer(SCOPE, version)
    return tracer


def logger_of(otel: Otel, version: str) -> Any | None:
    """The application's logger for OpenTelemetry's log records; None without a provider.

    The logs of opentelemetry-api before 1.39 cannot be used without its SDK; then there are none, which is logged.
    """
    provider = logger_provider(otel)
    if provider is None:
        return None
    _used[id(provider)] = provider
    made = provider.get_logger(SCOPE, version)
    taken = inspect.signature(type(made).emit).parameters.values()
    if any(each.name == "event_name" or each.kind is each.VAR_KEYWORD for each in taken):
        return made
    if "logs" not in _warned:
        _warned.add("logs")
        logger.warning(
            "the conversation has no log records in OpenTelemetry: they need opentelemetry-api 1.39 or newer"
        )
    return None


def meter_of(otel: Otel, version: str) -> Meter | None:
    """The application's meter; None without a provider."""
    provider = _meter_provider(otel)
    if provider is None:
        return None
    _used[id(provider)] = provider
    meter: Meter = provider.get_meter(SCOPE, version)
    return meter


#: The providers that conversations used, by their ids: those of Logfire have no hash.
_used: WeakValueDictionary[int, Any] = WeakValueDictionary()


def _flush(provider: Any) -> bool:
    """Flush a provider; False if it raises. Its own answer does not count: SDKs call a failed export success."""
    force_flush = getattr(provider, "force_flush", None)
    return force_flush is None or attempt("flushing a provider", lambda: [force_flush()]) is not None


def flush_providers(timeout: float | None) -> bool:
    """Flush the providers that conversations used; False if one raises or that takes longer than ``timeout`` seconds.

    In a thread, because an SDK may take longer than it is told.
    """
    flushed: list[bool] = []

    def flush() -> None:
        flushed.extend(map(_flush, list(_used.values())))

    thread = threading.Thread(target=flush, name="langsmith-realtime-otel-flush", daemon=True)
    thread.start()
    thread.join(timeout)
    return not thread.is_alive() and all(flushed)


_waiting: dict[tuple[int, ...], list[Callable[[], None]]] = {}
_waiting_lock = threading.Lock()


def when_flushed(providers: Iterable[Any], done: Callable[[], None]) -> None:
    """Call ``done`` in a thread once the providers have flushed all ended spans and records, or have raised.

    The process's exit waits for it. One flush serves all that wait for it.
    """
    flushed = list(providers)
    key = tuple(id(provider) for provider in flushed)
    with _waiting_lock:
        waiting = _waiting.setdefault(key, [])
        waiting.append(done)
        if len(waiting) > 1:
            return

    def flush() -> None:
        with threads.work_in_progress():
            while True:
                with _waiting_lock:
                    served = list(_waiting[key])
                for provider in flushed:
                    _flush(provider)
                for each in served:
                    attempt("noting that spans were exported", each)
                with _waiting_lock:
                    del _waiting[key][: len(served)]
                    if not _waiting[key]:
                        del _waiting[key]
                        return

    if threads.start_thread(flush, "langsmith-realtime-otel") is None:
        flush()


def _reset_in_child() -> None:
    """In a forked child, which has none of its parent's threads."""
    global _waiting_lock  # noqa: PLW0603 - the parent's may be locked by a thread that the child does not have
    _waiting_lock = threading.Lock()
    _waiting.clear()


at_fork(after_in_child=_reset_in_child)


def convention_names() -> tuple[bool, bool]:
    """Whether the names up to conventions v1.41 are wanted, and whether those of the GenAI conventions v0.1.0 are.

    By ``OTEL_SEMCONV_STABILITY_OPT_IN``: the former by default; the latter for ``gen_ai_latest_experimental``; both for
    ``gen_ai_latest_experimental/dup``.
    """
    wanted = {each.strip() for each in os.environ.get(OPT_IN_VARIABLE, "").split(",")}
    if f"{OPT_IN}/dup" in wanted:
        return True, True
    return OPT_IN not in wanted, OPT_IN in wanted
