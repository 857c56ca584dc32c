"""joined(): which chunks and deltas become one input, with which time, and that nothing is lost or reordered."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.protocol.audio_formats import AGENT, PCM16, USER, Format, bytes_per_second
from langsmith_realtime.core.protocol.events import Event
from langsmith_realtime.core.protocol.inputs import (
    Audio,
    ClientFrame,
    Closed,
    Input,
    MalformedFrame,
    Played,
    Ref,
    ServerFrame,
)
from langsmith_realtime.live.coalescing import JOINED_S, MAX_DELAY_S, joined, parsed
from tests.support.hostile_conversations import SETTINGS
from tests.support.inputs import conversations, segments

pytestmark = pytest.mark.newest  # no version matters to it

APPENDED = {"type": "input_audio_buffer.append"}
ULAW = Format("ulaw", 8_000)


def sound(ms: int, code: bytes = b"\1") -> bytes:
    return code * (48 * ms)


def encoded(audio: bytes) -> str:
    return base64.b64encode(audio).decode()


def append(t: float, audio: object, **fields: object) -> ClientFrame:
    return ClientFrame(APPENDED | {"audio": audio} | fields, t)


def chunk(t: float, ms: int = 20, code: bytes = b"\1") -> ClientFrame:
    return append(t, encoded(sound(ms, code)))


def delta(t: float, code: bytes = b"\1", ms: int = 40, item: str = "item_1") -> ServerFrame:
    audio = encoded(sound(ms, code))
    where = {"response_id": "resp_1", "item_id": item}
    return ServerFrame({"type": "response.output_audio.delta", **where, "delta": audio}, t)


def words(t: float, text: object, kind: str = "output_text", item: str = "item_1") -> ServerFrame:
    return ServerFrame({"type": f"response.{kind}.delta", "item_id": item, "delta": text}, t)


def event(t: float, name: str = "response.done") -> ServerFrame:
    return ServerFrame({"type": name}, t, Ref(1))


def joining(*inputs: Input, audio_format: Format = PCM16) -> list[Input]:
    return list(joined(inputs, lambda _: bytes_per_second(audio_format)))


def times(inputs: Iterable[Input]) -> list[float]:
    return [each.t for each in inputs]


def audio(inputs: Iterable[Input]) -> list[bytes | str]:
    return [each.data for each in inputs if isinstance(each, Audio)]


def text(given: Input) -> object:
    """The text of a delta that is no audio."""
    assert isinstance(given, ServerFrame)
    assert isinstance(given.frame, Event)
    return given.frame.body.get("delta")


# Microphone chunks


def test_consecutive_chunks_are_joined_to_one_second() -> None:
    found = joining(*(chunk(index * 0.02) for index in range(1, 101)))
    assert times(found) == [pytest.approx(1.0), pytest.approx(2.0)]
    assert [replace(each, t=0.0) for each in found] == [Audio(USER, sound(1000), 0.0, event=APPENDED)] * 2


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_chunk_is_the_same_in_any_form(separators: tuple[str, str]) -> None:
    pieces = [encoded(sound(20)), encoded(sound(20, b"\2")), "", "?", 'a"b', encoded(sound(30)), "\u0041AAA"]
    frames = [APPENDED | {"audio": piece} for piece in pieces]
    texts = [json.dumps(frame, separators=separators) for frame in frames]
    forms: list[list[Input]] = [
        [ClientFrame(frame, index * 0.02) for index, frame in enumerate(frames)],
        [ClientFrame(frame, index * 0.02) for index, frame in enumerate(texts)],
        [ClientFrame(frame.encode(), index * 0.02) for index, frame in enumerate(texts)],
        [Audio(USER, piece, index * 0.02, event=APPENDED) for index, piece in enumerate(pieces)],
    ]
    found = [joining(*form) for form in forms]
    assert found[0] == found[1] == found[2] == found[3]
    decoded = [each for each in audio(found[0]) if isinstance(each, bytes)]
    assert b"".join(decoded) == sound(20) + sound(20, b"\2") + sound(30) + b"\0\0\0"
    assert [each for each in audio(found[0]) if isinstance(each, str)] == ["?", 'a"b']


def test_chunks_of_a_burst_are_dated_by_the_first() -> None:
    found = joining(*(chunk(t) for t in (1.0, 1.05, 1.05, 1.05, 1.05)))  # the second one was late
    assert times(found) == [1.0, pytest.approx(1.05)]
    assert audio(found) == [sound(20), sound(80)]


def test_a_chunk_after_a_pause_is_not_joined() -> None:
    found = joining(chunk(1.0), chunk(1.06), Closed(1.1))
    assert times(found) == [1.0, 1.06, 1.1]
    assert audio(found) == [sound(20), sound(20)]


def test_chunks_of_different_events_are_not_joined() -> None:
    one, other = encoded(sound(20)), encoded(sound(20, b"\2"))
    found = joining(append(1.0, one), append(1.02, other, event_id="e"), append(1.04, other, event_id="e"))
    assert times(found) == [1.0, pytest.approx(1.04)]
    assert [replace(each, t=0.0) for each in found] == [
        Audio(USER, sound(20), 0.0, event=APPENDED),
        Audio(USER, sound(40, b"\2"), 0.0, event=APPENDED | {"event_id": "e"}),
    ]


@pytest.mark.parametrize("frame", [APPENDED | {"audio": 1}, APPENDED, {"type": "input_audio_buffer.commit"}])
def test_an_event_without_audio_is_passed_on(frame: dict[str, Any]) -> None:
    assert joining(ClientFrame(frame, 1.0)) == [ClientFrame(Event(frame["type"], frame["type"], frame), 1.0)]


def test_a_chunk_that_is_not_base64_leaves_the_others_intact() -> None:
    found = joining(chunk(1.0, 40), append(1.0, "????" * 640), chunk(1.0, 40))
    assert audio(found) == [sound(40), "????" * 640, sound(40)]


@pytest.mark.parametrize("size", [160, 161, 162])
def test_g711_chunks_are_joined_whatever_their_padding(size: int) -> None:
    pieces = [bytes([index]) * size for index in range(5)]
    found = joining(*(append(index * 0.02, encoded(piece)) for index, piece in enumerate(pieces)), audio_format=ULAW)
    assert audio(found) == [b"".join(pieces)]


@pytest.mark.parametrize("size", [160, 161, 162])
def test_the_padding_of_base64_does_not_change_the_length_of_a_chunk(size: int) -> None:
    sent = encoded(bytes(size))
    (found,) = joining(*(append(1.0 + 0.021 * index, sent) for index in range(10)), audio_format=ULAW)
    assert found.t == pytest.approx(1.0 + 9 * size / ULAW.rate)
    assert audio([found]) == [bytes(10 * size)]


# Deltas


def test_audio_deltas_that_arrive_before_the_previous_ones_are_played_are_joined() -> None:
    (found,) = joining(*(delta(1.0 + index * 0.02, bytes([index])) for index in range(4)))
    assert isinstance(found, Audio)
    assert found.t == 1.0
    assert found.data == b"".join(sound(40, bytes([index])) for index in range(4))
    assert found.event == {"type": "response.output_audio.delta", "response_id": "resp_1", "item_id": "item_1"}


def test_a_delta_that_arrives_after_the_previous_one_was_played_is_not_joined() -> None:
    assert times(joining(delta(1.0), delta(1.05))) == [1.0, 1.05]


def test_deltas_of_different_items_and_kinds_are_not_joined() -> None:
    nothing = ServerFrame({"type": "response.output_audio.delta", "item_id": "item_1", "delta": None}, 1.0)
    transcript = words(1.0, "Hi", "output_audio_transcript")
    found = joining(delta(1.0, b"\1"), transcript, delta(1.0, b"\2"), delta(1.0, b"\3", item="item_2"), nothing)
    assert [each.data if isinstance(each, Audio) else text(each) for each in found] == [
        sound(40, b"\1") + sound(40, b"\2"),
        "Hi",
        sound(40, b"\3"),
        None,
    ]


def test_a_delta_that_is_not_base64_leaves_the_others_intact() -> None:
    bad = ServerFrame({"type": "response.output_audio.delta", "item_id": "item_1", "delta": "????" * 640}, 1.0)
    bad.frame["response_id"] = "resp_1"  # type: ignore[index]
    assert audio(joining(delta(1.0, b"\1"), bad, delta(1.0, b"\2"))) == [
        sound(40, b"\1"),
        "????" * 640,
        sound(40, b"\2"),
    ]


def test_text_deltas_of_an_item_are_joined() -> None:
    inputs: list[Input] = []
    for kind, part in (("output_text", "A"), ("output_text", "nn"), ("function_call_arguments", "{"), ("refusal", "n")):
        inputs += [words(1.0, part, kind, f"item_{kind}"), words(1.0, part, kind, f"item_{kind}")]
    found = joining(*inputs)
    assert [text(each) for each in found] == ["AAnnnn", "{{", "n", "n"]  # deltas of an unknown type are not joined


def test_a_text_that_is_none_leaves_the_others_intact() -> None:
    assert [text(each) for each in joining(words(1.0, "A"), words(1.0, None), words(1.0, "B"))] == ["A", None, "B"]


# The order


def test_another_input_is_passed_on_after_those_before_it_and_before_those_after_it() -> None:
    played = Played("item_1", 20.0, 1.03, 1.0)
    commit = ClientFrame({"type": "input_audio_buffer.commit"}, 1.05)
    found = joining(chunk(1.0), delta(1.01), event(1.02), played, delta(1.04), commit, chunk(1.06), Closed(2.0))
    assert [type(each) for each in found] == [Audio, Audio, ServerFrame, Played, Audio, ClientFrame, Audio, Closed]
    assert times(found) == [1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 2.0]


def test_an_input_is_passed_on_before_the_next_one_is_read_because_it_may_change_the_format() -> None:
    formats = [PCM16]
    pieces = [b"\1" * 160] * 100  # 2 s of G.711, 0.3 s of PCM16
    inputs: list[Input] = [chunk(1.0), event(1.01, "session.updated")]
    inputs += [append(1.03 + index * 0.02, encoded(piece)) for index, piece in enumerate(pieces)]
    found = []
    for each in joined(inputs, lambda _: bytes_per_second(formats[-1])):
        found.append(each)
        if isinstance(each, ServerFrame):
            formats.append(ULAW)
    assert audio(found) == [sound(20), b"\1" * 8_000, b"\1" * 8_000]


def test_a_microphone_chunk_does_not_wait_longer_than_that_while_deltas_arrive() -> None:
    found = joining(chunk(1.0), *(delta(1.0 + index * 0.1) for index in range(1, 31)))
    assert [each.t for each in found if isinstance(each, Audio) and each.channel == USER] == [1.0]
    before = found[: times(found).index(1.0)]
    assert all(each.t <= 1.0 + MAX_DELAY_S for each in before)


def test_the_tracks_tolerate_the_longest_delay() -> None:
    assert JOINED_S < MAX_DELAY_S < Tracks.MAX_LAG_S


def test_a_frame_that_is_no_event_keeps_its_place() -> None:
    found = joining(chunk(1.0), ServerFrame(b"no JSON", 1.01, Ref(7)), chunk(1.02), ClientFrame("[]", 1.03))
    assert times(found) == [1.0, 1.01, 1.02, 1.03]
    _, received, _, sent = found
    assert isinstance(received, MalformedFrame)
    assert (received.frame, received.run) == ("no JSON", Ref(7))
    assert "must be JSON" in received.reason
    assert sent == MalformedFrame("[]", "the frame must be a JSON object, got list", 1.03)


def test_an_event_that_only_the_other_side_sends_carries_no_audio() -> None:
    echoed = ServerFrame(chunk(1.0).frame, 1.0, Ref(7))
    sent = ClientFrame(delta(1.0).frame, 1.0)
    received, passed_on = joining(echoed, sent)
    assert isinstance(received, ServerFrame)
    assert received.run == Ref(7)
    assert isinstance(passed_on, ClientFrame)


# Whatever the inputs are

many = pytest.mark.parametrize("examples", [30, pytest.param(1000, marks=pytest.mark.soak)])


def for_all_conversations(examples: int, check: Callable[[list[Input]], None]) -> None:
    settings(SETTINGS, max_examples=examples)(given(conversations())(check))()


@many
def test_nothing_is_lost_changed_or_reordered(examples: int) -> None:
    def check(inputs: list[Input]) -> None:
        found = joining(*inputs)
        assert segments(found) == segments(map(parsed, inputs))
        assert len(found) <= len(inputs)

    for_all_conversations(examples, check)


@many
def test_what_is_joined_may_be_joined_again(examples: int) -> None:
    def check(inputs: list[Input]) -> None:
        once = joining(*inputs)
        again = joining(*once)
        assert segments(again) == segments(once)
        assert len(again) <= len(once)

    for_all_conversations(examples, check)


@many
def test_no_input_is_late_by_more_than_the_tracks_tolerate_or_dated_later_than_it_came(examples: int) -> None:
    def check(inputs: list[Input]) -> None:
        latest, came = 0.0, max((each.t for each in inputs), default=0.0)
        for each in joining(*inputs):
            assert each.t >= latest - Tracks.MAX_LAG_S
            assert each.t <= came + 1e-6
            latest = max(latest, each.t)

    for_all_conversations(examples, check)


@many
def test_inputs_are_parsed_once_and_the_given_ones_stay_as_they_are(examples: int) -> None:
    def check(inputs: list[Input]) -> None:
        before = [replace(each) for each in inputs]
        found = joining(*inputs)
        assert inputs == before
        assert [parsed(each) for each in found] == found
        for each in found:
            assert not isinstance(each, (ServerFrame, ClientFrame)) or type(each.frame) is Event
            assert not isinstance(each, Audio) or each.channel in (USER, AGENT)

    for_all_conversations(examples, check)


def test_sound_that_comes_faster_than_it_was_spoken_keeps_the_times_at_which_it_was_sent() -> None:
    twice_as_fast = [chunk(n / 10, 200) for n in range(10)]
    once = joining(*twice_as_fast)
    assert times(once) == pytest.approx(times(twice_as_fast))
    assert times(joining(*once)) == pytest.approx(times(once))  # as from a journal, whose inputs were joined once
    assert times(joining(*[chunk(1.0, 200) for _ in range(10)])) == pytest.approx([1.0, 1.0])  # a file
