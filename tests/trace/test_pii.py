"""`redact=pii()`: personal numbers and addresses are in no run, no journal, no log, and not in the recording."""

from __future__ import annotations

import builtins
import json
import logging
import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from langsmith import Client

from langsmith_realtime import pii
from langsmith_realtime.core.audio.writes import ChannelWrite, Write
from langsmith_realtime.core.conversation.spoken_part import part_of, share_of
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.core.protocol.inputs import Silence
from langsmith_realtime.journal.lines import input_of
from langsmith_realtime.journal.recovery import replay_anew
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.recording.silencing import SilencedSpans
from langsmith_realtime.runtime import guard
from langsmith_realtime.trace.pii.numbers_in_words import read_numbers
from langsmith_realtime.trace.pii.redactor import WITHHELD
from langsmith_realtime.trace.redacted_speech import SpansError
from tests.support.audio.sounds import RATE, tone
from tests.support.pii_attacks import attacks
from tests.support.pii_call import (
    AFTER,
    AGENT_BEGINS,
    BEFORE,
    CARD,
    LASTS,
    SAID,
    TRANSCRIPTION,
    USER_BEGINS,
    Call,
    audible,
    journal_lines,
)
from tests.support.pii_examples import Example, examples, is_found, table
from tests.support.snippets import text_of

if TYPE_CHECKING:
    from langsmith_realtime.collector import Collector
    from langsmith_realtime.core.audio.decoding import Samples

# What it finds

#: Ids, times, ports and numbers, in which any digits may stand.
_IDS_AND_TIMES = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{8}T\d+Z|127\.0\.0\.1:\d+|\d+\.\d+|(?<=[:\[ ])\d+(?=[,}\]])")


@pytest.mark.parametrize(
    ("head", "sentences"),
    [("| | English | German | Spanish | French |\n", examples()), ("| French | Italian |\n", attacks())],
    ids=["examples", "attacks"],
)
def test_the_tables_of_the_page_are_what_was_measured(head: str, sentences: list[Example]) -> None:
    page = text_of("docs/privacy.md")
    rows = page[page.index(head) :].split("\n\n", 1)[0].splitlines()[2:]
    assert rows == table(pii().spans, sentences)


def test_the_examples_are_enough_to_measure_with() -> None:
    assert (len(examples()), len(attacks())) == (192, 237)
    sentences = [*examples(), *attacks()]
    assert all(bool(each.secrets) == bool(each.kind) for each in sentences)
    assert not any(is_found(each, []) for each in sentences if each.kind)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"My card is {CARD}, thanks.", "My card is [card number], thanks."),
        ("four one one one double one one one triple one one double one one one", "[card number]"),
        ("Die erste Hälfte ist 4111 1111, die zweite 1111 1111.", "[card number], die zweite [card number]."),
        ("DE89 3704 0044 0532 0130 00 is my IBAN", "[IBAN] is my IBAN"),
        ("Call +49 171 3920014 at once", "Call [phone number] at once"),
        ("Write to J O at example dot com!", "Write to [email address]!"),
        ("It is 4111 1111 1111 1112.", "It is [card number]."),
        ("It's jane dot doe eighty-four at g mail dot com.", "It's [email address]."),
        ("Jane at sign example dot com", "[email address]"),
        ("max at g m x punkt d e", "[email address]"),
        ("Meet me at the dot com fair, and look at this point in time", None),
        ("٤١١١ ١١١١ ١١١١ ١١١١", "[card number]"),
        ("event_4111111111111111", "event_4111111111111111"),
        ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
        ("on 2026-05-01 10:00:00 at 10", "on 2026-05-01 10:00:00 at 10"),
    ],
)
def test_what_is_found_is_replaced_by_its_kind(said: str, shown: str | None) -> None:
    masked = pii()({"text": said})["text"]
    shown = shown or said
    assert masked == shown or (shown.startswith("[card number],") and masked.endswith(shown))


