"""The microphone's chunks, made fewer: what is handed on, and as of when."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from langsmith_realtime.audio.formats import PCM16, Format
from langsmith_realtime.gathered import Gathering

pytestmark = pytest.mark.newest  # no version matters to it

FRAME = {"type": "input_audio_buffer.append"}


class Session:
    """Notes what reaches it."""

    silent = False

    def __init__(self) -> None:
        self.heard: list[tuple[str, float, object]] = []

    def client_frame(self, frame: Any, t: float) -> None:
        self.heard.append(("sent", t, frame))

    def closed(self, t: float) -> float:
        self.heard.append(("closed", t, None))
        return t


def sounds(session: Session) -> list[tuple[Any, int]]:
    """When sound was handed on, and how many bytes of it."""
    heard = [(t, frame) for what, t, frame in session.heard if what == "sent"]
    return [(t, len(base64.b64decode(frame["audio"]))) for t, frame in heard if isinstance(frame, dict)]


def chunk(ms: int, code: bytes = b"\1") -> dict[str, str]:
    return FRAME | {"audio": base64.b64encode(code * (48 * ms)).decode()}


def gathering(form: Format = PCM16) -> tuple[Session, Gathering]:
    session = Session()
    return session, Gathering(session, lambda: form)


def test_chunks_that_go_on_from_one_another_become_one() -> None:
    session, gather = gathering()
    for index in range(1, 11):
        gather.client_frame(chunk(20), index * 0.02)
    assert sounds(session) == [(pytest.approx(0.1), 4800), (pytest.approx(0.2), 4800)]


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
    assert sounds(session) == [(1.0, 960), (1.06, 960)]


def test_whatever_else_happens_comes_after_what_was_sent_before_it() -> None:
    session, gather = gathering()
    for t, frame in ((1.0, chunk(20)), (1.02, {"type": "input_audio_buffer.commit"}), (1.04, chunk(20))):
        gather.client_frame(frame, t)
    assert [entry[0:2] for entry in session.heard] == [("sent", 1.0), ("sent", 1.02)]
    assert gather.silent is False


@pytest.mark.parametrize(
    "frame",
    [FRAME | {"audio": "?"}, FRAME | {"audio": 1}, FRAME, FRAME | {"audio": "", "event_id": "e"}, "no JSON", None],
)
def test_what_is_no_plain_chunk_is_handed_on_as_it_is(frame: object) -> None:
    session, gather = gathering()
    gather.client_frame(frame, 1.0)
    assert session.heard == [("sent", 1.0, frame)]


def test_telephone_audio_is_joined_as_well() -> None:
    session, gather = gathering(Format("ulaw", 8_000))
    for index in range(1, 6):
        gather.client_frame(FRAME | {"audio": base64.b64encode(b"\xff" * 160).decode()}, index * 0.02)
    assert sounds(session) == [(pytest.approx(0.1), 800)]
