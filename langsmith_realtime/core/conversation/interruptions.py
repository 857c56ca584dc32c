"""What of the agent is heard, and what cut it off: playback as the user has it, and its barge-ins.

Pure. A barge-in is told by several events, in any order: the user's ``speech_started``, the response's
cancellation, a truncation, the server's clearing of its output buffer. It is one all the same, found
again by the response it cut off. Times are seconds since the conversation opened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from langsmith_realtime.core.audio.agent.playback import Cut
from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.conversation.latency import USER_PATIENCE, heard_shares, known_at, measure
from langsmith_realtime.core.conversation.responses import Response
from langsmith_realtime.core.conversation.user_turns import Moment, UserTurns
from langsmith_realtime.core.protocol.events import number, text
from langsmith_realtime.core.protocol.items import Item, Items

#: A client tells how much was heard a moment after the playing ended, in seconds.
TRUNCATE_PATIENCE = 1.0
#: How long a reply that the server plays is waited for after its response is done, in seconds.
PLAYBACK_PATIENCE = 120.0
#: Truncations the server has neither confirmed nor refused; it answers each.
PENDING_TRUNCATIONS = 64


@dataclass(slots=True, eq=False)
class _BargeIn:
    told: int = 0  # by how many events that were not withdrawn
    by_speech: bool = False
    speech: Moment | None = None  # the user's start, if they were speaking


class BargeIns:
    """Which responses were cut off, and how many barge-ins that were."""

    def __init__(self, turns: UserTurns) -> None:
        self._turns = turns
        self._all: list[_BargeIn] = []
        self._latest: dict[str, _BargeIn] = {}  # of each response

    @property
    def count(self) -> int:
        return sum(1 for barge_in in self._all if barge_in.told)

    def cut_off(self, response: str) -> bool:
        known = self._latest.get(response)
        return known is not None and known.told > 0

    def cut_by(self, response: str) -> Moment | None:
        """When the user began the speech that cut the response off; None when it was no speech."""
        return self._latest[response].speech if self.cut_off(response) else None

    def tell(self, responses: Iterable[str], *, by_speech: bool = False) -> _BargeIn:
        """An event tells that these were cut off: a barge-in known of any of them, or else a new one.

        The user begins to speak once in each barge-in.
        """
        keys = list(responses)
        known = [self._latest[key] for key in keys if key in self._latest]
        same = next((barge_in for barge_in in known if not (by_speech and barge_in.by_speech)), None)
        if same is None:
            same = _BargeIn()
            self._all.append(same)
        same.told += 1
        same.by_speech = same.by_speech or by_speech
        same.speech = same.speech or self._turns.speaking
        self._latest.update(dict.fromkeys(keys, same))
        return same


@dataclass(slots=True, eq=False)
class _Truncation:
    """A truncation the client sent, and what was known of the item before it."""

    event_id: str | None
    item: Item
    barge_in: _BargeIn
    was_interrupted: bool
    was_heard_ms: float | None

    def is_refused_by(self, error: dict[str, Any]) -> bool:
        """Errors name the client's event, if it had an id; else their words must do."""
        named = text(error.get("event_id"))
        if named is not None:
            return named == self.event_id
        words = f"{error.get('message')} {error.get('param')} {error.get('code')}".lower()
        return "trunc" in words or "audio_end_ms" in words or "shorter" in words


