"""One response of the model, and the run it becomes when it is known in full.

Pure. Its inputs are what is new since the response before it, never the whole history again, so that a
trace grows linearly; its output is one chat message, whatever items it is made of.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from langsmith_realtime.events import mapping, text
from langsmith_realtime.happenings import ModelRun, Ref
from langsmith_realtime.items import Item, Items, messages_of
from langsmith_realtime.usage import cached_parts, usage_metadata


@dataclass(slots=True, eq=False)
class Response:
    """What is known of a response. Times are seconds since the conversation opened."""

    response_id: str
    parent: Ref
    created: float
    in_band: bool = True
    first_token: float | None = None
    latency_ms: float | None = None  # end of the user's speech → first audio received
    muted: bool = False  # the user began to speak: what still arrives is not played
    items: list[str] = field(default_factory=list)
    input_messages: list[dict[str, Any]] = field(default_factory=list)  # given with the request
    input_items: list[Item] = field(default_factory=list)  # new in the conversation
    done_at: float | None = None
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def spoke(self) -> bool:
        return self.first_token is not None

    def take(self, item: Item) -> None:
        """The response produced this item."""
        item.out_of_band = not self.in_band
        if item.item_id not in self.items:
            self.items.append(item.item_id)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a response ended: nothing wrong, an error, or interrupted."""

    reason: str | None = None
    error: str | None = None
    interrupted: bool = False


def outcome_of(body: dict[str, Any]) -> Outcome:
    """``response.done``'s status: completed, cancelled, incomplete or failed, with its details."""
    details = mapping(body.get("status_details"))
    reason = text(details.get("reason"))
    status = body.get("status")
    if status == "cancelled":
        return Outcome(reason, f"cancelled: {reason or 'no reason given'}", interrupted=True)
    if status == "incomplete":
        return Outcome(reason, f"incomplete: {reason or 'no reason given'}")
    if status == "failed":
        return Outcome(reason, f"failed: {error_text(mapping(details.get('error'))) or reason or 'no reason given'}")
    return Outcome(reason)


def error_text(error: dict[str, Any]) -> str | None:
    """A wire error as one line: its code (else its type) and message."""
    code, message = text(error.get("code")) or text(error.get("type")), text(error.get("message"))
    return ": ".join(part for part in (code, message) if part) or None


def model_run(response: Response, items: Items, model: str | None, *, interrupted: bool) -> ModelRun:
    """The response's run; ``interrupted`` when a barge-in cut it off."""
    body = response.body
    outcome = outcome_of(body)
    metadata: dict[str, Any] = {
        "response_id": response.response_id,
        "status": body.get("status"),
        "status_reason": outcome.reason,
        "latency_to_first_audio_ms": None if response.latency_ms is None else round(response.latency_ms),
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
        message=_answer(response, items),
        finish_reason=str(body.get("status") or "unknown"),
        model=model,
        usage=usage_metadata(body.get("usage")),
        metadata={key: value for key, value in metadata.items() if value is not None},
        first_token=response.first_token,
        error=outcome.error,
        interrupted=outcome.interrupted,
    )


def _answer(response: Response, items: Items) -> dict[str, Any]:
    said: list[str] = []
    calls: list[Any] = []
    for item_id in response.items:
        for message in messages_of(items.know(item_id)):
            if message["role"] == "assistant":
                said += [str(message["content"])] if message["content"] else []
                calls += message.get("tool_calls", [])
    answer: dict[str, Any] = {"role": "assistant", "content": "\n".join(said)}
    if calls:
        answer["tool_calls"] = calls
    return answer
