"""`redact=pii()`: a number that is said over several messages is masked from its second message on, and not heard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langsmith_realtime import pii
from langsmith_realtime.core.conversation.spoken_part import share_of
from langsmith_realtime.core.protocol.audio_formats import USER
from langsmith_realtime.core.protocol.events import parse
from langsmith_realtime.journal.masking import JournalMasking
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.trace.privacy import Privacy
from tests.support.audio.sounds import RATE
from tests.support.pii_call import AFTER, BEFORE, TRANSCRIPTION, Call, audible

if TYPE_CHECKING:
    from langsmith_realtime.collector import Collector

REDACT = pii()
CARD = "[card number]"


def said(words: str, item_id: str, speaker: str = "user") -> dict[str, Any]:
    """The event that says what an item has."""
    if speaker == "user":
        return {"type": f"{TRANSCRIPTION}.completed", "item_id": item_id, "transcript": words}
    content = [{"type": "output_audio", "transcript": words}]
    item = {"id": item_id, "type": "message", "role": "assistant", "content": content}
    return {"type": "response.output_item.done", "item": item}


def heard(*messages: str) -> list[str]:
    """What the events of a conversation show; the agent's messages begin with "A: "."""
    redact, shown = REDACT.for_conversation(), []
    for number, words in enumerate(messages):
        is_agent = words.startswith("A: ")
        event = redact(said(words.removeprefix("A: "), f"item_{number}", "assistant" if is_agent else "user"))
        shown.append(event["item"]["content"][0]["transcript"] if is_agent else event["transcript"])
    return shown


@pytest.mark.parametrize(
    ("messages", "shown"),
    [
        (["It's 4111 1111", "A: mm-hm", "and then 1111 1111."], ["It's 4111 1111", "mm-hm", f"and then {CARD}."]),
        (["4242 4242 4242", "A: go on", "4242"], ["4242 4242 4242", "go on", CARD]),
        (
            ["four oh one two, eight eight", "eight eight, eight eight eight eight", "one double eight one, thanks"],
            ["four oh one two, eight eight", "eight eight, eight eight eight eight", f"{CARD}, thanks"],
        ),
        (["Ja, 0171 39", "A: ja?", "20 045"], ["Ja, 0171 39", "ja?", "[phone number]"]),
        (["GB33 BUKB 2020", "A: mhm", "1555 5555 55"], ["GB33 BUKB 2020", "mhm", "[IBAN]"]),
        (
            ["5500 0000", "A: 5500 0000, go on", "0000 0004", "A: So 0000 0004. Expiry?", "12 27"],
            ["5500 0000", "5500 0000, go on", CARD, f"So {CARD}. Expiry?", "12 27"],
        ),
    ],
)
def test_the_later_messages_of_a_number_are_masked(messages: list[str], shown: list[str]) -> None:
    assert heard(*messages) == shown


def test_the_parts_of_one_message_are_read_together() -> None:
    parts = [{"type": "input_text", "text": words} for words in ("It is 4111 1111", "1111 1111")]
    item = {"id": "item", "type": "message", "role": "user", "content": parts}
    shown = REDACT.for_conversation()({"type": "conversation.item.done", "item": item})["item"]["content"]
    assert [part["text"] for part in shown] == [f"It is {CARD}", CARD]


@pytest.mark.parametrize(
    "messages",
    [
        ["My order is 4711 0815.", "A: Sorry?", "4711 0815", "A: And your zip code?", "10117"],
        ["40512", "A: And your zip code?", "34567", "A: The room?", "210"],
        ["4111 1111", "A: 1111 1111"],
        ["4111 1111", "A: Yes?", "Wait.", "A: Yes?", "Hm.", "A: Yes?", "One moment.", "A: Yes?", "1111 1111"],
    ],
    ids=["a number said again", "two answers", "two speakers", "long apart"],
)
def test_other_numbers_of_several_messages_stay(messages: list[str]) -> None:
    assert heard(*messages) == [words.removeprefix("A: ") for words in messages]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["5105105105105100", "4012888888881881", "6011000990139424", "378282246310005"]),
    st.integers(3, 12),
    st.sampled_from([" ", ", ", " uh "]),
    st.booleans(),
)
def test_no_way_to_split_a_card_number_over_two_messages_shows_the_second_part(
    number: str, place: int, between: str, in_words: bool
) -> None:
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    place = min(place, len(number) - 3)
    first, second = (
        between.join(names[int(digit)] if in_words else digit for digit in part)
        for part in (number[:place], number[place:])
    )
    shown = heard(f"It is {first}", "A: mm-hm", f"and then {second}")[2]
    assert shown in (f"and then {CARD}", "and then [phone number]"), "a part may look like a phone number"


@pytest.mark.parametrize(
    "kind",
    [f"{TRANSCRIPTION}.delta", "response.output_audio_transcript.delta", "response.function_call_arguments.delta"],
)
def test_no_way_to_split_a_text_into_deltas_shows_a_digit_in_the_journal(kind: str) -> None:
    masking = JournalMasking(None, Privacy(REDACT))
    number = "4111 1111 1111 1111"
    for place in range(len(number) + 1):
        for piece in (number[:place], number[place:]):
            event = {"type": kind, "item_id": "item", "content_index": 0, "delta": piece}
            assert masking.event(parse(event)) == {"type": kind, "item_id": "item", "content_index": 0}


def test_a_piece_is_no_count_and_no_id_and_another_conversation_does_not_know_it() -> None:
    redact = REDACT.for_conversation()
    for number, words in enumerate(("4111", "1111", "1111", "1111")):
        redact(said(words, f"item_{number}"))
    event = {"event_id": "event_1111", "usage": {"total_tokens": 1111}, "text": "1111"}
    assert redact(event) == {**event, "text": CARD}
    assert REDACT.for_conversation()(event) == event
    assert REDACT(event) == event


def test_both_pieces_are_silent_and_the_end_of_the_trace_has_neither(tracing: Collector) -> None:
    call = Call(redact=pii())
    call.user_says(f"{BEFORE}4111 1111{AFTER}", "user_1", begins=2, lasts=20)
    call.server("response.output_item.done", 24.0, item=said("Yes, go on.", "agent_1", "assistant")["item"])
    call.user_says(f"{BEFORE}1111 1111{AFTER}", "user_2", begins=30, lasts=20)
    root, sound = call.end(tracing, 60)
    spans = audible(sound[:, USER])
    assert len(spans) == 3, "two places are silent"
    share = share_of(f"{BEFORE}4111 1111{AFTER}", len(BEFORE), len(f"{BEFORE}4111 1111"))
    for (_, silent_from), (silent_until, _), begins in zip(spans, spans[1:], (2, 30), strict=False):
        assert begins + 2 < silent_from <= begins + share[0] * 20 - 1
        assert begins + share[1] * 20 + 1 <= silent_until < begins + 19
    (raw,) = state_directory().glob("*/audio.raw")
    kept_s = np.count_nonzero(np.frombuffer(raw.read_bytes(), dtype="<i2")) / RATE
    assert 10 < kept_s <= sum(until - since for since, until in spans) + 1, "the journal has no more of the sound"
    messages = [each["content"] for each in (root.run.outputs or {})["messages"] if each["role"] == "user"]
    assert messages == [f"{BEFORE}{CARD}{AFTER}"] * 2
    assert "4111 1111" in json.dumps([run.inputs for run in tracing.runs() if "user_1" in str(run.inputs)])
    later = [run for run in tracing.runs() if "user_2" in str(run.inputs)]
    assert later
    assert "1111 1111" not in json.dumps([run.inputs for run in later])
