"""What the page is told: the list, the shape of a conversation, its sound, and what is handed on."""

from __future__ import annotations

import base64
import io
import json
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import soundfile
from langsmith import Client

from langsmith_realtime.collector import Collector
from langsmith_realtime.collector.page import exports, sound
from langsmith_realtime.collector.page.exports import SOUND_BYTES, srt, vtt
from langsmith_realtime.collector.page.findings import clock
from langsmith_realtime.collector.rules import Batch, Operation
from langsmith_realtime.collector.storage.conversations import Query
from langsmith_realtime.collector.storage.store import Store
from langsmith_realtime.journal.frame_lines import FrameLines
from langsmith_realtime.journal.recovery import replay_anew
from langsmith_realtime.options.tracing import Options
from tests.support.collector_requests import ask
from tests.support.stored_conversation import RATE, Conversation, with_agents, with_three_problems

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.newest


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "store", trace_limit=25_000, durable=False)
    yield opened
    opened.close()


def get(collector: Collector, path: str, **headers: str) -> httpx.Response:
    return ask("GET", f"{collector.url}/view{path}", headers=headers)


def shape_of(collector: Collector, call: Conversation, query: str = "") -> dict[str, Any]:
    """The shape, once the recording is decoded."""
    deadline = time.monotonic() + 20
    while True:
        shape: dict[str, Any] = get(collector, f"/api/conversations/{call.id}{query}").json()
        if not shape["recording"].get("decoding"):
            return shape
        assert time.monotonic() < deadline
        time.sleep(0.02)


def html_of(collector: Collector, call: Conversation) -> str:
    return get(collector, f"/api/conversations/{call.id}/download.html").text


# --- the list


def ids(store: Store, **query: Any) -> list[str]:
    return [row["id"] for row in store.conversations.page(Query(**query))["conversations"]]


def test_the_list_has_a_row_of_numbers_for_every_conversation(store: Store) -> None:
    call = with_three_problems(tags=("demo",))
    call.store(store, sound=call.sound())
    (row,) = store.conversations.page(Query())["conversations"]
    assert row == {
        "id": call.id,
        "project": "parcel-desk",
        "thread": {"id": "thread-1", "index": 1, "count": 1},
        "start": call.start.timestamp(),
        "duration_s": 40.0,
        "live": False,
        "says": "Where is my parcel?",
        "model": "gpt-realtime",
        "tags": ["demo"],
        "turns": 5,
        "interruptions": 1,
        "errors": 1,
        "voice_to_voice_p50_ms": 860,
        "voice_to_voice_p95_ms": 3060,
        "total_tokens": 2800,
        "estimated_cost_usd": None,
        "recording": True,
        "shape": [[5.36, 860, ""], [13.06, 3060, ""], [17.96, 960, "e"], [22.86, 860, "i"], [27.26, 760, ""]],
        "hit": None,
    }


def test_the_list_is_filtered_by_what_went_wrong_and_counts_it(store: Store) -> None:
    bad = with_three_problems()
    bad.store(store)
    fine = Conversation(project="home-voice", thread="other", tags=("vip",), metadata={"model": "gpt-realtime-mini"})
    fine.user_says(1, 2, "How long are you open tonight?")
    fine.agent_says(2.5, 4, "Until ten.")
    fine.store(store)
    page = store.conversations.page(Query())
    assert page["counts"] == {"all": 2, "threads": 2, "live": 0, "slow": 1, "interrupted": 1, "errors": 1}
    assert store.conversations.choices() == {
        "projects": ["home-voice", "parcel-desk"],
        "tags": ["vip"],
        "models": ["gpt-realtime", "gpt-realtime-mini"],
        "threads": [],
    }
    for only in ("slow", "interrupted", "errors"):
        assert ids(store, only=(only,)) == [bad.id]
    assert ids(store, only=("slow",), slow_ms=5000) == []
    assert ids(store, project="home-voice") == ids(store, tag="vip") == ids(store, thread="other") == [fine.id]
    assert ids(store, model="gpt-realtime-mini") == [fine.id]
    assert ids(store, sort="p95") == [fine.id, bad.id]
    assert ids(store, sort="-p95") == [bad.id, fine.id]
    with_three_problems().store(store)
    assert store.conversations.choices()["threads"] == [["thread-1", 2]]


@pytest.mark.parametrize("words", ["PARCEL", "parcel TUESDAY", "Tue", "is", "天气怎么样", "天气", '"costs"'])
def test_search_finds_what_was_said_in_any_language(store: Store, words: str) -> None:
    call = with_three_problems()
    call.user_says(32, 33, '今天天气怎么样 "costs"')
    call.store(store)
    other = Conversation()
    other.user_says(1, 2, "Hello")
    other.store(store)
    assert ids(store, q=words) == [call.id]
    assert ids(store, q="invoice") == []
    (row,) = store.conversations.page(Query(q=words))["conversations"]
    assert words.split(maxsplit=1)[0].lower() in row["hit"].lower()
    assert ids(store, q='" OR said MATCH "') == []


