"""One response of the model, and the ``model`` run that it becomes.

Pure. The inputs of the run are the items that are new since the previous response, not the whole history, so that a
trace grows linearly. The output is one chat message, however many items the response has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langsmith_realtime.core.conversation.run_data import ModelRun
from langsmith_realtime.core.conversation.user_turns import Speech
from langsmith_realtime.core.payloads.errors import Failure, as_code
from langsmith_realtime.core.protocol.audio_formats import Format
from langsmith_realtime.core.protocol.events import error_text, mapping, text
from langsmith_realtime.core.protocol.inputs import Ref
from langsmith_realtime.core.protocol.items import Item, Items
from langsmith_realtime.core.protocol.messages import heard_text, messages_of
from langsmith_realtime.core.protocol.prices import PRICES, Price, own_costs
from langsmith_realtime.core.protocol.session_config import SessionConfig
from langsmith_realtime.core.protocol.usage import cached_parts, charges_of_response, inputs_with_cached, usage_metadata


@dataclass(slots=True, eq=False)
class Response:
    """Everything known about one response. Times are seconds since the conversation opened.

    ``parent`` is the ref of its ``response.created`` or, without one, of the first event with a run that names it.
    """

    response_id: str
    parent: Ref
    created: float
    in_band: bool = True  # False if it was requested with conversation: "none"
    is_requested: bool = False  # by a response.create of the client that the trace has seen
    first_token: float | None = None  # arrival of the first delta of any kind
    user_speech: Speech | None = None  # the utterance that it answers
    first_audio: float | None = None  # arrival of the first audio, or the server's report that playback started
    play_started: float | None = None  # output_audio_buffer.started
    play_ended: float | None = None  # output_audio_buffer.stopped or .cleared
    muted: bool = False  # the user started to speak: audio that still arrives is not played
    items: list[str] = field(default_factory=list)  # ids of the items it produced
    input_messages: list[dict[str, Any]] = field(default_factory=list)  # of the request
    input_items: list[Item] = field(default_factory=list)  # new in the conversation since the previous response
    done_at: float | None = None
    next_began: float | None = None  # when the next response of the conversation began before this one's end
    body: dict[str, Any] = field(default_factory=dict)  # the `response` of its latest event
    config: SessionConfig = field(default_factory=SessionConfig)  # the session's, when the response was created
    usage: object = None  # what an event reported, in its `response` or beside it
    settings: dict[str, Any] = field(default_factory=dict)  # what the client asked for of this response alone
    audio_format: Format | None = None  # of its audio; None if it is the session's
    metadata: dict[str, Any] | None = None  # of the request
    is_unnamed: bool = False  # no event has told its id

    @property
    def has_started(self) -> bool:
        """Whether a delta of the response arrived."""
        return self.first_token is not None

    def audio_started(self, t: float) -> None:
        """Its audio arrived, or the server started to play it. Only the first time counts, and none once it is muted.

        Of several responses to one utterance, the first with audio is the answer; the others answer none.
        """
        if self.first_audio is not None or self.muted:
            return
        self.first_audio = t
        if self.user_speech is not None and self.user_speech.answered:
            self.user_speech = None
        elif self.user_speech is not None:
            self.user_speech.answered = True

    def add_item(self, item: Item) -> None:
        """Add the id of an item that the response produced, unless ``items`` has it; mark an out-of-band item."""
        item.out_of_band = not self.in_band
        if item.item_id not in self.items:
            self.items.append(item.item_id)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a response ended. ``reason`` is from ``status_details``.

    ``error`` is None unless the response was cancelled, incomplete or failed. ``interrupted`` is True if it
    was cancelled, by the user's speech or by the client.
    """

    reason: str | None = None
    error: Failure | None = None
    interrupted: bool = False


