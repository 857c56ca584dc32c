"""Barge-ins, and how much of the agent's audio was heard.

Pure. Several events may report one barge-in, in any order: the user's ``speech_started``, the response's
cancellation, a truncation, the server's clearing of its output buffer. They are matched by the response that was
cut off. Times are seconds since the conversation opened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from langsmith_realtime.core.audio.agent.playback import Cut
from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.conversation.numbers.latency import (
    USER_AUDIO_DELAY_S,
    heard_shares,
    measure,
    moments,
    user_audio_known_at,
)
from langsmith_realtime.core.conversation.responses import Response
from langsmith_realtime.core.conversation.user_turns import Moment, UserTurns
from langsmith_realtime.core.protocol.events import number, text
from langsmith_realtime.core.protocol.items import Item, Items

#: How long after the end of playback a client may truncate the item, in seconds.
TRUNCATE_DELAY_S = 1.0
#: How long after ``response.done`` the end of the server's playback is awaited, in seconds.
PLAYBACK_TIMEOUT_S = 120.0
#: How many truncations may await the server's confirmation or refusal; older ones are forgotten.
MAX_PENDING_TRUNCATIONS = 64


@dataclass(slots=True, eq=False)
class _BargeIn:
    reports: int = 0  # events that report it, without the truncations that the server refused
    has_speech_start: bool = False  # a speech_started is among them
    speech_start: Moment | None = None  # None if the user was not speaking


class BargeIns:
    """All barge-ins of a conversation, by the responses that they cut off.

    A key is a ``response_id``, or an ``item_id`` if the item's response is not known.
    """

    def __init__(self, turns: UserTurns) -> None:
        self._turns = turns
        self._all: list[_BargeIn] = []
        self._latest: dict[str, _BargeIn] = {}  # by key

    @property
    def count(self) -> int:
        """How many barge-ins there were, without those that only a refused truncation reported."""
        return sum(1 for barge_in in self._all if barge_in.reports)

    def is_interrupted(self, key: str) -> bool:
        """Whether a barge-in cut off the response with that key."""
        barge_in = self._latest.get(key)
        return barge_in is not None and barge_in.reports > 0

    def interrupted_by(self, key: str) -> Moment | None:
        """The start of the user's speech that cut the response off; None without a barge-in or without speech."""
        return self._latest[key].speech_start if self.is_interrupted(key) else None

    def report(self, keys: Iterable[str], *, is_speech_start: bool = False) -> _BargeIn:
        """An event reports that these responses were cut off.

        If a barge-in of any of them is known, the event belongs to that one, otherwise to a new one. A
        barge-in has at most one ``speech_started``, because the user starts to speak once in each.
        """
        keys = list(keys)
        known = [self._latest[key] for key in keys if key in self._latest]
        barge_in = next((each for each in known if not (is_speech_start and each.has_speech_start)), None)
        if barge_in is None:
            barge_in = _BargeIn()
            self._all.append(barge_in)
        barge_in.reports += 1
        barge_in.has_speech_start = barge_in.has_speech_start or is_speech_start
        barge_in.speech_start = barge_in.speech_start or self._turns.speech_start
        self._latest.update(dict.fromkeys(keys, barge_in))
        return barge_in


@dataclass(slots=True, eq=False)
class _Truncation:
    """A truncation that the client sent, and the item's state before it, in case the server refuses."""

    event_id: str | None
    item: Item
    barge_in: _BargeIn
    interrupted_before: bool
    heard_ms_before: float | None

    def is_refused_by(self, error: dict[str, Any]) -> bool:
        """Whether the error has this truncation's ``event_id`` or, if it has no ``event_id``, mentions a truncation."""
        event_id = text(error.get("event_id"))
        if event_id is not None:
            return event_id == self.event_id
        error_words = f"{error.get('message')} {error.get('param')} {error.get('code')}".lower()
        return "trunc" in error_words or "audio_end_ms" in error_words or "shorter" in error_words


