"""Groups a conversation into turns: an utterance of the user's, the responses to it, and their tools.

Pure. :class:`TurnRule` says at an event's arrival to which turn it belongs, because the caller's own work takes its
place at once; :class:`Turns` makes the run of each turn from what happened in it. Used only with ``layout="turns"``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from langsmith_realtime.core.conversation.numbers.metric_names import LATENCIES
from langsmith_realtime.core.conversation.responses import outcome_of
from langsmith_realtime.core.conversation.run_data import EventRun, ModelRun, RunData, TurnRun
from langsmith_realtime.core.protocol.events import SPEECH_STARTED, Event, ended_response, mapping, parse, text
from langsmith_realtime.core.protocol.inputs import Closed, Input, MalformedFrame, ServerFrame
from langsmith_realtime.core.protocol.items import Item, Items

#: How many ids of items, responses and calls are remembered with their turns; older ones are forgotten.
MAX_IDS = 5000

_USER_INPUT = frozenset({SPEECH_STARTED, "input_audio_buffer.committed", "input_audio_buffer.timeout_triggered"})
_SESSION = ("session.", "transcription_session.")
_TOKENS = ("input_tokens", "output_tokens", "total_tokens")


class TurnRule:
    """Which turn each event of a conversation belongs to.

    A turn begins with the user's input after the turn before it was answered, with a response that nobody asked for
    at the beginning, and with either of them after an error. An event that names a response, an item or a call belongs
    to their turn, also after the next one has begun; any other event belongs to the latest turn. Events of the session,
    and those before the first turn, belong to none.
    """

    def __init__(self) -> None:
        self._current: int | None = None
        self._is_answered = False
        self._has_failed = False
        self._turns: dict[str, int] = {}  # by the id of an item, a response or a call

    def place(self, event: Event, begin: Callable[[], int]) -> int | None:
        """The start of the turn that an event belongs to; None if it belongs to none.

        Args:
            event: the event that arrives.
            begin: returns the start of a turn that begins now.
        """
        if event.kind.startswith(_SESSION):
            return None
        ids = _ids(event.body)
        turn = next((self._turns[each] for each in ids if each in self._turns), None)
        if turn is None:
            if self._begins(event):
                self._current, self._is_answered, self._has_failed = begin(), False, False
            turn = self._current
        if turn is None:
            return None
        if turn == self._current:
            self._is_answered |= event.kind == "response.created"
            self._has_failed |= event.kind == "error" or _has_failed(event)
        for each in ids:
            self._turns.setdefault(each, turn)
        while len(self._turns) > MAX_IDS:
            del self._turns[next(iter(self._turns))]
        return turn

    def turn_of(self, about: str | None) -> int | None:
        """The start of the turn of a response, an item or a call, by its id; of the latest turn if that is not known.

        None before the first turn.
        """
        return self._current if about is None else self._turns.get(about, self._current)

    def _begins(self, event: Event) -> bool:
        is_input = event.kind in _USER_INPUT or _is_user_item(event)
        if self._current is None or self._has_failed:
            return is_input or event.kind == "response.created"
        return is_input and self._is_answered


@dataclass(slots=True, eq=False)
class _Turn:
    start: int
    number: int
    end: float = 0.0
    user_items: dict[str, bool] = field(default_factory=dict)  # by item id, whether it is speech
    pending: set[str] = field(default_factory=set)  # ids of responses without a model run
    answers: list[ModelRun] = field(default_factory=list)
    error: str | None = None


class Turns:
    """The turns of one conversation that have no run yet.

    Args:
        items: all items of the conversation.
    """

    def __init__(self, items: Items) -> None:
        self._items = items
        self._turns: dict[int, _Turn] = {}
        self._count = 0
        self._newest = -1  # the start of the newest turn

    def follow(self, given: Input, runs: list[RunData]) -> list[RunData]:
        """Note what an input and the runs that it completed say of their turns; return the turns that are over."""
        if isinstance(given, (ServerFrame, MalformedFrame)) and given.run is not None and given.run.turn is not None:
            turn = self._turn(given.run.turn)
            if turn is not None:
                turn.end = max(turn.end, given.t)
                if isinstance(given, ServerFrame):
                    self._note_event(parse(given.frame), turn)
        if not self._turns:
            return []
        for run in runs:
            if isinstance(run, ModelRun) and run.parent.turn in self._turns:
                turn = self._turns[run.parent.turn]
                turn.pending.discard(str(run.metadata.get("response_id")))
                turn.answers.append(run)
                turn.end = max(turn.end, run.end)
            elif isinstance(run, EventRun) and run.ref.turn in self._turns:
                turn = self._turns[run.ref.turn]
                turn.end = max(turn.end, run.end or 0.0)
                turn.error = turn.error or (run.error if run.name == "error" else None)
        latest = next(reversed(self._turns))
        is_over = isinstance(given, Closed)
        over = [turn for turn in self._turns.values() if is_over or (turn.start != latest and not turn.pending)]
        for turn in over:
            del self._turns[turn.start]
        return [self._run(turn) for turn in over]

    def _turn(self, start: int) -> _Turn | None:
        """The turn that started at ``start``; None if it is over, because a turn has one run."""
        if start > self._newest:
            self._newest = start
            self._count += 1
            self._turns[start] = _Turn(start, self._count)
        return self._turns.get(start)

    def _note_event(self, event: Event, turn: _Turn) -> None:
        item_id = text(event.body.get("item_id"))
        if event.kind in _USER_INPUT and item_id is not None:
            turn.user_items[item_id] = True
        elif _is_user_item(event):
            turn.user_items.setdefault(str(mapping(event.body["item"]).get("id")), False)
        elif event.kind == "response.created":
            turn.pending.add(str(mapping(event.body.get("response")).get("id")))

    def _run(self, turn: _Turn) -> TurnRun:
        answers, spoken_ms = turn.answers, sum(run.metadata.get("spoken_ms", 0) for run in turn.answers)
        said = [str(run.message.get("content")) for run in answers if run.message.get("content")]
        failed = next((run for run in answers if run.error is not None and not run.interrupted), None)
        is_interrupted = any(run.interrupted or run.metadata.get("was_interrupted") for run in answers)
        error = turn.error or (None if failed is None else failed.error)
        status = "failed" if error else "interrupted" if is_interrupted else "completed" if answers else "unanswered"
        has_text = bool(said) and not spoken_ms
        metadata: dict[str, Any] = {
            "turn": turn.number,
            "status": status,
            "audio_produced": spoken_ms > 0,
            "text_produced": bool(said),
            "audio_duration_s": round(spoken_ms / 1000, 3),
        }
        for key in _TOKENS:
            counts = [run.usage[key] for run in answers if run.usage is not None and key in run.usage]
            if counts:
                metadata[key] = sum(counts)
        for key in (*(f"{name}_ms" for name in LATENCIES), "tool_time_ms"):
            value = next((run.metadata[key] for run in answers if key in run.metadata), None)
            if value is not None:
                metadata[key] = value
        outputs = [name for name, is_there in (("audio", spoken_ms > 0), ("text", has_text)) if is_there]
        return TurnRun(
            start=turn.start,
            end=turn.end,
            inputs={"text": self._words(turn), "modalities": self._modalities(turn)},
            outputs={"text": "\n".join(said), "modalities": outputs},
            metadata=metadata,
            error=error,
            interrupted=is_interrupted,
        )

    def _words(self, turn: _Turn) -> str:
        parts = [part for item in self._user_items(turn) for part in item.parts.values()]
        return "\n".join(part.text_so_far for part in parts if part.text_so_far)

    def _user_items(self, turn: _Turn) -> list[Item]:
        return [self._items.message(item_id, "user") for item_id in turn.user_items]

    def _modalities(self, turn: _Turn) -> list[str]:
        kinds = {part.kind for item in self._user_items(turn) for part in item.parts.values()}
        kinds |= {"audio"} if any(turn.user_items.values()) else set()
        return sorted(kinds)


def _ids(body: dict[str, Any]) -> list[str]:
    """The ids of the response, the item and the call that an event names."""
    item, response = mapping(body.get("item")), mapping(body.get("response"))
    found = (response.get("id"), body.get("response_id"), body.get("item_id"), item.get("id"), item.get("call_id"))
    return [each for each in found if isinstance(each, str) and each]


def _is_user_item(event: Event) -> bool:
    item = mapping(event.body.get("item"))
    return event.kind == "conversation.item.added" and item.get("role") == "user" and isinstance(item.get("id"), str)


def _has_failed(event: Event) -> bool:
    outcome = outcome_of(ended_response(event)) if event.kind == "response.done" else None
    return outcome is not None and outcome.error is not None and not outcome.interrupted
