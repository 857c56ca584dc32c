"""Coalescer: which chunks and deltas are joined, when they are passed on, and with which time."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.protocol.audio_formats import PCM16, AudioBytes, Format
from langsmith_realtime.live.coalescing import Coalescer

pytestmark = pytest.mark.newest  # no version matters to it

FRAME = {"type": "input_audio_buffer.append"}
ULAW = Format("ulaw", 8_000)


class Session:
    """A session that records its calls as (direction, time, frame)."""

    attribute = False

    def __init__(self, audio_format: Format) -> None:
        self.calls: list[tuple[str, float, Any]] = []
        self._format = audio_format

    def format(self, _channel: int, *, fed: bool) -> Format:
        assert not fed
        return self._format

    def silenced_spans(self, _channel: int) -> list[Any]:
        return []

    def client_frame(self, frame: Any, t: float) -> None:
        self.calls.append(("sent", t, frame))

    def microphone(self, audio: AudioBytes, t: float) -> None:
        assert isinstance(audio, AudioBytes)
        self.calls.append(("sent", t, FRAME | {"audio": audio}))

    def server_frame(self, frame: Any, t: float, _ref: object, _speaking: object) -> None:
        self.calls.append(("received", t, frame))

    def closed(self, t: float) -> float:
        self.calls.append(("closed", t, None))
        return t

    @property
    def user_audio(self) -> list[tuple[Any, int]]:
        """Time and number of bytes of each joined microphone chunk."""
        return [(t, len(frame["audio"])) for way, t, frame in self.calls if way == "sent" and "audio" in frame]

    @property
    def agent_audio(self) -> list[tuple[float, AudioBytes]]:
        """Time and audio of each joined delta."""
        return [(t, frame["delta"]) for way, t, frame in self.calls if way == "received" and "delta" in frame]


def chunk(ms: int, code: bytes = b"\1") -> dict[str, str]:
    return FRAME | {"audio": base64.b64encode(code * (48 * ms)).decode()}


def delta(code: bytes, ms: int = 40, item: str = "item_1", kind: str = "output_audio") -> dict[str, str]:
    audio = base64.b64encode(code * (48 * ms)).decode()
    return {"type": f"response.{kind}.delta", "response_id": "resp_1", "item_id": item, "delta": audio}


def coalescing(audio_format: Format = PCM16, schedule: Any = None) -> tuple[Session, Coalescer]:
    session = Session(audio_format)
    return session, Coalescer(session, schedule)


def test_consecutive_chunks_are_joined_to_one_second() -> None:
    session, coalescer = coalescing()
    for index in range(1, 101):
        coalescer.client_frame(chunk(20), index * 0.02)
    assert session.user_audio == [(pytest.approx(1.0), 48_000), (pytest.approx(2.0), 48_000)]


def assert_chunks_equal_frames(frames: Sequence[object], chunks: Sequence[str], *, is_text: bool) -> None:
    """Check that chunks reach the session as their events do."""
    (one, by_event), (other, by_chunk) = coalescing(), coalescing()
    for index, frame in enumerate(frames):
        by_event.client_frame(frame, index * 0.02)
    by_chunk.microphone_chunks((sent, index * 0.02, is_text) for index, sent in enumerate(chunks))
    for coalescer in (by_event, by_chunk):
        coalescer.closed(1.0)
    assert other.calls == one.calls
    assert len(one.calls) > 3


def test_a_chunk_without_its_event_is_processed_like_the_event() -> None:
    other_event = '{"type":"conversation.item.create","item":{}}'  # in the place of base64
    sent = ["", chunk(20)["audio"], "?", chunk(20)["audio"], other_event, chunk(30, b"\2")["audio"]]
    assert_chunks_equal_frames([FRAME | {"audio": audio} for audio in sent], sent, is_text=False)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_chunk_in_json_text_is_processed_like_its_event(separators: tuple[str, str]) -> None:
    sent = [chunk(20)["audio"], chunk(20, b"\2")["audio"], "", "?", 'a"b', "\\u0041AAA"]
    texts = [json.dumps(FRAME | {"audio": audio}, separators=separators) for audio in sent]
    texts += [
        '{"type":"input_audio_buffer.append","audio":"AAAA","event_id":"event_1"}',
        '{"type":"input_audio_buffer.append"',
    ]
    assert_chunks_equal_frames(texts, texts, is_text=True)


def test_chunks_of_a_burst_are_dated_by_the_first() -> None:
    session, coalescer = coalescing()
    for t in (1.0, 1.05, 1.05, 1.05, 1.05):  # the second one was late
        coalescer.client_frame(chunk(20), t)
    assert [entry[:2] for entry in session.calls] == [("sent", 1.0)]
    coalescer.closed(2.0)
    assert [entry[:2] for entry in session.calls] == [("sent", 1.0), ("sent", pytest.approx(1.05)), ("closed", 2.0)]


def test_a_chunk_after_a_pause_is_not_joined() -> None:
    session, coalescer = coalescing()
    coalescer.client_frame(chunk(20), 1.0)
    coalescer.client_frame(chunk(20), 1.06)
    assert coalescer.closed(1.1) == 1.1
    assert session.user_audio == [(1.0, 960), (1.06, 960)]


def test_another_call_is_passed_on_after_the_chunks_before_it() -> None:
    session, coalescer = coalescing()
    for t, frame in ((1.0, chunk(20)), (1.02, {"type": "input_audio_buffer.commit"}), (1.04, chunk(20))):
        coalescer.client_frame(frame, t)
    assert [entry[0:2] for entry in session.calls] == [("sent", 1.0), ("sent", 1.02)]
    assert coalescer.attribute is False


@pytest.mark.parametrize(
    "frame",
    [
        FRAME | {"audio": "?"},
        FRAME | {"audio": 1},
        FRAME,
        FRAME | {"audio": ""},
        FRAME | {"audio": "AAAA", "event_id": "e"},
        "no JSON",
        None,
    ],
)
def test_a_frame_that_is_no_plain_chunk_is_passed_on_unchanged(frame: object) -> None:
    session, coalescer = coalescing()
    coalescer.client_frame(frame, 1.0)
    assert session.calls == [("sent", 1.0, frame)]


def test_a_chunk_that_is_not_base64_leaves_the_others_intact() -> None:
    session, coalescer = coalescing()
    good, bad = chunk(40), FRAME | {"audio": "????" * 640}
    for frame in (good, bad, good):
        coalescer.client_frame(frame, 1.0)
    coalescer.closed(1.1)
    assert [frame for way, _, frame in session.calls if way == "sent"] == [good, bad, good]


@pytest.mark.parametrize("size", [160, 161, 162])
def test_the_padding_of_base64_does_not_change_the_length_of_a_chunk(size: int) -> None:
    session, coalescer = coalescing(ULAW)
    sent = base64.b64encode(bytes(size)).decode()
    coalescer.microphone_chunks((sent, 1.0 + 0.021 * index, False) for index in range(10))
    coalescer.closed(1.2)
    assert session.user_audio == [(pytest.approx(1.0 + 9 * size / ULAW.rate), 10 * size)]


@pytest.mark.parametrize("size", [160, 161, 162])
def test_g711_chunks_are_joined_whatever_their_padding(size: int) -> None:
    session, coalescer = coalescing(ULAW)
    for index in range(5):
        coalescer.client_frame(FRAME | {"audio": base64.b64encode(bytes([index]) * size).decode()}, index * 0.02)
    coalescer.closed(1.0)
    assert b"".join(frame["audio"].data for way, _, frame in session.calls if way == "sent") == b"".join(
        bytes([index]) * size for index in range(5)
    )
    assert len(session.user_audio) == 1


def test_audio_deltas_that_arrive_before_the_previous_ones_are_played_are_joined() -> None:
    session, coalescer = coalescing()
    for index in range(4):
        coalescer.server_frame(delta(bytes([index])), 1.0 + index * 0.02, None, None)
    coalescer.closed(2.0)
    assert session.agent_audio == [(1.0, AudioBytes(b"".join(bytes([index]) * (48 * 40) for index in range(4))))]


def test_a_delta_that_arrives_after_the_previous_one_was_played_is_not_joined() -> None:
    session, coalescer = coalescing()
    coalescer.server_frame(delta(b"\1"), 1.0, None, None)
    coalescer.server_frame(delta(b"\2"), 1.05, None, None)
    coalescer.closed(2.0)
    assert [t for t, _ in session.agent_audio] == [1.0, 1.05]


def test_deltas_of_different_items_and_kinds_are_not_joined() -> None:
    session, coalescer = coalescing()
    words = {"type": "response.output_audio_transcript.delta", "item_id": "item_1", "delta": "Hi"}
    nothing = delta(b"\1") | {"delta": None}
    for frame in (delta(b"\1"), words, delta(b"\2"), delta(b"\3", item="item_2"), nothing):
        coalescer.server_frame(frame, 1.0, None, None)
    coalescer.server_frame({"type": "response.done"}, 1.0, "a run", None)
    assert [frame.get("delta") for _, _, frame in session.calls] == [
        AudioBytes(b"\1" * 1920 + b"\2" * 1920),
        "Hi",
        AudioBytes(b"\3" * 1920),
        None,
        None,
    ]


def test_a_delta_that_is_not_base64_leaves_the_others_intact() -> None:
    session, coalescer = coalescing()
    frames = [delta(b"\1"), delta(b"\1") | {"delta": "????" * 640}, delta(b"\2")]
    for frame in frames:
        coalescer.server_frame(frame, 1.0, None, None)
    coalescer.closed(2.0)
    assert [frame for way, _, frame in session.calls if way == "received"] == frames


def test_text_deltas_of_an_item_are_joined() -> None:
    session, coalescer = coalescing()
    for kind, part in (("output_text", "A"), ("output_text", "nn"), ("function_call_arguments", "{"), ("refusal", "n")):
        words = {"type": f"response.{kind}.delta", "item_id": f"item_{kind}", "delta": part}
        coalescer.server_frame(words, 1.0, None, None)
        coalescer.server_frame(words, 1.5, None, None)
    coalescer.closed(2.0)
    assert [(t, frame["delta"]) for way, t, frame in session.calls if way == "received"] == [
        (1.0, "AAnnnn"),
        (1.0, "{{"),
        (1.0, "n"),  # deltas of an unknown type are not joined
        (1.5, "n"),
    ]


def test_waiting_frames_are_passed_on_when_a_later_frame_arrives() -> None:
    session, coalescer = coalescing()
    coalescer.server_frame(delta(b"\1", ms=200), 1.0, None, None)
    coalescer.client_frame(chunk(20), 1.05)
    coalescer.server_frame(delta(b"\2"), 2.1, None, None)
    assert [entry[:2] for entry in session.calls] == [("received", 1.0)]
    coalescer.server_frame(delta(b"\3"), 2.2, None, None)
    assert [entry[:2] for entry in session.calls[1:]] == [("sent", 1.05)]
    coalescer.client_frame(chunk(20), 3.2)
    assert [entry[:2] for entry in session.calls[2:]] == [("received", 2.1), ("received", 2.2)]


def test_an_event_overtakes_microphone_chunks_unless_it_concerns_the_microphone() -> None:
    session, coalescer = coalescing()
    coalescer.client_frame(chunk(20), 1.0)
    coalescer.server_frame({"type": "response.done"}, 1.01, None, None)
    assert [entry[:2] for entry in session.calls] == [("received", 1.01)]
    coalescer.server_frame({"type": "input_audio_buffer.agent_audio_started"}, 1.02, None, None)
    assert [entry[:2] for entry in session.calls[1:]] == [("sent", 1.0), ("received", 1.02)]


def test_the_tracks_tolerate_the_longest_delay() -> None:
    assert Coalescer.JOINED_S < Coalescer.MAX_DELAY_S < Tracks.MAX_LAG_S


def test_a_frame_that_is_no_event_keeps_its_place() -> None:
    session, coalescer = coalescing()
    coalescer.client_frame(chunk(20), 1.0)
    coalescer.server_frame(b"no JSON", 1.01, None, None)
    assert [entry[:2] for entry in session.calls] == [("sent", 1.0), ("received", 1.01)]


def test_waiting_chunks_are_passed_on_at_the_next_tick() -> None:
    scheduled: list[Callable[[], None]] = []
    session, coalescer = coalescing(schedule=scheduled.append)
    coalescer.client_frame(chunk(20), 1.0)
    coalescer.client_frame(chunk(20), 1.02)
    assert len(scheduled) == 1
    scheduled.pop()()
    assert session.user_audio == [(pytest.approx(1.02), 1920)]
    assert scheduled == []


def test_a_scheduled_flush_passes_on_frames_that_came_after_it_was_scheduled() -> None:
    scheduled: list[Callable[[], None]] = []
    session, coalescer = coalescing(schedule=scheduled.append)
    coalescer.client_frame(chunk(20), 1.0)
    coalescer.client_frame({"type": "input_audio_buffer.commit"}, 1.01)
    coalescer.server_frame(delta(b"\1"), 1.09, None, None)
    scheduled.pop()()
    assert [t for t, _ in session.agent_audio] == [1.09]
    coalescer.server_frame({"type": "response.done"}, 1.2, None, None)
    assert scheduled == []
    coalescer.server_frame(delta(b"\1"), 1.3, None, None)
    assert len(scheduled) == 1
