"""One conversation: events and audio with their times go in, the runs that are complete come out.

Pure: time is an argument, in seconds since the conversation opened, so a replayed journal gives the trace that
the live conversation gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.conversation.events.attribution import truncated
from langsmith_realtime.core.conversation.events.item_events import item_sent
from langsmith_realtime.core.conversation.events.response_events import on_delta
from langsmith_realtime.core.conversation.events.server_events import HANDLERS, on_other, on_speech_started
from langsmith_realtime.core.conversation.numbers.metrics import response_metrics, talk_metrics
from langsmith_realtime.core.conversation.run_data import ChildRun, EventRun, RunData, SpeechRun, ToolRun
from langsmith_realtime.core.conversation.sent_events import REVOCABLE
from langsmith_realtime.core.conversation.spoken_part import SpokenItem, part_of
from langsmith_realtime.core.conversation.state import ConversationState
from langsmith_realtime.core.conversation.turns import Turns
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.payloads.json_values import json_frame
from langsmith_realtime.core.protocol.audio_formats import AGENT, SILENT_BYTE, USER
from langsmith_realtime.core.protocol.events import (
    APPEND,
    SPEECH_STARTED,
    Event,
    ga_type,
    parse,
    text,
)
from langsmith_realtime.core.protocol.inputs import (
    AgentChanged,
    ApprovalAnswered,
    ApprovalAsked,
    Audio,
    ChildBegun,
    ClientFrame,
    Closed,
    DroppedAudio,
    GuardrailTripped,
    Input,
    MalformedFrame,
    Played,
    ServerFrame,
    Silence,
    ToolBegun,
    ToolClaimed,
    ToolEnded,
    ToolFailed,
)
from langsmith_realtime.core.protocol.items import Item
from langsmith_realtime.core.protocol.messages import messages_of
from langsmith_realtime.core.protocol.other_protocols import ProtocolCheck
from langsmith_realtime.core.protocol.prices import PRICES, Price, estimated_cost
from langsmith_realtime.core.protocol.session_config import SessionConfig, session_of

#: How much longer on both sides the span of an item may be if the application feeds the agent's audio, in seconds:
#: it may play the item earlier or later than the playback model assumes.
FED_AUDIO_MARGIN_S = 1.0
#: How much longer than its audio an item may play, in seconds, if its words are looked for by their share of its time.
EVEN_S = 0.1


class Conversation:
    """One conversation. Methods that take an input return the runs that are complete by then.

    ``tracks`` place the audio of both channels; ``prices`` are by model name; ``model`` is used until the server names
    one.
    """

    def __init__(
        self, *, tracks: Tracks | None = None, prices: Mapping[str, Price] = PRICES, model: str | None = None
    ) -> None:
        self._state = ConversationState(tracks or Tracks(), prices, model)
        self._turns = Turns(self._state.items)
        self._protocol = ProtocolCheck()
        self._takers: dict[type, Callable[[Any], list[RunData]]] = {
            ServerFrame: self._take_server_frame,
            ClientFrame: self._take_client_frame,
            MalformedFrame: self._take_malformed_frame,
            Audio: self._take_audio,
            DroppedAudio: self._take_dropped_audio,
            Played: self._take_played,
            Silence: self._take_silence,
            ToolClaimed: self._take_tool_claimed,
            ToolBegun: self._take_tool_begun,
            ToolEnded: self._take_tool_ended,
            ChildBegun: self._take_child_begun,
            ToolFailed: self._take_tool_failed,
            AgentChanged: self._state.agents.changed,
            GuardrailTripped: self._state.agents.tripped,
            ApprovalAsked: lambda given: [self._state.agents.asked(given)],
            ApprovalAnswered: self._state.agents.answered,
            Closed: self._take_closed,
        }

    @property
    def config(self) -> SessionConfig:
        """The session's configuration, as far as the server reported it."""
        return self._state.config

    @property
    def tracks(self) -> Tracks:
        """The audio of both channels."""
        return self._state.tracks

    # Inputs

    def take(self, given: Input) -> list[RunData]:
        """Take the next input; return the runs that are complete by then, and those that it makes complete."""
        take = self._takers.get(type(given))
        if take is None:
            return []
        runs = [self._complete(run) if isinstance(run, ToolRun) else run for run in take(given)]
        return runs + self._turns.follow(given, runs)

    def _complete(self, run: ToolRun) -> ToolRun:
        """The run with what its agent and its item tell: arguments of a call that was cut off may be in deltas."""
        run.metadata.update(self._state.agents.call_metadata(run.call_id))
        item = self._state.items.known_call(run.call_id) if run.arguments is None else None
        return run if item is None else replace(run, arguments=item.arguments)

    def _take_server_frame(self, given: ServerFrame) -> list[RunData]:
        event, t, state = parse(given.frame), given.t, self._state
        self._protocol.see(event)
        if event.is_delta or given.run is None:
            return self._take_delta(event, t)
        runs = state.advance(t)
        state.event_count += 1
        state.usage_reported(event)
        if event.kind == SPEECH_STARTED:
            on_speech_started(state, event, t, given.agent_speaking)
        return runs + HANDLERS.get(event.kind, on_other)(state, event, t, given.run)

    def _take_delta(self, event: Event, t: float, audio: bytes | str | None = None) -> list[RunData]:
        runs = self._state.advance_if_due(t)
        on_delta(self._state, event, t, audio)
        return runs

    def _take_malformed_frame(self, given: MalformedFrame) -> list[RunData]:
        runs = self._state.advance(given.t)
        self._state.malformed_count += 1
        if given.run is not None:
            payload = {"frame": json_frame(given.frame)}
            runs.append(EventRun(given.run, "malformed_frame", payload, error=Failure(given.reason)))
        return runs

    def _take_client_frame(self, given: ClientFrame) -> list[RunData]:
        event, t, state = parse(given.frame), given.t, self._state
        self._protocol.see(event, is_client=True)
        body, item = event.body, None
        runs = state.advance(t)
        if event.kind == APPEND:
            state.undecodable_appends += 1  # it has no text; audio that has comes as Audio
        elif event.kind == "input_audio_buffer.commit":
            state.turns.commit_sent(t)
        elif event.kind == "conversation.item.create":
            item = item_sent(state, body, t)
        elif event.kind == "session.update":
            session, event_id = session_of(event), text(body.get("event_id"))
            state.config.asked(event_id, session)
            state.set_formats()
            # vLLM's clients name the model beside the session.
            state.config.model_requested(session.get("model") or body.get("model"), event_id)
        elif event.kind == "conversation.item.truncate":
            state.interruptions.truncate_sent(truncated(state, body), t)
        if event.kind in REVOCABLE:
            state.sent.sent(event, t, item)
        return runs

    def _take_audio(self, given: Audio) -> list[RunData]:
        state, t, data = self._state, given.t, given.data
        if given.event is None:
            runs = state.advance(t)
            assert isinstance(data, bytes)
            (state.tracks.user_fed if given.channel == USER else state.tracks.agent_fed)(t, data, given.at)
            return runs
        if given.channel == AGENT:
            name = str(given.event.get("type"))
            return self._take_delta(Event(ga_type(name), name, dict(given.event)), t, data)
        runs = state.advance_if_due(t)
        try:
            state.turns.audio_appended(t, state.tracks.user_sent(t, data))
        except ValueError:
            state.undecodable_appends += 1
        return runs

    def _take_dropped_audio(self, given: DroppedAudio) -> list[RunData]:
        audio_format = self.tracks.format(given.channel, fed=given.event is None)
        silence = SILENT_BYTE[audio_format.encoding] * given.size
        return self._take_audio(Audio(given.channel, silence, given.t, given.at, given.event))

    def _take_played(self, given: Played) -> list[RunData]:
        runs = self._state.advance(given.t)
        self._state.interruptions.position_reported(given.item_id, given.ms, min(given.at, given.t))
        return runs

    def _take_silence(self, given: Silence) -> list[RunData]:
        return self._state.advance(given.t)

    def _take_tool_claimed(self, given: ToolClaimed) -> list[RunData]:
        self._state.tool_calls.claimed(given.call_id)
        return []

    def _take_tool_begun(self, given: ToolBegun) -> list[RunData]:
        self._state.tool_calls.block_entered(given.call_id, given.parent)
        return []

    def _take_tool_ended(self, given: ToolEnded) -> list[RunData]:
        self._state.tool_calls.block_left(given.call_id, given.t, given.error)
        return []

    def _take_child_begun(self, given: ChildBegun) -> list[RunData]:
        return [ChildRun(given.parent)]

    def _take_tool_failed(self, given: ToolFailed) -> list[RunData]:
        self._state.tool_calls.failed(given.call_id, given.error)
        return []

    def _take_closed(self, given: Closed) -> list[RunData]:
        """All runs that are still incomplete are returned as they are."""
        state = self._state
        state.duration_s = given.t
        state.interruptions.close(given.t)
        state.end_active_responses(given.t)
        runs: list[RunData] = [state.take_model_run(response) for response in state.done_responses]
        state.done_responses = []
        return [*runs, *state.agents.close(given.t), *state.mcp_calls.close(), *state.tool_calls.close()]

    # Outputs

    def take_speech(self, *, is_closed: bool = False) -> list[SpeechRun]:
        """The user's utterances that are complete by now, each of them once; all that ended if it ``is_closed``."""
        return self._state.take_speech(is_closed=is_closed)

    @property
    def untraced_protocol(self) -> str | None:
        """The name of the protocol if it is another one than Realtime, of which the trace shows nothing; else None."""
        return self._protocol.untraced

    def error(self, closed: Closed) -> str | None:
        """Why the conversation failed, as the root's error; None if it did not.

        The server's report that the session is over comes before the error of ``closed``, its consequence.
        """
        if self.untraced_protocol is not None:
            return closed.error or Failure(f"protocol not traced: {self.untraced_protocol}")
        ended = self._state.session_ended
        if ended is None or closed.error is None:
            return closed.error if ended is None else ended
        consequence = closed.error.kind if isinstance(closed.error, Failure) else "error"
        return Failure(f"{ended}; {closed.error}", f"{ended.kind}; {consequence}")

    def item_span(self, item_id: str, part: tuple[float, float] | None = None) -> tuple[int, float, float] | None:
        """The channel in which an item is audible, and from when to when, in seconds; None if it is not known.

        With ``part``, shares of its time from 0 to 1, it is the span of that part with a margin (:func:`.part_of`). It
        is the whole item if its time and its words may not belong together: the user's audio was not bounded by turn
        detection or not sent in real time, or the agent's was cut, paused, or fed by the application.
        """
        whole = self._whole_span(item_id)
        spoken = None if part is None or whole is None else self._spoken_evenly(item_id)
        if part is None or whole is None or spoken is None:
            return whole
        since, until = part_of(spoken, part)
        return whole[0], max(whole[1], since), min(whole[2], until)

    def spoken_items(self, item_ids: Iterable[str] | None = None) -> Iterator[SpokenItem]:
        """The items with audio, in conversation order, or of these ids only, with their words as far as they are known.

        Items that were typed are none.
        """
        items = self._state.items
        known = items.in_order() if item_ids is None else [items.get(item_id) for item_id in item_ids]
        for item in known:
            if item is not None and item.type == "message" and item.has_audio and not item.from_idle_timeout:
                is_whole = not any(part.deltas for part in item.said_parts)
                yield SpokenItem(item.item_id, item.spoken_text, is_whole)

    def _spoken_evenly(self, item_id: str) -> tuple[float, float] | None:
        """Begin and end, in seconds, of an item whose words are all in its audio, without a cut or a pause."""
        state, tracks = self._state, self._state.tracks
        if state.utterances.span(item_id) is not None:
            return state.utterances.detected(item_id)
        begins, ends, item = tracks.begins(item_id), tracks.playing_until(item_id), state.items.get(item_id)
        if begins is None or ends is None or tracks.agent_is_fed or item is None or item.interrupted:
            return None
        is_even = abs(ends - begins - tracks.spoken_ms(item_id) / 1000) < EVEN_S
        return (begins, ends) if is_even else None

    def _whole_span(self, item_id: str) -> tuple[int, float, float] | None:
        user_span = self._state.utterances.span(item_id)
        if user_span is not None:
            return USER, *user_span
        tracks = self._state.tracks
        begins, ends = tracks.begins(item_id), tracks.playing_until(item_id)
        if begins is None or ends is None:
            return None
        margin = FED_AUDIO_MARGIN_S if tracks.agent_is_fed else 0.0
        return AGENT, begins - margin, ends + margin

    def inputs(self) -> dict[str, Any]:
        """The session's configuration, as inputs of the root run.

        Its instructions, tools and voice are those of the first response; the model runs tell others that came later.
        All else is as the server last reported it.
        """
        state = self._state
        first = {} if state.root_role is None else state.root_role
        inputs = {key: value for key, value in state.config.inputs().items() if key not in first}
        return {key: value for key, value in first.items() if value} | inputs

    def messages(self) -> list[dict[str, Any]]:
        """The transcript as chat messages, in conversation order.

        A spoken message has ``start_ms`` and ``end_ms``: from when to when it is audible in the recording. A message of
        an SDK's agent has its name as ``agent``.
        """
        messages = []
        for item in self._state.items.in_order():
            span = self._audible_span(item) if item.type == "message" else {}
            for message in messages_of(item):
                agent = self._state.agents.agent_of(item.response_id) if message["role"] == "assistant" else {}
                messages.append({**message, **agent, **span})
        return messages

    def _audible_span(self, item: Item) -> dict[str, int]:
        tracks = self.tracks
        if item.role == "user":
            span, activity = self._state.utterances.spoken(item.item_id), tracks.user_activity
        else:
            begins, ends = tracks.begins(item.item_id), tracks.playing_until(item.item_id)
            span = None if begins is None or ends is None else (begins, ends)
            activity = tracks.agent_activity
        if span is None or activity is None:
            return {}
        since, until = span
        audible = activity.intervals(since, until)
        if not audible:
            return {}
        start, end = max(since, audible[0][0]), min(until, audible[-1][1])
        return {"start_ms": round(start * 1000), "end_ms": round(end * 1000)}

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
            **estimated_cost(state.usage.charges(state.config.model, state.config.transcription_model), state.prices),
            **state.agents.numbers(),
        }
        if state.session_changes:
            numbers["session_changes"] = state.session_changes
        numbers |= state.tracks.assumptions()
        if state.turns.positions_restart:
            numbers["speech_positions_restart"] = True
        if state.reconnections:
            numbers["reconnections"] = state.reconnections
        undecodable = state.undecodable_appends + state.interruptions.undecodable_deltas
        if undecodable:
            numbers["undecodable_audio"] = undecodable
        if state.unrecorded_items:
            numbers["unrecorded_items"] = state.unrecorded_items
        if state.malformed_count:
            numbers["malformed_frames"] = state.malformed_count
        return numbers
