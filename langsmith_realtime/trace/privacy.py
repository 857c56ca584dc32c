"""Decides what of a conversation's payloads, errors and metadata may leave the process or reach the journal.

In each payload, audio and secrets are removed first (:mod:`~langsmith_realtime.core.payloads.scrubbing`), then the
words of hidden channels (:mod:`~langsmith_realtime.trace.redaction`); then the application's ``redact`` is called.
LangSmith's client applies its own masking after that. The core evaluates events unmasked.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any, TypeAlias

from langsmith import Client

from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.payloads.json_values import Redact, json_copy
from langsmith_realtime.core.payloads.scrubbing import NOT_KEPT, scrub, scrub_message
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.delivery.langsmith_client.masking import (
    calls_application,
    error_anonymizer,
    hidden_by_environment,
    hidden_channels,
    hides_payloads,
)
from langsmith_realtime.delivery.operations import RESPONSE_METADATA
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, Guard, logger

#: Removes the words of hidden channels from a payload: an ``of_…`` function of :mod:`.redaction`.
RemoveWords: TypeAlias = Callable[[dict[str, Any], frozenset[int]], dict[str, Any]]

#: Seconds that a function of the application's may take for one payload before a warning is logged.
SLOW_S = 1.0


class RedactionError(Exception):
    """Reported to the guard, not raised, when the application's ``redact`` raises or returns no dict.

    The message quotes nothing of the payload.
    """


class Privacy:
    """Masks the payloads, errors and metadata of one conversation.

    Args:
        redact: the application's ``redact=``: called last with each payload, returns the payload to show.
        hidden: the recording's channels (USER, AGENT) whose words are removed.
        quotes_allowed: whether the messages of errors, and the metadata that the application gave a response
            (``RESPONSE_METADATA``), are shown; they are not if any channel is hidden.
        anonymizer: the client's, if the client does not apply it to errors itself; applied to errors and to a
            response's ``RESPONSE_METADATA``.
        guard: counts failures of ``redact``; a note takes the place of a payload for which ``redact`` fails.
    """

    def __init__(
        self,
        redact: Redact | None = None,
        *,
        hidden: frozenset[int] = frozenset(),
        quotes_allowed: bool = True,
        anonymizer: Redact | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.redact = redact
        self.hidden = hidden
        self.quotes_allowed = quotes_allowed and not hidden
        self._anonymizer = anonymizer
        self._guard = guard or Guard()
        self._guard.logs_messages = self.quotes_allowed and redact is None and anonymizer is None
        # The latest payload and function, with their result and whether redact failed.
        self._latest: tuple[object, object, dict[str, Any], bool] = (None, None, {}, False)
        self._has_failed = False

    @classmethod
    def from_options(
        cls, client: Client | None, guard: Guard, *, redact: Redact | None = None, transcripts: bool = True
    ) -> Privacy:
        """Combine the options ``redact`` and ``transcripts`` with the masking settings of LangSmith's client.

        Without a client, those of the environment that LangSmith's client reads count.
        """
        if client is None:
            hidden = hidden_by_environment() if transcripts else frozenset({USER, AGENT})
            return cls(redact, hidden=hidden, guard=guard)
        privacy = cls(
            redact,
            hidden=hidden_channels(client) if transcripts else frozenset({USER, AGENT}),
            quotes_allowed=not hides_payloads(client),
            anonymizer=error_anonymizer(client),
            guard=guard,
        )
        guard.logs_messages = guard.logs_messages and not calls_application(client)
        return privacy

    def masked(self, payload: dict[str, Any], remove_words: RemoveWords) -> dict[str, Any]:
        """A copy of the payload in JSON types, without audio, secrets and the words of hidden channels, redacted.

        ``remove_words`` removes the words and is called only if a channel is hidden; then ``redact`` is called, if
        there is one. A second call in succession for the same object and function returns the first result.
        """
        latest_payload, latest_function, masked, failed = self._latest
        if payload is latest_payload and remove_words is latest_function:
            self._has_failed |= failed
            return masked  # the journal asks first, then the run
        failed_before, self._has_failed = self._has_failed, False
        clean: dict[str, Any] = scrub(payload)
        masked = self._redacted(remove_words(clean, self.hidden) if self.hidden else clean)
        self._latest = payload, remove_words, masked, self._has_failed
        self._has_failed |= failed_before
        return masked

    def take_failure(self) -> bool:
        """Whether ``redact`` failed for anything that was masked since the last call of this method."""
        failed, self._has_failed = self._has_failed, False
        return failed

    def masked_error(self, message: str | None) -> str | None:
        """An error's message without secrets, after ``redact`` and the anonymizer; None for None.

        If quotes are not allowed, only the ``kind`` of a :class:`Failure` is used, or a placeholder for other messages.
        """
        if message is None:
            return None
        if not self.quotes_allowed:
            message = message.kind if isinstance(message, Failure) else NOT_KEPT
        masked = self._anonymized(self._redacted({"error": scrub_message(message)}))
        text = masked.get("error", masked.get("redacted"))
        return text if isinstance(text, str) else NOT_KEPT

    def masked_metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """A run's metadata without audio and secrets.

        A response's ``RESPONSE_METADATA`` also goes through ``redact`` and the anonymizer, and is left out if quotes
        are not allowed.
        """
        clean: dict[str, Any] = scrub(metadata)
        response_metadata = clean.pop(RESPONSE_METADATA, None)
        if response_metadata is None or not self.quotes_allowed:
            return clean
        return clean | self._anonymized(self._redacted({RESPONSE_METADATA: response_metadata}))

    def _redacted(self, payload: dict[str, Any]) -> dict[str, Any]:
        if self.redact is None or not payload:
            return payload
        began = time.monotonic()
        try:
            redacted: object = self.redact(payload)
        except CALLBACK_ERRORS as error:
            return self._failed(f"redact raised {type(error).__name__}", error)
        finally:
            warn_if_slow("redact", time.monotonic() - began)
        if not isinstance(redacted, dict):
            return self._failed(f"redact must return a dict, got {type(redacted).__name__}")
        copy: dict[str, Any] = json_copy(redacted)
        return copy

    def _failed(self, reason: str, error: BaseException | None = None) -> dict[str, Any]:
        # Only the place of the exception is reported, because its message may quote the payload.
        frame = traceback.extract_tb(error.__traceback__)[-1] if error is not None else None
        place = "" if frame is None else f" at {frame.filename}:{frame.lineno}"
        self._has_failed = True
        self._guard.report("redact", RedactionError(reason + place))
        return {"redacted": f"{reason}; the payload is left out"}

    def _anonymized(self, payload: dict[str, Any]) -> dict[str, Any]:
        if self._anonymizer is None:
            return payload
        try:
            anonymized = self._anonymizer(payload)
        except CALLBACK_ERRORS:
            return {}
        return anonymized if isinstance(anonymized, dict) else {}


_warned_slow: set[str] = set()


def warn_if_slow(function: str, seconds: float) -> None:
    """Log a warning if ``seconds``, for one payload, is more than :data:`SLOW_S`; once for each ``function`` name."""
    if seconds > SLOW_S and function not in _warned_slow:
        _warned_slow.add(function)
        message = "your %s took %.1f s for one payload; it delays all conversations that use such functions"
        logger.warning(message, function, seconds)
