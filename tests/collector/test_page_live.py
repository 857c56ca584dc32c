"""A running conversation: what its event stream says, and its waveform from the recording that is being written."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langsmith_realtime.collector import Collector
from langsmith_realtime.collector.page.changes import difference
from langsmith_realtime.collector.records import Attachment
from langsmith_realtime.collector.rules import Batch, Operation
from langsmith_realtime.core.audio.writes import ChannelWrite, Write
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.recording.wav import Wav
from tests.support.collector_requests import ask, update
from tests.support.stored_conversation import RATE, Conversation, with_three_problems

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.newest

_VALUES = st.none() | st.booleans() | st.lists(st.integers(0, 2), max_size=4)
_OBJECTS = st.dictionaries(st.sampled_from(["lines", "live"]), _VALUES)


def merged(shown: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
    """What the page makes of an event, as its stream.js does."""
    shown = {**shown, **news.get("values", {})}
    for key, changed in news.get("rows", {}).items():
        rows = shown[key][: changed["length"]]
        rows += [None] * (changed["length"] - len(rows))
        for at, row in changed["rows"]:
            rows[at] = row
        shown[key] = rows
    return shown


@contextmanager
def following(collector: Collector, path: str) -> Iterator[Iterator[dict[str, Any]]]:
    """The events of a stream below `/view/api`, as they come; they end where the server ends them."""
    with (
        httpx.Client(trust_env=False, timeout=20) as client,
        client.stream("GET", f"{collector.url}/view/api{path}") as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))


def store(collector: Collector, *operations: Operation) -> None:
    batch = Batch(list(operations))
    batch.check(10_000_000)
    collector._store.apply(batch)


def whole(collector: Collector, call: Conversation) -> dict[str, Any]:
    answer: dict[str, Any] = ask("GET", f"{collector.url}/view/api/conversations/{call.id}").json()
    return answer


# --- what changed


@settings(max_examples=40)
@given(st.lists(_OBJECTS, min_size=1, max_size=3))
def test_differences_make_every_object_of_the_one_before(objects: list[dict[str, Any]]) -> None:
    shown: dict[str, Any] = {}
    for each in objects:
        wanted = {**shown, **each}  # no key goes
        news = json.loads(json.dumps(difference(shown, wanted)))
        shown = merged(shown, news)
        assert shown == wanted
        assert difference(shown, wanted) == {}


def test_a_stream_says_only_what_came_and_ends_up_with_the_whole_conversation(collector: Collector) -> None:
    call = Conversation(start=datetime.now(UTC) - timedelta(seconds=360), seconds=360)
    for turn in range(120):
        call.user_says(3 * turn, 3 * turn + 1, f"Question {turn + 1}")
        call.agent_says(3 * turn + 1.6, 3 * turn + 2.8, f"Answer {turn + 1}")
    later = call.runs[-6:]
    del call.runs[-6:]
    call.into(collector, ended=False)
    with following(collector, f"/conversations/{call.id}/changes") as events:
        first = next(events)
        shape = merged({}, first)
        assert shape["lines"][-1]["text"] == "Answer 119"
        assert shape["recording"]["state"] == "pending"
        store(collector, *(Operation("post", run["id"], run) for run in later))
        second = next(events)
        assert [row["n"] for _, row in second["rows"]["turns"]["rows"]] == [119, 120]
        assert [row["text"] for _, row in second["rows"]["lines"]["rows"]] == ["Question 120", "Answer 120"]
        assert len(second["rows"]["events"]["rows"]) == len(later)
        assert len(json.dumps(second)) < len(json.dumps(first)) / 15
        assert "session" not in second["values"]
        shape = merged(shape, second)
        root = call.root(ended=True)
        path = collector._store.incoming / "incoming-late"
        path.write_bytes(call.sound())
        ended = Operation(
            "patch", call.id, update(root, **{key: root[key] for key in ("end_time", "outputs", "extra")})
        )
        ended.attachments["conversation"] = Attachment("audio/wav", path)
        store(collector, ended)
        while shape["live"] or shape["recording"]["state"] != "ready":  # decoded in the meantime, which is an event
            shape = merged(shape, next(events))
    assert shape == whole(collector, call)


def test_the_list_streams_new_conversations_and_what_grows_in_them(collector: Collector) -> None:
    other = with_three_problems(project="other")
    other.into(collector)
    call = with_three_problems(start=datetime.now(UTC) - timedelta(seconds=30))
    later = call.runs[-6:]
    del call.runs[-6:]
    with following(collector, "/changes?project=parcel-desk&limit=5") as events:
        page = merged({}, next(events))
        assert page["conversations"] == []
        call.into(collector, ended=False)
        page = merged(page, next(events))
        (row,) = page["conversations"]
        assert (row["id"], row["live"], row["turns"]) == (call.id, True, 4)
        store(collector, *(Operation("post", run["id"], run) for run in later))
        news = next(events)
        assert set(news["rows"]) == {"conversations"}
        page = merged(page, news)
        assert page["conversations"][0]["turns"] == 5
        collector._store.delete_traces([call.id])
        assert merged(page, next(events))["conversations"] == []


def test_a_conversation_that_is_not_stored_has_no_stream(collector: Collector) -> None:
    for path in ("", "/changes", "/growing"):
        assert ask("GET", f"{collector.url}/view/api/conversations/unknown{path}").status_code == 404


# --- tabs and the end


def test_a_closed_tab_leaves_nothing_and_a_collector_that_stops_ends_all_streams() -> None:
    with ExitStack() as tabs:
        with Collector() as collector:
            call = with_three_problems()
            call.into(collector, ended=False)
            path = f"/conversations/{call.id}/changes"
            with following(collector, path) as closed:
                next(closed)
                assert collector._page_changes.stream_count == 1
            streams = [tabs.enter_context(following(collector, each)) for each in [path] * 10 + ["/changes"] * 10]
            for stream in streams:
                next(stream)
            deadline = time.monotonic() + 20
            while collector._page_changes.stream_count != len(streams):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        # An answer that was cut off would raise instead.
        assert [list(stream) for stream in streams] == [[]] * len(streams)
        assert collector._page_changes.stream_count == 0
        collector._page_changes.notify()  # such as a recording that was being decoded


# --- the growing waveform


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def looking(state: Path) -> Iterator[Collector]:
    """A collector that knows the state folder."""
    with Collector(state=state) as running:
        yield running


def running_call(collector: Collector, ago: float) -> Conversation:
    call = Conversation(start=datetime.now(UTC) - timedelta(seconds=ago))
    call.into(collector, ended=False)
    return call


def wav_of(state: Path, call: Conversation) -> Wav:
    """The recording of a running conversation, where the tracing writes it."""
    folder = state / call.id
    folder.mkdir(parents=True, exist_ok=True)
    return Wav(folder / f"{call.id}.wav", RATE)


def put(wav: Wav, channel: int, begin: float, seconds: float, value: int = 16384) -> None:
    wav.write(ChannelWrite(channel, Write(round(begin * RATE), np.full(round(seconds * RATE), value, dtype=np.int16))))
    wav.sync()


def growing(collector: Collector, call: Conversation, since: float, until: float) -> httpx.Response:
    return ask("GET", f"{collector.url}/view/api/conversations/{call.id}/growing?from={since}&to={until}")


def audible(answer: httpx.Response, side: int) -> list[tuple[float, float]]:
    """When a side is audible in the points of an answer, in seconds from the first point."""
    points = np.frombuffer(answer.content, dtype=np.uint8).reshape(-1, 4)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], points[:, 2 * side] > 0, [0]])))
    return [(begin / 100, end / 100) for begin, end in edges.reshape(-1, 2).tolist()]


def test_the_waveform_of_a_running_conversation_is_what_its_recording_has_by_now(
    looking: Collector, state: Path
) -> None:
    call = running_call(looking, ago=300)
    assert whole(looking, call)["recording"]["state"] == "pending"
    wav = wav_of(state, call)
    put(wav, USER, 1, 2)
    put(wav, AGENT, 4, 3, 8192)
    recording = whole(looking, call)["recording"]
    assert (recording["state"], "url" in recording) == ("growing", False)
    assert recording["reason"] == "The sound can be heard when the conversation has ended."
    answer = growing(looking, call, 0, 120)
    assert (audible(answer, USER), audible(answer, AGENT)) == ([(1, 3)], [(4, 7)])
    assert np.frombuffer(answer.content, dtype=np.uint8).reshape(-1, 4)[[150, 450]].tolist() == [
        [128, 128, 0, 0],
        [0, 0, 64, 64],
    ]
    put(wav, USER, 1.5, 1, 0)  # silenced afterwards
    put(wav, AGENT, 6, 1, 0)  # a barge-in cut it
    put(wav, USER, 250, 1)
    answer = growing(looking, call, 0, 120)
    assert (audible(answer, USER), audible(answer, AGENT)) == ([(1, 1.5), (2.5, 3)], [(4, 6)])
    assert len(answer.content) == 120 * 100 * 4
    assert len(growing(looking, call, 0, 1e6).content) == 120 * 100 * 4, "a request reads two minutes at most"
    assert audible(growing(looking, call, 240.9, 360), USER) == [(10, 11)], "from a whole second on"
    assert growing(looking, call, 251, 400).content == b""
    wav.close(RATE)


def test_sound_that_is_ahead_of_its_playback_is_not_shown_yet(looking: Collector, state: Path) -> None:
    call = running_call(looking, ago=20)
    wav = wav_of(state, call)
    put(wav, AGENT, 10, 60)
    ((begin, end),) = audible(growing(looking, call, 0, 120), AGENT)
    assert begin == 10
    assert 20 <= end < 70, "the rest of the answer may still be cut off"
    wav.close(RATE)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"x" * 100, b"RIFF\0\0\0\0WAVEfmt " + b"\0" * 60])
def test_a_file_that_is_no_recording_of_ours_is_not_read(looking: Collector, state: Path, content: bytes) -> None:
    call = running_call(looking, ago=20)
    (state / call.id).mkdir(parents=True)
    assert growing(looking, call, 0, 10).content == b"", "there was no sound yet"
    (state / call.id / f"{call.id}.wav").write_bytes(content)
    assert growing(looking, call, 0, 10).content == b""


def test_only_a_running_conversation_has_a_growing_waveform(looking: Collector, state: Path) -> None:
    call = running_call(looking, ago=20)
    put(wav_of(state, call), USER, 1, 1)
    assert growing(looking, call, 0, 10).status_code == 200
    root = call.root(ended=True)
    store(looking, Operation("patch", call.id, update(root, end_time=root["end_time"], outputs=root["outputs"])))
    assert growing(looking, call, 0, 10).status_code == 404
    assert whole(looking, call)["recording"]["state"] == "off"
    with Collector(looking.directory) as elsewhere:
        assert growing(elsewhere, call, 0, 10).status_code == 404
