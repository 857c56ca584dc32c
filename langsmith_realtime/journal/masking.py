"""What of a conversation may be kept on disk: no audio, no secrets, nothing that the client's masking removes.

Pure but for the client's own masking, which may be the user's code: that is called with time as a budget, because one
thread serves all conversations that have such.
"""

from __future__ import annotations

import base64
import binascii
import time
from typing import Any

import pybase64
from langsmith import Client

from langsmith_realtime.core.payloads.scrubbing import NOT_KEPT, scrub
from langsmith_realtime.core.protocol.audio_formats import Sound
from langsmith_realtime.core.protocol.events import APPEND, BETA_NAMES, Event
from langsmith_realtime.delivery.langsmith_client.masking import calls_application
from langsmith_realtime.runtime.guard import ANYTHING, logger
from langsmith_realtime.trace import redaction
from langsmith_realtime.trace.privacy import Privacy, warn_if_slow


class TimeBudget:
    """Seconds that may be spent: a ``share`` of the time that goes by, and no more than ``most`` of it saved up."""

    def __init__(self, share: float, most: float) -> None:
        self._share = share
        self._most = self._left = most
        self._filled_at = 0.0

    def is_empty(self, now: float) -> bool:
        self._left = min(self._most, self._left + self._share * (now - self._filled_at))
        self._filled_at = now
        return self._left <= 0

    def spend(self, seconds: float) -> None:
        """What was spent, even where it was more than there was."""
        self._left -= seconds


#: Where the wire carries sound of which the recording is made: the field, by kind of event.
AUDIO_FIELDS = {APPEND: "audio", "response.output_audio.delta": "delta"}
#: Deltas whose words count when the event that has all of them never comes.
_WORDS = frozenset(
    {
        "response.output_audio_transcript.delta",
        "response.output_text.delta",
        "conversation.item.input_audio_transcription.delta",
    }
)
#: Masking may take that part of a conversation's time, once it has taken this many seconds.
MASKING_SHARE, MASKING_FREE_S = 0.1, 0.25
#: The same for all conversations together, as one thread does it: a share of its time, and seconds at once.
_all_masking = TimeBudget(0.5, 1.0)


class JournalMasking:
    """What one conversation may write down: what its privacy lets through, as the client's masking leaves it."""

    def __init__(self, client: Client, privacy: Privacy) -> None:
        hides = getattr(client, "_hide_inputs", False)
        self._client = client
        self._asks = calls_application(client)
        self._privacy = privacy
        self._hidden = hides is True
        self._masked = not self._hidden and (callable(hides) or bool(getattr(client, "_anonymizer", None)))
        self._spent = 0.0

    def event(self, event: Event, t: float) -> dict[str, Any]:
        """The event's payload as it may be kept, at ``t`` seconds of the conversation."""
        if event.is_delta or event.kind in AUDIO_FIELDS:
            return _pointers(event.body) | (self._words(event) if event.kind in _WORDS else {})
        return self._left(self._privacy.masked(event.body, redaction.of_event), t)

    def frame(self, frame: Any, t: float) -> dict[str, Any]:
        """A frame that is no event, likewise; ``{"frame": …}``, or without."""
        return self._left(self._privacy.masked({"frame": frame}, redaction.of_event), t)

    def error(self, message: str | None, t: float) -> str | None:
        """An error's message, likewise."""
        shown = self._privacy.masked_error(message)
        if shown is None or not self._masked or not hasattr(self._client, "_hide_run_error"):
            return shown
        left = self._mask("_hide_run_error", shown, t)
        return left if isinstance(left, str) else NOT_KEPT

    def metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """The metadata of the conversation's runs, likewise."""
        left = self._mask("_hide_run_metadata", scrub(metadata), 0.0)
        return left if isinstance(left, dict) else {}

    def _words(self, event: Event) -> dict[str, Any]:
        # Masking knows words by their neighbours, which a delta does not have.
        if self._masked or self._privacy.redact is not None or not isinstance(event.body.get("delta"), str):
            return {}
        bare = {"type": event.name, "delta": event.body["delta"]}
        shown = self._privacy.masked(bare, redaction.of_event)
        return {"delta": shown["delta"]} if "delta" in shown else {}

    def _left(self, payload: dict[str, Any], t: float) -> dict[str, Any]:
        if not self._masked:
            # The client hides the set-up, too, which nobody said.
            shown: dict[str, Any] = (
                redaction.without_words(payload) if self._hidden and "session" in payload else payload
            )
            return shown
        left = self._mask("_hide_run_inputs", {"event": payload}, t)
        kept = left.get("event") if isinstance(left, dict) else None
        # What cannot be told from what is hidden is hidden.
        if isinstance(kept, dict) and kept.get("type") == payload.get("type"):
            return kept
        hidden: dict[str, Any] = redaction.without_words(payload)
        return hidden

    def _mask(self, how: str, value: Any, t: float) -> Any:
        began = time.monotonic()
        if self._asks and (self._spent > max(MASKING_FREE_S, t * MASKING_SHARE) or _all_masking.is_empty(began)):
            return None
        try:
            return getattr(self._client, how)(value)
        except ANYTHING as error:
            logger.debug("masking for the journal failed: %s", type(error).__name__)
            return None
        finally:
            if self._asks:
                spent = time.monotonic() - began
                self._spent += spent
                _all_masking.spend(spent)
                warn_if_slow("masking", spent)


def _pointers(body: dict[str, Any]) -> dict[str, Any]:
    """What an event is, and where it belongs; these come often, and nothing else of them is needed."""
    return {
        key: value
        for key, value in body.items()
        if (type(value) is str and (key == "type" or key.endswith("_id"))) or type(value) is int
    }


def take_audio(event: Event) -> tuple[Event, str | None, bytes | None]:
    """An event without its sound: the field it was in, and the bytes; None where there is none to take."""
    field = AUDIO_FIELDS.get(event.kind)
    payload = event.body.get(field) if field is not None else None
    if field is None or not isinstance(payload, (str, Sound)):
        return event, None, None
    try:
        sound = payload.data if isinstance(payload, Sound) else pybase64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        return event, None, None
    return Event(event.kind, event.name, {key: event.body[key] for key in event.body if key != field}), field, sound


def give_audio(body: dict[str, Any], sound: bytes) -> dict[str, Any]:
    """The event as it was on the wire; the opposite of :func:`take_audio`."""
    name = str(body.get("type"))
    field = AUDIO_FIELDS[BETA_NAMES.get(name, name)]
    return {**body, field: base64.b64encode(sound).decode()}
