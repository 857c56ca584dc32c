"""Which response and which item an event belongs to, by any id that it has and by its own type.

Pure. Servers leave out ``response.created``, ``output_item.*`` or the ids, give one id to an answer and to its calls,
or give ids that no other event has. An output event (``response.*``) is about the agent, an input event
(``conversation.item.input_audio_transcription.*``) about the user, whatever ids they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langsmith_realtime.core.conversation.responses import Response
from langsmith_realtime.core.conversation.state import ConversationState
from langsmith_realtime.core.protocol.events import mapping, sequence, text
from langsmith_realtime.core.protocol.inputs import ROOT, Ref
from langsmith_realtime.core.protocol.items import Item, Items
from langsmith_realtime.core.protocol.messages import messages_of

#: The fields of a ``response.create`` that a model run shows as messages or in its metadata.
_SHOWN_ELSEWHERE = frozenset({"instructions", "input", "metadata", "conversation"})


def output_response(state: ConversationState, body: Mapping[str, Any], t: float, ref: Ref = ROOT) -> Response | None:
    """The response that an output event with words, sound or a call belongs to; it begins if no event has named it.

    None if the response is over and has its run, or if several responses run and the event names none of them. A
    response that only deltas named so far hangs below the event, if that has a run.
    """
    response = _output_response(state, body, t, ref)
    if response is not None and response.parent == ROOT:
        response.parent = ref
    return response


def _output_response(state: ConversationState, body: Mapping[str, Any], t: float, ref: Ref) -> Response | None:
    response_id = text(body.get("response_id"))
    response = state.active_responses.get(response_id or "") or _named_response(
        state, response_id, text(body.get("item_id"))
    )
    if response is not None or state.is_over(response_id):
        return response
    item = state.items.get(body.get("item_id"))
    if item is not None and item.response_id in state.active_responses:
        return state.active_responses[item.response_id]  # the event names a response that is none
    if response_id is None and item is not None and item.response_id and state.is_over(item.response_id):
        return None
    active = list(state.active_responses.values())
    if response_id is None and len(active) > 1:
        return None
    if len(active) == 1 and (response_id is None or not active[0].items):
        if response_id is not None:
            state.response_names[response_id] = active[0].response_id
        return active[0]
    return begin_response(state, response_id, ref, t, {})


def begin_response(
    state: ConversationState, response_id: str | None, ref: Ref, t: float, body: dict[str, Any]
) -> Response:
    """A response began: its inputs are the new items of the conversation and what the client asked for.

    ``body`` is the ``response`` of the event that tells of it, empty if the event has none.
    """
    state.names_conversations |= body.get("conversation_id") is not None
    request = _take_request(state, body)
    in_band = _is_in_band(request, body)
    state.set_formats()
    if state.root_role is None and state.config.is_known:
        state.root_role = state.config.role()
    response = Response(response_id or state.unnamed("response"), ref, t, in_band, body=body)
    response.config = state.config.snapshot()
    response.is_requested = request is not None
    response.audio_format = state.tracks.response_format = state.config.response_format(request or {}, body)
    response.is_unnamed = response_id is None
    state.repeatable = []
    for active in state.active_responses.values() if in_band else ():
        if active.in_band and active.next_began is None:
            active.next_began = t
    state.active_responses[response.response_id] = response
    state.agents.response_created(response.response_id, response.config.role()["instructions"])
    if in_band:
        response.user_speech = state.turns.unanswered_speech
        speech = state.items.untranscribed()
        if speech is not None and not speech.speaking and not speech.parts:
            state.items.update_part(speech, 0, {"type": "input_audio"})  # no event reports that it became an item
    if request is not None:
        _apply_request(state, response, request)
    elif in_band:
        response.input_items = state.items.take_new_items()
    return response


def _take_request(state: ConversationState, body: dict[str, Any]) -> dict[str, Any] | None:
    """The ``response`` of the client's ``response.create`` that asked for a response; None if the client did not.

    Several requests are distinguished by ``conversation: "none"`` and by their ``metadata``, which the server repeats;
    the oldest that matches is taken. If the server repeats no metadata, it is the oldest of all.
    """
    waiting = state.sent.waiting("response.create")
    if "conversation_id" in body:
        is_out_of_band = body["conversation_id"] is None
        alike = [sent for sent in waiting if _is_out_of_band(sent.request) == is_out_of_band]
        waiting = alike if alike or state.names_conversations else waiting
    metadata = body.get("metadata") or None
    matching = [sent for sent in waiting if (sent.request.get("metadata") or None) == metadata]
    if not matching and ("metadata" not in body or body.get("conversation_id", "") is None):
        matching = waiting
    if not matching:
        return None
    state.sent.confirmed(matching[0], alone=True)
    return matching[0].request


def _is_in_band(request: dict[str, Any] | None, body: dict[str, Any]) -> bool:
    """Whether a response belongs to the conversation, as far as its begin tells.

    OpenAI's server gives an out-of-band response no ``conversation_id``. Other servers give none to any response; the
    client's request counts there, and else the first item of the response that becomes one of the conversation.
    """
    if body.get("conversation_id") is not None:
        return True
    return "conversation_id" not in body if request is None else not _is_out_of_band(request)


def joins_conversation(state: ConversationState, item: Item) -> None:
    """An event says that the item is one of the conversation: so is the response that produced it."""
    response = next((each for each in state.responses() if each.response_id == item.response_id), None)
    if response is None or response.in_band or response.is_requested:
        return
    response.in_band = True
    for item_id in response.items:
        state.items.get_or_create(item_id).out_of_band = False
    response.user_speech = state.turns.unanswered_speech
    response.input_items = state.items.take_new_items()


def _is_out_of_band(request: dict[str, Any]) -> bool:
    return request.get("conversation") == "none"


def _apply_request(state: ConversationState, response: Response, request: dict[str, Any]) -> None:
    """Set the response's inputs: what the client asked for replaces the session's instructions and the conversation."""
    if text(request.get("instructions")):
        response.input_messages.append({"role": "system", "content": request["instructions"]})
    if not isinstance(request.get("input"), list):
        items = state.items
        response.input_items = items.take_new_items() if response.in_band else items.new_items()
    for wire in sequence(request.get("input")):
        item = state.items.get(mapping(wire).get("id")) or Items().update({**mapping(wire), "id": "given"})
        response.input_messages += messages_of(item) if item else []
    response.metadata = mapping(request.get("metadata")) or None
    response.settings = {
        key: value for key, value in request.items() if key not in _SHOWN_ELSEWHERE and value is not None
    }


def _named_response(state: ConversationState, response_id: str | None, item_id: str | None) -> Response | None:
    """The response without a run that has one of the ids."""
    item = state.items.get(item_id)
    known_id = response_id or (None if item is None else item.response_id) or ""
    known_id = state.response_names.get(known_id, known_id)
    return next((response for response in state.responses() if response.response_id == known_id), None)


def done_response(state: ConversationState, body: dict[str, Any], t: float, ref: Ref) -> Response | None:
    """Take the response that a ``response.done`` ends from the active ones; it begins if no event has named it.

    Without a known id it is the only active response, if the event shows no items of another one. None if it has ended
    before, so that nothing of it is counted twice.
    """
    response_id = text(body.get("id"))
    known_id = state.response_names.get(response_id or "", response_id or "")
    response = state.active_responses.pop(known_id, None)
    if response is None and len(state.active_responses) == 1 and not state.is_over(response_id):
        (only,) = state.active_responses.values()
        items = [state.items.get(mapping(item).get("id")) for item in sequence(body.get("output"))]
        is_its_own = any(item is not None and item.item_id in only.items for item in items)
        if response_id is None or only.is_unnamed or is_its_own or (only.items and not items):
            response = state.active_responses.pop(only.response_id)
            if response.is_unnamed and response_id is not None:
                response.response_id = response_id
    if response is None:
        is_done = any(each.response_id == response_id for each in state.done_responses)
        if response_id is not None and (is_done or state.is_over(response_id)):
            return None
        response = begin_response(state, response_id, ref, t, body)
        del state.active_responses[response.response_id]
        state.done_before_created.add(response.response_id)
    if response.parent == ROOT:
        response.parent = ref
    return response


def output_message(state: ConversationState, body: Mapping[str, Any], response: Response | None) -> Item:
    """The agent's message that an output event with words or sound belongs to.

    Words under an unknown id belong to the message of the response that has no words yet. That message takes over their
    id, because the application knows the sound by it.
    """
    items = state.items
    item_id = text(body.get("item_id"))
    produced = [] if response is None else [item for item in map(items.get, response.items) if item is not None]
    messages = [item for item in produced if item.type == "message"]
    if item_id is None:
        if not messages:
            messages = [items.message(state.unnamed("item"), "assistant")]
            messages[0].is_unnamed = True
        item = messages[-1]
    elif items.get(item_id) is None and (empty := [each for each in messages if each.described and not each.parts]):
        item = empty[0]
        if response is not None:
            response.items[response.items.index(item.item_id)] = item_id
        items.rename(item, item_id)
    else:
        item = items.message(item_id, "assistant")
    _produced(state, item, body, response)
    return item


def output_call(state: ConversationState, body: Mapping[str, Any], response: Response | None) -> Item | None:
    """The function call that an event with arguments belongs to; None if neither a call nor an item is named."""
    item_id, call_id = text(body.get("item_id")), text(body.get("call_id"))
    known = state.items.get(item_id)
    if call_id is None and known is not None and known.type == "function_call":
        call_id = text(known.fields.get("call_id"))
    call_id = call_id or item_id
    if call_id is None:
        return None
    item = state.items.call(call_id, item_id)
    _produced(state, item, body, response)
    return item


def unite(state: ConversationState, item: Item, response: Response | None) -> Item:
    """The item as the response has it: words that came under an id of their own may be those of this message."""
    if response is None or item.type != "message" or not item.has_text:
        return item
    for known in map(state.items.get, response.items):
        if known is None or known is item or known.described or known.type != "message":
            continue
        if known.spoken_text == item.spoken_text:
            state.items.merge(known, item)
            response.items = [each for each in response.items if state.items.get(each) is not known] + [known.item_id]
            return known
    return item


def join_fragments(state: ConversationState, response: Response) -> None:
    """Some servers send each delta of a message under a new id: the words of such items are those of the message.

    So it is if only one message of the response was announced, and no event but deltas told of the others.
    """
    produced = [item for item in map(state.items.get, response.items) if item is not None]
    messages = [item for item in produced if item.type == "message"]
    announced, fragments = ([item for item in messages if item.described is told] for told in (True, False))
    if len(announced) != 1 or not fragments:
        return
    (message,) = announced
    for fragment in fragments:
        has_only_deltas = all(part.full_text is None for part in fragment.parts.values())
        if not has_only_deltas or state.tracks.spoken_ms(fragment.item_id) or not message.takes(fragment):
            continue
        state.items.merge(message, fragment)
        response.items.remove(fragment.item_id)


def _produced(state: ConversationState, item: Item, body: Mapping[str, Any], response: Response | None) -> None:
    response_id = text(body.get("response_id")) or ""
    state.items.assign_response(item.item_id, response_id if response is None else response.response_id)
    if response is not None:
        response.add_item(item)


def input_message(state: ConversationState, body: Mapping[str, Any]) -> Item:
    """The user's message that an event with words of the user belongs to.

    Words under no id, or under an unknown one, belong to the user's latest speech if that has no transcript yet.
    """
    items = state.items
    item_id = text(body.get("item_id"))
    if item_id is not None and items.get(item_id) is not None:
        return items.message(item_id, "user")
    latest = items.untranscribed()
    if latest is not None and (item_id is None or not latest.has_text or latest.is_unnamed):
        if item_id is not None:
            items.also_named(latest, item_id)
        return latest
    item = items.message(item_id or state.unnamed("item"), "user")
    item.is_unnamed = item_id is None
    return item


def truncated(state: ConversationState, body: Mapping[str, Any]) -> dict[str, Any]:
    """The ``body`` of a truncation, with the id by which the sound of its item is known.

    If no event told the id of the agent's latest message, a truncation of an unknown item is one of that message.
    """
    item_id = text(body.get("item_id"))
    item = state.items.get(item_id) or state.items.unnamed_answer()
    return dict(body) if item_id is None or item is None else {**body, "item_id": item.item_id}
