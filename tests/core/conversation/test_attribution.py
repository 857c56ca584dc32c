"""Servers that leave out items, ids, places, or the output of response.done: who said what, in which response."""

from __future__ import annotations

from typing import Any

import pytest

from langsmith_realtime.core.protocol.inputs import Ref
from tests.support.driven_conversation import DrivenConversation, sound

pytestmark = pytest.mark.newest  # only the core, whose behaviour depends on no library version

TRANSCRIPT_DONE = "response.output_audio_transcript.done"
ARGUMENTS_DONE = "response.function_call_arguments.done"


def answer_of(driven: DrivenConversation, response_id: str) -> Any:
    return driven.model(response_id).message["content"]


# The agent's words


def test_words_in_one_done_event_are_the_answer_although_no_item_was_announced() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    driven.server(TRANSCRIPT_DONE, response_id="r", item_id="a", transcript="Two tickets.")
    driven.ends("r")
    driven.close(at=9.0)
    assert driven.transcript() == ["assistant: Two tickets."]
    assert answer_of(driven, "r") == "Two tickets."


def test_several_done_events_for_one_part_are_joined_in_order() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    for sentence in ("Of course.", "Which day?", "Which day?"):
        driven.server(TRANSCRIPT_DONE, response_id="r", item_id="a", content_index=0, transcript=sentence)
    driven.ends("r")
    driven.close(at=9.0)
    assert answer_of(driven, "r") == "Of course. Which day?", "a repeated event counts once"


def test_sentences_with_deltas_of_their_own_are_joined_once_also_if_equal() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    where: dict[str, Any] = {"response_id": "r", "item_id": "a"}
    for _ in range(2):
        driven.server("response.output_audio_transcript.delta", **where, delta="No")
        driven.server("response.output_audio_transcript.delta", **where, delta=".")
        driven.server(TRANSCRIPT_DONE, **where, transcript="No.")
    driven.ends("r")
    driven.close(at=9.0)
    assert answer_of(driven, "r") == "No. No."


def test_a_done_event_that_repeats_the_earlier_sentences_replaces_them() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    for words in ("明日は", "明日は晴れです。"):
        driven.server(TRANSCRIPT_DONE, response_id="r", item_id="a", transcript=words)
    driven.server(TRANSCRIPT_DONE, response_id="r", item_id="a", transcript="暑いです。")
    driven.ends("r")
    driven.close(at=9.0)
    assert answer_of(driven, "r") == "明日は晴れです。暑いです。"


def test_words_in_deltas_only_are_the_answer_also_if_the_done_event_is_empty() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    for piece in ("See", " you"):
        driven.server("response.output_text.delta", response_id="r", item_id="a", delta=piece)
    driven.server("response.output_text.done", response_id="r", item_id="a", text="")
    driven.ends("r")
    driven.close(at=9.0)
    assert answer_of(driven, "r") == "See you"


def test_words_that_come_as_text_and_as_transcript_of_one_part_are_there_once() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    where: dict[str, Any] = {"response_id": "r", "item_id": "a", "content_index": 0}
    for piece in ("Left", " here."):
        driven.server("response.output_text.delta", **where, delta=piece)
        driven.server("response.output_audio_transcript.delta", **where, delta=piece)
    driven.server("response.output_text.done", **where, text="Left here.")
    driven.server(TRANSCRIPT_DONE, **where, transcript="Left here.")
    driven.ends("r")
    driven.close(at=9.0)
    assert answer_of(driven, "r") == "Left here."


def test_words_in_a_content_part_only_are_the_answer() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    driven.server("response.content_part.done", response_id="r", item_id="a", part={"type": "text", "text": "Yes."})
    driven.ends("r")
    driven.close(at=9.0)
    assert answer_of(driven, "r") == "Yes."


def test_words_without_any_id_belong_to_the_response_that_runs() -> None:
    driven = DrivenConversation()
    driven.typed("Hi")
    driven.begins("r")
    driven.server("response.output_audio_transcript.delta", delta="Hel")
    driven.server("response.output_audio_transcript.delta", delta="lo.")
    driven.ends("r")
    driven.close(at=9.0)
    assert driven.transcript() == ["user: Hi", "assistant: Hello."]
    assert answer_of(driven, "r") == "Hello."


def test_the_words_and_the_item_of_an_answer_may_have_different_ids() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    driven.server(TRANSCRIPT_DONE, response_id="r", item_id="words", transcript="It is nine.")
    driven.server("response.output_audio.delta", response_id="r", item_id="words", delta=sound(0.5))
    content = [{"type": "output_audio", "transcript": "It is nine."}]
    driven.ends("r", {"id": "item", "type": "message", "role": "assistant", "content": content})
    driven.close(at=9.0)
    assert driven.transcript() == ["assistant: It is nine."], "the words are there once"
    assert (answer_of(driven, "r"), driven.model("r").metadata["spoken_ms"]) == ("It is nine.", 500)


