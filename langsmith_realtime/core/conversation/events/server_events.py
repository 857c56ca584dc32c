"""What each server event changes in a conversation, as one table of handlers.

Pure. Only the ``type`` string decides how an event is handled. The handlers of the session, of the input buffer and
of playback are here, the others in ``item_events`` and ``response_events``. Deltas and ``speech_started`` have
functions of their own. Any other event without a row in :data:`HANDLERS` becomes a run and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from langsmith_realtime.core.conversation.events.attribution import truncated
from langsmith_realtime.core.conversation.events.item_events import (
    on_deleted,
    on_interim_transcription,
    on_item,
    on_transcription,
    undo_item,
)
from langsmith_realtime.core.conversation.events.response_events import (
    on_function_arguments,
    on_mcp_call,
    on_mcp_list_failed,
    on_output_item,
    on_output_words,
    on_response_created,
    on_response_done,
)
from langsmith_realtime.core.conversation.run_data import EventRun, RunData
from langsmith_realtime.core.conversation.sent_events import SentEvent, SentEvents
from langsmith_realtime.core.conversation.state import ConversationState
from langsmith_realtime.core.conversation.user_turns import START_TOLERANCE_MS
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.events import (
    SESSION_ENDED,
    Event,
    error_fields,
    error_text,
    failure_of,
    number,
    text,
)
from langsmith_realtime.core.protocol.inputs import Ref
from langsmith_realtime.core.protocol.session_config import session_of

#: Called with the state, the event, its arrival time in seconds and its ref; returns the runs that are complete.
Handler: TypeAlias = Callable[[ConversationState, Event, float, Ref], list[RunData]]


# Events that conversation.py passes on by itself


def on_speech_started(state: ConversationState, event: Event, t: float, agent_speaking: bool | None) -> None:
    """``input_audio_buffer.speech_started``: turn detection heard the user.

    ``agent_speaking``: whether the application said that it was playing the agent's audio; None if it did not say.
    """
    item_id, padding_ms = text(event.body.get("item_id")), state.speech_padding_ms()
    start_ms = state.turns.start_position(item_id, number(event.body.get("audio_start_ms")), padding_ms)
    if item_id is not None:
        item = state.items.message(item_id, "user")
        item.speaking = not item.described and not item.parts
    begin = state.turns.moment(t, start_ms, reach_ms=padding_ms + START_TOLERANCE_MS)
    state.utterances.started(item_id, begin)
    state.turns.speech_started(t, None if start_ms is None else start_ms + padding_ms)
    active = [
        response for response in state.active_responses.values() if response.in_band and response.next_began is None
    ]
    state.interruptions.speech_started(
        t, active, interrupts=state.config.interrupts_response, agent_speaking=agent_speaking
    )


def on_other(state: ConversationState, event: Event, _t: float, ref: Ref) -> list[RunData]:
    """An event that changes nothing: it only becomes a run, with an error if the event reports one."""
    if event.kind.endswith((".failed", ".error")):
        return [state.event_run(event, ref, failure_of(event) or Failure("no reason given"))]
    return [state.event_run(event, ref, failure_of(event) if event.body.get("error") else None)]


# The session


def _on_session(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    previous_id, previous_role = state.config.session_id, state.config.role()
    state.config.update(session_of(event), confirms=event.kind == "session.updated")
    if state.root_role is not None and state.config.role() != previous_role:
        state.session_changes += 1
    if event.kind == "session.created":
        state.session_ended = None
    for sent in state.sent.waiting("session.update")[:1] if event.kind == "session.updated" else []:
        state.sent.confirmed(sent)
    # The first session.created was sent before the server saw the client's session.update, so it revokes nothing.
    if event.kind == "session.created" and previous_id is not None:
        state.config.reconnected()
    state.tracks.set_formats(state.config.user_format, state.config.agent_format)
    if event.kind == "session.created" and previous_id is not None and previous_id != state.config.session_id:
        state.reconnections += 1
        state.repeatable = state.items.in_order()
        state.turns.reconnected(t)
        state.interruptions.reconnected()
        state.sent = SentEvents()
        state.end_active_responses(t)
        run = EventRun(ref, event.name, event.body, metadata={"reconnected": True})
        return [run, *state.advance(t)]
    return [state.event_run(event, ref)]


def _on_error(state: ConversationState, event: Event, _t: float, ref: Ref) -> list[RunData]:
    error = error_fields(event.body.get("error"), event.body)
    failure = error_text(error) or Failure("error")
    if not SESSION_ENDED.isdisjoint((error.get("code"), error.get("type"))):
        state.session_ended = failure
    state.interruptions.error_received(error)
    state.config.refused(error)
    state.set_formats()
    refused = state.sent.refused_by(error)
    if refused is not None:
        _undo(state, refused, failure)
    elif error.get("code") == "input_audio_buffer_commit_empty":
        state.turns.commit_refused()
    return [state.event_run(event, ref, failure)]


def _undo(state: ConversationState, refused: SentEvent, failure: Failure) -> None:
    """The server refused what the client had sent, so it was not done."""
    if refused.kind == "conversation.item.create":
        undo_item(state, refused, failure)
    elif refused.kind == "input_audio_buffer.commit":
        state.turns.commit_refused()


# The input buffer and the user's speech


def _on_speech_stopped(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    end_ms = state.turns.end_position(number(event.body.get("audio_end_ms")))
    state.utterances.stopped(text(event.body.get("item_id")), state.turns.moment(t, end_ms))
    state.turns.speech_stopped(t, end_ms)
    item = state.items.get(event.body.get("item_id"))
    if item is not None:
        state.items.speech_ended(item)
    return [state.event_run(event, ref)]


def _on_committed(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    state.turns.committed(t)
    item_id = text(event.body.get("item_id"))
    state.utterances.committed(item_id, t)
    if item_id is not None:
        item = state.items.message(item_id, "user")
        state.items.place(item.item_id, event.body.get("previous_item_id"))
        item.described = True
        state.items.update_part(item, 0, {"type": "input_audio"})
    for sent in state.sent.waiting("input_audio_buffer.commit")[:1]:
        state.sent.confirmed(sent)
    return [state.event_run(event, ref)]


def _on_input_cleared(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    state.utterances.cleared(t)
    return [state.event_run(event, ref)]


def _on_idle_timeout(state: ConversationState, event: Event, _t: float, ref: Ref) -> list[RunData]:
    state.turns.idle_timeout()
    item_id = text(event.body.get("item_id"))
    if item_id is not None:
        state.items.get_or_create(item_id).from_idle_timeout = True
    return [state.event_run(event, ref)]


# Playback


def _on_playback_started(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    state.interruptions.server_playback_started(text(event.body.get("response_id")), state.responses(), t)
    return [state.event_run(event, ref), *state.advance(t)]


def _on_playback_stopped(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    state.interruptions.server_playback_stopped(text(event.body.get("response_id")), state.responses(), t)
    return [state.event_run(event, ref), *state.advance(t)]


def _on_playback_cleared(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    state.interruptions.server_playback_cleared(text(event.body.get("response_id")), state.responses(), t)
    return [state.event_run(event, ref), *state.advance(t)]


def _on_truncated(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    body = truncated(state, event.body)
    item = state.items.get(body.get("item_id"))
    by_guardrail = item is not None and state.agents.stopped(item.response_id)
    state.interruptions.truncated(body, t, is_barge_in=not by_guardrail)
    return [state.event_run(event, ref)]


#: By GA name, the handler of every event that changes state, except deltas and ``speech_started``.
HANDLERS: dict[str, Handler] = {
    "session.created": _on_session,
    "session.updated": _on_session,
    "error": _on_error,
    "conversation.item.added": on_item,
    "conversation.item.done": on_item,
    "conversation.item.retrieved": on_item,
    "conversation.item.deleted": on_deleted,
    "conversation.item.truncated": _on_truncated,
    "conversation.item.input_audio_transcription.completed": on_transcription,
    "conversation.item.input_audio_transcription.failed": on_transcription,
    # Interim transcripts: xAI, Qwen.
    "conversation.item.input_audio_transcription.updated": on_interim_transcription,
    "conversation.item.input_audio_transcription.text": on_interim_transcription,
    "input_audio_buffer.committed": _on_committed,
    "input_audio_buffer.cleared": _on_input_cleared,
    "input_audio_buffer.timeout_triggered": _on_idle_timeout,
    "input_audio_buffer.speech_stopped": _on_speech_stopped,
    "output_audio_buffer.started": _on_playback_started,
    "output_audio_buffer.stopped": _on_playback_stopped,
    "output_audio_buffer.cleared": _on_playback_cleared,
    "response.created": on_response_created,
    "response.output_item.added": on_output_item,
    "response.output_item.done": on_output_item,
    "response.output_audio_transcript.done": on_output_words,
    "response.output_text.done": on_output_words,
    "response.content_part.done": on_output_words,
    "response.function_call_arguments.done": on_function_arguments,
    "response.mcp_call_arguments.done": on_mcp_call,
    "response.mcp_call.in_progress": on_mcp_call,
    "response.mcp_call.completed": on_mcp_call,
    "response.mcp_call.failed": on_mcp_call,
    "mcp_list_tools.failed": on_mcp_list_failed,
    "response.done": on_response_done,
}
