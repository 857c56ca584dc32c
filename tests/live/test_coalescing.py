"""Sound, made fewer: what is handed on, and as of when."""

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
    """Notes what reaches it."""

    quiet = False

    def __init__(self, form: Format) -> None:
        self.heard: list[tuple[str, float, Any]] = []
        self._form = form

    def format(self, _channel: int, *, fed: bool) -> Format:
        assert not fed
        return self._form

    def silent(self, _channel: int) -> list[Any]:
        return []

    def client_frame(self, frame: Any, t: float) -> None:
        self.heard.append(("sent", t, frame))

    def microphone(self, sound: AudioBytes, t: float) -> None:
        assert isinstance(sound, AudioBytes)
        self.heard.append(("sent", t, FRAME | {"audio": sound}))

    def server_frame(self, frame: Any, t: float, _ref: object, _speaking: object) -> None:
        self.heard.append(("received", t, frame))

    def closed(self, t: float) -> float:
        self.heard.append(("closed", t, None))
        return t

    @property
    def sounds(self) -> list[tuple[Any, int]]:
        """When the user's sound was handed on, and how many bytes of it."""
        return [(t, len(frame["audio"])) for what, t, frame in self.heard if what == "sent" and "audio" in frame]

    @property
    def speech(self) -> list[tuple[float, AudioBytes]]:
        """When the agent's was, and what."""
        return [(t, frame["delta"]) for what, t, frame in self.heard if what == "received" and "delta" in frame]


def chunk(ms: int, code: bytes = b"\1") -> dict[str, str]:
    return FRAME | {"audio": base64.b64encode(code * (48 * ms)).decode()}


def delta(code: bytes, ms: int = 40, item: str = "item_1", kind: str = "output_audio") -> dict[str, str]:
    sound = base64.b64encode(code * (48 * ms)).decode()
    return {"type": f"response.{kind}.delta", "response_id": "resp_1", "item_id": item, "delta": sound}


def gathering(form: Format = PCM16, later: Any = None) -> tuple[Session, Coalescer]:
    session = Session(form)
    return session, Coalescer(session, later)


def test_chunks_that_go_on_from_one_another_become_one() -> None:
    session, gather = gathering()
    for index in range(1, 101):
        gather.client_frame(chunk(20), index * 0.02)
    assert session.sounds == [(pytest.approx(1.0), 48_000), (pytest.approx(2.0), 48_000)]


def assert_same(frames: Sequence[object], chunks: Sequence[str], *, is_text: bool) -> None:
    """Chunks reach the session as their events do."""
    (one, by_event), (other, by_chunk) = gathering(), gathering()
    for index, frame in enumerate(frames):
        by_event.client_frame(frame, index * 0.02)
    by_chunk.microphone_chunks((sent, index * 0.02, is_text) for index, sent in enumerate(chunks))
    for gather in (by_event, by_chunk):
        gather.closed(1.0)
    assert other.heard == one.heard
    assert len(one.heard) > 3


def test_the_sound_alone_is_the_same_as_the_event() -> None:
    no_event = '{"type":"conversation.item.create","item":{}}'  # whatever sends that as sound
    sent = ["", chunk(20)["audio"], "?", chunk(20)["audio"], no_event, chunk(30, b"\2")["audio"]]
    assert_same([FRAME | {"audio": audio} for audio in sent], sent, is_text=False)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_chunks_that_were_sent_as_text_are_the_same(separators: tuple[str, str]) -> None:
    sent = [chunk(20)["audio"], chunk(20, b"\2")["audio"], "", "?", 'a"b', "\\u0041AAA"]
    texts = [json.dumps(FRAME | {"audio": audio}, separators=separators) for audio in sent]
    texts += [
        '{"type":"input_audio_buffer.append","audio":"AAAA","event_id":"event_1"}',
        '{"type":"input_audio_buffer.append"',
    ]
    assert_same(texts, texts, is_text=True)


