"""The one gate through which a conversation's payloads leave: to LangSmith, and to the journal.

In this order: audio and secrets are taken out, then the words of the sides that are not kept or that the
client hides, then the application's ``redact`` has its say; masking by the client comes after, in the client.
What the core makes of events uses them as they were.
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
from langsmith_realtime.delivery.langsmith_client import SETTINGS, asks_the_application, hidden_sides
from langsmith_realtime.delivery.operations import FREE_METADATA
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, Guard, logger

#: A payload without the words of some sides: a function of :mod:`langsmith_realtime.words`.
Without: TypeAlias = Callable[[dict[str, Any], frozenset[int]], dict[str, Any]]

#: Seconds that a function of the application's may take before the log says so.
SLOW_S = 1.0


class RedactionError(Exception):
    """The application's ``redact`` did not do its work. Quotes nothing of what it was given."""


class Privacy:
    """What of one conversation may leave.

    Args:
        redact: sees every payload last, and returns what may be seen of it.
        hidden: the sides (channels of the recording) whose words are not kept.
        quotes: whether messages of errors, and metadata that may hold anything, are shown.
        anonymizer: the client's, where that does not mask errors and metadata with it itself.
        guard: counts where ``redact`` fails; that payload is left out then.
    """

    def __init__(
        self,
        redact: Redact | None = None,
        *,
        hidden: frozenset[int] = frozenset(),
        quotes: bool = True,
        anonymizer: Redact | None = None,
        guard: Guard | None = None,
    ) -> None:
        self.redact = redact
        self.hidden = hidden
        self.quotes = quotes and not hidden
        self._anonymizer = anonymizer
        self._guard = guard or Guard()
        self._guard.logs_messages = self.quotes and redact is None and anonymizer is None
        self._latest: tuple[object, object, dict[str, Any], bool] = (None, None, {}, False)
        self._left_out = False

    @classmethod
    def of(cls, client: Client, guard: Guard, *, redact: Redact | None = None, transcripts: bool = True) -> Privacy:
        """What the options and the client's own masking let through."""
        masks = [getattr(client, side, False) for side in SETTINGS.values()]
        made = cls(
            redact,
            hidden=hidden_sides(client) if transcripts else frozenset({USER, AGENT}),
            quotes=not any(masks),
            anonymizer=None if hasattr(client, "_hide_run_error") else getattr(client, "_anonymizer", None),
            guard=guard,
        )
        guard.logs_messages = guard.logs_messages and not asks_the_application(client)
        return made

    def shown(self, payload: dict[str, Any], without: Without) -> dict[str, Any]:
        """What of a payload may leave, in JSON's own types; ``without`` knows its words."""
        payload_before, without_before, shown, left_out = self._latest
        if payload is payload_before and without is without_before:
            self._left_out |= left_out
            return shown  # the journal asks first, and then the run
        before, self._left_out = self._left_out, False
        clean: dict[str, Any] = scrub(payload)
        shown = self._redacted(without(clean, self.hidden) if self.hidden else clean)
        self._latest = payload, without, shown, self._left_out
        self._left_out |= before
        return shown

    def take_left_out(self) -> bool:
        """Whether ``redact`` failed at something that was shown since this was asked the last time."""
        left_out, self._left_out = self._left_out, False
        return left_out

    def error(self, message: str | None) -> str | None:
        """An error's message, or what of it quotes nobody."""
        if message is None:
            return None
        if not self.quotes:
            message = message.kind if isinstance(message, Failure) else NOT_KEPT
        shown = self._anonymized(self._redacted({"error": scrub_message(message)}))
        left = shown.get("error", shown.get("redacted"))
        return left if isinstance(left, str) else NOT_KEPT

    def metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """A run's metadata of ours, without what may hold anything."""
        clean: dict[str, Any] = scrub(metadata)
        free = clean.pop(FREE_METADATA, None)
        if free is None or not self.quotes:
            return clean
        return clean | self._anonymized(self._redacted({FREE_METADATA: free}))

    def _redacted(self, payload: dict[str, Any]) -> dict[str, Any]:
        if self.redact is None or not payload:
            return payload
        began = time.monotonic()
        try:
            shown: object = self.redact(payload)
        except CALLBACK_ERRORS as error:
            return self._failed(f"redact raised {type(error).__name__}", error)
        finally:
            tell_if_slow("redact", time.monotonic() - began)
        if not isinstance(shown, dict):
            return self._failed(f"redact returned a {type(shown).__name__}")
        copy: dict[str, Any] = json_copy(shown)
        return copy

    def _failed(self, reason: str, error: BaseException | None = None) -> dict[str, Any]:
        # The exception itself may quote what was to be redacted.
        place = traceback.extract_tb(error.__traceback__)[-1] if error is not None else None
        where = "" if place is None else f" at {place.filename}:{place.lineno}"
        self._left_out = True
        self._guard.report("redact", RedactionError(reason + where))
        return {"redacted": f"{reason}: nothing of this is kept"}

    def _anonymized(self, payload: dict[str, Any]) -> dict[str, Any]:
        if self._anonymizer is None:
            return payload
        try:
            shown = self._anonymizer(payload)
        except CALLBACK_ERRORS:
            return {}
        return shown if isinstance(shown, dict) else {}


_told_slow: set[str] = set()


def tell_if_slow(what: str, seconds: float) -> None:
    """Say once that what the application has every payload go through keeps other traces waiting."""
    if seconds > SLOW_S and what not in _told_slow:
        _told_slow.add(what)
        said = "your %s took %.1f s for one payload; the traces of all conversations with such functions wait for it"
        logger.warning(said, what, seconds)