@pytest.mark.parametrize(
    ("words", "digits"),
    [
        ("double oh seven, triple 4", "00 7, 444"),
        ("forty-one hundred, nine hundred and one, nine hundred twelve", "4100, 901, 912"),
        ("nine hundred one two", "9001 2"),
        ("neunhunderteins, hundert, zweihundertzwölf, fuenfundfuenfzig", "901, 100, 212, 55"),
        ("seiscientos doce, ciento once, veintidós, treinta y un", "612, 111, 22, 30 y 1"),
        ("quatre-vingt-dix-sept, soixante et onze, deux cents, nonante-cinq", "97, 71, 200, 95"),
        (
            "viertausendeinhundertelf, cuatro mil ciento once, two thousand and one, mille neuf",
            "4111, 4111, 2001, 1009",
        ),
        ("five five five two thousand, 12 thousand", "5 5 5 2000, 12000"),
        ("once upon a time, anyone, Achtung", "11 upon a time, anyone, Achtung"),
        ("four ones, two zeroes, three times the nine, quadruple five", "1111, 00, 999, 5555"),
        ("dreimal die Eins, zwomal null, quatre fois le zéro, dos veces cero", "111, 00, 0000, 00"),
        ("ventuno, quarantatré, doppio sei, due, trentotto, sette", "21, 43, 66, 2, 38, 7"),
        ("It is due. My fair", "It is due. My fair"),
        ("D wie Dora, G for George, Whiskey Echo, Sierra", "D, G, W E, S"),
    ],
)
def test_number_words_are_read_as_digits(words: str, digits: str) -> None:
    assert read_numbers(words).digits == digits


def test_digits_know_the_words_that_they_stand_for() -> None:
    said = "It is double four, five."
    reading = read_numbers(said)
    assert reading.digits == "It is 44, 5."
    assert [said[slice(*reading.span(begin, end))] for begin, end in ((6, 8), (7, 8), (10, 11), (0, 2))] == [
        "double four",
        "double four",
        "five",
        "It",
    ]


def test_numbers_are_masked_in_nested_values_in_keys_and_in_json_in_texts() -> None:
    arguments = json.dumps({"card": 4111111111111111, "note": "\u0034111111111111111", "count": 2})
    payload = {
        "a": [{"b": 4111111111111111, CARD: True}],
        "arguments": arguments,
        "broken": "{" + CARD,
        "f": 4111111111111111.0,
    }
    masked = pii()(payload)
    assert masked["a"] == [{"b": "[card number]", "[card number]": True}]
    assert json.loads(masked["arguments"]) == {"card": "[card number]", "note": "[card number]", "count": 2}
    assert masked["broken"] == "{[card number]"
    assert masked["f"] == "[card number]"


def test_a_payload_without_personal_data_is_unchanged() -> None:
    payload = {"type": "response.done", "usage": {"total_tokens": 1234567, "seconds": 1.5}, "expires_at": 1_790_000_000}
    arguments = {"arguments": '{"city":  "Berlin"}', "ok": True, "none": None}
    assert pii()({**payload, **arguments}) == {**payload, **arguments}


def test_words_in_pieces_are_withheld() -> None:
    redact = pii()
    transcription = "conversation.item.input_audio_transcription"
    assert redact({"type": f"{transcription}.segment", "text": "4111 11"})["text"] == WITHHELD
    assert redact({"type": "input_audio_buffer.dtmf_event_received", "event": "4"})["event"] == WITHHELD
    spelled = {"type": f"{transcription}.completed", "logprobs": [{"token": "4111", "bytes": [52]}], "transcript": CARD}
    assert redact(spelled) == {"type": f"{transcription}.completed", "transcript": "[card number]"}
    timed = {"text": "4111 11", "words": [{"text": "4111", "offset_milliseconds": 40}]}
    assert redact({"phrases": [timed], "words": [{"word": "4111", "start": 0.4}]}) == {}
    assert redact({"words": ["up", "down"], "phrases": 2}) == {"words": ["up", "down"], "phrases": 2}


def test_a_number_in_pieces_of_a_list_is_masked() -> None:
    redact, card = pii(), "[card number]"
    assert redact({"digits": [int(digit) for digit in CARD.replace(" ", "")]}) == {"digits": [card] * 16}
    assert redact({"groups": CARD.split()}) == {"groups": [card] * 4}
    others: dict[str, Any] = {"orders": ["40512", "34567"], "scores": [45, 33, 51, 62, 71, 80, 99], "flags": [1, True]}
    assert redact(others) == others


