"""`redact=pii()` on every way out: a card number that is in every kind of event cannot be read anywhere."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from langsmith_realtime import SessionTracer, pii
from langsmith_realtime.journal.state_directory import state_directory
from tests.support.collector_requests import ask
from tests.support.conversations import the_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langsmith_realtime.collector import Collector
    from tests.support.otlp_receiver import OtlpReceiver, Providers

pytestmark = pytest.mark.newest

CARD, SPOKEN = "4111 1111 1111 1111", "four one one one double one one one triple one one double one one one"
SAID = f"Good morning, it is {CARD}, or {SPOKEN}, of course."
#: Forms in which a part of the number would be readable. Ids and times may have any digits, but no such group.
READABLE = re.compile(r"(?<![\w.-])4111(?!\d*\.)|1111 1111|1111-1111|11111111|four one|double one|triple one")
TRANSCRIPTION = "conversation.item.input_audio_transcription"


def conversation() -> Iterator[dict[str, Any]]:
    """Server events, each of which has the number in another place."""
    spoken = {"type": "input_audio", "transcript": SAID}
    heard = {"id": "user_1", "type": "message", "role": "user", "content": [spoken]}
    answer = {
        "id": "agent_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_audio", "transcript": SAID}, {"type": "output_text", "text": SAID}],
    }
    arguments = json.dumps({"card": int(CARD.replace(" ", "")), "note": {"again": SAID}, CARD: 1})
    called = {"id": "fc_1", "type": "function_call", "name": "pay", "call_id": "call_1", "arguments": arguments}
    of_user, of_agent = {"item_id": "user_1", "content_index": 0}, {"response_id": "resp_1", "item_id": "agent_1"}
    session = {"id": "sess_1", "model": "gpt-realtime", "instructions": f"Ask for a card such as {CARD}."}
    yield {"type": "session.created", "session": session}
    yield {"type": "input_audio_buffer.committed", "item_id": "user_1", "previous_item_id": None}
    yield {"type": "conversation.item.added", "item": {**heard, "content": [{"type": "input_audio"}]}}
    for character in SAID:
        yield {"type": f"{TRANSCRIPTION}.delta", **of_user, "delta": character}
    yield {"type": f"{TRANSCRIPTION}.segment", **of_user, "text": "4111 1111"}
    yield {"type": f"{TRANSCRIPTION}.completed", **of_user, "transcript": SAID, "logprobs": [{"token": "4111 1111"}]}
    yield {"type": "conversation.item.done", "item": heard}
    yield {"type": "response.created", "response": {"id": "resp_1", "metadata": {"card": CARD}}}
    for character in SAID:
        yield {"type": "response.output_audio_transcript.delta", **of_agent, "delta": character}
        yield {"type": "response.function_call_arguments.delta", "call_id": "call_1", "delta": character}
    yield {"type": "response.output_audio_transcript.done", **of_agent, "transcript": SAID}
    yield {"type": "response.content_part.done", **of_agent, "part": answer["content"][0]}
    yield {"type": "response.output_item.done", "response_id": "resp_1", "item": answer}
    yield {"type": "response.function_call_arguments.done", "call_id": "call_1", "name": "pay", "arguments": arguments}
    yield {"type": "response.output_item.done", "response_id": "resp_1", "item": called}
    details = {"error": {"code": "bad", "message": f"no such card {CARD}", "type": "tool"}}
    response = {"id": "resp_1", "status": "failed", "status_details": details, "output": [answer, called]}
    yield {"type": "response.done", "response": {**response, "metadata": {"card": CARD}}}
    yield {"type": "conversation.item.retrieved", "item": heard}
    yield {"type": f"{TRANSCRIPTION}.failed", "item_id": "user_2", "error": {"message": f"cannot say {CARD}"}}
    yield {"type": "error", "error": {"type": "server_error", "message": f"no such card: {CARD}"}}
    yield {"type": "someone.elses_event", "history": [heard, answer], CARD: [[{"deep": SPOKEN}]]}


def pages(collector: Collector, run_id: str) -> str:
    """Everything that the local page and its downloads have."""
    places = ["", "/download.json", "/download.jsonl", "/download.vtt", "/download.srt", "/download.html"]
    texts = []
    for place in places:
        response = ask("GET", f"{collector.url}/view/api/conversations/{run_id}{place}")
        assert response.status_code == 200, (place, response.text)
        texts.append(response.text)
    return "\n".join(texts)


def test_a_card_number_can_be_read_nowhere(
    tracing: Collector, providers: Providers, receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="langsmith_realtime")
    with (
        pytest.raises(ValueError, match="lost"),
        SessionTracer(redact=pii(), journal="keep", otel=providers.otel(content=True)) as tracer,
    ):
        for event in conversation():
            tracer.server_event(event)
        tracer.server_event(f"no JSON: {CARD}")
        tracer.client_event({"type": "conversation.item.create", "item": {"call_id": "call_1", "output": SAID,
                             "type": "function_call_output"}})  # fmt: skip
        typed = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": SAID}]}
        tracer.client_event({"type": "conversation.item.create", "item": typed})
        tracer.add(outputs={"summary": SAID})
        raise ValueError(f"lost while saying {CARD}")
    root = the_tree(tracing)
    providers.flush()
    runs = [(run.inputs, run.outputs, run.error, run.metadata) for run in tracing.runs()]
    places = {
        "runs": json.dumps(runs),
        "journal": "\n".join(path.read_text("utf-8") for path in state_directory().glob("*/*.jsonl")),
        "spans": str(receiver.all_spans),
        "log records": str(receiver.records),
        "log": caplog.text,
        "page": pages(tracing, root.run.id),
    }
    for name, place in places.items():
        assert READABLE.search(place) is None, (name, place[max(0, READABLE.search(place).start() - 200) :][:400])  # type: ignore[union-attr]
    for name in ("runs", "journal", "spans", "log records", "page"):
        assert "Good morning, it is [card number]" in places[name], f"{name} has all other words"
    for words, found in ((CARD, 0), ("1111 1111", 0), ("four one one one", 0), ("Good morning", 1)):
        listed = ask("GET", f"{tracing.url}/view/api/conversations?q={words}").json()["conversations"]
        assert len(listed) == found, words