def test_a_search_shows_the_sentence_that_has_all_words_and_of_a_long_one_the_part_around_them(store: Store) -> None:
    call = with_three_problems()
    call.user_says(32, 33, f"{'well ' * 60}please send the fifty parcels {'now ' * 60}")
    call.store(store)
    hits = [store.conversations.page(Query(q=q))["conversations"][0]["hit"] for q in ("fifty Parcels", "cents my", "x")]
    assert hits[0].startswith("…well please send the fifty parcels now")
    assert len(hits[0]) == 201
    assert hits[1:] == ["Where is my parcel?", "It costs six euros and fifty cents, tax included."]


def test_several_interruptions_and_errors_say_where_the_first_is(collector: Collector) -> None:
    call = Conversation()
    for begin in (0, 10):
        call.user_says(begin + 1, begin + 2, "Bring it to Paris?")
        tool = ("find_route", begin + 2.2, begin + 2.4, "no such city")
        call.agent_says(begin + 3, begin + 6, "I cannot do that, sorry.", tool=tool, heard="I cannot")
    call.event(19.0, "error", error="invalid_request_error")
    call.into(collector)
    text = ["".join(piece["text"] for piece in sentence) for sentence in shape_of(collector, call)["findings"]]
    assert "2 interruptions, first in turn 1 at 0:06.0: 5.9 s of the answers never heard." in text
    assert "2 tool errors, first in turn 1: find_route." in text
    assert "Error in turn 2: error." in text


def test_a_running_conversation_is_listed_and_found_by_what_was_said_so_far(store: Store) -> None:
    call = with_three_problems(start=datetime.now(UTC) - timedelta(seconds=40))
    call.store(store, ended=False)
    (row,) = store.conversations.page(Query(q="euros", only=("live",)))["conversations"]
    assert (row["live"], row["duration_s"], row["says"]) == (True, None, "Where is my parcel?")
    assert (row["turns"], row["interruptions"], row["errors"]) == (5, 1, 1)
    assert (row["voice_to_voice_p50_ms"], row["voice_to_voice_p95_ms"]) == (860, 3060)


def test_a_failed_tool_counts_once_as_an_error_of_its_conversation(store: Store) -> None:
    """The tracer's own number has only the failed responses and events."""
    for ended in (True, False):
        call = Conversation(start=datetime.now(UTC) - timedelta(seconds=40))
        call.user_says(1, 2, "Bring it to Utrecht.")
        call.agent_says(4, 6, "I cannot.", tool=("redirect", 2.4, 3.0, "ValueError: no such city"))
        call.event(7, "error", error="invalid_request_error")
        call.store(store, ended=ended)
    assert [row["errors"] for row in store.conversations.page(Query(only=("errors",)))["conversations"]] == [2, 2]
    quiet = Conversation()
    quiet.store(store)
    assert ids(store, sort="errors")[0] == quiet.id
    assert quiet.id not in ids(store, only=("errors",))


def test_children_that_arrive_before_their_conversation_count_once_it_arrives(store: Store) -> None:
    call = with_three_problems()
    batch = Batch([Operation("post", run["id"], run) for run in call.runs])
    batch.check(1_000_000)
    store.apply(batch)
    assert ids(store) == []
    call.runs = []
    call.store(store)
    (row,) = store.conversations.page(Query())["conversations"]
    assert len(row["shape"]) == 5


def test_a_folder_of_an_earlier_version_is_indexed_when_it_is_opened(tmp_path: Path) -> None:
    opened = Store(tmp_path, trace_limit=25_000, durable=False)
    call = with_three_problems()
    call.store(opened)
    before = opened.conversations.page(Query(q="tuesday"))["conversations"]
    dropped = "DROP TABLE conversations; DROP TABLE said; DROP TABLE answers; DROP TABLE words_said"
    for version, change in ((0, dropped), (1, "ALTER TABLE conversations DROP COLUMN failed_tools")):
        opened._db.executescript(change)
        opened._db.execute(f"PRAGMA user_version={version}")
        opened.close()
        opened = Store(tmp_path, trace_limit=25_000, durable=False)
        assert opened.conversations.page(Query(q="tuesday"))["conversations"] == before != []
    opened.close()