def test_a_burst_counts_as_of_its_first() -> None:
    session, gather = gathering()
    for t in (1.0, 1.05, 1.05, 1.05, 1.05):  # the second was held up
        gather.client_frame(chunk(20), t)
    assert [entry[:2] for entry in session.heard] == [("sent", 1.0)]
    gather.closed(2.0)
    assert [entry[:2] for entry in session.heard] == [("sent", 1.0), ("sent", pytest.approx(1.05)), ("closed", 2.0)]


def test_what_comes_after_a_pause_is_not_moved_before_it() -> None:
    session, gather = gathering()
    gather.client_frame(chunk(20), 1.0)
    gather.client_frame(chunk(20), 1.06)
    assert gather.closed(1.1) == 1.1
    assert session.sounds == [(1.0, 960), (1.06, 960)]


def test_whatever_else_happens_comes_after_what_was_sent_before_it() -> None:
    session, gather = gathering()
    for t, frame in ((1.0, chunk(20)), (1.02, {"type": "input_audio_buffer.commit"}), (1.04, chunk(20))):
        gather.client_frame(frame, t)
    assert [entry[0:2] for entry in session.heard] == [("sent", 1.0), ("sent", 1.02)]
    assert gather.quiet is False


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
def test_what_is_no_plain_chunk_is_handed_on_as_it_is(frame: object) -> None:
    session, gather = gathering()
    gather.client_frame(frame, 1.0)
    assert session.heard == [("sent", 1.0, frame)]


def test_one_chunk_that_is_no_base64_does_not_spoil_the_others() -> None:
    session, gather = gathering()
    good, bad = chunk(40), FRAME | {"audio": "????" * 640}
    for frame in (good, bad, good):
        gather.client_frame(frame, 1.0)
    gather.closed(1.1)
    assert [frame for what, _, frame in session.heard if what == "sent"] == [good, bad, good]


@pytest.mark.parametrize("size", [160, 161, 162])
def test_chunks_last_as_long_as_their_sound_whatever_its_padding(size: int) -> None:
    session, gather = gathering(ULAW)
    sent = base64.b64encode(bytes(size)).decode()
    gather.microphone_chunks((sent, 1.0 + 0.021 * index, False) for index in range(10))
    gather.closed(1.2)
    assert session.sounds == [(pytest.approx(1.0 + 9 * size / ULAW.rate), 10 * size)]


@pytest.mark.parametrize("size", [160, 161, 162])
def test_telephone_audio_is_joined_as_well_whatever_its_padding(size: int) -> None:
    session, gather = gathering(ULAW)
    for index in range(5):
        gather.client_frame(FRAME | {"audio": base64.b64encode(bytes([index]) * size).decode()}, index * 0.02)
    gather.closed(1.0)
    assert b"".join(frame["audio"].data for what, _, frame in session.heard if what == "sent") == b"".join(
        bytes([index]) * size for index in range(5)
    )
    assert len(session.sounds) == 1


def test_deltas_that_are_played_one_after_the_other_become_one() -> None:
    session, gather = gathering()
    for index in range(4):
        gather.server_frame(delta(bytes([index])), 1.0 + index * 0.02, None, None)
    gather.closed(2.0)
    assert session.speech == [(1.0, AudioBytes(b"".join(bytes([index]) * (48 * 40) for index in range(4))))]


def test_a_delta_after_the_one_before_it_was_played_begins_anew() -> None:
    session, gather = gathering()
    gather.server_frame(delta(b"\1"), 1.0, None, None)
    gather.server_frame(delta(b"\2"), 1.05, None, None)
    gather.closed(2.0)
    assert [t for t, _ in session.speech] == [1.0, 1.05]


def test_each_item_speaks_for_itself_and_words_stay_words() -> None:
    session, gather = gathering()
    words = {"type": "response.output_audio_transcript.delta", "item_id": "item_1", "delta": "Hi"}
    nothing = delta(b"\1") | {"delta": None}
    for frame in (delta(b"\1"), words, delta(b"\2"), delta(b"\3", item="item_2"), nothing):
        gather.server_frame(frame, 1.0, None, None)
    gather.server_frame({"type": "response.done"}, 1.0, "a run", None)
    assert [frame.get("delta") for _, _, frame in session.heard] == [
        AudioBytes(b"\1" * 1920 + b"\2" * 1920),
        "Hi",
        AudioBytes(b"\3" * 1920),
        None,
        None,
    ]


