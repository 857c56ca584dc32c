"""One response of the model, and the run it becomes when it is known in full.

Pure. Its inputs are what is new since the response before it, never the whole history again, so that a
trace grows linearly; its output is one chat message, whatever items it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langsmith_realtime.core.conversation.run_data import ModelRun, Ref
from langsmith_realtime.core.conversation.user_turns import Speech
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.events import error_text, mapping, text
from langsmith_realtime.core.protocol.items import Item, Items, heard_words, messages_of
from langsmith_realtime.core.protocol.usage import cached_parts, usage_metadata


@dataclass(slots=True, eq=False)
class Response:
    """What is known of a response. Times are seconds since the conversation opened."""

    response_id: str
    parent: Ref
    created: float
    in_band: bool = True
    first_token: float | None = None
    answers: Speech | None = None  # what the user said, if this is the answer to it
    first_audio: float | None = None  # received, or that the server began to play
    play_started: float | None = None  # when the server began to play it, where it says so
    play_ended: float | None = None  # when the server ended playing it, or cleared what was left
    muted: bool = False  # the user began to speak: what still arrives is not played
    items: list[str] = field(default_factory=list)
    input_messages: list[dict[str, Any]] = field(default_factory=list)  # given with the request
    input_items: list[Item] = field(default_factory=list)  # new in the conversation
    done_at: float | None = None
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def spoke(self) -> bool:
        return self.first_token is not None

    def sounds(self, t: float) -> None:
        """Audio of it arrived, or began to play. The first audio after the user's speech is the answer to it."""
        if self.first_audio is not None or self.muted:
            return
        self.first_audio = t
        if self.answers is not None and self.answers.answered:
            self.answers = None
        elif self.answers is not None:
            self.answers.answered = True

    def take(self, item: Item) -> None:
        """The response produced this item."""
        item.out_of_band = not self.in_band
        if item.item_id not in self.items:
            self.items.append(item.item_id)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a response ended: nothing wrong, an error, or interrupted."""

    reason: str | None = None
    error: Failure | None = None
    interrupted: bool = False


def outcome_of(body: dict[str, Any]) -> Outcome:
    """``response.done``'s status: completed, cancelled, incomplete or failed, with its details."""
    details = mapping(body.get("status_details"))
    reason = text(details.get("reason"))
    status = body.get("status")
    if status == "cancelled":
        return Outcome(reason, Failure(f"cancelled: {reason or 'no reason given'}"), interrupted=True)
    if status == "incomplete":
        return Outcome(reason, Failure(f"incomplete: {reason or 'no reason given'}"))
    if status == "failed":
        failure = error_text(mapping(details.get("error"))) or Failure(reason or "no reason given")
        return Outcome(reason, failure.of("failed"))
    return Outcome(reason)


def model_run(
    response: Response,
    items: Items,
    model: str | None,
    *,
    interrupted: bool,
    numbers: Mapping[str, float],
    heard_shares: Mapping[str, float],
) -> ModelRun:
    """The response's run; ``interrupted`` when a barge-in cut it off.

    ``numbers`` go into the metadata. Of an interrupted response the answer says what was ``heard``, as far as
    the ``heard_shares`` of its items tell, from 0 to 1 by ``item_id``.
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
        "response_metadata": mapping(body.get("metadata")) or None,
        **cached_parts(body.get("usage")),
    }
    given = [message for item in response.input_items for message in messages_of(item)]
    return ModelRun(
        parent=response.parent,
        end=response.created if response.done_at is None else response.done_at,
        inputs=response.input_messages + given,
        message=_answer(response, items, heard_shares if interrupted else {}),
        finish_reason=str(body.get("status") or "unknown"),
        model=model,
        usage=usage_metadata(body.get("usage")),
        metadata={key: value for key, value in metadata.items() if value is not None},
        first_token=response.first_token,
        error=outcome.error,
        interrupted=outcome.interrupted,
    )


def _answer(response: Response, items: Items, heard_shares: Mapping[str, float]) -> dict[str, Any]:
    said: list[str] = []
    heard: list[str] = []
    calls: list[Any] = []
    for item_id in response.items:
        if item_id in heard_shares:
            heard.append(heard_words(items.know(item_id), heard_shares[item_id]))
        for message in messages_of(items.know(item_id)):
            if message["role"] == "assistant":
                said += [str(message["content"])] if message["content"] else []
                calls += message.get("tool_calls", [])
    answer: dict[str, Any] = {"role": "assistant", "content": "\n".join(said)}
    if heard:
        answer["heard"] = "\n".join(words for words in heard if words)
    if calls:
        answer["tool_calls"] = calls
    return answer