def test_the_list_of_threads_has_the_numbers_of_all_their_conversations(store: Store) -> None:
    calls = [
        with_three_problems(thread="long", start=datetime(2026, 11, 25, tzinfo=UTC), tags=("vip",)),
        Conversation(thread="long", start=datetime(2026, 11, 26, tzinfo=UTC), project="home-voice"),
        Conversation(thread="short", start=datetime(2026, 11, 27, tzinfo=UTC)),
        Conversation(thread="silent", start=datetime(2026, 11, 24, tzinfo=UTC)),
    ]
    calls[1].user_says(1, 2, "Hello again")
    calls[1].agent_says(2.2, 3, "Welcome back.")
    calls[2].user_says(1, 2, "How much is it?")
    calls[2].agent_says(2.5, 3, "Five euros.")
    for each in calls:
        each.store(store)

    def found(**query: Any) -> list[str]:
        return [thread["id"] for thread in store.threads.page(Query(**query))["threads"]]

    page = store.threads.page(Query())
    assert [thread["id"] for thread in page["threads"]] == ["short", "long", "silent"]
    assert page["counts"] == {
        "all": 3,
        "conversations": 4,
        "live": 0,
        "slow": 1,
        "interrupted": 1,
        "errors": 1,
    }
    long, alone = page["threads"][1], store.conversations.page(Query(tag="vip"))["conversations"][0]
    assert (long["conversations"], long["turns"], long["says"]) == (2, alone["turns"] + 1, "Hello again")
    assert long["projects"] == [alone["project"], "home-voice"]
    assert long["start"] == datetime(2026, 11, 26, tzinfo=UTC).timestamp()
    assert long["total_tokens"] == alone["total_tokens"] * 2
    answers = sorted(
        latency
        for call in store.conversations.page(Query(thread="long"))["conversations"]
        for _, latency, _ in call["shape"]
    )
    assert (long["voice_to_voice_p50_ms"], long["voice_to_voice_p95_ms"]) == (answers[2], answers[-1])
    assert page["threads"][2]["voice_to_voice_p50_ms"] is None

    assert found(sort="-p50") == found(sort="-p95") == ["long", "short", "silent"]
    assert found(sort="p50") == ["short", "long", "silent"]
    assert found(sort="thread", limit=1, after=1) == ["short"]
    assert found(sort="-conversations") == ["long", "short", "silent"]
    assert found(q="welcome") == found(tag="vip") == found(only=("slow", "errors", "interrupted")) == ["long"]
    assert found(only=("live",)) == found(q="nobody said this") == []
    assert store.threads.page(Query(limit=2))["next"] == 2


def test_a_thread_lists_its_conversations_from_the_oldest_with_their_places(store: Store) -> None:
    calls = [Conversation(start=datetime(2026, 11, day, tzinfo=UTC), thread="t") for day in (27, 25, 26)]
    for call in calls:
        call.store(store)
    page = store.conversations.page(Query(thread="t", sort="-start"))["conversations"]
    assert [row["id"] for row in page] == [calls[1].id, calls[2].id, calls[0].id]
    assert store.conversations.page(Query(q='no\0"such'))["conversations"] == []
    assert [row["thread"]["index"] for row in page] == [1, 2, 3]


# --- the conversation


def test_the_turns_say_what_was_slow_what_failed_and_what_was_cut_off(collector: Collector) -> None:
    call = with_three_problems()
    call.into(collector, sound=call.sound())
    shape = shape_of(collector, call)
    assert [(turn["n"], turn["problems"]) for turn in shape["turns"]] == [
        (0, []),
        (1, []),
        (2, ["slow"]),
        (3, ["error"]),
        (4, ["interrupted"]),
        (5, []),
    ]
    sentences = ["".join(piece["text"] for piece in sentence) for sentence in shape["findings"]]
    assert sentences == [
        "Slowest answer 3,060 ms in turn 2, 2,300 ms of it find_route.",
        "Interrupted in turn 4 at 0:25.0: 2.1 s of that answer never heard.",
        "Tool error in turn 3: redirect.",
    ]
    assert [turn["before_cut"] for turn in shape["turns"]] == [None, None, None, None, 23.0, None]
    assert shape_of(collector, call, "?slow=4000")["turns"][2]["problems"] == []


def test_the_parts_of_a_latency_follow_each_other_and_add_up_to_voice_to_voice(collector: Collector) -> None:
    call = with_three_problems()
    call.into(collector)
    for turn in shape_of(collector, call)["turns"][1:]:
        parts = turn["parts"]
        assert all(before["to"] == after["from"] for before, after in pairwise(parts))
        total = sum(round((part["to"] - part["from"]) * 1000) for part in parts)
        assert total == pytest.approx(turn["voice_to_voice_ms"], abs=len(parts))
    slow = shape_of(collector, call)["turns"][2]["parts"]
    assert [part["kind"] for part in slow] == ["detection", "model", "tool", "model", "playback"]


def test_lines_stand_in_order_with_the_words_that_nobody_heard(collector: Collector) -> None:
    call = with_three_problems()
    call.into(collector, sound=call.sound())
    lines = shape_of(collector, call)["lines"]
    assert [line["who"] for line in lines if line["turn"] in (2, 3)] == [
        "user",
        "tool",
        "agent",
        "user",
        "tool",
        "agent",
    ]
    cut = next(line for line in lines if line.get("interrupted"))
    assert cut["text"][: cut["heard_chars"]] == "It costs six euros"
    user = next(line for line in lines if line["text"] == "Where is my parcel?")
    assert (user["from"], user["to"]) == (3.0, 4.5)
    failed = next(line for line in lines if line.get("error"))
    assert (failed["name"], failed["arguments"]) == ("redirect", '{"city": "Paris"}')