class Interruptions:
    """What the user hears of the agent, as far as events and the application tell."""

    def __init__(self, items: Items, tracks: Tracks, turns: UserTurns) -> None:
        self.barge_ins = BargeIns(turns)
        self.undecodable = 0
        self._items = items
        self._tracks = tracks
        self._turns = turns
        self._playing: dict[str, None] = {}  # items that may still be playing
        self._started: dict[str, None] = {}  # responses that the server is playing
        self._last: Response | None = None  # the last to speak
        self._truncations: deque[_Truncation] = deque(maxlen=PENDING_TRUNCATIONS)

    # The agent

    def begun(self, response: Response, t: float) -> None:
        """A delta of the response arrived."""
        if response.first_token is None:
            response.first_token = t
        if response.in_band:
            self._last = response

    def audio(self, response: Response | None, item_id: str, payload: object, t: float) -> None:
        """Speech arrived."""
        muted = False
        if response is not None:
            if not response.in_band:
                return  # nobody plays it, unless the application feeds it
            muted = response.muted
            response.sounds(t)
        try:
            self._tracks.agent_received(t, item_id, payload, muted=muted)
        except ValueError:
            self.undecodable += 1
        self._playing[item_id] = None

    def server_plays(self, response_id: str | None, responses: Iterable[Response], t: float, *, playing: bool) -> None:
        """``output_audio_buffer.started`` or ``stopped``."""
        if response_id is None:
            return
        response = next((r for r in responses if r.response_id == response_id), None)
        if playing:
            self._started[response_id] = None
            if response is not None and response.play_started is None:
                response.play_started = t
                response.sounds(t)
                self._reheard(self._tracks.server_started(t, response.items))
            return
        self._started.pop(response_id, None)
        if response is not None:
            response.play_ended = t
            self._tracks.server_stopped(t, response.items)

    def played(self, item_id: str, ms: float, t: float) -> None:
        """The application says how much of an item had been played at ``t``."""
        self._reheard(self._tracks.played(t, item_id, ms))
        if self._tracks.spoken_ms(item_id):
            self._playing[item_id] = None  # it may be heard for longer than was thought

    def reconnected(self) -> None:
        """The session that was playing is gone, and will not tell when it ended."""
        self._started.clear()

    def is_over(self, response: Response, t: float) -> bool:
        """Whether nothing more will be told of how much of a finished response was heard."""
        ended = t if response.done_at is None else response.done_at
        if response.response_id in self._started and t < ended + PLAYBACK_PATIENCE:
            return False
        ends = [end for end in map(self._tracks.playing_until, response.items) if end is not None]
        if not all(t >= end + TRUNCATE_PATIENCE for end in ends):
            return False
        known = known_at(response, self._tracks, self.barge_ins.cut_by(response.response_id))
        # What is told of it long after its end is another's, which a peer gave the same id.
        return t >= min(known, max([ended, *ends]) + USER_PATIENCE + TRUNCATE_PATIENCE)

    def numbers(self, response: Response) -> dict[str, float]:
        """What is known of the response in milliseconds; see :mod:`langsmith_realtime.core.conversation.latency`."""
        self._settle(response)
        return measure(response, self._tracks, self._turns.tools, self.barge_ins.cut_by(response.response_id))

    def heard_shares(self, response: Response) -> dict[str, float]:
        """What share of each of its items' audio was heard, from 0 to 1."""
        return heard_shares(response, self._tracks)

    def close(self, t: float) -> None:
        """Audio still queued at the end was not heard; nobody interrupted it."""
        for cut in self._tracks.close(t):
            self._items.know(cut.item_id).heard_ms = cut.heard_ms

    # The user

    def speech_started(
        self, t: float, active: Sequence[Response], *, interrupts: bool, agent_speaking: bool | None
    ) -> None:
        """The user began to speak while these responses were being made.

        The session ``interrupts`` or not. The application's word, if it has one, stands above what is
        known of the playback: whether the agent could be heard at this moment.
        """
        speaking = [*self._being_heard(t), *(r.response_id for r in active if r.spoke and not r.muted)]
        if interrupts:
            self._cut_all(t, interrupted=agent_speaking is not False)
            for response in active:
                response.muted = True  # the server cancels it; what still arrives of it is not played
        if agent_speaking:
            last = [] if self._last is None else [self._last.response_id]
            self.barge_ins.tell(speaking or last, by_speech=True)
        elif speaking and interrupts and agent_speaking is None:
            self.barge_ins.tell(speaking, by_speech=True)

    # What cuts the agent off

    def cancelled(self, response: Response, t: float, *, turn_detected: bool) -> None:
        """A response was cancelled; by the user's speech, if ``turn_detected``."""
        known = [item for item in map(self._items.get, response.items) if item is not None]
        cut_short = [item for item in known if item.fields.get("status") != "completed"]
        for item in cut_short or known[-1:]:
            item.interrupted = True
        if not turn_detected:
            return
        told = [response.response_id] if response.spoke or any(item.has_words for item in known) else []
        if not response.muted:  # else speech_started came first, and told of what was playing
            told += self._being_heard(t)
        if told:
            self.barge_ins.tell(told)

    def server_cleared(self, response_id: str | None, responses: Iterable[Response], t: float) -> None:
        """``output_audio_buffer.cleared``: the server stopped playing."""
        cut = [_key(item) for item in self._cut_all(t, interrupted=True)]
        response = next((r for r in responses if r.response_id == response_id), None)
        if response is not None:
            response.play_ended = t
        if response_id in self._started:
            del self._started[response_id]
            cut.append(response_id)
            spoken = [] if response is None else response.items
            for item_id in spoken[-1:]:
                self._items.know(item_id).interrupted = True
        if cut:
            self.barge_ins.tell(cut)

    def truncate(self, body: dict[str, Any], t: float) -> None:
        """The client says how much of an item was heard."""
        item_id, heard_ms = text(body.get("item_id")), number(body.get("audio_end_ms"))
        if item_id is None or heard_ms is None:
            return
        cut = self._tracks.truncate(t, item_id, heard_ms)
        item = self._items.know(item_id)
        barge_in = self.barge_ins.tell([_key(item)])
        self._truncations.append(
            _Truncation(text(body.get("event_id")), item, barge_in, item.interrupted, item.heard_ms)
        )
        item.interrupted, item.heard_ms = True, max(0.0, heard_ms) if cut is None else cut.heard_ms

    def truncated(self, body: dict[str, Any]) -> None:
        """The server truncated an item: as this client said, or on its own, as it does where it plays itself."""
        item_id = text(body.get("item_id"))
        asked = next((waiting for waiting in self._truncations if waiting.item.item_id == item_id), None)
        if asked is not None:
            self._truncations.remove(asked)
            return
        item = self._items.get(item_id)
        if item is None:
            return
        self.barge_ins.tell([_key(item)])
        item.interrupted = True
        item.heard_ms = number(body.get("audio_end_ms")) if item.heard_ms is None else item.heard_ms

    def refused(self, error: dict[str, Any]) -> None:
        """A truncation the server refuses was no truncation."""
        refused = next((waiting for waiting in self._truncations if waiting.is_refused_by(error)), None)
        if refused is None:
            return
        self._truncations.remove(refused)
        refused.barge_in.told -= 1
        item = refused.item
        cut = self._tracks.truncate_refused(item.item_id)
        item.interrupted = refused.was_interrupted or cut is not None or refused.barge_in.told > 0
        item.heard_ms = refused.was_heard_ms if cut is None else cut.heard_ms

    # Details

    def _settle(self, response: Response) -> None:
        """What was heard of its items that were cut, as the application's sound tells better than the cuts did."""
        for item in filter(None, map(self._items.get, response.items)):
            if item.heard_ms is not None and self._tracks.agent_is_fed and self._tracks.spoken_ms(item.item_id):
                item.heard_ms = self._tracks.heard_ms(item.item_id)

    def _being_heard(self, t: float) -> list[str]:
        """The responses whose speech is heard at ``t``."""
        for item_id in list(self._playing):
            if t >= (self._tracks.playing_until(item_id) or 0):
                del self._playing[item_id]
        heard = [_key(self._items.know(item_id)) for item_id in self._playing]
        return list(dict.fromkeys([*heard, *self._started]))

    def _reheard(self, cuts: Iterable[Cut]) -> None:
        """Playing was elsewhere than was known: a barge-in cut these items otherwise than was thought."""
        for cut in cuts:
            item = self._items.know(cut.item_id)
            if item.heard_ms is None and cut.heard_ms < self._tracks.spoken_ms(cut.item_id):
                item.interrupted = True
                self.barge_ins.tell([_key(item)])
            item.heard_ms = cut.heard_ms

    def _cut_all(self, t: float, *, interrupted: bool) -> list[Item]:
        cut_short = []
        for cut in self._tracks.barge_in(t):
            item = self._items.know(cut.item_id)
            item.interrupted, item.heard_ms = item.interrupted or interrupted, cut.heard_ms
            cut_short.append(item)
        return cut_short


def _key(item: Item) -> str:
    """What a barge-in is found again by: the response, or the item where that is not known."""
    return item.response_id or item.item_id
