"""The words, arguments and results of a conversation as they may be shown: masked as LangSmith would get them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from langsmith import Client

from langsmith_realtime.core.conversation.run_data import ModelRun, ToolRun
from langsmith_realtime.core.payloads.json_values import cut_text, json_copy
from langsmith_realtime.delivery.langsmith_client.masking import RunPart, calls_application, mask
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, logger
from langsmith_realtime.trace import redaction
from langsmith_realtime.trace.otel.values import json_text
from langsmith_realtime.trace.privacy import Privacy

#: The most characters of one text: a backend refuses spans of several MB.
MAX_TEXT = 1_000_000


class Content:
    """Masks content, and says where it is shown.

    Args:
        shown: where: ``none``, ``span``, ``event`` or ``both``.
        privacy: removes audio, secrets and the words of hidden channels, and calls the application's ``redact``.
        client: its masking functions are applied after that; None without LangSmith.
    """

    def __init__(
        self, shown: Literal["none", "span", "event", "both"], privacy: Privacy, client: Client | None
    ) -> None:
        self.on_spans = shown in ("span", "both")
        self.in_logs = shown in ("event", "both")
        self._privacy = privacy
        self._client = client if client is not None and calls_application(client) else None

    @property
    def calls_application(self) -> bool:
        """Whether masking functions of the client are applied."""
        return self._client is not None

    @property
    def is_shown(self) -> bool:
        """Whether content is shown anywhere."""
        return self.on_spans or self.in_logs

    def event(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The payload of an event."""
        return self._by_client("inputs", self._privacy.masked(payload, redaction.of_event))

    def messages(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Chat messages; empty if masking them fails."""
        masked = self._privacy.masked({"messages": messages}, redaction.of_messages)
        shown = self._by_client("outputs", masked).get("messages")
        return [each for each in shown if isinstance(each, dict)] if isinstance(shown, list) else []

    def response(self, model: ModelRun) -> dict[str, Any]:
        """A response's ``messages``, ``message`` and, if the session had other ones before, ``instructions``."""
        masked = self._privacy.masked({"messages": model.inputs, **model.role}, redaction.of_messages)
        shown = self._by_client("inputs", masked)
        return {
            "messages": shown.get("messages") or [],
            "message": next(iter(self.messages([model.message])), {"role": "assistant", "content": ""}),
            "instructions": shown.get("instructions"),
        }

    def session(self, set_up: dict[str, Any]) -> dict[str, Any]:
        """The session's configuration."""
        return self._by_client("inputs", self._privacy.masked(set_up, redaction.of_session_config))

    def arguments(self, tool: ToolRun) -> str | None:
        """A call's arguments as JSON text."""
        if tool.arguments is None:
            return None
        masked = self._privacy.masked({"arguments": tool.arguments}, redaction.of_arguments)
        return self._text(self._by_client("inputs", masked).get("arguments"))

    def result(self, tool: ToolRun) -> str | None:
        """A call's result as text."""
        if not isinstance(tool.output, Mapping):
            return None
        masked = self._privacy.masked(json_copy(tool.output), redaction.of_message)
        return self._text(self._by_client("outputs", masked).get("content"))

    def error(self, message: str | None) -> str | None:
        """An error's text; without content only its kind, which cannot quote the conversation."""
        if message is None:
            return None
        if not self.is_shown:
            return getattr(message, "kind", None) or "error"
        return self._privacy.masked_error(message)

    def metadata(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """A run's metadata without secrets."""
        masked = self._by_client("metadata", self._privacy.masked_metadata(dict(metadata)))
        if "close_reason" in masked:  # words of the server's, which may quote the conversation
            masked["close_reason"] = self.error(masked["close_reason"]) if self.is_shown else None
        if not self.is_shown:
            masked.pop("response_metadata", None)
        return masked

    def _text(self, value: Any) -> str | None:
        if value is None:
            return None
        return cut_text(value if isinstance(value, str) else json_text(value), MAX_TEXT)

    def _by_client(self, part: RunPart, payload: dict[str, Any]) -> dict[str, Any]:
        if self._client is None:
            return payload
        function: Callable[..., Any] = mask
        try:
            masked = function(self._client, part, payload)
        except CALLBACK_ERRORS as error:
            logger.debug("masking for OpenTelemetry failed: %s", type(error).__name__)
            return {}
        return masked if isinstance(masked, dict) else {}