def test_a_user_whom_nobody_answered_is_placed_where_the_recording_has_the_sound(collector: Collector) -> None:
    call = Conversation()
    call.user_says(5.0, 6.0, "Hello?")
    call.into(collector, sound=call.sound())
    (line,) = shape_of(collector, call)["lines"]
    assert (line["from"], line["to"]) == (pytest.approx(5.0, abs=0.02), pytest.approx(6.0, abs=0.02))


def test_typed_input_is_a_line_without_sound(collector: Collector) -> None:
    call = Conversation()
    item = {"id": "item_t", "role": "user", "content": [{"type": "input_text", "text": "Typed words"}]}
    call.event(1.0, "conversation.item.added", item=item)
    call.into(collector)
    (line,) = shape_of(collector, call)["lines"]
    assert (line["text"], line["typed"], line["who"]) == ("Typed words", True, "user")
    assert vtt({"lines": [line]}) == "WEBVTT\n"


def test_words_that_are_hidden_are_null_and_a_hidden_side_is_said(collector: Collector) -> None:
    call = Conversation(metadata={"recording_hidden": ["user"]})
    call.event(1.0, "input_audio_buffer.speech_started", item_id="i")
    call.event(2.0, "input_audio_buffer.speech_stopped", item_id="i")
    call.into(collector, sound=call.sound())
    shape = shape_of(collector, call)
    assert [line["text"] for line in shape["lines"]] == [None]
    assert shape["recording"]["hidden"] == ["user"]
    assert ["The sound of the user is hidden."] in [[piece["text"] for piece in each] for each in shape["findings"]]


def test_what_was_made_silent_is_said_where_it_is_on_the_page_and_in_the_html_file(collector: Collector) -> None:
    def part(side: object, since: object, until: object) -> dict[str, Any]:
        return {"side": side, "from_s": since, "to_s": until}

    parts = [part("user", 8.8, 10.3), part("agent", 9.5, 10.5), part("agent", 26.0, 30.0)]
    wrong = [part("nobody", 1, 2), part("user", 5, 4), part("user", None, 4), "all"]
    call = with_three_problems(metadata={"recording_silenced": [*parts, *wrong]})
    call.into(collector, sound=call.sound())
    shape = shape_of(collector, call)
    assert [(gap["side"], gap["from"], gap["to"]) for gap in shape["recording"]["gaps"]] == [
        ("user", 8.8, 10.3),
        ("agent", 9.5, 10.5),
        ("agent", 26.0, 30.0),
    ]
    assert {gap["why"] for gap in shape["recording"]["gaps"]} == {"made silent"}
    silent = [line["text"] for line in shape["lines"] if line.get("silenced")]
    assert silent == ["When does it arrive?", "You are welcome."]
    said = ["".join(piece["text"] for piece in each) for each in shape["findings"]]
    assert "2 parts of the recording were made silent, 5.7 s in all, first at 0:08.8." in said
    file = html_of(collector, call)
    assert "<title>user, made silent from 0:08.8 to 0:10.3</title>" in file
    assert file.count('class="gap"') == 3 + 2, "a mark for each, and a word where there is room"
    assert file.count('<mark class="silent">made silent</mark>') == 2


def test_a_hidden_side_and_a_recording_that_ends_too_early_are_marked_in_the_html_file(collector: Collector) -> None:
    silenced = [{"side": side, "from_s": 1.0, "to_s": 2.0} for side in ("user", "agent")]
    call = with_three_problems(metadata={"recording_hidden": ["user"], "recording_silenced": silenced})
    call.seconds = 33.0
    sound = call.sound()
    call.seconds = 40.0
    call.into(collector, sound=sound)
    gaps = shape_of(collector, call)["recording"]["gaps"]
    assert [(gap["side"], gap["why"], gap["from"], gap["to"]) for gap in gaps] == [
        ("user", "hidden", 0.0, 40.0),
        ("agent", "made silent", 1.0, 2.0),
        ("agent", "no sound", 33.0, 40.0),
    ]
    said = ["".join(piece["text"] for piece in each) for each in shape_of(collector, call)["findings"]]
    assert "The sound of the agent was made silent from 0:01.0 to 0:02.0." in said
    file = html_of(collector, call)
    assert "<title>user, hidden from 0:00.0 to 0:40.0</title>" in file
    assert ">no sound</text>" in file


def test_an_abnormal_end_is_told_in_one_sentence_that_says_where_it_was_cut(collector: Collector) -> None:
    call = Conversation(error="ConnectionClosedError: " + "on " * 60)
    call.into(collector)
    (ended, _) = ["".join(piece["text"] for piece in each) for each in shape_of(collector, call)["findings"]]
    assert ended == f"Ended abnormally: {('ConnectionClosedError: ' + 'on ' * 60)[:120].rstrip()} …"