def test_one_delta_that_is_no_base64_does_not_spoil_the_others() -> None:
    session, gather = gathering()
    frames = [delta(b"\1"), delta(b"\1") | {"delta": "????" * 640}, delta(b"\2")]
    for frame in frames:
        gather.server_frame(frame, 1.0, None, None)
    gather.closed(2.0)
    assert [frame for what, _, frame in session.heard if what == "received"] == frames


def test_words_that_go_on_from_one_another_become_one() -> None:
    session, gather = gathering()
    for kind, part in (("output_text", "A"), ("output_text", "nn"), ("function_call_arguments", "{"), ("refusal", "n")):
        words = {"type": f"response.{kind}.delta", "item_id": f"item_{kind}", "delta": part}
        gather.server_frame(words, 1.0, None, None)
        gather.server_frame(words, 1.5, None, None)
    gather.closed(2.0)
    assert [(t, frame["delta"]) for what, t, frame in session.heard if what == "received"] == [
        (1.0, "AAnnnn"),
        (1.0, "{{"),
        (1.0, "n"),  # whose deltas nobody here knows
        (1.5, "n"),
    ]


def test_nothing_waits_long_for_what_comes_next() -> None:
    session, gather = gathering()
    gather.server_frame(delta(b"\1", ms=200), 1.0, None, None)
    gather.client_frame(chunk(20), 1.05)
    gather.server_frame(delta(b"\2"), 2.1, None, None)
    assert [entry[:2] for entry in session.heard] == [("received", 1.0)]
    gather.server_frame(delta(b"\3"), 2.2, None, None)
    assert [entry[:2] for entry in session.heard[1:]] == [("sent", 1.05)]
    gather.client_frame(chunk(20), 3.2)
    assert [entry[:2] for entry in session.heard[2:]] == [("received", 2.1), ("received", 2.2)]


def test_an_event_overtakes_the_microphone_unless_it_speaks_of_it() -> None:
    session, gather = gathering()
    gather.client_frame(chunk(20), 1.0)
    gather.server_frame({"type": "response.done"}, 1.01, None, None)
    assert [entry[:2] for entry in session.heard] == [("received", 1.01)]
    gather.server_frame({"type": "input_audio_buffer.speech_started"}, 1.02, None, None)
    assert [entry[:2] for entry in session.heard[1:]] == [("sent", 1.0), ("received", 1.02)]


def test_what_is_overtaken_is_waited_for() -> None:
    assert Coalescer.JOINED_S < Coalescer.MAX_DELAY_S < Tracks.LATE


def test_what_is_no_event_is_handed_on_at_its_place() -> None:
    session, gather = gathering()
    gather.client_frame(chunk(20), 1.0)
    gather.server_frame(b"no JSON", 1.01, None, None)
    assert [entry[:2] for entry in session.heard] == [("sent", 1.0), ("received", 1.01)]


def test_when_nothing_comes_any_more_what_waits_is_handed_on() -> None:
    asked: list[Callable[[], None]] = []
    session, gather = gathering(later=asked.append)
    gather.client_frame(chunk(20), 1.0)
    gather.client_frame(chunk(20), 1.02)
    assert len(asked) == 1
    asked.pop()()
    assert session.sounds == [(pytest.approx(1.02), 1920)]
    assert asked == []


def test_whoever_looks_hands_on_what_came_meanwhile_as_well() -> None:
    asked: list[Callable[[], None]] = []
    session, gather = gathering(later=asked.append)
    gather.client_frame(chunk(20), 1.0)
    gather.client_frame({"type": "input_audio_buffer.commit"}, 1.01)
    gather.server_frame(delta(b"\1"), 1.09, None, None)
    asked.pop()()
    assert [t for t, _ in session.speech] == [1.09]
    gather.server_frame({"type": "response.done"}, 1.2, None, None)
    assert asked == []
    gather.server_frame(delta(b"\1"), 1.3, None, None)
    assert len(asked) == 1
