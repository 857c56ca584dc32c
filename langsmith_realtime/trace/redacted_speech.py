"""Finds the spoken words that a redactor masks, so that their sound becomes silent, too.

A redactor can tell them if it has a method ``spans``: ``spans(text)`` returns begin and end, in characters, of each
place in the text that must not be heard. Only the worker's thread uses this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.conversation.spoken_part import share_of
from langsmith_realtime.core.payloads.json_values import Redact
from langsmith_realtime.core.protocol.events import Event, mapping, parse, sequence
from langsmith_realtime.core.protocol.inputs import Closed, Input, ServerFrame, Silence
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, Guard

Spans: TypeAlias = Callable[[str], Iterable[tuple[int, int]]]


class SpansError(Exception):
    """Reported to the guard, not raised, when ``spans`` of a redactor fails. The message quotes nothing."""


class RedactedSpeech:
    """The spoken words of one conversation that a redactor masks.

    Args:
        spans: the redactor's method. If it fails, the whole item becomes silent.
        guard: counts its failures.
    """

    def __init__(self, spans: Spans, guard: Guard) -> None:
        self._spans = spans
        self._guard = guard
        self._examined: dict[str, str] = {}  # words by item
        self._unknown = 0

    def silences(self, conversation: Conversation, given: Input) -> list[Silence]:
        """The silences of items whose words became complete with this input; with the end, those of all others.

        Words that stayed incomplete do not tell when they were spoken, so the whole item becomes silent.
        """
        silences: list[Silence] = []
        is_end = isinstance(given, Closed)
        ids = None if is_end else _item_ids(parse(given.frame)) if isinstance(given, ServerFrame) else []
        for item in conversation.spoken_items(ids):
            self._unknown += is_end and not item.words
            if not item.words or self._examined.get(item.item_id) == item.words or not (item.is_whole or is_end):
                continue
            self._examined[item.item_id] = item.words
            parts = self._parts(item.words)
            silences += [Silence(given.t, item_id=item.item_id, part=part if item.is_whole else None) for part in parts]
        return silences

    def numbers(self) -> dict[str, int]:
        """For the root's metadata: how many spoken items have no words, so that their sound could not be examined."""
        return {"redact_unheard_items": self._unknown} if self._unknown else {}

    def _parts(self, words: str) -> list[tuple[float, float] | None]:
        try:
            return [share_of(words, begin, end) for begin, end in self._spans(words)]
        except CALLBACK_ERRORS as error:
            self._guard.report("redact", SpansError(f"spans raised {type(error).__name__}"))
            return [None]


def redacted_speech(redact: Redact | None, guard: Guard) -> RedactedSpeech | None:
    """What finds the words that ``redact`` masks; None if it has no method ``spans``."""
    spans = getattr(redact, "spans", None)
    return RedactedSpeech(spans, guard) if callable(spans) else None


def _item_ids(event: Event) -> list[str]:
    """The items that an event is about; none for deltas, which complete no words."""
    if event.is_delta:
        return []
    body = event.body
    told = [mapping(body.get("item")), *map(mapping, sequence(mapping(body.get("response")).get("output")))]
    ids = [body.get("item_id"), *(item.get("id") for item in told)]
    return list(dict.fromkeys(item_id for item_id in ids if isinstance(item_id, str)))
