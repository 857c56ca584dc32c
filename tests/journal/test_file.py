"""A journal on disk: what it takes, what it refuses to hold, and how it ends."""

from __future__ import annotations

import base64
import errno
import os
import re
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from langsmith import Client
from langsmith.anonymizer import create_anonymizer

from langsmith_realtime import SessionTracer, flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.core.payloads.json_values import Redact
from langsmith_realtime.core.payloads.scrubbing import NOT_KEPT, REMOVED
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.core.protocol.events import parse
from langsmith_realtime.delivery.operations import ROOT_CREATE, ROOT_UPDATE
from langsmith_realtime.delivery.retry_queue import LONGEST_WAIT_S, RetryQueue
from langsmith_realtime.journal.file import Journal
from langsmith_realtime.journal.folder import AUDIO, DELIVERED, LINES, is_free
from langsmith_realtime.journal.masking import JournalMasking, insert_audio, take_audio
from langsmith_realtime.journal.replay import JournalError, JournalReader
from langsmith_realtime.journal.silenced_audio import SilencedAudio
from langsmith_realtime.journal.state_directory import BYTES_VARIABLE, DAYS_VARIABLE, folders, state_directory, tidy
from langsmith_realtime.journal.writer import JournaledSession
from langsmith_realtime.runtime.files import try_lock
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.testing import tone
from langsmith_realtime.trace.privacy import Privacy
from langsmith_realtime.trace.session import Session
from tests.support.conversations import the_tree
from tests.support.processes import exit_code, fork, open_files, unix_only

pytestmark = pytest.mark.newest

HEADER: dict[str, Any] = {"journal": 1}
NAME = "01a1fcfa-e6a2-7672-b070-9b3b741df670"


def begun(tmp_path: Path, name: str = NAME, **settings: bool) -> Journal:
    return Journal.begin(tmp_path / "state" / name, HEADER, **settings)


def test_lines_and_sound_come_back_as_they_were_written(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    first, second = journal.add_audio(b"\1\2\3"), journal.add_audio(b"\4\5")
    journal.write({"t": 0.25, "said": "…"})
    journal.write({"t": 0.5})
    assert list(JournalReader(journal.folder).entries()) == []
    journal.flush()
    story = JournalReader(journal.folder)
    assert list(story.entries()) == [{"t": 0.25, "said": "…"}, {"t": 0.5}]
    assert (story.audio(first), story.audio(second)) == (b"\1\2\3", b"\4\5")
    assert story.audio({"bytes": 7}) is None
    assert story.audio({"offset": 4, "bytes": 4}) == b"\5\0\0\0"


def test_of_many_only_some_keep_their_sound_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langsmith_realtime.journal.folder.OPEN_AUDIO_FILES", 2)
    before = open_files()
    journals = [begun(tmp_path, f"{NAME[:-1]}{number}") for number in range(4)]
    for _ in range(2):
        for number, journal in enumerate(journals):
            journal.write({"event": journal.add_audio(bytes([number] * 10))})
            journal.flush()
    assert open_files() == before + 4 + 2
    for number, journal in enumerate(journals):
        journal.release()
        story = JournalReader(journal.folder)
        assert [story.audio(line["event"]) for line in story.entries()] == 2 * [bytes([number] * 10)]
    assert open_files() == before


@unix_only
def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (journal.folder.parent, journal.folder)]
    assert modes == [0o700, 0o700]
    assert {stat.S_IMODE(path.stat().st_mode) for path in journal.folder.iterdir()} == {0o600}


