"""The log records of a conversation: one for each event that is no delta, and what the conventions name.

A record stands in the span of its response, else in the session's. Without content its body has the event's type, ids
and numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from opentelemetry.context import Context

from langsmith_realtime.core.conversation.run_data import ConversationEnd, EventRun, ModelRun
from langsmith_realtime.core.payloads.errors import as_code
from langsmith_realtime.trace.otel import conventions
from langsmith_realtime.trace.otel.content import Content
from langsmith_realtime.trace.otel.providers import attempt
from langsmith_realtime.trace.otel.values import attribute_value, attributes, body, clean

#: The prefix of the names of events that the conventions do not know.
EVENTS = "openai.realtime."
STARTED, ENDED = "gen_ai.client.realtime_session.started", "gen_ai.client.realtime_session.ended"
#: By the conventions, records with equal ids are one record.
RECORD_ID = "log.record.uid"
DETAILS, EXCEPTION = "gen_ai.client.inference.operation.details", "gen_ai.client.inference.exception"


class Logs:
    """Emits the records of one conversation.

    Args:
        logger: the application's logger for OpenTelemetry's records.
        content: masks content.
        common: attributes of every record.
        run_id: the id of the conversation's root run. A record's id is made from it, so that a record that a recovery
            emits again has the id that it had.
        provider: the provider of the logger, which is flushed after the conversation.
    """

    def __init__(
        self, logger: Any, content: Content, common: Mapping[str, Any], run_id: str = "", provider: Any = None
    ) -> None:
        from opentelemetry._logs import SeverityNumber  # noqa: PLC0415 - its name says that it may change

        self._logger = logger
        self._content = content
        self._common: dict[str, Any] = attributes(common)
        self._run_id = run_id
        self.provider = provider
        self._info, self._error = SeverityNumber.INFO, SeverityNumber.ERROR

    def named(self, session_id: str | None) -> None:
        """The server has told its id of the session, by which all records from here on can be found."""
        self._common |= attributes({"gen_ai.realtime_session.id": session_id})

    def started(self, context: Context, ns: int) -> None:
        """The conversation began."""
        self._emit(STARTED, {"type": "started"}, {}, context, ns, key="started")

    def event(self, event: EventRun, context: Context, ns: int) -> None:
        """An event arrived."""
        shown = body(self._content.event(event.payload)) if self._content.in_logs else references(event.payload)
        given = {} if event.error is None else {"error.type": conventions.error_type(event.error)}
        failed = event.error is not None and not event.interrupted
        key = str(event.ref.start)
        told = {"type": clean(event.name), **shown}
        self._emit(EVENTS + event.name, told, given, context, ns, key=key, failed=failed)

    def response(self, model: ModelRun, shown: Mapping[str, Any] | None, context: Context, ns: int) -> None:
        """A response is over: its details with their content, and its error."""
        given = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": model.model,
            "gen_ai.response.model": model.model,
            "gen_ai.response.id": model.metadata.get("response_id"),
            "gen_ai.response.finish_reasons": conventions.finish_reasons(model),
            **conventions.usage_attributes(conventions.token_counts(model)),
        }
        key = model.metadata.get("response_id") or model.parent.start
        if shown is not None and self._content.in_logs:
            instructions = shown["instructions"]
            structured = {
                "gen_ai.input.messages": [conventions.genai_message(each) for each in shown["messages"]],
                "gen_ai.output.messages": [conventions.genai_message(shown["message"], shown.get("finish_reason"))],
                "gen_ai.system_instructions": [{"type": "text", "content": instructions}] if instructions else None,
            }
            self._emit(DETAILS, {"type": "details"}, given, context, ns, key=f"{key}-details", structured=structured)
        if model.error is not None and not model.interrupted:
            message = self._content.error(model.error) or "error"
            kind = conventions.error_type(model.error)
            about = {"error.type": kind, "exception.type": kind, "exception.message": message}
            self._emit(
                EXCEPTION,
                {"message": clean(message)},
                {**given, **about},
                context,
                ns,
                key=f"{key}-exception",
                failed=True,
            )

    def ended(self, end: ConversationEnd, server: Mapping[str, Any], context: Context, ns: int) -> None:
        """The conversation with a server, ``server.address`` and ``server.port``, ended."""
        known = ("close_code", "closed_by", "duration_s", "turns", "interruptions", "errors")
        told = {key: end.metadata.get(key) for key in known}
        given: dict[str, Any] = {"gen_ai.request.model": end.metadata.get("model"), **server}
        if end.error is not None:
            given["error.type"] = conventions.error_type(end.error)
        self._emit(
            ENDED, body({"type": "ended", **told}), given, context, ns, key="ended", failed=end.error is not None
        )

    def _emit(
        self,
        name: str,
        told: Mapping[str, Any],
        given: Mapping[str, Any],
        context: Context,
        ns: int,
        *,
        key: str,
        failed: bool = False,
        structured: Mapping[str, Any] | None = None,
    ) -> None:
        flat = {**self._common, RECORD_ID: clean(f"{self._run_id}-{key}"), **attributes(given)}
        emit = partial(
            self._logger.emit,
            timestamp=ns,
            observed_timestamp=ns,
            context=context,
            severity_number=self._error if failed else self._info,
            severity_text="ERROR" if failed else "INFO",
            body=told,
            attributes={**flat, **body(structured or {})},
            event_name=name,
        )
        attempt("emitting a log record", emit)


def references(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What of an event cannot quote the conversation: its type, ids, statuses and integers, one level deep, cleaned.

    A type, an id or a status that is more than one word is left out.
    """
    told = _references(payload)
    for key in ("response", "item", "session"):
        fields = payload.get(key)
        if isinstance(fields, dict) and (inner := _references(fields)):
            told[key] = inner
    return told


def _references(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        clean(key): attribute_value(value)
        for key, value in fields.items()
        if type(value) is int or ((key in _NAMES or key.endswith("_id")) and as_code(value))
    }


_NAMES = frozenset({"type", "id", "status", "role", "object", "model"})
