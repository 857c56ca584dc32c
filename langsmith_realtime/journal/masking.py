"""Removes from the journal's lines what must not be on disk: audio, secrets, and what redaction or masking removes.

The client's masking may be code of the application. It gets a budget of time, because one thread serves all
conversations that have such a client.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from langsmith import Client

from langsmith_realtime.core.payloads.scrubbing import NOT_KEPT, scrub
from langsmith_realtime.core.protocol.events import APPEND, TEXT_DELTAS, Event
from langsmith_realtime.delivery.langsmith_client.masking import (
    RunPart,
    calls_application,
    hides_inputs,
    mask,
    masks_inputs,
)
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, logger
from langsmith_realtime.trace import redaction
from langsmith_realtime.trace.privacy import Privacy, warn_if_slow


class TimeBudget:
    """Seconds that may be spent: a ``share`` of the time that passes; at most ``most`` seconds accumulate."""

    def __init__(self, share: float, most: float) -> None:
        self._share = share
        self._most = self._left = most
        self._filled_at = 0.0

    def is_empty(self, now: float) -> bool:
        """Whether nothing is left at ``now``, in seconds of a monotonic clock."""
        self._left = min(self._most, self._left + self._share * (now - self._filled_at))
        self._filled_at = now
        return self._left <= 0

    def spend(self, seconds: float) -> None:
        """Subtract seconds; the budget may become negative."""
        self._left -= seconds


#: For the masking of all conversations, which one thread does: half of its time.
_all_masking = TimeBudget(0.5, 1.0)


class JournalMasking:
    """Applies a conversation's privacy options and its client's masking to the contents of journal lines.

    Args:
        client: the client; None without LangSmith.
        privacy: the privacy options.
        shows_words: False if nobody is shown the conversation's words, so that no line has any.
    """

    def __init__(self, client: Client | None, privacy: Privacy, *, shows_words: bool = True) -> None:
        self._client = client
        self._calls_application = client is not None and calls_application(client)
        self._privacy = privacy
        self._is_hidden = not shows_words or (client is not None and hides_inputs(client))
        self._is_masked = client is not None and not self._is_hidden and masks_inputs(client)

    def event(self, event: Event) -> dict[str, Any]:
        """Mask an event; deltas and audio events keep only their type, ids and integers.

        The text of a transcript or text delta stays, too, unless the client's masking or ``redact`` might change it.
        """
        if event.is_delta or event.kind == APPEND:
            return references(event.body) | (self._delta(event) if event.kind in TEXT_DELTAS else {})
        return self._masked(self._privacy.masked(event.body, redaction.of_event))

    def frame(self, frame: Any) -> dict[str, Any]:
        """Mask a frame that is no event; returns ``{"frame": …}``, without words or ``frame`` if that fails."""
        return self._masked(self._privacy.masked({"frame": frame}, redaction.of_event))

    def error(self, message: str | None) -> str | None:
        """Mask an error's message; a placeholder replaces it if the masking fails."""
        shown = self._privacy.masked_error(message)
        if shown is None or not self._is_masked:
            return shown
        masked = self._mask("error", shown)
        return masked if isinstance(masked, str) else NOT_KEPT

    def metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Remove secrets from runs' metadata and mask it; empty if the masking fails."""
        masked = self._mask("metadata", scrub(metadata))
        return masked if isinstance(masked, dict) else {}

    def outputs(self, outputs: Mapping[str, Any]) -> dict[str, Any]:
        """Mask what the application added to the conversation's outputs; empty if the masking fails."""
        if self._is_hidden or self._privacy.hidden:
            return {}
        shown = self._privacy.masked(dict(outputs), redaction.of_application)
        masked = self._mask("outputs", shown) if self._is_masked else shown
        return masked if isinstance(masked, dict) else {}

    def _delta(self, event: Event) -> dict[str, Any]:
        # Masking and redaction need the text around a word, which a delta does not have.
        if self._is_masked or self._privacy.redact is not None or not isinstance(event.body.get("delta"), str):
            return {}
        bare = {"type": event.name, "delta": event.body["delta"]}
        shown = self._privacy.masked(bare, redaction.of_event)
        return {"delta": shown["delta"]} if "delta" in shown else {}

    def _masked(self, payload: dict[str, Any]) -> dict[str, Any]:
        if not self._is_masked:
            # The client hides the session's configuration, too, which the privacy options show.
            hides = self._is_hidden and "session" in payload
            shown: dict[str, Any] = redaction.without_words(payload) if hides else payload
            return shown
        masked = self._mask("inputs", {"event": payload})
        event = masked.get("event") if isinstance(masked, dict) else None
        if isinstance(event, dict) and event.get("type") == payload.get("type"):
            return event
        # The masking failed, or returned something else: nothing says which words may be shown.
        structure: dict[str, Any] = redaction.without_words(payload)
        return structure

    def _mask(self, part: RunPart, value: Any) -> Any:
        """The value as the client masks it; None if that failed, or had no time left."""
        if self._client is None:
            return value
        began = time.monotonic()
        if self._calls_application and _all_masking.is_empty(began):
            return None
        try:
            return mask(self._client, part, value)
        except CALLBACK_ERRORS as error:
            logger.debug("masking for the journal failed: %s", type(error).__name__)
            return None
        finally:
            if self._calls_application:
                spent = time.monotonic() - began
                _all_masking.spend(spent)
                warn_if_slow("masking", spent)


def references(body: Mapping[str, Any]) -> dict[str, Any]:
    """An event's type, ids and indices: all that is needed of the frequent events."""
    return {
        key: value
        for key, value in body.items()
        if (type(value) is str and (key == "type" or key.endswith("_id"))) or type(value) is int
    }
