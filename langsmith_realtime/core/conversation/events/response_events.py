"""What the server's events about responses change: deltas, output items, words, calls, begin and end.

Pure. The table of all handlers is in :mod:`~langsmith_realtime.core.conversation.events.server_events`.
"""

from __future__ import annotations

from langsmith_realtime.core.conversation.events.attribution import (
    begin_response,
    done_response,
    input_message,
    join_fragments,
    output_call,
    output_message,
    output_response,
    unite,
)
from langsmith_realtime.core.conversation.events.item_events import content_index
from langsmith_realtime.core.conversation.mcp_calls import MCP_CALL_FAILED
from langsmith_realtime.core.conversation.responses import Response, outcome_of
from langsmith_realtime.core.conversation.run_data import RunData
from langsmith_realtime.core.conversation.state import ConversationState
from langsmith_realtime.core.protocol.audio_formats import AUDIO_FIELDS
from langsmith_realtime.core.protocol.events import (
    Call,
    Event,
    announced_calls,
    ended_response,
    failure_of,
    json_text,
    mapping,
    sequence,
    text,
)
from langsmith_realtime.core.protocol.inputs import Ref
from langsmith_realtime.core.protocol.items import Item
from langsmith_realtime.core.protocol.usage import usage_of

#: The events with pieces of the agent's words, and the kind of the content part that they belong to.
_WORD_DELTAS = {"response.output_audio_transcript.delta": "audio", "response.output_text.delta": "text"}
_ARGUMENT_DELTA = "response.function_call_arguments.delta"
_TRANSCRIPT_DELTA = "conversation.item.input_audio_transcription.delta"


def on_delta(state: ConversationState, event: Event, t: float, audio: bytes | str | None = None) -> None:
    """A ``….delta`` event arrived: a piece of text, a transcript or a call's arguments, or of ``audio``: no run."""
    body, kind, index = event.body, event.kind, content_index(event.body)
    if kind == _TRANSCRIPT_DELTA:
        state.items.add_delta(input_message(state, body), index, body.get("delta"), kind="audio")
        return
    has_content = audio is not None or kind in _WORD_DELTAS or kind == _ARGUMENT_DELTA
    if has_content:
        response = output_response(state, body, t)
    else:
        response = state.active_responses.get(text(body.get("response_id")) or "")
    active = response if response is not None and response.done_at is None else None
    if active is not None:
        state.interruptions.delta_received(active, t)
    if audio is not None:
        item = output_message(state, body, response)
        state.tracks.response_format = None if response is None else response.audio_format
        state.interruptions.audio_received(active, item.item_id, audio, t)
    elif kind in AUDIO_FIELDS:
        state.interruptions.undecodable_deltas += 1  # it has no text
    elif kind in _WORD_DELTAS:
        item = output_message(state, body, response)
        state.items.add_delta(item, index, body.get("delta"), kind=_WORD_DELTAS[kind])
    elif kind == _ARGUMENT_DELTA:
        call = output_call(state, body, response)
        if call is not None:
            state.items.add_delta(call, 0, body.get("delta"), kind="arguments")