def test_an_announced_item_gets_the_words_that_come_under_another_id() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    driven.output("r", {"id": "item", "type": "message", "role": "assistant", "content": []})
    driven.server("response.output_audio.delta", response_id="r", item_id="sound", delta=sound(0.5))
    driven.server(TRANSCRIPT_DONE, response_id="r", item_id="sound", transcript="It is ten.")
    driven.ends("r")
    driven.close(at=9.0)
    (message,) = driven.conversation.messages()
    assert (message["content"], message["end_ms"] - message["start_ms"]) == ("It is ten.", 500)
    assert driven.model("r").metadata["spoken_ms"] == 500


def test_a_response_without_response_created_has_its_words_inputs_and_run() -> None:
    driven = DrivenConversation()
    driven.typed("Hi")
    driven.server("response.output_text.delta", response_id="r", item_id="a", delta="Good day.")
    driven.server("response.output_text.done", response_id="r", item_id="a", text="Good day.")
    first_named = Ref(driven.received)
    driven.ends("r")
    driven.close(at=9.0)
    (run,) = driven.models
    assert (run.message["content"], run.inputs) == ("Good day.", [{"role": "user", "content": "Hi"}])
    assert run.parent == first_named, "the first event with a run that has the response's id; the delta has none"


def test_a_response_created_without_an_id_is_that_of_the_events_after_it() -> None:
    driven = DrivenConversation()
    driven.server("response.created", response={"status": "in_progress"})
    created = Ref(driven.received)
    driven.server("response.output_text.delta", response_id="r", item_id="a", delta="Good day.")
    driven.server("response.output_text.done", response_id="r", item_id="a", text="Good day.")
    driven.server("response.done", response={"status": "completed"})
    driven.close(at=9.0)
    (run,) = driven.models
    assert (run.parent, run.message["content"]) == (created, "Good day.")


@pytest.mark.parametrize("later", [0.1, 60.0])
def test_a_response_created_that_comes_after_its_end_makes_no_second_run(later: float) -> None:
    driven = DrivenConversation()
    driven.begins("r")
    driven.server("response.output_text.delta", response_id="r", item_id="a", delta="Good day.")
    driven.ends("r")
    driven.server("response.created", at=later, response={"id": "r", "status": "in_progress"})
    driven.close(at=70.0)
    (run,) = driven.models
    assert (run.metadata["status"], run.message["content"]) == ("completed", "Good day.")


def test_a_server_without_conversation_ids_has_its_answers_in_the_conversation() -> None:
    driven = DrivenConversation()
    driven.spoken("Hi", "hi")
    driven.begins("r", conversation_id=None)
    item = {"type": "message", "role": "assistant", "status": "in_progress", "content": []}
    driven.output("r", {"id": "a", **item})
    driven.item("a", **item)
    driven.server("response.output_text.delta", response_id="r", item_id="a", delta="Good day.")
    driven.ends("r", conversation_id=None)
    driven.client("response.create")
    driven.begins("s", conversation_id=None)
    driven.server("response.output_text.delta", response_id="s", item_id="b", delta="Anybody there?")
    driven.ends("s", conversation_id=None)
    driven.close(at=9.0)
    assert driven.transcript() == ["user: Hi", "assistant: Good day.", "assistant: Anybody there?"]
    assert driven.model("r").inputs == [{"role": "user", "content": "Hi"}]
    assert not any("out_of_band" in run.metadata for run in driven.models)


# The user's words


def test_input_words_are_the_users_although_an_output_item_has_their_id() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.begins("r")
    driven.server(TRANSCRIPT_DONE, response_id="r", item_id="1", transcript="Who is there?")
    driven.ends("r")
    driven.transcribed("It is me.", "1")
    driven.close(at=9.0)
    assert driven.transcript() == ["assistant: Who is there?", "user: It is me."]


def test_output_words_are_the_agents_although_the_user_has_their_id() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.transcribed("Hello?", "1")
    driven.begins("r")
    driven.server(TRANSCRIPT_DONE, response_id="r", item_id="1", transcript="Hello!")
    driven.ends("r")
    driven.close(at=9.0)
    assert driven.transcript() == ["user: Hello?", "assistant: Hello!"]
    assert answer_of(driven, "r") == "Hello!"


def test_a_transcript_under_an_unknown_id_belongs_to_the_speech_that_has_none() -> None:
    driven = DrivenConversation(transcribes=True)
    driven.spoken(None, "speech")
    driven.transcribed("A table for two.", "other")
    driven.begins("r")
    driven.ends("r")
    driven.close(at=9.0)
    assert driven.transcript() == ["user: A table for two."]
    assert driven.conversation.numbers()["turns"] == 1


def test_transcripts_that_name_no_item_are_one_message_each() -> None:
    driven = DrivenConversation()
    for words in (("Good", " evening"), ("Bye",)):
        for piece in words:
            driven.server("transcription.delta", delta=piece)
        driven.server("transcription.done", text="".join(words) + ".")
    driven.close()
    assert driven.transcript() == ["user: Good evening.", "user: Bye."]


def test_interim_transcripts_replace_each_other() -> None:
    driven = DrivenConversation()
    for words in ("I scream", "Ice cream"):
        driven.server("conversation.item.input_audio_transcription.updated", item_id="u", transcript=words)
        assert driven.transcript() == [f"user: {words}"]
    driven.transcribed("Ice cream, please.", "u")
    assert driven.transcript() == ["user: Ice cream, please."]