class Interruptions:
    """How much of the agent's audio the user heard, and which responses were cut off."""

    def __init__(self, items: Items, tracks: Tracks, turns: UserTurns) -> None:
        self.barge_ins = BargeIns(turns)
        #: Audio deltas that are not base64.
        self.undecodable_deltas = 0
        self._items = items
        self._tracks = tracks
        self._turns = turns
        # Both are used as ordered sets.
        self._playing_items: dict[str, None] = {}  # items that may still be audible
        self._server_playing: dict[str, None] = {}  # responses between output_audio_buffer.started and its end
        self._last_response: Response | None = None  # the latest in-band response that had a delta
        self._truncations: deque[_Truncation] = deque(maxlen=MAX_PENDING_TRUNCATIONS)

    # The agent's audio

    def delta_received(self, response: Response, t: float) -> None:
        """A delta of the response arrived at ``t``; the first one sets its ``first_token``."""
        if response.first_token is None:
            response.first_token = t
        if response.in_band:
            self._last_response = response

    def audio_received(self, response: Response | None, item_id: str, audio: bytes | str, t: float) -> None:
        """A delta with audio arrived; that of an out-of-band response is ignored.

        ``response`` is None if the response is not active: it is done, or its ``response.created`` was not seen.
        """
        muted = False
        if response is not None:
            if not response.in_band:
                return  # out-of-band audio is not played, unless the application feeds it
            muted = response.muted
            response.audio_started(t)
        try:
            self._tracks.agent_received(t, item_id, audio, muted=muted)
        except ValueError:
            self.undecodable_deltas += 1
        self._playing_items[item_id] = None

    def server_playback_started(self, response_id: str | None, responses: Iterable[Response], t: float) -> None:
        """``output_audio_buffer.started`` arrived: the server began to play the response."""
        if response_id is None:
            return
        self._server_playing[response_id] = None
        response = _find(responses, response_id)
        if response is not None and response.play_started is None:
            response.play_started = t
            response.audio_started(t)
            self._apply_cuts(self._tracks.server_started(t, response.items))

    def server_playback_stopped(self, response_id: str | None, responses: Iterable[Response], t: float) -> None:
        """``output_audio_buffer.stopped`` arrived: all of the response was played."""
        if response_id is None:
            return
        self._server_playing.pop(response_id, None)
        response = _find(responses, response_id)
        if response is not None:
            response.play_ended = t
            self._tracks.server_stopped(t, response.items)

    def position_reported(self, item_id: str, ms: float, t: float) -> None:
        """The application reported that ``ms`` milliseconds of the item had been played at ``t``."""
        self._apply_cuts(self._tracks.played(t, item_id, ms))
        if self._tracks.spoken_ms(item_id):
            self._playing_items[item_id] = None  # it may be audible for longer than it was expected to be

    def reconnected(self) -> None:
        """A new server session began; the old one reports no end of playback any more."""
        self._server_playing.clear()

    def playback_is_final(self, response: Response, t: float) -> bool:
        """Whether nothing is awaited any more that may change the numbers of a done response.

        Awaited are the server's report that playback ended, for at most 120 s after ``response.done``; a truncation,
        until 1 s after the end of the audio; and the recording of the user's audio that the numbers depend on.
        """
        done_at = t if response.done_at is None else response.done_at
        if response.response_id in self._server_playing and t < done_at + PLAYBACK_TIMEOUT_S:
            return False
        ends = [end for end in map(self._tracks.playing_until, response.items) if end is not None]
        if not all(t >= end + TRUNCATE_DELAY_S for end in ends):
            return False
        interrupted_by = self.barge_ins.interrupted_by(response.response_id)
        known = user_audio_known_at(response, self._tracks, interrupted_by)
        # A barge-in that is reported long after the end is another response's, to which the server gave the same id.
        return t >= min(known, max([done_at, *ends]) + USER_AUDIO_DELAY_S + TRUNCATE_DELAY_S)

    def numbers(self, response: Response) -> dict[str, float]:
        """Return a response's latencies and how much of it was heard, by metadata key of its ``model`` run.

        The response need not be interrupted; for the keys, see :func:`measure`.
        """
        self._update_heard_ms(response)
        interrupted_by = self.barge_ins.interrupted_by(response.response_id)
        return measure(response, self._tracks, self._turns.tool_times, interrupted_by)

    def moments(self, response: Response) -> dict[str, float]:
        """Return where the parts of the response's latency begin and end, by metadata key, in seconds."""
        return moments(response, self._tracks)

    def heard_shares(self, response: Response) -> dict[str, float]:
        """By ``item_id`` of the response's items with audio, the share of that audio that was heard, from 0 to 1."""
        return heard_shares(response, self._tracks)

    def close(self, t: float) -> None:
        """The conversation ended: audio that is still queued was not heard, but no barge-in cut it off."""
        for cut in self._tracks.close(t):
            self._items.get_or_create(cut.item_id).heard_ms = cut.heard_ms

    # The user's speech

    def speech_started(
        self, t: float, active: Sequence[Response], *, interrupts: bool, agent_speaking: bool | None
    ) -> None:
        """``speech_started`` arrived while the ``active`` responses were being made.

        Args:
            t: arrival of the event.
            active: in-band responses without a ``response.done``.
            interrupts: whether the session cancels responses when the user starts to speak.
            agent_speaking: whether the application played the agent's audio at this moment; it takes precedence
                over the playback model. None if the application did not report it.
        """
        cut_off = [*self._audible_responses(t), *(r.response_id for r in active if r.has_started and not r.muted)]
        if interrupts:
            self._stop_playback(t, interrupted=agent_speaking is not False)
            for response in active:
                response.muted = True  # the server cancels it; audio that still arrives is not played
        if agent_speaking:
            last = [] if self._last_response is None else [self._last_response.response_id]
            self.barge_ins.report(cut_off or last, is_speech_start=True)
        elif cut_off and interrupts and agent_speaking is None:
            self.barge_ins.report(cut_off, is_speech_start=True)

    # Other reports of a barge-in

    def cancelled(self, response: Response, t: float, *, turn_detected: bool) -> None:
        """``response.done`` reported a cancellation; ``turn_detected`` if the user's speech caused it.

        Only then is it a barge-in, if it cut off any output. The unfinished items, or the last one, are marked as
        interrupted in any case.
        """
        items = [item for item in map(self._items.get, response.items) if item is not None]
        incomplete = [item for item in items if item.fields.get("status") != "completed"]
        for item in incomplete or items[-1:]:
            item.interrupted = True
        if not turn_detected:
            return
        has_output = response.has_started or any(item.has_text for item in items)
        cut_off = [response.response_id] if has_output else []
        if not response.muted:  # otherwise speech_started came first, and reported the responses that were audible
            cut_off += self._audible_responses(t)
        if cut_off:
            self.barge_ins.report(cut_off)

    def server_playback_cleared(self, response_id: str | None, responses: Iterable[Response], t: float) -> None:
        """``output_audio_buffer.cleared`` arrived: the server dropped the audio that it had not played yet."""
        cut_off = [_key(item) for item in self._stop_playback(t, interrupted=True)]
        response = _find(responses, response_id)
        if response is not None:
            response.play_ended = t
        if response_id in self._server_playing:
            del self._server_playing[response_id]
            cut_off.append(response_id)
            item_ids = [] if response is None else response.items
            for item_id in item_ids[-1:]:
                self._items.get_or_create(item_id).interrupted = True
        if cut_off:
            self.barge_ins.report(cut_off)

    def truncate_sent(self, body: dict[str, Any], t: float) -> None:
        """The client sent ``conversation.item.truncate``: its ``audio_end_ms`` of the item were heard."""
        item_id, heard_ms = text(body.get("item_id")), number(body.get("audio_end_ms"))
        if item_id is None or heard_ms is None:
            return
        cut = self._tracks.truncate(t, item_id, heard_ms)
        item = self._items.get_or_create(item_id)
        barge_in = self.barge_ins.report([_key(item)])
        self._truncations.append(
            _Truncation(text(body.get("event_id")), item, barge_in, item.interrupted, item.heard_ms)
        )
        item.interrupted, item.heard_ms = True, max(0.0, heard_ms) if cut is None else cut.heard_ms

    def truncated(self, body: dict[str, Any], t: float, *, is_barge_in: bool = True) -> None:
        """``conversation.item.truncated`` arrived at ``t``.

        It confirms the client's truncation of that item. If none was seen, its ``audio_end_ms`` cut the item here: a
        server that plays the audio itself has truncated it, or a client whose events are not seen. That reports a
        barge-in, unless ``is_barge_in`` is False.
        """
        item_id = text(body.get("item_id"))
        confirmed = next((pending for pending in self._truncations if pending.item.item_id == item_id), None)
        if confirmed is not None:
            self._truncations.remove(confirmed)
            return
        item = self._items.get(item_id)
        if item is None:
            return
        if is_barge_in:
            self.barge_ins.report([_key(item)])
        item.interrupted = True
        heard_ms = number(body.get("audio_end_ms"))
        if heard_ms is not None:
            cut = self._tracks.truncate(t, item.item_id, heard_ms)
            item.heard_ms = max(0.0, heard_ms) if cut is None else cut.heard_ms

    def error_received(self, error: dict[str, Any]) -> None:
        """An ``error`` arrived. If it refuses a truncation, the effects of that truncation are undone."""
        refused = next((pending for pending in self._truncations if pending.is_refused_by(error)), None)
        if refused is None:
            return
        self._truncations.remove(refused)
        refused.barge_in.reports -= 1
        item = refused.item
        cut = self._tracks.undo_truncation(item.item_id)
        item.interrupted = refused.interrupted_before or cut is not None or refused.barge_in.reports > 0
        item.heard_ms = refused.heard_ms_before if cut is None else cut.heard_ms

    # Details

    def _update_heard_ms(self, response: Response) -> None:
        """If the application feeds the agent's audio, update ``heard_ms`` of the items that were cut off."""
        for item in filter(None, map(self._items.get, response.items)):
            if item.heard_ms is not None and self._tracks.agent_is_fed and self._tracks.spoken_ms(item.item_id):
                item.heard_ms = self._tracks.heard_ms(item.item_id)

    def _audible_responses(self, t: float) -> list[str]:
        """Keys in :class:`BargeIns` of the responses whose audio is playing at ``t``."""
        for item_id in list(self._playing_items):
            if t >= (self._tracks.playing_until(item_id) or 0):
                del self._playing_items[item_id]
        playing = [_key(self._items.get_or_create(item_id)) for item_id in self._playing_items]
        return list(dict.fromkeys([*playing, *self._server_playing]))

    def _apply_cuts(self, cuts: Iterable[Cut]) -> None:
        """Take over cuts that changed because a report corrected when the items were played.

        An item that was complete by the old playback times may turn out to be cut off, which reports a barge-in.
        """
        for cut in cuts:
            item = self._items.get_or_create(cut.item_id)
            if item.heard_ms is None and cut.heard_ms < self._tracks.spoken_ms(cut.item_id):
                item.interrupted = True
                self.barge_ins.report([_key(item)])
            item.heard_ms = cut.heard_ms

    def _stop_playback(self, t: float, *, interrupted: bool) -> list[Item]:
        """Cut all audio that is queued at ``t`` and return the items that were cut, marked if ``interrupted``."""
        items = []
        for cut in self._tracks.barge_in(t):
            item = self._items.get_or_create(cut.item_id)
            item.interrupted, item.heard_ms = item.interrupted or interrupted, cut.heard_ms
            items.append(item)
        return items


def _find(responses: Iterable[Response], response_id: str | None) -> Response | None:
    return next((response for response in responses if response.response_id == response_id), None)


def _key(item: Item) -> str:
    """The key of the item's response in :class:`BargeIns`."""
    return item.response_id or item.item_id
