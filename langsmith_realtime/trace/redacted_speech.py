"""Finds the spoken words that a redactor masks, so that their sound becomes silent, too.

A redactor can tell them if it has a method ``spans``: ``spans(text)`` returns begin and end, in characters, of each
place in the text that must not be heard. Only the worker's thread uses this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.conversation.spoken_part import SpokenItem, share_of
from langsmith_realtime.core.payloads.json_values import Redact
from langsmith_realtime.core.protocol.events import Event, mapping, parse, sequence
from langsmith_realtime.core.protocol.inputs import Closed, Input, ServerFrame, Silence
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, Guard

Spans: TypeAlias = Callable[[str], Iterable[tuple[int, int]]]
Hear: TypeAlias = Callable[[dict[str, Any]], None]
#: A part of an item, as shares of its time; None: the whole item.
Part: TypeAlias = tuple[float, float] | None

#: How many items are examined again when a later one may have completed a number, those of both speakers together.
LATEST = 12


class SpansError(Exception):
    """Reported to the guard, not raised, when ``spans`` of a redactor fails. The message quotes nothing."""


class RedactedSpeech:
    """The spoken words of one conversation that a redactor masks.

    Args:
        spans: the redactor's method. If it fails, the whole item becomes silent.
        guard: counts its failures.
        hear: the redactor's method that looks for pieces of a number in the messages of an event; None without one.
    """

    def __init__(self, spans: Spans, guard: Guard, hear: Hear | None = None) -> None:
        self._spans = spans
        self._hear = hear
        self._guard = guard
        self._examined: dict[str, str] = {}  # words by item
        self._latest: dict[str, tuple[SpokenItem, list[Part]]] = {}  # those that a later item may complete, by item
        self._unknown = 0

    def silences(self, conversation: Conversation, given: Input) -> list[Silence]:
        """The silences of items whose words became complete with this input; with the end, those of all others.

        Words that stayed incomplete do not tell when they were spoken, so the whole item becomes silent.
        """
        silences: list[Silence] = []
        is_end = isinstance(given, Closed)
        if self._hear is not None and isinstance(given, ServerFrame):
            self._hear(parse(given.frame).body)
        ids = None if is_end else _item_ids(parse(given.frame)) if isinstance(given, ServerFrame) else []
        for item in conversation.spoken_items(ids):
            self._unknown += is_end and not item.words
            if not item.words or self._examined.get(item.item_id) == item.words or not (item.is_whole or is_end):
                continue
            self._examined[item.item_id] = item.words
            self._latest[item.item_id] = item, []
            silences += self._new_silences(given.t)
        return silences

    def _new_silences(self, t: float) -> list[Silence]:
        """The silences of the latest items: that of the item that was just said, and of pieces that it completes."""
        silences = []
        while len(self._latest) > (1 if self._hear is None else LATEST):
            del self._latest[next(iter(self._latest))]
        for item, known in self._latest.values():
            parts = [] if None in known else self._parts(item.words)
            new = [part for part in parts if part not in known]
            known.extend(new)
            silences += [Silence(t, item_id=item.item_id, part=part if item.is_whole else None) for part in new]
        return silences

    def numbers(self) -> dict[str, int]:
        """For the root's metadata: how many spoken items have no words, so that their sound could not be examined."""
        return {"redact_unheard_items": self._unknown} if self._unknown else {}

    def _parts(self, words: str) -> list[Part]:
        try:
            return [share_of(words, begin, end) for begin, end in self._spans(words)]
        except CALLBACK_ERRORS as error:
            self._guard.report("redact", SpansError(f"spans raised {type(error).__name__}"))
            return [None]


def redacted_speech(redact: Redact | None, guard: Guard) -> RedactedSpeech | None:
    """What finds the words that ``redact`` masks; None if it has no method ``spans``."""
    spans, hear = getattr(redact, "spans", None), getattr(redact, "hear", None)
    return RedactedSpeech(spans, guard, hear if callable(hear) else None) if callable(spans) else None


def of_conversation(redact: Redact | None) -> Redact | None:
    """The redactor for one conversation: what ``redact.for_conversation()`` returns, or ``redact`` without it."""
    make = getattr(redact, "for_conversation", None)
    made: Redact | None = make() if callable(make) else redact
    return made


def _item_ids(event: Event) -> list[str]:
    """The items that an event is about; none for deltas, which complete no words."""
    if event.is_delta:
        return []
    body = event.body
    told = [mapping(body.get("item")), *map(mapping, sequence(mapping(body.get("response")).get("output")))]
    ids = [body.get("item_id"), *(item.get("id") for item in told)]
    return list(dict.fromkeys(item_id for item_id in ids if isinstance(item_id, str)))