@pytest.mark.parametrize(
    ("metadata", "state", "reason"),
    [
        ({}, "off", "Nothing was recorded."),
        ({"recording_error": "OSError: disk full"}, "missing", "The recording is missing: OSError: disk full."),
        ({"recording_url": "s3://calls/1.wav"}, "off", "The recording is elsewhere: s3://calls/1.wav"),
    ],
)
def test_a_conversation_without_a_recording_says_why(
    collector: Collector, metadata: dict[str, Any], state: str, reason: str
) -> None:
    call = with_three_problems(metadata=metadata)
    call.into(collector)
    shape = shape_of(collector, call)
    assert (shape["recording"]["state"], shape["recording"]["reason"]) == (state, reason)
    assert shape["activity"]["user"][0] == [3.0, 4.5]  # from events
    assert shape["measured"] is False
    assert get(collector, f"/api/conversations/{call.id}/peaks/10").status_code == 404


def test_a_recording_that_cannot_be_decoded_says_so_and_can_be_downloaded(collector: Collector) -> None:
    call = with_three_problems()
    call.into(collector, sound=b"no sound")
    recording = shape_of(collector, call)["recording"]
    assert recording["state"] == "missing"
    assert "cannot be decoded" in recording["reason"]
    assert str(collector.directory) not in recording["reason"]
    assert get(collector, f"/api/conversations/{call.id}/download.audio").content == b"no sound"


def test_a_recording_of_one_channel_and_one_that_is_too_long_say_so(collector: Collector) -> None:
    call = with_three_problems()
    call.seconds = 60.0
    stereo, rate = soundfile.read(io.BytesIO(call.sound()))
    mono = io.BytesIO()
    soundfile.write(mono, stereo.sum(axis=1), rate, format="WAV")
    call.seconds = 40.0
    call.into(collector, sound=mono.getvalue())
    shape = shape_of(collector, call)
    text = json.dumps(shape["findings"])
    assert "The recording has one channel" in text
    assert "The recording goes on for 20.0 s after the conversation has ended." in text
    assert shape["activity"]["agent"][0] == [0.26, 2.0], "from events, because the sound does not tell who it is"
    assert shape["measured"] is False


def test_agents_of_an_sdk_are_named_and_what_they_did_stands_between_their_words(collector: Collector) -> None:
    call = with_agents()
    call.into(collector)
    shape = shape_of(collector, call)
    shown = [
        (line["who"], line["turn"], line.get("agent"), line.get("name") or line["text"]) for line in shape["lines"]
    ]
    assert shown == [
        ("agent", 0, "Front desk", "Hello!"),
        ("user", 1, None, "أريد استرداد المبلغ، رقم 123-ABC"),
        ("tool", 1, None, "transfer_to_billing"),
        ("step", 1, None, "Front desk hands over to Billing"),
        ("agent", 1, "Billing", "How much?"),
        ("user", 2, None, "Hundred euros."),
        ("tool", 2, None, "refund"),
        ("step", 2, None, "refund waits for an approval"),
        ("agent", 2, "Billing", "🎉🎉🎉 Done. Your card number is four one."),
        ("step", 2, None, "Guardrail no_card_numbers tripped"),
        ("step", 2, None, "The model is told: guardrail triggered: no_card_numbers"),
        ("agent", 2, "Billing", "I cannot say that."),
    ]
    stopped = next(line for line in shape["lines"] if line.get("guardrails"))
    assert (stopped["guardrails"], stopped["interrupted"], stopped["heard_chars"]) == (["no_card_numbers"], True, 9)
    assert [turn["problems"] for turn in shape["turns"]] == [[], [], ["slow", "error", "guardrail"]]
    assert "1 turn in which a guardrail tripped." in "".join(
        piece["text"] for each in shape["findings"] for piece in each
    )
    page = get(collector, f"/api/conversations/{call.id}/download.html").text
    assert "<b>Billing</b>" in page
    assert "Front desk hands over to Billing" in page
    assert "stopped by no_card_numbers after 2.4 s" in page


def test_a_tool_that_another_clock_ended_has_no_duration(collector: Collector) -> None:
    call = Conversation()
    call.run(5.0, "look_up", "tool", 3.0, inputs={}, outputs={"output": "done"})
    call.into(collector)
    shape = shape_of(collector, call)
    assert "ms" not in shape["lines"][0]
    assert shape["events"][0]["d"] == 0
    assert "look_up" in get(collector, f"/api/conversations/{call.id}/download.html").text


def test_what_the_trace_lacks_is_a_finding(collector: Collector) -> None:
    call = with_three_problems(metadata={"dropped_audio_chunks": 312}, error="the process died during the conversation")
    call.into(collector)
    text = json.dumps(shape_of(collector, call)["findings"])
    assert "312 chunks of sound were dropped." in text
    assert "Ended abnormally: the process died" in text


def test_a_recording_with_gaps_says_what_is_missing_and_where(collector: Collector) -> None:
    call = with_three_problems(metadata={"recording_error": "OSError: disk full", "audio_truncated": True})
    call.seconds = 20.0
    sound = call.sound()
    call.seconds = 40.0
    call.into(collector, sound=sound)
    found = shape_of(collector, call)["findings"]
    assert ["".join(piece["text"] for piece in sentence) for sentence in found[-2:]] == [
        "A part of the recording is missing: OSError: disk full.",
        "No sound after 0:20.0, where the recording ends.",
    ]
    assert found[-1][0]["t"] == 20.0


