"""Which turn an event belongs to, and what the run of a turn says."""

from __future__ import annotations

from typing import Any

import pytest

from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.conversation.run_data import RunData, TurnRun
from langsmith_realtime.core.conversation.turns import MAX_IDS, TurnRule
from langsmith_realtime.core.protocol.events import parse
from langsmith_realtime.core.protocol.inputs import ClientFrame, Closed, Ref, ServerFrame


class Placed:
    """Events that come 10 ms apart, placed by the rule and taken by a conversation."""

    def __init__(self) -> None:
        self.rule = TurnRule()
        self.conversation = Conversation()
        self.t = 0.0
        self.begun = 0
        self.start = 0
        self.runs: list[RunData] = []

    def server(self, name: str, /, **body: Any) -> int | None:
        """Returns the number of the turn that the event belongs to, from 1; None if it belongs to none."""
        self.t += 0.01
        event = parse({"type": name, **body})
        if event.is_delta:
            self.runs += self.conversation.take(ServerFrame(event, self.t))
            return None
        turn = self.rule.place(event, self._begin)
        self.start += 1
        self.runs += self.conversation.take(ServerFrame(event, self.t, Ref(self.start, turn)))
        return None if turn is None else self._starts.index(turn) + 1

    _starts: list[int]

    def _begin(self) -> int:
        self.start += 1
        self._starts = [*getattr(self, "_starts", []), self.start]
        return self.start

    def client(self, name: str, /, **body: Any) -> None:
        self.t += 0.01
        self.runs += self.conversation.take(ClientFrame({"type": name, **body}, self.t))

    def close(self) -> list[TurnRun]:
        self.runs += self.conversation.take(Closed(self.t))
        return [run for run in self.runs if isinstance(run, TurnRun)]

    # Frequent events

    def speech(self, item_id: str) -> list[int | None]:
        return [
            self.server(f"input_audio_buffer.{what}", item_id=item_id)
            for what in ("speech_started", "speech_stopped", "committed")
        ]

    def transcribed(self, item_id: str, words: str) -> int | None:
        name = "conversation.item.input_audio_transcription.completed"
        return self.server(name, item_id=item_id, content_index=0, transcript=words)

    def begins(self, response_id: str) -> int | None:
        return self.server("response.created", response={"id": response_id, "conversation_id": "c"})

    def ends(self, response_id: str, *output: dict[str, Any], status: str = "completed", **more: Any) -> int | None:
        response = {"id": response_id, "conversation_id": "c", "status": status, "output": list(output), **more}
        return self.server("response.done", response=response)

    def typed(self, item_id: str, words: str) -> int | None:
        item = {"id": item_id, "type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}
        return self.server("conversation.item.added", item=item)


def answer(item_id: str, words: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": words}]
    return {"id": item_id, "type": "message", "role": "assistant", "content": content}


def call(call_id: str) -> dict[str, Any]:
    return {"id": f"item_{call_id}", "type": "function_call", "call_id": call_id, "name": "weather", "arguments": "{}"}


def test_a_turn_has_the_utterance_its_responses_and_their_tools() -> None:
    talk = Placed()
    assert talk.server("session.created", session={"id": "s"}) is None
    assert talk.speech("u1") == [1, 1, 1]
    assert talk.begins("r1") == 1
    assert talk.ends("r1", call("c1")) == 1
    talk.client("conversation.item.create", item={"type": "function_call_output", "call_id": "c1", "output": "sunny"})
    output = {"id": "o1", "type": "function_call_output", "call_id": "c1", "output": "sunny"}
    assert talk.server("conversation.item.added", item=output) == 1
    assert talk.begins("r2") == 1
    assert talk.ends("r2", answer("a1", "It is sunny.")) == 1
    assert talk.server("rate_limits.updated") == 1
    assert talk.speech("u2") == [2, 2, 2]
    assert talk.transcribed("u1", "What is the weather?") == 1  # late, but of the first turn
    assert talk.begins("r3") == 2
    assert talk.server("session.updated", session={"id": "s"}) is None


def test_a_cancelled_response_belongs_to_its_turn_after_the_next_one_has_begun() -> None:
    talk = Placed()
    assert talk.speech("u1") == [1, 1, 1]
    assert talk.begins("r1") == 1
    assert talk.server("input_audio_buffer.speech_started", item_id="u2") == 2
    assert talk.ends("r1", status="cancelled", status_details={"reason": "turn_detected"}) == 1
    assert talk.server("conversation.item.truncated", item_id="unknown") == 2
    first, second = talk.close()
    assert (first.metadata["status"], first.interrupted) == ("interrupted", True)
    assert second.metadata["status"] == "unanswered"


def test_an_event_of_a_turn_that_is_over_makes_no_second_run_and_ends_no_other_turn() -> None:
    talk = Placed()
    talk.speech("u1")
    talk.begins("r1")
    talk.ends("r1", answer("a1", "Hello!"))
    talk.typed("u2", "And now?")
    assert talk.server("output_audio_buffer.stopped", response_id="r1") == 1
    assert talk.begins("r2") == 2
    talk.ends("r2", answer("a2", "Now it is."))
    turns = talk.close()
    assert [turn.metadata["turn"] for turn in turns] == [1, 2]
    assert [turn.outputs["text"] for turn in turns] == ["Hello!", "Now it is."]
    assert [turn.inputs["text"] for turn in turns] == ["", "And now?"]


def test_a_greeting_is_a_turn_without_a_user() -> None:
    talk = Placed()
    assert talk.begins("r1") == 1
    assert talk.ends("r1", answer("a1", "Hello!")) == 1
    assert talk.speech("u1") == [2, 2, 2]
    greeting, _ = talk.close()
    assert (greeting.inputs["text"], greeting.outputs["text"]) == ("", "Hello!")
    assert greeting.outputs["modalities"] == ["text"]


def test_utterances_without_an_answer_in_between_are_one_turn() -> None:
    talk = Placed()
    assert talk.speech("u1") == [1, 1, 1]
    assert talk.typed("u2", "Are you there?") == 1
    assert talk.speech("u3") == [1, 1, 1]
    assert talk.begins("r1") == 1


def test_an_error_ends_the_turn_it_belongs_to() -> None:
    talk = Placed()
    talk.speech("u1")
    talk.begins("r1")
    assert talk.server("error", error={"code": "server_error", "message": "overloaded"}) == 1
    assert talk.begins("r2") == 2
    first, second = talk.close()
    assert first.error == "server_error: overloaded"
    assert first.metadata["status"] == "failed"
    assert second.error is None


def test_a_failed_response_ends_its_turn() -> None:
    talk = Placed()
    talk.speech("u1")
    talk.begins("r1")
    talk.ends("r1", status="failed", status_details={"error": {"code": "server_error"}})
    assert talk.begins("r2") == 2
    first, _ = talk.close()
    assert (first.metadata["status"], first.error) == ("failed", "failed: server_error")


def test_the_run_of_a_turn_has_its_words_modalities_tokens_and_times() -> None:
    talk = Placed()
    talk.server("session.created", session={"id": "s", "model": "gpt-realtime"})
    talk.speech("u1")
    talk.transcribed("u1", "What is the weather?")
    talk.begins("r1")
    usage = {"total_tokens": 30, "input_tokens": 20, "output_tokens": 10}
    talk.ends("r1", answer("a1", "It is sunny."), usage=usage)
    talk.speech("u2")
    talk.begins("r2")
    turns = [run for run in talk.runs if isinstance(run, TurnRun)]
    assert [turn.metadata["turn"] for turn in turns] == [1]  # the second one goes on
    (turn,) = turns
    assert turn.inputs == {"text": "What is the weather?", "modalities": ["audio"]}
    assert turn.outputs == {"text": "It is sunny.", "modalities": ["text"]}
    assert turn.metadata["total_tokens"] == 30
    assert (turn.metadata["audio_produced"], turn.metadata["text_produced"]) == (False, True)
    assert turn.end == pytest.approx(0.07)


def test_a_dropped_socket_ends_every_turn_with_what_is_known() -> None:
    talk = Placed()
    talk.speech("u1")
    talk.begins("r1")
    (turn,) = talk.close()
    assert turn.metadata["status"] == "completed"
    assert turn.end == pytest.approx(talk.t)


def test_what_is_said_of_a_response_or_a_call_belongs_to_its_turn_and_anything_else_to_the_latest() -> None:
    talk = Placed()
    assert talk.rule.turn_of("r1") is None
    talk.typed("u1", "Hello")
    talk.begins("r1")
    talk.typed("u2", "Wait")
    first, second = talk._starts
    assert [talk.rule.turn_of(about) for about in ("r1", "u2", "unknown", None)] == [first, second, second, second]


def test_only_the_latest_ids_are_remembered() -> None:
    rule = TurnRule()
    for number in range(MAX_IDS + 10):
        rule.place(parse({"type": "input_audio_buffer.speech_started", "item_id": f"u{number}"}), lambda: 1)
    assert len(rule._turns) == MAX_IDS


def test_a_flat_conversation_has_no_turns() -> None:
    conversation = Conversation()
    for number, name in enumerate(("input_audio_buffer.speech_started", "response.created"), 1):
        conversation.take(ServerFrame({"type": name}, number, Ref(number)))
    assert not any(isinstance(run, TurnRun) for run in conversation.take(Closed(3.0)))


def test_the_users_words_are_no_arguments_although_the_audio_becomes_an_item_with_a_calls_id() -> None:
    talk = Placed()
    talk.speech("u1")
    talk.begins("r1")
    item = {**call("c1"), "arguments": '{"city": "Rome"}'}
    where = {"response_id": "r1", "item_id": item["id"], "call_id": "c1"}
    talk.server("response.function_call_arguments.delta", **where, delta=item["arguments"])
    talk.ends("r1", item)
    talk.server("input_audio_buffer.committed", item_id=item["id"])
    talk.transcribed(item["id"], "And in Paris?")
    assert [turn.inputs["text"] for turn in talk.close()] == ["", "And in Paris?"]