def outcome_of(body: dict[str, Any]) -> Outcome:
    """The outcome in a ``response.done``: ``body`` is its ``response``, with ``status`` and ``status_details``."""
    details = mapping(body.get("status_details"))
    reason = text(details.get("reason"))
    status = body.get("status")
    if status == "cancelled":
        return Outcome(reason, _told(reason).prefixed("cancelled"), interrupted=True)
    if status == "incomplete":
        return Outcome(reason, _told(reason).prefixed("incomplete"))
    if status == "failed":
        failure = error_text(details.get("error") or body.get("error"), details) or _told(reason)
        return Outcome(reason, failure.prefixed("failed"))
    return Outcome(reason)


def _told(reason: str | None) -> Failure:
    """The server's reason as a failure; a sentence may quote the user, so it is not the failure's kind."""
    return Failure("no reason given") if reason is None else Failure(reason, as_code(reason) or "error")


def model_run(
    response: Response,
    items: Items,
    model: str | None,
    *,
    interrupted: bool,
    numbers: Mapping[str, float],
    heard_shares: Mapping[str, float],
    is_cut: bool = False,
    root_role: Mapping[str, Any] | None = None,
    prices: Mapping[str, Price] = PRICES,
    cut_off: float | None = None,
) -> ModelRun:
    """The ``model`` run of a response.

    Args:
        response: a response that is done.
        items: all items of the conversation.
        model: the response's model.
        interrupted: whether a barge-in cut the response off. If so, its message has the words heard as ``heard``.
        numbers: the response's numbers, for the metadata.
        is_cut: whether something other than a barge-in cut the response off, so that its message has ``heard``, too.
        heard_shares: by ``item_id``, the share of the item's audio that was heard, from 0 to 1.
        root_role: the instructions, tools and voice that the root run tells; None if they are the response's own.
        prices: by model name.
        cut_off: when the user's speech that interrupted the response was noticed.
    """
    body = response.body
    outcome = outcome_of(body)
    metadata: dict[str, Any] = {
        "response_id": response.response_id,
        "status": body.get("status"),
        "status_reason": outcome.reason,
        **numbers,
        "was_interrupted": interrupted or None,
        "out_of_band": None if response.in_band else True,
        "response_metadata": mapping(body.get("metadata")) or response.metadata,
        **cached_parts(response.usage),
    }
    usage = usage_metadata(response.usage)
    if usage is not None:
        usage |= own_costs(model, charges_of_response(response.usage), prices)
    config = response.config.of_response(body)
    if root_role is None:
        root_role = response.config.role()
    item_messages = [message for item in response.input_items for message in messages_of(item)]
    return ModelRun(
        parent=response.parent,
        end=response.created if response.done_at is None else response.done_at,
        inputs=response.input_messages + item_messages,
        message=_answer_message(response, items, heard_shares if interrupted or is_cut else {}),
        finish_reason=str(body.get("status") or "unknown"),
        model=model,
        usage=usage,
        metadata={key: value for key, value in metadata.items() if value is not None},
        first_token=response.first_token,
        error=outcome.error,
        interrupted=outcome.interrupted,
        role={key: value for key, value in config.role().items() if value not in (root_role.get(key), None)},
        parameters=config.parameters(),
        settings=response.settings,
        first_audio=response.first_audio,
        cut_off=cut_off,
        input_tokens=inputs_with_cached(response.usage),
    )


def _answer_message(response: Response, items: Items, heard_shares: Mapping[str, float]) -> dict[str, Any]:
    contents: list[str] = []
    heard: list[str] = []
    tool_calls: list[Any] = []
    for item_id in response.items:
        if item_id in heard_shares:
            heard.append(heard_text(items.get_or_create(item_id), heard_shares[item_id]))
        for message in messages_of(items.get_or_create(item_id)):
            if message["role"] == "assistant":
                contents += [str(message["content"])] if message["content"] else []
                tool_calls += message.get("tool_calls", [])
    answer: dict[str, Any] = {"role": "assistant", "content": "\n".join(contents)}
    if heard:
        answer["heard"] = "\n".join(filter(None, heard))
    if tool_calls:
        answer["tool_calls"] = tool_calls
    return answer
