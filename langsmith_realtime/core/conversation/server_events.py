"""What each server event changes in a conversation, as one table of handlers.

Pure. Only the ``type`` string decides how an event is handled. Deltas and ``speech_started`` have functions of their
own. Any other event without a row in :data:`HANDLERS` becomes a run and changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from langsmith_realtime.core.conversation.responses import Response, outcome_of
from langsmith_realtime.core.conversation.run_data import EventRun, RunData
from langsmith_realtime.core.conversation.state import MAX_OUT_OF_BAND_REQUESTS, ConversationState
from langsmith_realtime.core.conversation.tool_calls import MCP_CALL_FAILED
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.audio_formats import AUDIO_FIELDS
from langsmith_realtime.core.protocol.events import (
    Call,
    Event,
    announced_calls,
    error_text,
    mapping,
    number,
    sequence,
    text,
)
from langsmith_realtime.core.protocol.inputs import Ref
from langsmith_realtime.core.protocol.items import Items, messages_of

#: Called with the state, the event, its arrival time in seconds and its ref; returns the runs that are complete.
Handler: TypeAlias = Callable[[ConversationState, Event, float, Ref], list[RunData]]


# Events that conversation.py passes on by itself


def on_delta(state: ConversationState, event: Event, t: float, audio: bytes | str | None = None) -> None:
    """A ``….delta`` event arrived: a piece of text, a transcript or a call's arguments, or of ``audio``: no run."""
    body = event.body
    item_id, index = text(body.get("item_id")), _content_index(body)
    response_id = text(body.get("response_id"))
    response = state.active_responses.get(response_id or "")
    if response is not None:
        state.interruptions.delta_received(response, t)
    if audio is not None:
        state.interruptions.audio_received(response, item_id or "", audio, t)
    elif event.kind in AUDIO_FIELDS:
        state.interruptions.undecodable_deltas += 1  # it has no text
    if item_id is None:
        return
    if response_id is not None:
        state.items.assign_response(item_id, response_id)
    if event.kind == "response.output_audio_transcript.delta":
        state.items.add_delta(item_id, index, body.get("delta"), kind="audio")
    elif event.kind == "response.output_text.delta":
        state.items.add_delta(item_id, index, body.get("delta"), kind="text")
    elif event.kind == "conversation.item.input_audio_transcription.delta":
        state.items.get_or_create(item_id).role = "user"
        state.items.add_delta(item_id, index, body.get("delta"), kind="audio")


def on_speech_started(state: ConversationState, event: Event, t: float, agent_speaking: bool | None) -> None:
    """``input_audio_buffer.speech_started``: turn detection heard the user.

    ``agent_speaking``: whether the application said that it was playing the agent's audio; None if it did not say.
    """
    start_ms = number(event.body.get("audio_start_ms"))
    state.utterances.started(text(event.body.get("item_id")), state.turns.moment(t, start_ms))
    state.turns.speech_started(t, None if start_ms is None else start_ms + state.speech_padding_ms())
    active = [response for response in state.active_responses.values() if response.in_band]
    state.interruptions.speech_started(
        t, active, interrupts=state.config.interrupts_response, agent_speaking=agent_speaking
    )


def on_other(state: ConversationState, event: Event, _t: float, ref: Ref) -> list[RunData]:
    """An event that changes nothing: it only becomes a run."""
    return [state.event_run(event, ref)]


# The session