def test_it_is_gone_when_everything_is_settled_and_not_before(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    assert journal.expect(ROOT_CREATE)
    assert journal.expect("run")
    journal.settle(ROOT_CREATE)
    journal.settle(ROOT_UPDATE)
    assert JournalReader(journal.folder).settled() == set()
    journal.flush()
    assert JournalReader(journal.folder).settled() == {ROOT_CREATE, ROOT_UPDATE}
    assert not journal.expect(ROOT_CREATE)
    journal.settle("run", refused=True)
    assert not journal.folder.exists()
    assert not journal.is_open
    journal.write({"t": 1})
    journal.flush()
    journal.release()


def test_a_kept_one_stays_under_another_name(tmp_path: Path) -> None:
    journal = begun(tmp_path, keep=True)
    for operation in (ROOT_CREATE, ROOT_UPDATE):
        journal.settle(operation)
    assert sorted(path.name for path in journal.folder.iterdir()) == [AUDIO, DELIVERED]
    assert JournalReader(journal.folder).header == HEADER


def test_a_recording_that_is_kept_beside_it_stays(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    (journal.folder / "recording.wav").touch()
    for operation in (ROOT_CREATE, ROOT_UPDATE):
        journal.settle(operation)
    assert [path.name for path in journal.folder.iterdir()] == ["recording.wav"]


def test_the_living_are_told_from_the_dead_by_the_lock(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    assert Journal.take(journal.folder) is None
    assert not is_free(journal.folder)
    journal.release()
    assert is_free(journal.folder)
    taken = Journal.take(journal.folder)
    assert taken is not None
    assert Journal.take(journal.folder) is None
    taken.release()


def test_one_that_is_completed_while_it_is_taken_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = begun(tmp_path)
    opened = os.open

    def then_gone(path: Any, *arguments: Any) -> int:
        file = opened(path, *arguments)
        for operation in (ROOT_CREATE, ROOT_UPDATE):
            journal.settle(operation)
        return file

    monkeypatch.setattr(os, "open", then_gone)
    assert Journal.take(journal.folder) is None
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        Journal.take(journal.folder)


def test_a_journal_without_its_header_is_left_to_the_process_that_makes_it(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / LINES).touch()
    assert Journal.take(folder) is None
    assert (folder / LINES).exists()


def test_a_new_journal_is_locked_although_another_process_looks_at_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def looked_at_twice(file: int) -> bool:
        tries.append(file)
        return len(tries) > 2 and try_lock(file)

    monkeypatch.setattr("langsmith_realtime.journal.folder.try_lock", looked_at_twice)
    journal = begun(tmp_path)
    monkeypatch.undo()
    assert not is_free(journal.folder)
    journal.discard()


def test_a_new_journal_that_another_process_keeps_locked_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langsmith_realtime.journal.folder.try_lock", lambda file: False)
    with pytest.raises(BlockingIOError, match="another process"):
        begun(tmp_path)
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize("end", [b'{"t":2,"dir":"ser', b"\xff\xfe\n", b"[]\n", b"\0" * 100_000])
def test_one_that_is_damaged_at_its_end_is_read_up_to_there(tmp_path: Path, end: bytes) -> None:
    journal = begun(tmp_path)
    journal.write({"t": 1})
    journal.release()
    with (journal.folder / LINES).open("ab") as file:
        file.write(end)
    assert list(JournalReader(journal.folder).entries()) == [{"t": 1}]
    taken = Journal.take(journal.folder)
    assert taken is not None
    if not end.endswith(b"\n"):
        taken.settle(ROOT_CREATE)
        taken.flush()
        assert JournalReader(journal.folder).settled() == {ROOT_CREATE}
    taken.release()


@pytest.mark.parametrize("content", ["", "half", '{"t": 1}\n', '{"journal": 99}\n'])
def test_what_is_no_journal_is_said_to_be_none(tmp_path: Path, content: str) -> None:
    (tmp_path / LINES).write_text(content)
    with pytest.raises(JournalError, match=LINES):
        JournalReader(tmp_path)
    (tmp_path / LINES).unlink()
    with pytest.raises(JournalError, match="cannot be read"):
        JournalReader(tmp_path)


def test_a_child_process_has_no_part_in_it(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.write({"t": 1})
    child = fork()
    if child == 0:
        journal.flush()  # what was gathered is the parent's to write
        os._exit(journal.is_open)
    assert exit_code(child) == 0
    assert Journal.take(journal.folder) is None  # the child took no lock along
    journal.flush()
    assert list(JournalReader(journal.folder).entries()) == [{"t": 1}]


def test_one_of_a_conversation_that_nobody_wants_is_gone(tmp_path: Path) -> None:
    journal = begun(tmp_path)
    journal.expect("run")
    journal.discard()
    assert not journal.folder.exists()


def test_whatever_a_session_takes_is_written_down() -> None:
    offers = {name for name in vars(Session) if not name.startswith("_")} - {"format"}
    assert offers <= set(vars(JournaledSession))


# When the disk refuses


def test_a_full_disk_costs_the_journal_and_not_the_trace(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracer = SessionTracer(recording=False)
    assert flush(10)
    write = os.write

    def full(file: int, data: Any) -> int:
        # A disk that fills up takes a part, and refuses the rest.
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", full)
    for number in range(3):
        tracer.server_event({"type": "session.updated", "event_id": f"event_{number}"})
        flush(10)
    tracer.close()
    assert len(the_tree(tracing).children) == 3
    assert list(state_directory().iterdir()) == []
    assert caplog.text.count("tracing goes on without it") == 1


def test_a_folder_that_cannot_be_written_costs_the_journal_and_not_the_trace(
    tracing: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()  # a folder's rights do not bind root
    monkeypatch.setenv("LANGSMITH_REALTIME_DIR", str(tmp_path / "file" / "state"))
    for _ in range(2):
        with SessionTracer() as tracer:
            tracer.server_event({"type": "session.created", "event_id": "event_0"})
            tracer.record_user_audio(tone(1000, 0.1))
    assert flush(10)
    assert len(tracing.roots()) == 2
    assert all("conversation" in root.attachments for root in tracing.roots())
    assert caplog.text.count("there is no journal") == 1


# What it may hold


def event(name: str, **body: Any) -> Any:
    return parse({"type": name, **body})


def keeping(redact: Redact | None = None, **settings: Any) -> JournalMasking:
    client = Client(api_url="http://127.0.0.1:9", api_key="k", info={}, **settings)
    return JournalMasking(client, Privacy.from_options(client, Guard(), redact=redact))


def test_sound_is_taken_out_and_given_back() -> None:
    for name, field in (("input_audio_buffer.append", "audio"), ("response.audio.delta", "delta")):
        body = {"type": name, field: base64.b64encode(b"\1\2").decode(), "item_id": "item_1"}
        bare, where, sound = take_audio(parse(body))
        assert (where, sound) == (field, b"\1\2")
        assert field not in bare.body
        assert insert_audio(bare.body, b"\1\2") == body
    for broken in ("no base64!", None, 7):
        assert take_audio(event("input_audio_buffer.append", audio=broken))[1:] == (None, None)


def test_secrets_are_removed() -> None:
    kept = keeping().event(event("session.created", session={"client_secret": {"value": "ek_1"}}), 0.0)
    assert kept["session"] == {"client_secret": REMOVED}


def test_where_inputs_are_hidden_the_structure_stays() -> None:
    mine = keeping(hide_inputs=True)
    body = {
        "item": {"id": "item_1", "type": "message", "content": [{"type": "input_text", "text": "my name"}, "word"]},
        "response": {"metadata": {"name": "Ann"}, "usage": {"total_tokens": 3}, "status": "completed"},
    }
    assert mine.event(event("conversation.item.added", **body), 0.0) == {
        "type": "conversation.item.added",
        "item": {"id": "item_1", "type": "message", "content": [{"type": "input_text", "text": NOT_KEPT}]},
        "response": {"usage": {"total_tokens": 3}, "status": "completed"},
    }
    delta = event("conversation.item.input_audio_transcription.delta", delta="my name", item_id="item_1")
    assert mine.event(delta, 0.0)["delta"] == NOT_KEPT
    assert mine.event(event("session.updated", session={"id": "sess_1", "instructions": "Ann"}), 0.0)["session"] == {
        "id": "sess_1",
        "instructions": NOT_KEPT,
    }


def test_what_the_application_redacts_is_redacted_and_deltas_which_it_cannot_judge_lose_their_words() -> None:
    mine = keeping(redact=lambda payload: {**payload, "item": "redacted"})
    assert mine.event(event("conversation.item.done", item={"transcript": "Ann"}), 0.0)["item"] == "redacted"
    assert "delta" not in mine.event(event("response.output_text.delta", delta="An"), 0.0)


def test_only_deltas_whose_words_count_keep_them() -> None:
    mine = keeping()
    assert mine.event(event("response.output_text.delta", delta="Hi"), 0.0)["delta"] == "Hi"
    assert "delta" not in mine.event(event("response.function_call_arguments.delta", delta='{"key": "s'), 0.0)


def test_an_anonymizer_is_applied_and_deltas_which_it_cannot_judge_lose_their_words() -> None:
    mine = keeping(anonymizer=create_anonymizer([{"pattern": re.compile("Ann"), "replace": "<name>"}]))
    kept = mine.event(event("conversation.item.done", item={"id": "item_1", "transcript": "I am Ann"}), 1.0)
    assert kept["item"] == {"id": "item_1", "transcript": "I am <name>"}
    assert "delta" not in mine.event(event("response.output_text.delta", delta="An"), 1.0)
    assert mine.error("Ann hung up", 1.0) == "<name> hung up"
    assert mine.metadata({"caller": "Ann"})["caller"] == "<name>"


@pytest.mark.parametrize(
    "hides",
    [lambda inputs: {}, lambda inputs: None, lambda inputs: {"event": "gone"}, lambda inputs: 1 / 0],
)
def test_what_masking_leaves_nothing_of_is_kept_as_structure(hides: Any) -> None:
    kept = keeping(hide_inputs=hides).event(event("error", error={"code": "c", "message": "Ann"}), 0.0)
    assert kept == {"type": "error", "error": {"code": "c"}}


def test_masking_that_takes_long_is_not_asked_any_more() -> None:
    asked = 0

    def slow(inputs: dict[str, Any]) -> dict[str, Any]:
        nonlocal asked
        asked += 1
        time.sleep(0.3)
        return inputs

    mine = keeping(hide_inputs=slow)
    asked = 0
    for _ in range(5):
        mine.event(event("error", error={"message": "Ann"}), 1.0)
    assert asked == 1


def test_metadata_that_is_hidden_is_not_kept() -> None:
    assert keeping(hide_metadata=True).metadata({"caller": "Ann"}) == {}
    assert keeping().metadata({"caller": "Ann", "token": b"1"}) == {"caller": "Ann", "token": "<1 bytes>"}
    assert keeping().error("it broke", 0.0) == "it broke"


@pytest.mark.parametrize(
    ("settings", "recording", "kept"),
    [({}, True, 8), ({}, False, 0), ({"hide_inputs": True}, True, 4), ({"hide_outputs": True}, True, 4)],
)
def test_sound_that_is_not_recorded_is_not_kept(
    collector: Collector, settings: dict[str, Any], recording: bool, kept: int
) -> None:
    mine = Client(api_url=collector.url, api_key="k", **settings)
    tracer = SessionTracer(client=mine, enabled=True, recording=recording, journal="keep")
    four = base64.b64encode(b"\1\2\3\4").decode()
    tracer.client_event({"type": "input_audio_buffer.append", "audio": four})
    tracer.server_event({"type": "response.output_audio.delta", "delta": four, "item_id": "item_1"})
    tracer.close()
    assert flush(10)
    (folder,) = folders(state_directory())
    assert (folder / AUDIO).stat().st_size == kept
    said = [line["event"] for line in JournalReader(folder).entries() if "event" in line]
    assert [line.get("audio", line.get("delta"))["bytes"] for line in said] == [4, 4]


def test_a_journal_may_be_switched_off_and_asked_for_where_the_client_sends_on_its_own(tracing: Collector) -> None:
    SessionTracer(journal=False).close()
    assert flush(10)
    SessionTracer(replicas=[{"project_name": "one"}]).close()
    assert flush(10)
    assert folders(state_directory()) == []
    SessionTracer(replicas=[{"project_name": "one"}], journal="keep").close()
    assert flush(10)
    (folder,) = folders(state_directory())
    assert JournalReader(folder).header["destination"]["endpoint"] is None


@pytest.mark.parametrize("wrong", ["yes", 1, 3])
def test_the_option_is_checked(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="journal must be"):
        SessionTracer(journal=wrong)


def test_where_journals_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert state_directory() == Path(os.environ["LANGSMITH_REALTIME_DIR"])
    monkeypatch.delenv("LANGSMITH_REALTIME_DIR")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_directory() == tmp_path / "langsmith-realtime"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ann")
    assert state_directory() == Path("/home/ann/.local/state/langsmith-realtime")
    monkeypatch.setattr("sys.platform", "darwin")
    assert state_directory() == Path("/home/ann/Library/Application Support/langsmith-realtime")
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert state_directory() == tmp_path / "Local" / "langsmith-realtime"
    monkeypatch.delenv("LOCALAPPDATA")
    assert state_directory() == Path("/home/ann/AppData/Local/langsmith-realtime")


# What is silenced


def test_a_silence_takes_what_it_may_lie_in_out_of_the_journal(tracing: Collector) -> None:
    tracer = SessionTracer(journal="keep")
    piece = base64.b64encode(b"\1" * 480).decode()
    for item_id in ("item_1", "item_2"):
        tracer.server_event({"type": "response.output_audio.delta", "delta": piece, "item_id": item_id})
    tracer.silence(item_id="item_1")
    tracer.server_event({"type": "response.output_audio.delta", "delta": piece, "item_id": "item_1"})
    tracer.record_user_audio(b"\2" * 480)
    assert flush(10)
    (folder,) = folders(state_directory())
    kept = [path.read_bytes() for path in folder.iterdir() if path.name == AUDIO]
    assert kept == [b"\0" * 480 + b"\1" * 480 + b"\2" * 480]
    tracer.silence(seconds=60)
    tracer.close()
    assert flush(10)
    assert set((folder / AUDIO).read_bytes()) == {0}


def test_a_piece_is_silenced_wherever_it_may_be_heard() -> None:
    blanks = SilencedAudio()
    blanks.silence(10.0, 11.0, None)
    assert not blanks.covers(USER, 9.0, 0.02)
    assert blanks.covers(USER, 9.6, 0.02)
    assert not blanks.covers(AGENT, 5.0, 2.0)
    assert blanks.covers(AGENT, 5.1, 4.0)  # queued behind the other
    assert blanks.covers(USER, 50.0, 0.02, at=10.5)
    assert not blanks.covers(USER, 50.0, 0.02)
    blanks.silence(60.0, None, None)
    assert blanks.covers(USER, 70.0, 0.02)
    blanks.silence(None, 80.0, None)
    assert not blanks.covers(USER, 95.0, 0.02)
    blanks.silence(None, None, None)
    assert blanks.covers(USER, 100.0, 0.02)


def test_what_a_stall_handed_over_late_may_have_been_said_in_it() -> None:
    blanks = SilencedAudio()
    blanks.silence(2.0, 3.0, None)
    heard = [blanks.covers(USER, at, 0.5) for at in (0.5, 1.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.5, 5.0)]
    assert heard == [False, False, True, True, True, True, True, False, False]


def test_what_is_played_later_than_it_came_may_be_heard_until_its_end() -> None:
    blanks = SilencedAudio()
    blanks.silence(5.5, 6.0, None)
    blanks.received("item_1", 1.0)
    assert not blanks.covers(AGENT, 1.0, 1.0, item_id="item_1")
    blanks.played("item_1", 200.0, 5.0)
    assert blanks.covers(AGENT, 1.0, 1.0, item_id="item_1")
    blanks.played("item_1", 900.0, 3.0)
    assert not blanks.covers(AGENT, 1.0, 1.0, item_id="item_1")


def test_a_silence_finds_in_the_journal_what_is_played_late(tracing: Collector) -> None:
    piece = base64.b64encode(b"\1" * 4800).decode()
    where = {"type": "response.output_audio.delta", "item_id": "item_1"}
    with SessionTracer(journal="keep") as tracer:
        tracer.server_event({**where, "delta": piece})
        tracer.server_event({**where, "delta": piece, "item_id": "item_2"})
        now = time.monotonic()
        tracer.played("item_1", 0.0, at=now + 30)
        tracer.silence(since=now + 29, until=now + 31)
        assert flush(10)
    (folder,) = folders(state_directory())
    assert (folder / AUDIO).read_bytes() == b"\0" * 4800 + b"\1" * 4800


# How long it stays


def left(directory: Path, number: int, *, days: float, size: int = 10_000) -> Path:
    """A conversation that died so many days ago."""
    folder = directory / f"00000000-0000-7000-8000-{number:012}"
    journal = Journal.begin(folder, HEADER)
    journal.add_audio(os.urandom(size))
    journal.release()
    then = time.time() - days * 86_400
    for path in folder.iterdir():
        os.utime(path, (then, then))
    return folder


def test_what_is_older_than_thirty_days_goes(tmp_path: Path) -> None:
    old, new = left(tmp_path, 1, days=31), left(tmp_path, 2, days=29)
    assert tidy(tmp_path) == [old]
    assert folders(tmp_path) == [new]


def test_of_what_is_too_much_the_oldest_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [left(tmp_path, number, days=10 - number, size=100_000) for number in range(1, 5)]
    monkeypatch.setenv(BYTES_VARIABLE, "250000")
    assert tidy(tmp_path) == kept[:2]


def test_nothing_is_removed_that_is_in_use_new_or_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(DAYS_VARIABLE, "0")
    used, strange = left(tmp_path, 1, days=3), left(tmp_path, 2, days=3)
    taken = Journal.take(used)
    assert taken is not None
    (strange / "diary.txt").write_text("mine")
    os.utime(strange / "diary.txt", (0, 0))
    left(tmp_path, 3, days=0)
    (tmp_path / "not-ours").mkdir()
    (tmp_path / NAME).symlink_to(tmp_path / "not-ours")
    assert tidy(tmp_path) == []
    taken.release()
    monkeypatch.setenv(DAYS_VARIABLE, "soon")
    assert tidy(tmp_path) == []
    assert "'soon'" in caplog.text
    assert tidy(tmp_path / "nowhere") == []


# What waits for a destination


def lane(*items: int) -> RetryQueue[int]:
    made: RetryQueue[int] = RetryQueue(lambda size: size)
    for item in items:
        made.put(item)
    return made


def all_of(waiting: list[int]) -> tuple[list[int], list[int]]:
    return waiting, []


def test_what_is_not_taken_waits_in_its_place_and_longer_each_time() -> None:
    mine = lane(1, 2)
    waits = []
    for _ in range(10):
        assert mine.take(all_of) == [1, 2]
        mine.finish_batch([1, 2], 100.0)
        assert mine.retry_at is not None
        waits.append(mine.retry_at - 100)
    assert waits[:3] == [1, 2, 4]
    assert waits[-1] == LONGEST_WAIT_S
    mine.put(3)
    assert mine.take(all_of) == [1, 2, 3]
    mine.finish_batch([3], 200.0)
    mine.take(all_of)
    mine.finish_batch([], 200.0)
    assert not mine.is_retrying


def test_what_failed_is_told_once() -> None:
    mine = lane(1, 2)
    assert mine.unresolved == 2
    mine.take(lambda waiting: (waiting[:1], waiting[1:]))
    mine.finish_batch([1], 0.0)
    assert mine.unresolved == 0  # what waits behind it fares no better
    mine.put(3)
    assert mine.unresolved == 1
    mine.take(lambda waiting: (waiting[:1], waiting[1:]))
    mine.finish_batch([], 0.0)
    assert (mine.known_failed, mine.unresolved) == (1, 1)


def test_what_is_given_up_waits_no_more() -> None:
    mine = lane(1, 2, 3)
    mine.take(lambda waiting: (waiting[:1], waiting[1:]))
    assert mine.abandon() == [1, 2, 3]  # of the first nobody knows yet
    assert mine.waiting == []
    mine.finish_batch([], 0.0)
    assert mine.unresolved == 0