def test_every_event_belongs_to_a_turn_and_its_run_can_be_read(collector: Collector) -> None:
    call = with_three_problems()
    call.into(collector)
    events = shape_of(collector, call)["events"]
    assert len(events) == len(call.runs)
    transcripts = [event for event in events if event["name"].endswith("transcription.completed")]
    assert [event["turn"] for event in transcripts] == [1, 2, 3, 4, 5]
    run = get(collector, f"/api/runs/{transcripts[0]['id']}").json()
    assert run["inputs"]["event"]["transcript"] == "Where is my parcel?"


def test_the_turns_layout_gives_the_same_lines_and_turns(collector: Collector) -> None:
    flat, nested = with_three_problems(), with_three_problems()
    for run in nested.runs[1:]:
        place = run["dotted_order"].split(".")
        run["dotted_order"] = f"{place[0]}.{nested.runs[0]['dotted_order'].split('.')[1]}.{place[1]}"
        run["parent_run_id"] = nested.runs[0]["id"]
    for call in (flat, nested):
        call.into(collector)
    shapes = [shape_of(collector, call) for call in (flat, nested)]
    assert [line["text"] for line in shapes[0]["lines"]] == [line["text"] for line in shapes[1]["lines"]]
    assert [turn["parts"] for turn in shapes[0]["turns"]] == [turn["parts"] for turn in shapes[1]["turns"]]


# --- the sound


@pytest.mark.parametrize(
    ("form", "mime_type", "rate", "options"),
    [
        ("WAV", "audio/wav", 24000, {"subtype": "PCM_16"}),
        ("WAV", "audio/wav", 22050, {"subtype": "PCM_16"}),
        ("FLAC", "audio/flac", 8000, {"subtype": "PCM_16"}),
        ("OGG", "audio/ogg", 24000, {"subtype": "OPUS"}),
    ],
)
def test_every_form_of_a_recording_gives_the_same_peaks(
    collector: Collector, form: str, mime_type: str, rate: int, options: dict[str, Any]
) -> None:
    call = with_three_problems()
    call.into(collector, sound=call.sound(form, rate, **options), mime_type=mime_type)
    shape = shape_of(collector, call)
    assert shape["recording"]["state"] == "ready"
    assert shape["recording"]["seconds"] == pytest.approx(40, abs=0.02)
    for level in (10, 100, 800):
        content = get(collector, f"/api/conversations/{call.id}/peaks/{level}").content
        points = np.frombuffer(content, dtype=np.uint8).reshape(-1, 4)
        assert len(points) == pytest.approx(40 * level, abs=level / 50 + 1)
        loud = np.flatnonzero(points[:, 0] > 40) / level
        assert loud[0] == pytest.approx(3.0, abs=max(0.02, 1 / level))
        loud = np.flatnonzero(points[:, 2] > 40) / level
        assert loud[-1] + 1 / level == pytest.approx(29.0, abs=max(0.02, 1 / level))
        assert points[:, 1].max() < points[:, 0].max()
    begins = [begin for begin, _ in shape["activity"]["user"]]
    assert begins == pytest.approx([3.0, 9.0, 16.0, 21.0, 24.9], abs=0.02)


def test_peaks_and_sound_are_served_by_range(collector: Collector) -> None:
    call = with_three_problems()
    call.into(collector, sound=call.sound())
    shape = shape_of(collector, call)
    part = get(collector, f"/api/conversations/{call.id}/peaks/100", Range="bytes=40-47")
    assert (part.status_code, len(part.content)) == (206, 8)
    heard = ask("GET", collector.url + shape["recording"]["url"], headers={"Range": "bytes=44-143"})
    assert (heard.status_code, len(heard.content)) == (206, 100)


def test_peaks_are_private_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = tmp_path / "conversation"
    call = with_three_problems()
    recording.write_bytes(call.sound())
    first = sound.load(recording)
    monkeypatch.setattr(sound, "_decode", None)
    assert sound.load(recording) == first
    assert all(file.stat().st_mode & 0o77 == 0 for file in tmp_path.iterdir() if file != recording)


def test_a_point_stands_where_its_sound_is_after_an_hour(tmp_path: Path) -> None:
    call = Conversation(seconds=3600)
    call.spoken["agent"] = [(3599.0, 3599.5)]
    recording = tmp_path / "conversation"
    recording.write_bytes(call.sound(rate=RATE))
    assert sound.load(recording).agent == [[pytest.approx(3599.0, abs=0.01), pytest.approx(3599.5, abs=0.01)]]
    points = sound.peaks(recording, 800)
    assert len(points) == 3600 * 800
    assert np.flatnonzero(points[:, 2] > 20)[0] / 800 == pytest.approx(3599.0, abs=0.005)