def test_each_kind_is_found_only_if_it_is_asked_for() -> None:
    none: dict[str, Any] = {"cards": False, "phones": False, "emails": False, "ibans": False}
    said = f"{CARD}, then a@example.com, GB82 WEST 1234 5698 7654 32, or +44 20 7946 0123."
    kinds = {"cards": "card number", "phones": "phone number", "emails": "email address", "ibans": "IBAN"}
    for name, kind in kinds.items():
        masked = pii(**{**none, name: True})({"text": said})["text"]
        assert f"[{kind}]" in masked
        assert not any(f"[{other}]" in masked for other in kinds.values() if other != kind)
    assert pii(**none).spans(said) == []


def test_phone_numbers_without_a_countrys_code_are_those_of_the_regions() -> None:
    assert pii(phones=["FR"]).spans("01 42 68 53 00") == [(0, 14)]
    assert pii(phones=["US"]).spans("01 42 68 53 00") == []


def test_a_function_finds_more() -> None:
    def names(text: str) -> Iterator[tuple[int, int, str]]:
        if "Ada" in text:
            yield text.index("Ada"), text.index("Ada") + 3, "name"

    redact = pii(find=names)
    assert redact({"text": f"Ada's is {CARD}"}) == {"text": "[name]'s is [card number]"}
    assert redact.spans("It is Ada") == [(6, 9)]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"cards": "yes"}, TypeError),
        ({"phones": "US"}, TypeError),
        ({"phones": []}, TypeError),
        ({"phones": ["Germany"]}, ValueError),
        ({"find": "names"}, TypeError),
    ],
)
def test_wrong_arguments_raise_errors(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        pii(**given)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    importing: Callable[..., Any] = builtins.__import__

    def without(name: str, *arguments: Any) -> Any:
        if name.startswith(("phonenumbers", "stdnum")):
            raise ModuleNotFoundError(name)
        return importing(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"langsmith-realtime\[pii\]"):
        pii()
    pii(cards=False, phones=False, ibans=False)  # needs none


# When it was spoken


def test_a_digit_counts_as_more_time_than_a_letter() -> None:
    assert share_of("aaaaa 1", 6, 7) == pytest.approx((6 / 11, 1.0), abs=1e-4)
    assert share_of("", 0, 0) == (0.0, 1.0)


def test_a_part_near_the_ends_of_an_item_reaches_beyond_them() -> None:
    assert part_of((10.0, 30.0), (0.1, 0.5)) == pytest.approx((-math.inf, 24.0))
    assert part_of((10.0, 30.0), (0.5, 0.9)) == pytest.approx((16.0, math.inf))
    assert part_of((10.0, 30.0), (0.4, 0.6)) == pytest.approx((14.0, 26.0))


def test_two_parts_of_an_item_are_silent_and_what_is_between_them_is_not() -> None:
    silences = SilencedSpans()
    silences.add_item("item", (0.0, 0.1))
    silences.add_item("item", (0.5, 0.6))
    silences.locate(lambda _, part: None if part is None else (USER, part[0] * 10, part[1] * 10))
    (first, *_) = silences.apply([ChannelWrite(USER, Write(0, tone(10.0)))], RATE, 10.0)
    assert audible(first.write.samples) == [(1.0, 5.0), (6.0, 10.0)]


# A whole conversation


def assert_silent_in_the_middle(channel: Samples, begins: float, *, since: float = 0.0) -> None:
    """The card number is silent with a margin, and what was said long before it and after it is audible."""
    first, last = audible(channel)
    first_share, last_share = share_of(SAID, len(BEFORE), len(BEFORE + CARD))
    assert first[0] == pytest.approx(since, abs=0.1)
    assert begins + 2 < first[1] <= begins + first_share * LASTS - 1
    assert begins + last_share * LASTS + 1 <= last[0] < begins + LASTS - 1
    assert last[1] == pytest.approx(begins + LASTS, abs=0.1)


def test_a_card_number_is_nowhere_and_its_sound_is_silent(tracing: Collector, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    call = Call(redact=pii())
    call.user_says()
    call.agent_says()
    root, heard = call.end(tracing)

    assert_silent_in_the_middle(heard[:, USER], USER_BEGINS)
    assert_silent_in_the_middle(heard[:, AGENT], AGENT_BEGINS, since=AGENT_BEGINS)

    runs = json.dumps([(run.inputs, run.outputs, run.error, run.metadata) for run in tracing.runs()])
    journal = json.dumps(journal_lines())
    for place in (runs, journal, caplog.text):
        said = _IDS_AND_TIMES.sub("", place)
        assert not [digits for digits in ("4111", "111 11", "1111 1", "1111111") if digits in said]
    assert BEFORE[:12] in runs, "all other words stay"
    assert BEFORE[:12] in journal, "all other words stay"
    assert root.run.outputs is not None
    assert root.run.outputs["messages"][0]["content"] == f"{BEFORE}[card number]{AFTER}"
    assert root.run.error == "lost while saying [card number]"
    assert root["pay"].run.inputs == {"card": "[card number]"}
    assert root[f"{TRANSCRIPTION}.segment"].run.inputs["event"]["text"] == WITHHELD
    assert "redact_unheard_items" not in root.metadata


def test_the_journal_has_the_silences_and_not_the_sound(tracing: Collector) -> None:
    call = Call(redact=pii())
    call.user_says()
    call.agent_says()
    call.end(tracing)
    lines = journal_lines()
    silences = [input_of(line, lambda _: None) for line in lines if line.get("is") == "silence"]
    parts = [(each.item_id, each.part) for each in silences if isinstance(each, Silence)]
    share = share_of(SAID, len(BEFORE), len(BEFORE + CARD))
    assert parts == [("user_1", share), ("agent_1", share)]
    (raw,) = state_directory().glob("*/audio.raw")
    kept = np.frombuffer(raw.read_bytes(), dtype="<i2")
    kept_s = np.count_nonzero(kept) / RATE
    assert 6 < kept_s < LASTS - 2, "of the user a part, of the agent nothing"


def test_a_replay_is_as_silent(tracing: Collector) -> None:
    call = Call(redact=pii())
    call.user_says()
    call.agent_says()
    live, _ = call.end(tracing)
    (lines,) = state_directory().glob("*/*.jsonl")
    trace_id = replay_anew(lines.parent, Client(), patience=10)
    (replayed,) = (run for run in tracing.roots() if str(run.trace_id) == trace_id)
    heard, _ = soundfile.read(tracing.attachment(replayed.id, "conversation")[1], dtype="int16")
    first, last = audible(heard[:, USER])
    share = share_of(SAID, len(BEFORE), len(BEFORE + CARD))
    assert first[1] <= USER_BEGINS + share[0] * LASTS - 1
    assert last[0] >= USER_BEGINS + share[1] * LASTS + 1
    assert audible(heard[:, AGENT]) == []
    assert replayed.outputs is not None
    assert live.run.outputs is not None
    words = [[each.get("content") for each in run["messages"]] for run in (replayed.outputs, live.run.outputs)]
    assert words[0] == words[1]


def test_an_answer_that_was_cut_is_silent_as_a_whole(tracing: Collector) -> None:
    call = Call(redact=pii())
    call.agent_says(is_done=False)
    root, heard = call.end(tracing, AGENT_BEGINS + 10)
    assert audible(heard[:, AGENT]) == []
    assert root.run.outputs is not None
    assert CARD not in json.dumps(root.run.outputs)


def test_an_item_without_words_keeps_its_sound_and_is_counted(tracing: Collector) -> None:
    call = Call(redact=pii())
    call.user_says(None)
    root, heard = call.end(tracing)
    assert audible(heard[:, USER]) == [(0.0, USER_BEGINS + LASTS)]
    assert root.metadata["redact_unheard_items"] == 1


def test_an_item_is_silent_as_a_whole_if_its_words_cannot_be_examined(tracing: Collector) -> None:
    class Failing:
        def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
            return payload

        def spans(self, text: str) -> list[tuple[int, int]]:
            raise KeyError(text)

    call = Call(redact=Failing())
    call.user_says()
    _, heard = call.end(tracing)
    ((since, until),) = audible(heard[:, USER])
    assert (since, until) == pytest.approx((0.0, 1.0), abs=0.3)
    assert {str(error) for error in guard.failures} == {"spans raised KeyError"}
    assert {type(error) for error in guard.failures} == {SpansError}
    guard.failures.clear()


def test_a_redactor_without_spans_leaves_the_sound_as_it_is(tracing: Collector) -> None:
    call = Call(redact=lambda payload: payload)
    call.user_says()
    _, heard = call.end(tracing)
    assert audible(heard[:, USER]) == [(0.0, USER_BEGINS + LASTS)]