def on_response_created(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    """A response began. Words of it may have arrived before this event; if it is over, it does not begin again."""
    body = mapping(event.body.get("response"))
    response_id = text(body.get("id"))
    state.session_ended = None
    known = state.active_responses.get(response_id or "")
    if response_id in state.done_before_created:
        state.done_before_created.discard(response_id)
    elif known is not None and not known.body:
        known.parent, known.body = ref, body
        known.audio_format = state.config.response_format(known.settings, body)
    elif known is None and (response_id is not None or not state.active_responses):
        begin_response(state, response_id, ref, t, body)
    return [state.event_run(event, ref)]


def on_output_item(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    """A response has an item, or the item is complete."""
    run = state.event_run(event, ref)
    item = state.items.update(event.body.get("item"))
    if item is None:
        return [run]
    response = output_response(state, {**event.body, "item_id": item.item_id}, t, ref)
    if response is None:
        state.items.assign_response(item.item_id, text(event.body.get("response_id")) or "")
    else:
        _add_item(state, response, item)
    _announce(state, event, t, ref)
    if item.type == "function_call":
        state.tool_calls.set_name(item.fields.get("call_id"), item.fields.get("name"))
    if item.type == "mcp_approval_request" and event.kind == "response.output_item.done":
        state.tool_calls.announced([_call(item)], ref, _response_id(state, event))
    if item.type == "mcp_call":
        return [run, *state.mcp_calls.event(event.kind, item, t, ref)]
    return [run]


def _add_item(state: ConversationState, response: Response, item: Item) -> Item:
    state.items.assign_response(item.item_id, response.response_id)
    item = unite(state, item, response)
    response.add_item(item)
    return item


def on_output_words(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    """A text or a transcript of the agent is complete, or one of its pieces."""
    body = event.body
    source = mapping(body.get("part")) or body
    words = source.get("transcript", source.get("text"))
    if not isinstance(words, str):
        return [state.event_run(event, ref)]
    response = output_response(state, body, t, ref)
    if words and response is not None and response.done_at is None:
        state.interruptions.delta_received(response, t)
    is_text = event.kind.startswith("response.output_text") or "text" in str(source.get("type", ""))[-4:]
    item = output_message(state, body, response)
    is_placeholder = source is not body and item.has_text  # the words came in an event of their own
    if words and not is_placeholder:
        state.items.add_text(item, content_index(body), words, kind="text" if is_text else "audio")
    return [state.event_run(event, ref)]


def on_function_arguments(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    """The arguments of a call are complete. Another event may tell its name, or no other event tells of the call."""
    body = event.body
    item = output_call(state, body, output_response(state, body, t, ref))
    _announce(state, event, t, ref)
    if item is not None:
        for key in ("name", "arguments"):
            told = json_text(body.get(key))
            if told is not None and (told or key not in item.fields):
                item.fields[key] = told
        if text(body.get("call_id")) is None:  # an item or a delta told it
            state.tool_calls.announced([_call(item)], ref, _response_id(state, event))
    return [state.event_run(event, ref)]


def _call(item: Item) -> Call:
    """The call that an item is. An MCP approval request has its item's id."""
    is_complete = item.fields.get("status") != "incomplete"
    call_id, name = text(item.fields.get("call_id")) or item.item_id, text(item.fields.get("name"))
    return Call(call_id, name, item.arguments, is_complete)


def _announce(state: ConversationState, event: Event, t: float, ref: Ref) -> None:
    calls = announced_calls(event)
    state.tool_calls.announced(calls, ref, _response_id(state, event))
    _start_tool_times(state, calls, t)


def _response_id(state: ConversationState, event: Event) -> str | None:
    """The id of the response that an event names; None without one. A response of several ids has one here."""
    response_id = text(event.body.get("response_id"))
    return state.response_names.get(response_id or "", response_id)


def _start_tool_times(state: ConversationState, calls: list[Call], t: float) -> None:
    for call in calls:
        if call.complete:
            state.turns.tool_times.announced(call.call_id, t)


def on_mcp_call(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    """The server carries out an MCP call."""
    run = state.event_run(event, ref, failure_of(event, MCP_CALL_FAILED) if event.kind.endswith(".failed") else None)
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


def on_mcp_list_failed(state: ConversationState, event: Event, _t: float, ref: Ref) -> list[RunData]:
    """The server could not list the tools of an MCP server."""
    return [state.event_run(event, ref, failure_of(event, "listing the MCP tools failed"))]


def on_response_done(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    """A response is over. Its output may be missing, or be all that tells of it."""
    body = ended_response(event)
    response = done_response(state, body, t, ref)
    if response is None:
        return [state.event_run(event, ref, outcome_of(body).error, interrupted=outcome_of(body).interrupted)]
    response.done_at, response.body = t, body
    response.usage = usage_of(event.body) or response.usage
    previous_id: str | None = None
    for told in map(state.items.update, sequence(body.get("output"))):
        if told is not None:
            item = _add_item(state, response, told)
            if response.in_band:
                state.items.place(item.item_id, previous_id)
            previous_id = item.item_id
    join_fragments(state, response)
    outcome = outcome_of(body)
    if outcome.interrupted and response.in_band:
        state.interruptions.cancelled(response, t, turn_detected=outcome.reason == "turn_detected")
    if body.get("status") == "completed" and response.user_speech is not None and _is_text_answer(state, response):
        response.user_speech.answered = True
    calls = announced_calls(event)
    _start_tool_times(state, calls, t)
    items = [item for item in map(state.items.get, response.items) if item is not None]
    calls += _other_calls(state, items, {call.call_id for call in calls})
    run = state.event_run(event, ref, outcome.error, interrupted=outcome.interrupted)
    state.done_responses.append(response)
    return [
        *state.tool_calls.response_done(run, calls, response.response_id),
        *state.mcp_calls.response_done([item for item in items if item.type == "mcp_call"], t, ref),
        *state.advance(t),
    ]


def _other_calls(state: ConversationState, items: list[Item], known_ids: set[str]) -> list[Call]:
    """The calls of a response that no event has announced: approval requests, and calls with nothing but deltas."""
    calls = [_call(item) for item in items if item.type in ("function_call", "mcp_approval_request")]
    return [each for each in calls if each.call_id not in known_ids and not state.tool_calls.is_announced(each.call_id)]


def _is_text_answer(state: ConversationState, response: Response) -> bool:
    """Whether the response has neither audio nor a tool call. After a tool call another response has the answer."""
    items = [state.items.get_or_create(item_id) for item_id in response.items]
    return response.first_audio is None and not any(item.is_call or item.has_audio for item in items)