# --- handing on


def test_captions_name_the_speakers_and_mark_what_nobody_heard(collector: Collector) -> None:
    call = with_three_problems()
    call.user_says(35, 36, "<b>a & b</b> --> c\n\nd")
    call.into(collector)
    shape = shape_of(collector, call)
    captions = get(collector, f"/api/conversations/{call.id}/download.vtt").text
    assert captions.startswith("WEBVTT\n\n00:00:00.260 --> 00:00:02.000\n<v Agent>Hello! This is the parcel desk.\n")
    assert "It costs six euros<c.unheard> and fifty cents, tax included.</c>" in captions
    assert "<v User>&lt;b&gt;a &amp; b&lt;/b&gt; --&gt; c d\n" in captions
    assert captions == vtt(shape)
    assert "Agent: It costs six euros [not heard: and fifty cents, tax included.]" in srt(shape)
    assert srt(shape).startswith("1\n00:00:00,260 --> 00:00:02,000\n")


def test_no_words_end_a_caption_early_and_none_are_shown_that_were_not_spoken() -> None:
    line: dict[str, Any] = {"id": "1", "who": "agent", "from": 1.0, "to": 2.0}
    spoken = {**line, "text": "One\r\rtwo --> three\n\n<b>four</b>"}
    shape = {"lines": [spoken, {**line, "text": "A classification", "out_of_band": True}]}
    assert vtt(shape).split("\n\n") == [
        "WEBVTT",
        "00:00:01.000 --> 00:00:02.000\n<v Agent>One two --&gt; three &lt;b&gt;four&lt;/b&gt;\n",
    ]
    assert srt(shape) == "1\n00:00:01,000 --> 00:00:02,000\nAgent: One two --> three <b>four</b>\n"


def test_json_has_the_shape_and_the_messages_and_jsonl_the_events(collector: Collector) -> None:
    call = with_three_problems()
    call.into(collector)
    whole = get(collector, f"/api/conversations/{call.id}/download.json")
    assert "attachment" in whole.headers["content-disposition"]
    assert whole.json()["messages"] == call.messages
    lines = get(collector, f"/api/conversations/{call.id}/download.jsonl").text.splitlines()
    assert json.loads(lines[0]) == {
        "dir": "server",
        "t": 0.0,
        "event": {"type": "response.created", "response": {"id": "resp_0"}},
    }
    assert all("added" not in json.loads(line) for line in lines), "events have all words"
    assert get(collector, f"/api/conversations/{call.id}/download.exe").status_code == 404
    assert get(collector, f"/api/conversations/{call.id}/download.audio").status_code == 404


def test_json_lines_have_the_words_that_the_server_sent_in_deltas_alone(collector: Collector, tmp_path: Path) -> None:
    delta = "response.output_audio_transcript.delta"
    spoken = {"response_id": "spoken", "item_id": "item", "output_index": 0, "content_index": 0}
    written = {"response_id": "written", "item_id": "item_2", "output_index": 0, "content_index": 0}
    sound = base64.b64encode(bytes(4800)).decode()
    frames: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": "spoken"}},
        {"type": delta, **spoken, "delta": "It is "},
        {"type": "response.output_audio.delta", **spoken, "delta": sound},
        {"type": delta, **spoken, "delta": "raining."},
        {"type": "response.done", "response": {"id": "spoken", "status": "completed"}},
        {"type": "response.created", "response": {"id": "written"}},
        {"type": "response.output_text.delta", **written, "delta": "In writing."},
        {"type": "response.done", "response": {"id": "written", "status": "completed"}},
        {"type": "response.created", "response": {"id": "told"}},
        {"type": "response.output_audio_transcript.done", "response_id": "told", "transcript": "It is raining."},
        {"type": "response.done", "response": {"id": "told", "status": "completed"}},
    ]
    client = Client(api_url=collector.url, api_key="local", auto_batch_tracing=False)
    file = tmp_path / "frames.jsonl"
    file.write_text("".join(json.dumps({"dir": "server", "event": frame}) + "\n" for frame in frames))
    for is_first in (True, False):  # the second time from what was downloaded
        trace_id = replay_anew(FrameLines(file, 1_795_870_979_000_000, Options()), client, project="deltas")
        lines = get(collector, f"/api/conversations/{trace_id}/download.jsonl").content
        file.write_bytes(lines)
        shape = get(collector, f"/api/conversations/{trace_id}").json()
        assert [line["text"] for line in shape["lines"]] == ["It is raining.", "In writing.", "It is raining."]
        events = [json.loads(line) for line in lines.splitlines()]
        assert [each["t"] for each in events] == sorted(each["t"] for each in events)
        types = [each["event"]["type"] for each in events]
        assert types == [
            each
            for kind in ("output_audio_transcript", "output_text", "output_audio_transcript")
            for each in ("response.created", f"response.{kind}.done", "response.done")
        ]
        if is_first:
            assert [each.get("added", False) for each in events] == [False, True, False] * 2 + [False] * 3


