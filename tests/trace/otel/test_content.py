"""What a server puts in the place of codes and ids is content if it is a sentence."""

from __future__ import annotations

import pytest

from langsmith_realtime import SessionTracer
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers

pytestmark = pytest.mark.newest

#: A sentence about the user, where the protocol has a code, a reason, a status or an id.
SENTENCE = "Anna Doe is not a customer"


def fails_in_sentences(tracer: SessionTracer) -> None:
    """A server that tells sentences where others tell codes."""
    tracer.server_event(talk.SESSION)
    tracer.server_event({"type": "error", "error": {"code": SENTENCE, "type": "odd_request", "message": SENTENCE}})
    tracer.server_event({"type": "error", "error": SENTENCE})
    tracer.server_event({"type": "odd.event", "note_id": SENTENCE, "status": SENTENCE, "item": {"status": SENTENCE}})
    tracer.server_event("{no JSON " + SENTENCE)
    for status in ("failed", "incomplete", "cancelled", SENTENCE):
        response_id = f"resp_{status.split()[0]}"
        talk.begins(tracer, response_id)
        talk.ends(tracer, response_id, status=status, status_details={"type": status, "reason": SENTENCE})


def test_a_sentence_in_the_place_of_a_code_is_shown_with_content_alone(
    providers: Providers, receiver: OtlpReceiver
) -> None:
    talk.run(providers, fails_in_sentences)
    assert SENTENCE not in str([receiver.all_spans, receiver.records, receiver.points])
    assert [span.status for span in receiver.spans("chat")][:2] == [(2, "failed: error"), (2, "incomplete: error")]
    codes = {point.attributes["error.type"] for point in receiver.points if point.name == "langsmith_realtime.errors"}
    assert codes == {"odd_request", "error", "the frame must be JSON, got JSONDecodeError"}
    talk.run(providers, fails_in_sentences, otel=providers.otel(content=True))
    assert f"failed: {SENTENCE}" in {span.status[1] for span in receiver.spans("chat")}
