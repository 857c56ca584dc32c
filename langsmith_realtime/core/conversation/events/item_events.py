"""What the server's events about items change: items of the conversation, and the user's transcripts.

Pure. The table of all handlers is in :mod:`~langsmith_realtime.core.conversation.events.server_events`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langsmith_realtime.core.conversation.events.attribution import input_message, joins_conversation, unite
from langsmith_realtime.core.conversation.run_data import RunData
from langsmith_realtime.core.conversation.sent_events import SentEvent
from langsmith_realtime.core.conversation.state import ConversationState
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.events import Event, failure_of, is_final_status, mapping, number, sequence, text
from langsmith_realtime.core.protocol.inputs import Ref
from langsmith_realtime.core.protocol.items import Item, Items
from langsmith_realtime.core.protocol.messages import approval_text


def on_item(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    """An item was added to the conversation, is complete, or was retrieved."""
    wire = mapping(event.body.get("item"))
    if event.kind != "conversation.item.retrieved":
        _confirm_sent_item(state, wire)
    item = state.items.update(wire)
    run = state.event_run(event, ref)
    if item is None:
        return [run]
    for response in state.active_responses.values():
        item = unite(state, item, response)
    item.from_guardrail = item.from_guardrail or state.agents.marks(item)
    if event.kind != "conversation.item.retrieved":
        joins_conversation(state, item)
        state.items.place(item.item_id, event.body.get("previous_item_id"))
    call_id, output = result_of(wire)
    if call_id is not None:
        if item.type == "function_call_output":
            state.turns.tool_times.answered(call_id, t)
        return [run, *state.tool_calls.answered({"call_id": call_id, "output": output}, t)]
    if item.type == "mcp_call":
        return [run, *state.mcp_calls.event(event.kind, item, t, ref)]
    return [run]


def on_deleted(state: ConversationState, event: Event, _t: float, ref: Ref) -> list[RunData]:
    """The server deleted an item: the transcript keeps it, and later responses do not get it."""
    item = state.items.get(event.body.get("item_id"))
    if item is not None:
        item.deleted = True
    return [state.event_run(event, ref)]


def on_transcription(state: ConversationState, event: Event, t: float, ref: Ref) -> list[RunData]:
    """The transcript of the user's speech is complete, or of a part of it, or there is none."""
    failed = event.kind.endswith(".failed")
    item, words = input_message(state, event.body), _words(event.body)
    if failed:
        item.transcription_failed = True
    elif not is_final_status(event.body):
        if item.awaits_transcript or not item.parts:  # else an older one that comes late
            state.items.set_interim(item, content_index(event.body), words or "", kind="audio")
    else:
        # One that says its status is the whole transcript; without, there may be one event for each piece.
        is_whole = text(event.body.get("status")) is not None
        state.items.add_text(item, content_index(event.body), words, kind="audio", is_whole=is_whole)
        state.items.speech_ended(item)
    reason = failure_of(event) or Failure("no reason given")
    run = state.event_run(event, ref, reason.prefixed("transcription failed") if failed else None)
    return [run, *state.advance(t)]


def on_interim_transcription(state: ConversationState, event: Event, _t: float, ref: Ref) -> list[RunData]:
    """The transcript as far as the server understood it by now; each event replaces the one before it."""
    words = (_words(event.body) or "") + (text(event.body.get("stash")) or "")
    item = input_message(state, event.body)
    if item.awaits_transcript or not item.parts:
        state.items.set_interim(item, content_index(event.body), words, kind="audio")
    return [state.event_run(event, ref)]


def result_of(wire: Mapping[str, Any]) -> tuple[str | None, object]:
    """The ``call_id`` that an item answers and its output; the id is None if the item is no answer.

    A function call has a ``function_call_output``, an MCP approval request an ``mcp_approval_response``.
    """
    if wire.get("type") == "function_call_output":
        return text(wire.get("call_id")), wire.get("output")
    if wire.get("type") == "mcp_approval_response":
        return text(wire.get("approval_request_id")), approval_text(dict(wire))
    return None, None


def item_sent(state: ConversationState, body: Mapping[str, Any], t: float) -> Item | None:
    """The client sent ``conversation.item.create``: its item is in the conversation unless the server refuses it."""
    wire = mapping(body.get("item"))
    call_id, output = result_of(wire)
    if call_id is not None:
        if wire.get("type") == "function_call_output":
            state.turns.tool_times.answered(call_id, t)
        state.tool_calls.result_sent(call_id, output, t)
    item_id = text(wire.get("id"))
    if item_id is None or state.items.get(item_id) is not None:
        item_id = state.unnamed("item")
    state.unrecorded_items += any(text(mapping(part).get("audio")) for part in sequence(wire.get("content")))
    item = state.items.update({**wire, "id": item_id}) if wire else None
    if item is not None:
        earlier = next((each for each in state.repeatable if item.repeats(each)), None)
        if earlier is not None:
            state.items.repeated(item, earlier)
        state.items.place(item.item_id, body.get("previous_item_id"))
    return item


def undo_item(state: ConversationState, sent: SentEvent, failure: Failure) -> None:
    """The server refused an item that the client had sent: it is no part of the conversation, and no result."""
    if sent.item is None:
        return
    sent.item.refused = True
    call_id, _ = result_of({"type": sent.item.type, **sent.item.fields})
    if call_id is not None:
        state.tool_calls.result_refused(call_id, sent.t, failure.prefixed("result refused"))
        state.turns.tool_times.result_refused(call_id)


def _confirm_sent_item(state: ConversationState, wire: dict[str, Any]) -> None:
    """If the item is one that the client sent, note the server's id of it, and that the server accepted it."""
    item_id = text(wire.get("id"))
    if item_id is None:
        return
    known = state.items.get(item_id)
    waiting = [sent for sent in state.sent.waiting("conversation.item.create") if sent.item is not None]
    for sent in waiting:
        if sent.item is not None and (sent.item is known or (known is None and _is_echo(wire, sent.item))):
            state.items.rename(sent.item, item_id)
            state.sent.confirmed(sent)
            return


def _is_echo(wire: dict[str, Any], sent: Item) -> bool:
    """Whether an item on the wire is what the client sent: the answer to the same call, or a message with its words.

    A server may repeat the item without its content.
    """
    if (text(wire.get("type")) or "message") != sent.type:
        return False
    if sent.type != "message":
        keys = ("call_id", "approval_request_id")
        return all(wire.get(key) == sent.fields.get(key) for key in keys)
    told = Items().update({**wire, "id": "told"})
    same_role = told is not None and told.role in (sent.role, None)
    return same_role and told is not None and (not told.parts or told.spoken_text == sent.spoken_text)


def content_index(body: Mapping[str, Any]) -> int:
    """The ``content_index`` of an event; 0 without one."""
    return int(number(body.get("content_index")) or 0)


def _words(body: Mapping[str, Any]) -> str | None:
    words = body.get("transcript", body.get("text"))
    return words if isinstance(words, str) else None