def test_a_recording_beside_frames_without_sound_places_the_answers(collector: Collector) -> None:
    call = Conversation()
    for n, (begin, end) in enumerate([(3.0, 6.5), (11.0, 12.0)]):
        call.user_says(begin - 2, begin - 1, "Is it raining?")
        call.event(begin - 0.6, "response.created", response={"id": f"r{n}"})
        call.event(begin - 0.5, "response.output_audio_transcript.done", response_id=f"r{n}", transcript="It is.")
        call.spoken["agent"] += [(begin, begin + 1), (end - 0.5, end)]
    call.event(20.0, "response.created", response={"id": "text"})
    call.event(20.5, "response.output_text.done", response_id="text", text="In writing.")
    call.into(collector, sound=call.sound())
    found = [(line["from"], line["to"]) for line in shape_of(collector, call)["lines"] if line["who"] == "agent"]
    assert found == [
        (pytest.approx(3.0, abs=0.05), pytest.approx(6.5, abs=0.05)),
        (pytest.approx(11.0, abs=0.05), pytest.approx(12.0, abs=0.05)),
        (20.0, 20.0),
    ]


def test_the_html_file_has_no_script_and_no_address_and_on_request_the_sound(collector: Collector) -> None:
    call = with_three_problems()
    call.user_says(35, 36, "<script>alert(1)</script><img src=x onerror=alert(1)>")
    call.into(collector, sound=call.sound())
    silent = get(collector, f"/api/conversations/{call.id}/download.html").text
    assert "<script" not in silent
    assert "<img" not in silent
    assert "&lt;script&gt;alert(1)" in silent
    assert "http" not in silent.replace("http-equiv", "")
    assert "default-src 'none'" in silent
    assert "<s> and fifty cents, tax included.</s>" in silent
    assert "<audio" not in silent
    audible = get(collector, f"/api/conversations/{call.id}/download.html?sound=1").text
    assert 'src="data:audio/ogg;base64,' in audible


def test_sound_that_is_too_large_for_an_html_file_is_refused_with_its_size(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SOUND_BYTES < 20_000_000
    call = Conversation(seconds=12.0)
    call.user_says(1, 5, "Is it far?")
    call.agent_says(5.5, 11, "It is not.")
    call.into(collector, sound=call.sound())
    encoded: list[int] = []
    packed = exports._packed

    def counted(*arguments: Any) -> bytes:
        encoded.append(len(found := packed(*arguments)))
        return found

    monkeypatch.setattr(exports, "_packed", counted)
    monkeypatch.setattr(exports, "_PIECES", 6)
    asked = f"/api/conversations/{call.id}/download.html?sound=1"
    assert get(collector, asked).status_code == 200
    (size,) = encoded  # so short a sound need not be estimated
    monkeypatch.setattr(exports, "SOUND_BYTES", size)
    assert get(collector, asked).status_code == 200
    pieces, again = encoded[1:]
    assert pieces < 0.7 * again == 0.7 * size
    monkeypatch.setattr(exports, "SOUND_BYTES", size // 2)
    encoded.clear()
    answer = get(collector, asked)
    assert (answer.status_code, "as Opus" in answer.text) == (413, True)
    assert len(encoded) == 1, "the estimate was enough"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00.0"), (65.26, "1:05.3"), (59.96, "1:00.0"), (3725, "1:02:05.0")]
)
def test_the_clock_reads_in_minutes_and_tenths(seconds: float, text: str) -> None:
    assert clock(seconds) == text


# --- safety


@pytest.mark.parametrize("path", ["/", "/c/x", "/thread/a/b", "/static/conversation.css", "/api/conversations"])
def test_every_answer_has_the_policy_that_keeps_the_page_on_this_machine(collector: Collector, path: str) -> None:
    answer = get(collector, path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_other_sites_get_no_data(collector: Collector, headers: dict[str, str], status: int) -> None:
    assert get(collector, "/api/conversations", **headers).status_code == status


def test_no_file_outside_of_the_page_is_served(collector: Collector) -> None:
    for name in ("../endpoints.py", "..%2fendpoints.py", "%2e%2e/endpoints.py", "endpoints.py"):
        assert get(collector, f"/static/{name}").status_code == 404


def test_with_an_api_key_a_code_opens_the_page_once() -> None:
    with Collector(api_key="secret") as collector, httpx.Client() as browser:
        assert browser.get(f"{collector.url}/view/api/conversations").status_code == 401
        address = collector.view_url()
        opened = browser.get(address)
        assert (opened.status_code, opened.headers["location"]) == (303, "/view/")
        assert "HttpOnly" in opened.headers["set-cookie"]
        assert "SameSite=strict" in opened.headers["set-cookie"]
        assert browser.get(f"{collector.url}/view/api/conversations").status_code == 200
        with httpx.Client() as other:
            other.get(address)
            assert other.get(f"{collector.url}/view/api/conversations").status_code == 401
        assert browser.get(f"{collector.url}/runs/x").status_code == 401  # only the page
