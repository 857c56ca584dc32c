"""One conversation: events and audio with their times go in, the runs that are complete come out.

Pure: time is an argument, in seconds since the conversation opened, so a replayed journal gives the trace that
the live conversation gave.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.conversation.metrics import response_metrics, talk_metrics
from langsmith_realtime.core.conversation.run_data import Ref, RunData
from langsmith_realtime.core.conversation.server_events import HANDLERS, on_delta, on_other, on_speech_started
from langsmith_realtime.core.conversation.state import ConversationState
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.core.protocol.events import APPEND, Event, if_type, mapping, text
from langsmith_realtime.core.protocol.items import messages_of
from langsmith_realtime.core.protocol.prices import PRICES, Price, estimated_cost
from langsmith_realtime.core.protocol.session_config import SessionConfig

#: How much longer on both sides the span of an item may be if the application feeds the agent's audio, in seconds:
#: it may play the item earlier or later than the playback model assumes.
FED_AUDIO_MARGIN_S = 1.0


class Conversation:
    """One conversation. Methods that take an input return the runs that are complete by then.

    Only ``tool_entered`` and ``tool_left`` return nothing.

    ``tracks`` place the audio of both channels; ``prices`` are by model name.
    """

    def __init__(self, *, tracks: Tracks | None = None, prices: Mapping[str, Price] = PRICES) -> None:
        self._state = ConversationState(tracks or Tracks(), prices)

    @property
    def config(self) -> SessionConfig:
        """The session's configuration, as far as the server reported it."""
        return self._state.config

    @property
    def tracks(self) -> Tracks:
        """The audio of both channels, the user's and the agent's."""
        return self._state.tracks

    # Inputs

    def server_event(
        self, event: Event, t: float, ref: Ref = None, *, agent_speaking: bool | None = None
    ) -> list[RunData]:
        """A server event arrived at ``t``. ``ref`` identifies its run; a delta has none.

        ``agent_speaking``: whether the application said that it was playing the agent's audio; None if it did not say.
        Only ``speech_started`` uses it.
        """
        state = self._state
        if event.is_delta:
            runs = state.advance_if_due(t)
            on_delta(state, event, t)
            return runs
        runs = state.advance(t)
        state.event_count += 1
        if event.kind == "input_audio_buffer.speech_started":
            on_speech_started(state, event, t, agent_speaking)
        return runs + HANDLERS.get(event.kind, on_other)(state, event, t, ref)

    def client_event(self, event: Event, t: float) -> list[RunData]:
        """The application sent an event at ``t``. It has no run of its own."""
        state, body = self._state, event.body
        if event.kind == APPEND:
            return self.microphone(body.get("audio"), t)
        runs = state.advance(t)
        if event.kind == "input_audio_buffer.commit":
            state.turns.commit_sent(t)
        elif event.kind == "conversation.item.create":
            result = if_type(mapping(body.get("item")), "function_call_output")
            state.turns.tool_times.answered(text(result.get("call_id")), t)
            runs += state.tool_calls.answered(result, t)
        elif event.kind == "session.update":
            # Audio that is sent from here on has the new format, before the server confirms it.
            update = SessionConfig()
            update.update(body.get("session"))
            if update.user_format is not None:
                state.unconfirmed_user_format = (text(body.get("event_id")), update.user_format)
                state.tracks.set_formats(update.user_format, None)
        elif event.kind == "conversation.item.truncate":
            state.interruptions.truncate_sent(body, t)
        elif event.kind == "response.create" and mapping(body.get("response")).get("conversation") == "none":
            state.out_of_band_requests.append((text(body.get("event_id")), mapping(body.get("response"))))
        return runs

    def microphone(self, audio: object, t: float) -> list[RunData]:
        """The application had sent a chunk of microphone audio by ``t``.

        ``audio`` is base64 text or :class:`AudioBytes`; anything else is only counted as undecodable.
        """
        state = self._state
        runs = state.advance_if_due(t)
        try:
            state.turns.audio_appended(t, state.tracks.user_sent(t, audio))
        except ValueError:
            state.undecodable_appends += 1
        return runs

    def played(self, item_id: str, ms: float, t: float, at: float) -> list[RunData]:
        """The application reported at ``t`` that ``ms`` milliseconds of the item had been played at ``at``.

        An ``at`` after ``t`` counts as ``t``.
        """
        runs = self._state.advance(t)
        self._state.interruptions.position_reported(item_id, ms, min(at, t))
        return runs

    def tool_entered(self, call_id: str, ref: Ref) -> None:
        """The application entered its ``tool(call_id)`` block.

        If no event has announced the call yet, ``ref`` is the parent of its run until its ``response.done`` arrives.
        """
        self._state.tool_calls.block_entered(call_id, ref)

    def tool_left(self, call_id: str, t: float, error: str | None = None) -> None:
        """The application's ``tool(call_id)`` block ended at ``t``; ``error`` is the text of its exception."""
        self._state.tool_calls.block_left(call_id, t, error)

    def advance(self, t: float) -> list[RunData]:
        """Time passed until ``t`` without another input."""
        return self._state.advance(t)

    def close(self, t: float) -> list[RunData]:
        """The conversation ended at ``t``: all runs that are still incomplete are returned as they are."""
        state = self._state
        state.duration_s = t
        state.interruptions.close(t)
        state.end_active_responses(t)
        runs: list[RunData] = [state.take_model_run(response) for response in state.done_responses]
        state.done_responses = []
        return [*runs, *state.mcp_calls.close(), *state.tool_calls.close()]

    # Outputs

    def item_span(self, item_id: str) -> tuple[int, float, float] | None:
        """The channel in which an item is audible, and from when to when, in seconds; None if it is not known.

        The channel is 0 for the user, 1 for the agent. The span may be longer than the item; its end is infinite while
        the user still speaks.
        """
        user_span = self._state.utterances.span(item_id)
        if user_span is not None:
            return USER, *user_span
        tracks = self._state.tracks
        begins, ends = tracks.begins(item_id), tracks.playing_until(item_id)
        if begins is None or ends is None:
            return None
        margin = FED_AUDIO_MARGIN_S if tracks.agent_is_fed else 0.0
        return AGENT, begins - margin, ends + margin

    def messages(self) -> list[dict[str, Any]]:
        """The transcript, with tool calls and their results, as chat messages in conversation order."""
        return [message for item in self._state.items.in_order() for message in messages_of(item)]

    def numbers(self) -> dict[str, Any]:
        """The numbers of the whole conversation, for the root's metadata (docs/numbers.md); call it after close."""
        state = self._state
        numbers: dict[str, Any] = {
            "event_count": state.event_count,
            "turns": sum(1 for item in state.items.in_order() if item.is_user_turn),
            "interruptions": state.interruptions.barge_ins.count,
            "errors": state.error_count,
            **response_metrics(state.response_numbers),
            **talk_metrics(state.tracks.user_activity, state.tracks.agent_activity, state.duration_s),
            **state.usage.totals(),
            **estimated_cost(state.usage.charges, state.prices),
        }
        if state.reconnections:
            numbers["reconnections"] = state.reconnections
        undecodable = state.undecodable_appends + state.interruptions.undecodable_deltas
        if undecodable:
            numbers["undecodable_audio"] = undecodable
        return numbers