def _on_session(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    previous_id = state.config.session_id
    state.config.update(event.body.get("session"))
    # The first session.created was sent before the server saw the client's session.update, so it revokes nothing.
    is_first = event.kind == "session.created" and previous_id is None
    unconfirmed = state.unconfirmed_user_format if is_first else None
    state.unconfirmed_user_format = unconfirmed
    state.tracks.set_formats(unconfirmed[1] if unconfirmed else state.config.user_format, state.config.agent_format)
    if event.kind == "session.created" and previous_id is not None and previous_id != state.config.session_id:
        state.reconnections += 1
        state.turns.reconnected(t)
        state.interruptions.reconnected()
        state.end_active_responses(t)
        run = EventRun(ref, event.name, event.body, metadata={"reconnected": True})
        return [run, *state.advance(t)]
    return [state.event_run(event, ref)]


def _on_error(state: ConversationState, event: Event, _t: float, ref: Ref) -> list[RunData]:
    error = mapping(event.body.get("error"))
    state.interruptions.error_received(error)
    if error.get("code") == "input_audio_buffer_commit_empty":
        state.turns.commit_refused()
    refused_id = text(error.get("event_id"))
    if state.unconfirmed_user_format is not None and refused_id == state.unconfirmed_user_format[0]:
        state.unconfirmed_user_format = None
        state.tracks.set_formats(state.config.user_format, None)
    if refused_id is not None:
        remaining = [request for request in state.out_of_band_requests if request[0] != refused_id]
        state.out_of_band_requests = deque(remaining, maxlen=MAX_OUT_OF_BAND_REQUESTS)
    return [state.event_run(event, ref, error_text(error) or Failure("error"))]


# Items


def _on_item(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    wire = mapping(event.body.get("item"))
    item = state.items.update(wire)
    run = state.event_run(event, ref)
    if item is None:
        return [run]
    item.from_guardrail = item.from_guardrail or state.agents.marks(item)
    if event.kind != "conversation.item.retrieved":
        state.items.place(item.item_id, event.body.get("previous_item_id"))
    if item.type == "function_call_output":
        state.turns.tool_times.answered(text(wire.get("call_id")), t)
        return [run, *state.tool_calls.answered(wire, t)]
    if item.type == "mcp_call":
        return [run, *state.mcp_calls.event(event.kind, item, t, ref)]
    return [run]


def _on_transcription(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    failed = event.kind.endswith(".failed")
    item_id = text(event.body.get("item_id"))
    if item_id is not None:
        item = state.items.get_or_create(item_id)
        item.role = item.role or "user"
        if failed:
            item.transcription_failed = True
        else:
            transcript = event.body.get("transcript")
            state.items.set_text(item_id, _content_index(event.body), transcript, kind="audio")
    if not failed:
        state.usage.add_transcription(state.config.transcription_model, event.body.get("usage"))
    reason = error_text(mapping(event.body.get("error"))) or Failure("no reason given")
    run = state.event_run(event, ref, reason.prefixed("transcription failed") if failed else None)
    return [run, *state.advance(t)]


def _on_output_text(state: ConversationState, event: Event, _t: float, ref: Ref) -> list[RunData]:
    item_id, response_id = text(event.body.get("item_id")), text(event.body.get("response_id"))
    if item_id is not None:
        is_transcript = event.kind == "response.output_audio_transcript.done"
        output = event.body.get("transcript" if is_transcript else "text")
        kind = "audio" if is_transcript else "text"
        state.items.set_text(item_id, _content_index(event.body), output, kind=kind)
        state.items.assign_response(item_id, response_id or "")
    return [state.event_run(event, ref)]


# The input buffer and the user's speech


def _on_speech_stopped(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    end_ms = number(event.body.get("audio_end_ms"))
    state.utterances.stopped(text(event.body.get("item_id")), state.turns.moment(t, end_ms))
    state.turns.speech_stopped(t, end_ms)
    return [state.event_run(event, ref)]


def _on_committed(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    state.turns.committed(t)
    item_id = text(event.body.get("item_id"))
    state.utterances.committed(item_id, t)
    if item_id is not None:
        item = state.items.place(item_id, event.body.get("previous_item_id"))
        item.role = item.role or "user"
        state.items.update_part(item, 0, {"type": "input_audio"})
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
    item = state.items.get(event.body.get("item_id"))
    by_guardrail = item is not None and state.agents.stopped(item.response_id)
    state.interruptions.truncated(event.body, t, is_barge_in=not by_guardrail)
    return [state.event_run(event, ref)]


# Responses


def _on_response_created(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    body = mapping(event.body.get("response"))
    response_id = text(body.get("id"))
    if response_id is not None and response_id not in state.active_responses:
        response = Response(response_id, ref, t, _is_in_band(body), body=body)
        state.active_responses[response_id] = response
        state.agents.response_created(response_id)
        if response.in_band:
            response.user_speech = state.turns.unanswered_speech
            response.input_items = state.items.take_new_items()
        else:
            _take_request(state, response)
    return [state.event_run(event, ref)]


def _take_request(state: ConversationState, response: Response) -> None:
    """Set an out-of-band response's inputs from the ``response.create`` that asked for it.

    Several requests are distinguished by their ``metadata``, which the server repeats; the oldest that matches is
    taken, or the oldest of all. A request without ``input`` has the items that are new since the last in-band response.
    """
    metadata = response.body.get("metadata") or None
    matching = [entry for entry in state.out_of_band_requests if (entry[1].get("metadata") or None) == metadata]
    entry = next(iter(matching or state.out_of_band_requests), None)
    if entry is None:
        return
    state.out_of_band_requests.remove(entry)
    request = entry[1]
    if text(request.get("instructions")):
        response.input_messages.append({"role": "system", "content": request["instructions"]})
    if not isinstance(request.get("input"), list):
        response.input_items = state.items.new_items()
    for wire in sequence(request.get("input")):
        item = state.items.get(mapping(wire).get("id")) or Items().update({**mapping(wire), "id": "given"})
        response.input_messages += messages_of(item) if item else []


def _on_output_item(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    run = state.event_run(event, ref)
    item = state.items.update(event.body.get("item"))
    if item is None:
        return [run]
    response_id = text(event.body.get("response_id")) or ""
    state.items.assign_response(item.item_id, response_id)
    response = state.active_responses.get(response_id)
    if response is not None:
        response.add_item(item)
    _announce(state, event, t, ref)
    if item.type == "function_call":
        state.tool_calls.set_name(item.fields.get("call_id"), item.fields.get("name"))
    if item.type == "mcp_call":
        return [run, *state.mcp_calls.event(event.kind, item, t, ref)]
    return [run]


def _on_function_arguments(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    _announce(state, event, t, ref)
    return [state.event_run(event, ref)]


def _announce(state: ConversationState, event: Event, t: float, ref: Ref) -> None:
    calls = announced_calls(event)
    state.tool_calls.announced(calls, ref)
    _start_tool_times(state, calls, t)


def _start_tool_times(state: ConversationState, calls: list[Call], t: float) -> None:
    for call in calls:
        if call.complete:
            state.turns.tool_times.announced(call.call_id, t)


def _on_mcp_call(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    run = state.event_run(event, ref, MCP_CALL_FAILED if event.kind.endswith(".failed") else None)
    item_id = text(event.body.get("item_id"))
    if item_id is None:
        return [run]
    if event.kind in ("response.mcp_call.completed", "response.mcp_call.failed"):
        state.turns.tool_times.answered(item_id, t)
    else:
        state.turns.tool_times.announced(item_id, t)
    item = state.items.update({"id": item_id, "type": "mcp_call", "arguments": text(event.body.get("arguments"))})
    assert item is not None
    return [run, *state.mcp_calls.event(event.kind, item, t, ref)]


def _on_mcp_list_failed(state: ConversationState, event: Event, _t: float, ref: Ref) -> list[RunData]:
    return [state.event_run(event, ref, Failure("listing the MCP tools failed"))]


def _on_response_done(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    body = mapping(event.body.get("response"))
    response_id = text(body.get("id")) or ""
    response = state.active_responses.pop(response_id, None) or Response(response_id, ref, t, _is_in_band(body))
    response.done_at, response.body = t, body
    previous_id: str | None = None
    for item in map(state.items.update, sequence(body.get("output"))):
        if item is not None:
            state.items.assign_response(item.item_id, response_id)
            if response.in_band:
                state.items.place(item.item_id, previous_id)
            previous_id = item.item_id
            response.add_item(item)
    outcome = outcome_of(body)
    if outcome.interrupted and response.in_band:
        state.interruptions.cancelled(response, t, turn_detected=outcome.reason == "turn_detected")
    if body.get("status") == "completed" and response.user_speech is not None and _is_text_answer(state, response):
        response.user_speech.answered = True
    calls = announced_calls(event)
    _start_tool_times(state, calls, t)
    state.usage.add_response(state.config.model, body.get("usage"))
    run = state.event_run(event, ref, outcome.error, interrupted=outcome.interrupted)
    mcp_items = [item for item in map(state.items.get_or_create, response.items) if item.type == "mcp_call"]
    state.done_responses.append(response)
    return [
        *state.tool_calls.response_done(run, calls),
        *state.mcp_calls.response_done(mcp_items, t, ref),
        *state.advance(t),
    ]


def _is_text_answer(state: ConversationState, response: Response) -> bool:
    """Whether the response has neither audio nor a tool call. After a tool call another response has the answer."""
    items = [state.items.get_or_create(item_id) for item_id in response.items]
    return response.first_audio is None and not any(item.is_call or item.has_audio for item in items)


def _content_index(body: dict[str, Any]) -> int:
    return int(number(body.get("content_index")) or 0)


def _is_in_band(response: dict[str, Any]) -> bool:
    """False if the response was requested with ``conversation: "none"``: the ``conversation_id`` is then null.

    Servers that speak the beta API send no ``conversation_id`` at all.
    """
    return "conversation_id" not in response or response["conversation_id"] is not None


#: By GA name, the handler of every event that changes state, except deltas and ``speech_started``.
HANDLERS: dict[str, Handler] = {
    "session.created": _on_session,
    "session.updated": _on_session,
    "error": _on_error,
    "conversation.item.added": _on_item,
    "conversation.item.done": _on_item,
    "conversation.item.retrieved": _on_item,
    "conversation.item.truncated": _on_truncated,
    "conversation.item.input_audio_transcription.completed": _on_transcription,
    "conversation.item.input_audio_transcription.failed": _on_transcription,
    "input_audio_buffer.committed": _on_committed,
    "input_audio_buffer.cleared": _on_input_cleared,
    "input_audio_buffer.timeout_triggered": _on_idle_timeout,
    "input_audio_buffer.speech_stopped": _on_speech_stopped,
    "output_audio_buffer.started": _on_playback_started,
    "output_audio_buffer.stopped": _on_playback_stopped,
    "output_audio_buffer.cleared": _on_playback_cleared,
    "response.created": _on_response_created,
    "response.output_item.added": _on_output_item,
    "response.output_item.done": _on_output_item,
    "response.output_audio_transcript.done": _on_output_text,
    "response.output_text.done": _on_output_text,
    "response.function_call_arguments.done": _on_function_arguments,
    "response.mcp_call_arguments.done": _on_mcp_call,
    "response.mcp_call.in_progress": _on_mcp_call,
    "response.mcp_call.completed": _on_mcp_call,
    "response.mcp_call.failed": _on_mcp_call,
    "mcp_list_tools.failed": _on_mcp_list_failed,
    "response.done": _on_response_done,
}