# Calls


def test_a_call_known_only_from_its_arguments_is_a_message_and_has_a_tool_run() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    driven.server(ARGUMENTS_DONE, response_id="r", item_id="i", call_id="c", name="book", arguments='{"seat": 4}')
    arguments = Ref(driven.received)
    driven.ends("r")
    driven.close(at=9.0)
    (call,) = driven.model("r").message["tool_calls"]
    assert (call["id"], call["function"]) == ("c", {"name": "book", "arguments": '{"seat": 4}'})
    assert driven.conversation.messages()[0]["tool_calls"] == [call]
    (tool,) = driven.tools
    assert (tool.name, tool.arguments, tool.parent) == ("book", '{"seat": 4}', arguments)


def test_two_calls_and_an_answer_under_one_item_id_stay_apart() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    for call_id in ("c1", "c2"):
        driven.server(ARGUMENTS_DONE, response_id="r", item_id="i", call_id=call_id, name=call_id, arguments="{}")
    driven.server(TRANSCRIPT_DONE, response_id="r", item_id="i", transcript="One moment.")
    driven.ends("r")
    driven.close(at=9.0)
    message = driven.model("r").message
    assert message["content"] == "One moment."
    assert [call["id"] for call in message["tool_calls"]] == ["c1", "c2"]


def test_a_call_in_deltas_only_is_a_call_everywhere() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    for piece in ('{"x"', ": 1}"):
        driven.server("response.function_call_arguments.delta", response_id="r", item_id="i", call_id="c", delta=piece)
    driven.ends("r")
    done = Ref(driven.received)
    driven.close(at=9.0)
    assert driven.model("r").message["tool_calls"][0]["function"]["arguments"] == '{"x": 1}'
    (tool,) = driven.tools
    assert (tool.call_id, tool.arguments, tool.parent) == ("c", '{"x": 1}', done)


# Places


def test_speech_that_never_becomes_an_item_is_a_turn_before_its_answer_and_an_input() -> None:
    driven = DrivenConversation()
    driven.server("input_audio_buffer.speech_started", item_id="u")
    driven.server("input_audio_buffer.speech_stopped", item_id="u")
    driven.begins("r")
    driven.server(TRANSCRIPT_DONE, response_id="r", item_id="a", transcript="Hello!")
    driven.transcribed("Hello?", "u")
    driven.ends("r")
    driven.close(at=9.0)
    assert driven.transcript() == ["user: Hello?", "assistant: Hello!"]
    assert driven.model("r").inputs == [{"role": "user", "content": "Hello?"}]
    assert driven.conversation.numbers()["turns"] == 1


def test_a_place_that_is_told_later_moves_the_item() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    driven.server(TRANSCRIPT_DONE, response_id="r", item_id="a", transcript="Fine.")
    driven.transcribed("How are you?", "u")
    assert driven.transcript() == ["assistant: Fine.", "user: How are you?"]
    item = {"id": "a", "type": "message", "role": "assistant"}
    driven.server("conversation.item.done", previous_item_id="u", item=item)
    assert driven.transcript() == ["user: How are you?", "assistant: Fine."]


def test_an_interrupting_utterance_stands_behind_the_answer_that_it_cut_off() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    driven.server("input_audio_buffer.speech_started", item_id="u")
    driven.server(TRANSCRIPT_DONE, response_id="r", item_id="a", transcript="As I was saying")
    driven.server("input_audio_buffer.speech_stopped", item_id="u")
    driven.server("input_audio_buffer.committed", item_id="u")
    driven.transcribed("Stop.", "u")
    assert driven.transcript() == ["assistant: As I was saying", "user: Stop."]


# Events in a wrong order, or with a wrong id


def test_a_response_that_is_done_before_it_is_created_has_one_run() -> None:
    driven = DrivenConversation()
    driven.ends("r", usage={"input_tokens": 3, "output_tokens": 4})
    driven.begins("r")
    driven.says("r", "Hello.", "a")
    driven.ends("r", usage={"input_tokens": 3, "output_tokens": 4})
    driven.begins("r2")
    driven.says("r2", "Still here?", "a2")
    driven.ends("r2")
    driven.close(at=9.0)
    assert [run.metadata["response_id"] for run in driven.models] == ["r", "r2"]
    assert driven.transcript() == ["assistant: Hello.", "assistant: Still here?"]
    assert sum(run.usage["total_tokens"] for run in driven.models if run.usage is not None) == 7


def test_words_of_a_known_item_belong_to_its_response_whatever_response_they_name() -> None:
    driven = DrivenConversation()
    driven.begins("r")
    driven.says("r", "Hello", "a")
    where: dict[str, Any] = {"response_id": "wrong", "item_id": "a", "content_index": 0}
    driven.server("response.output_audio_transcript.delta", **where, delta=" you.")
    driven.ends("r")
    driven.close(at=9.0)
    (run,) = driven.models
    assert (run.metadata["response_id"], run.message["content"]) == ("r", "Hello you.")
