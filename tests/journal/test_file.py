"""A journal on disk: its lines and audio, its lock, what it must not contain, and its end."""

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
from langsmith_realtime.journal.file import VERSION, Journal
from langsmith_realtime.journal.folder import AUDIO, DELIVERED, LINES, is_free
from langsmith_realtime.journal.masking import JournalMasking, TimeBudget
from langsmith_realtime.journal.reader import JournalError, JournalReader
from langsmith_realtime.journal.silenced_audio import SilencedAudio
from langsmith_realtime.journal.state_directory import BYTES_VARIABLE, DAYS_VARIABLE, folders, state_directory, tidy
from langsmith_realtime.runtime.files import try_lock
from langsmith_realtime.runtime.guard import Guard
from langsmith_realtime.testing import tone
from langsmith_realtime.trace.privacy import Privacy
from tests.support.conversations import the_tree
from tests.support.processes import exit_code, fork, open_files, unix_only

pytestmark = pytest.mark.newest

HEADER: dict[str, Any] = {"journal": VERSION}
CLOSED: dict[str, Any] = {"is": "closed", "t": 1}
NAME = "01a1fcfa-e6a2-7672-b070-9b3b741df670"


def new_journal(tmp_path: Path, name: str = NAME, **settings: bool) -> Journal:
    return Journal.begin(tmp_path / "state" / name, HEADER, **settings)


def test_lines_and_audio_are_read_as_they_were_written(tmp_path: Path) -> None:
    journal = new_journal(tmp_path)
    first, second = journal.add_audio(b"\1\2\3"), journal.add_audio(b"\4\5")
    lines: list[dict[str, Any]] = [{"is": "opened", "said": "…"}, {"is": "closed", "t": 0.5}]
    for line in lines:
        journal.write(line)
    assert list(JournalReader(journal.folder).entries()) == []
    journal.flush()
    story = JournalReader(journal.folder)
    assert list(story.entries()) == lines
    assert (story.audio(first), story.audio(second)) == (b"\1\2\3", b"\4\5")
    assert story.audio({"bytes": 7}) is None
    assert story.audio({"offset": 4, "bytes": 4}) == b"\5\0\0\0"


def test_only_some_of_many_journals_keep_their_audio_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("langsmith_realtime.journal.folder.OPEN_AUDIO_FILES", 2)
    before = open_files()
    journals = [new_journal(tmp_path, f"{NAME[:-1]}{number}") for number in range(4)]
    for _ in range(2):
        for number, journal in enumerate(journals):
            journal.write({"is": "audio", "data": journal.add_audio(bytes([number] * 10))})
            journal.flush()
    assert open_files() == before + 4 + 2
    for number, journal in enumerate(journals):
        journal.release()
        story = JournalReader(journal.folder)
        assert [story.audio(line["data"]) for line in story.entries()] == 2 * [bytes([number] * 10)]
    assert open_files() == before


@unix_only
def test_only_the_owner_can_read_a_journal(tmp_path: Path) -> None:
    journal = new_journal(tmp_path)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (journal.folder.parent, journal.folder)]
    assert modes == [0o700, 0o700]
    assert {stat.S_IMODE(path.stat().st_mode) for path in journal.folder.iterdir()} == {0o600}


def test_a_journal_is_removed_when_all_operations_are_settled(tmp_path: Path) -> None:
    journal = new_journal(tmp_path)
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
    journal.write(CLOSED)
    journal.flush()
    journal.release()


def test_a_kept_journal_is_renamed_when_all_operations_are_settled(tmp_path: Path) -> None:
    journal = new_journal(tmp_path, keep=True)
    for operation in (ROOT_CREATE, ROOT_UPDATE):
        journal.settle(operation)
    assert sorted(path.name for path in journal.folder.iterdir()) == [AUDIO, DELIVERED]
    assert JournalReader(journal.folder).header == HEADER


def test_a_recording_in_the_folder_stays_when_the_journal_is_removed(tmp_path: Path) -> None:
    journal = new_journal(tmp_path)
    (journal.folder / "recording.wav").touch()
    for operation in (ROOT_CREATE, ROOT_UPDATE):
        journal.settle(operation)
    assert [path.name for path in journal.folder.iterdir()] == ["recording.wav"]


def test_a_locked_journal_cannot_be_taken(tmp_path: Path) -> None:
    journal = new_journal(tmp_path)
    assert Journal.take(journal.folder) is None
    assert not is_free(journal.folder)
    journal.release()
    assert is_free(journal.folder)
    taken = Journal.take(journal.folder)
    assert taken is not None
    assert Journal.take(journal.folder) is None
    taken.release()


def test_a_journal_removed_after_opening_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = new_journal(tmp_path)
    opened = os.open

    def open_and_complete(path: Any, *arguments: Any) -> int:
        file = opened(path, *arguments)
        for operation in (ROOT_CREATE, ROOT_UPDATE):
            journal.settle(operation)
        return file

    monkeypatch.setattr(os, "open", open_and_complete)
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

    def locked_elsewhere_twice(file: int) -> bool:
        tries.append(file)
        return len(tries) > 2 and try_lock(file)

    monkeypatch.setattr("langsmith_realtime.journal.folder.try_lock", locked_elsewhere_twice)
    journal = new_journal(tmp_path)
    monkeypatch.undo()
    assert not is_free(journal.folder)
    journal.discard()


def test_a_new_journal_that_another_process_keeps_locked_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langsmith_realtime.journal.folder.try_lock", lambda file: False)
    with pytest.raises(BlockingIOError, match="another process"):
        new_journal(tmp_path)
    assert list((tmp_path / "state").iterdir()) == []


@pytest.mark.parametrize("end", [b'{"is":"closed","t', b"\xff\xfe\n", b"[]\n", b"\0" * 100_000])
def test_a_journal_is_read_up_to_its_first_damaged_line(tmp_path: Path, end: bytes) -> None:
    journal = new_journal(tmp_path)
    journal.write(CLOSED)
    journal.release()
    with (journal.folder / LINES).open("ab") as file:
        file.write(end)
    assert list(JournalReader(journal.folder).entries()) == [CLOSED]
    taken = Journal.take(journal.folder)
    assert taken is not None
    if not end.endswith(b"\n"):
        taken.expect(ROOT_UPDATE)
        taken.settle(ROOT_CREATE)
        taken.flush()
        assert JournalReader(journal.folder).settled() == {ROOT_CREATE}
    taken.release()


@pytest.mark.parametrize("content", ["", "half", '{"is": "closed"}\n', '{"journal": 1}\n', '{"journal": 99}\n'])
def test_a_file_that_is_no_journal_raises_an_error_with_its_name(tmp_path: Path, content: str) -> None:
    (tmp_path / LINES).write_text(content)
    with pytest.raises(JournalError, match=LINES):
        JournalReader(tmp_path)
    (tmp_path / LINES).unlink()
    with pytest.raises(JournalError, match="cannot be read"):
        JournalReader(tmp_path)


def test_a_forked_child_closes_the_journal_and_the_parent_keeps_the_lock(tmp_path: Path) -> None:
    journal = new_journal(tmp_path)
    journal.write(CLOSED)
    child = fork()
    if child == 0:
        journal.flush()  # the buffered lines are the parent's
        os._exit(journal.is_open)
    assert exit_code(child) == 0
    assert Journal.take(journal.folder) is None  # the child's exit did not free the lock
    journal.flush()
    assert list(JournalReader(journal.folder).entries()) == [CLOSED]


def test_a_discarded_journal_is_removed(tmp_path: Path) -> None:
    journal = new_journal(tmp_path)
    journal.expect("run")
    journal.discard()
    assert not journal.folder.exists()


# Errors of the disk


def test_a_full_disk_costs_the_journal_but_not_the_trace(
    tracing: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracer = SessionTracer(recording=False)
    assert flush(10)
    write = os.write

    def full(file: int, data: Any) -> int:
        # A disk that fills up accepts a part first.
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space folder_of on device")
        return write(file, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", full)
    for number in range(3):
        tracer.server_event({"type": "session.updated", "event_id": f"event_{number}"})
        flush(10)
    tracer.close()
    assert len(the_tree(tracing).children) == 3
    assert list(state_directory().iterdir()) == []
    assert caplog.text.count("tracing goes on without it") == 1


def test_a_read_only_folder_costs_the_journal_but_not_the_trace(
    tracing: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()  # root may write to read-only folders, so this is a file
    monkeypatch.setenv("LANGSMITH_REALTIME_DIR", str(tmp_path / "file" / "state"))
    for _ in range(2):
        with SessionTracer() as tracer:
            tracer.server_event({"type": "session.created", "event_id": "event_0"})
            tracer.record_user_audio(tone(1000, 0.1))
    assert flush(10)
    assert len(tracing.roots()) == 2
    assert all("conversation" in root.attachments for root in tracing.roots())
    assert caplog.text.count("there is no journal") == 1


# Contents


def event(name: str, **body: Any) -> Any:
    return parse({"type": name, **body})


def masking_of(redact: Redact | None = None, **settings: Any) -> JournalMasking:
    client = Client(api_url="http://127.0.0.1:9", api_key="k", info={}, **settings)
    return JournalMasking(client, Privacy.from_options(client, Guard(), redact=redact))


def test_secrets_are_removed_from_events() -> None:
    kept = masking_of().event(event("session.created", session={"client_secret": {"value": "ek_1"}}))
    assert kept["session"] == {"client_secret": REMOVED}


def test_hidden_inputs_leave_the_structure_of_events() -> None:
    masking = masking_of(hide_inputs=True)
    body = {
        "item": {"id": "item_1", "type": "message", "content": [{"type": "input_text", "text": "my name"}, "word"]},
        "response": {"metadata": {"name": "Ann"}, "usage": {"total_tokens": 3}, "status": "completed"},
    }
    assert masking.event(event("conversation.item.added", **body)) == {
        "type": "conversation.item.added",
        "item": {"id": "item_1", "type": "message", "content": [{"type": "input_text", "text": NOT_KEPT}]},
        "response": {"usage": {"total_tokens": 3}, "status": "completed"},
    }
    delta = event("conversation.item.input_audio_transcription.delta", delta="my name", item_id="item_1")
    assert masking.event(delta)["delta"] == NOT_KEPT
    assert masking.event(event("session.updated", session={"id": "sess_1", "instructions": "Ann"}))["session"] == {
        "id": "sess_1",
        "instructions": NOT_KEPT,
    }


def test_redact_is_applied_to_events_and_deltas_lose_their_words() -> None:
    masking = masking_of(redact=lambda payload: {**payload, "item": "redacted"})
    assert masking.event(event("conversation.item.done", item={"transcript": "Ann"}))["item"] == "redacted"
    assert "delta" not in masking.event(event("response.output_text.delta", delta="An"))


def test_only_deltas_of_text_and_transcripts_keep_their_words() -> None:
    masking = masking_of()
    assert masking.event(event("response.output_text.delta", delta="Hi"))["delta"] == "Hi"
    assert "delta" not in masking.event(event("response.function_call_arguments.delta", delta='{"key": "s'))


def test_an_anonymizer_is_applied_to_events_and_deltas_lose_their_words() -> None:
    masking = masking_of(anonymizer=create_anonymizer([{"pattern": re.compile("Ann"), "replace": "<name>"}]))
    kept = masking.event(event("conversation.item.done", item={"id": "item_1", "transcript": "I am Ann"}))
    assert kept["item"] == {"id": "item_1", "transcript": "I am <name>"}
    assert "delta" not in masking.event(event("response.output_text.delta", delta="An"))
    assert masking.error("Ann hung up") == "<name> hung up"
    assert masking.metadata({"caller": "Ann"})["caller"] == "<name>"


@pytest.mark.parametrize(
    "hides",
    [lambda inputs: {}, lambda inputs: None, lambda inputs: {"event": "gone"}, lambda inputs: 1 / 0],
)
def test_the_structure_of_an_event_stays_when_masking_fails_or_returns_no_event(hides: Any) -> None:
    kept = masking_of(hide_inputs=hides).event(event("error", error={"code": "c", "message": "Ann"}))
    assert kept == {"type": "error", "error": {"code": "c"}}


def test_slow_masking_is_not_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    def slow(inputs: dict[str, Any]) -> dict[str, Any]:
        nonlocal asked
        asked += 1
        time.sleep(0.3)
        return inputs

    masking = masking_of(hide_inputs=slow)
    monkeypatch.setattr("langsmith_realtime.journal.masking._all_masking", TimeBudget(0.5, 0.05))
    asked = 0
    kept = [masking.event(event("error", error={"message": "Ann"})) for _ in range(5)]
    assert asked == 1
    assert kept == [{"type": "error", "error": {"message": "Ann"}}, *[{"type": "error", "error": {}}] * 4]


def test_a_budget_of_time_is_refilled_by_a_share_of_the_time_that_passes() -> None:
    budget = TimeBudget(0.5, 1.0)
    assert not budget.is_empty(100.0)
    budget.spend(3.0)
    assert [budget.is_empty(now) for now in (100.0, 103.9, 104.1, 200.0)] == [True, True, False, False]
    budget.spend(1.1)
    assert budget.is_empty(200.0), "at most a second accumulates"


def test_hidden_metadata_is_not_written() -> None:
    assert masking_of(hide_metadata=True).metadata({"caller": "Ann"}) == {}
    assert masking_of().metadata({"caller": "Ann", "token": b"1"}) == {"caller": "Ann", "token": "<1 bytes>"}
    assert masking_of().error("it broke") == "it broke"


@pytest.mark.parametrize(
    ("settings", "recording", "kept"),
    [({}, True, 8), ({}, False, 0), ({"hide_inputs": True}, True, 4), ({"hide_outputs": True}, True, 4)],
)
def test_audio_that_is_not_recorded_is_not_written(
    collector: Collector, settings: dict[str, Any], recording: bool, kept: int
) -> None:
    masking = Client(api_url=collector.url, api_key="k", **settings)
    tracer = SessionTracer(client=masking, enabled=True, recording=recording, journal="keep")
    four = base64.b64encode(b"\1\2\3\4").decode()
    tracer.client_event({"type": "input_audio_buffer.append", "audio": four})
    tracer.server_event({"type": "response.output_audio.delta", "delta": four, "item_id": "item_1"})
    tracer.close()
    assert flush(10)
    (folder,) = folders(state_directory())
    assert (folder / AUDIO).stat().st_size == kept
    said = [line for line in JournalReader(folder).entries() if line["is"] == "audio"]
    assert [(line.get("channel"), line["data"]["bytes"]) for line in said] == [(USER, 4), (AGENT, 4)]


def test_a_client_with_replicas_has_only_kept_journals(tracing: Collector) -> None:
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
def test_a_wrong_journal_option_raises_an_error(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="journal must be"):
        SessionTracer(journal=wrong)


def test_the_state_directory_follows_the_environment_and_the_platform(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
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


# Silences


def test_a_silence_overwrites_the_audio_that_it_may_cover(tracing: Collector) -> None:
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


def test_a_chunk_is_silenced_wherever_it_may_lie() -> None:
    silenced = SilencedAudio()
    silenced.silence(10.0, 11.0, None)
    assert not silenced.covers(USER, 9.0, 0.02)
    assert silenced.covers(USER, 9.6, 0.02)
    assert not silenced.covers(AGENT, 5.0, 2.0)
    assert silenced.covers(AGENT, 5.1, 4.0)  # plays after the chunk before
    assert silenced.covers(USER, 50.0, 0.02, at=10.5)
    assert not silenced.covers(USER, 50.0, 0.02)
    silenced.silence(60.0, None, None)
    assert silenced.covers(USER, 70.0, 0.02)
    silenced.silence(None, 80.0, None)
    assert not silenced.covers(USER, 95.0, 0.02)
    silenced.silence(None, None, None)
    assert silenced.covers(USER, 100.0, 0.02)


def test_chunks_that_were_sent_after_a_stall_may_lie_in_a_silence_before() -> None:
    silenced = SilencedAudio()
    silenced.silence(2.0, 3.0, None)
    heard = [silenced.covers(USER, at, 0.5) for at in (0.5, 1.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.5, 5.0)]
    assert heard == [False, False, True, True, True, True, True, False, False]


def test_an_item_that_is_played_late_may_lie_in_a_later_silence() -> None:
    silenced = SilencedAudio()
    silenced.silence(5.5, 6.0, None)
    silenced.received("item_1", 1.0)
    assert not silenced.covers(AGENT, 1.0, 1.0, item_id="item_1")
    silenced.played("item_1", 200.0, 5.0)
    assert silenced.covers(AGENT, 1.0, 1.0, item_id="item_1")
    silenced.played("item_1", 900.0, 3.0)
    assert not silenced.covers(AGENT, 1.0, 1.0, item_id="item_1")


def test_a_silence_overwrites_the_audio_of_an_item_that_is_played_late(tracing: Collector) -> None:
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


# Limits of the state directory


def folder_of(directory: Path, number: int, *, days: float, size: int = 10_000) -> Path:
    """The folder of a conversation whose process died so many days ago."""
    folder = directory / f"00000000-0000-7000-8000-{number:012}"
    journal = Journal.begin(folder, HEADER)
    journal.add_audio(os.urandom(size))
    journal.release()
    then = time.time() - days * 86_400
    for path in folder.iterdir():
        os.utime(path, (then, then))
    return folder


def test_folders_older_than_30_days_are_removed(tmp_path: Path) -> None:
    old, new = folder_of(tmp_path, 1, days=31), folder_of(tmp_path, 2, days=29)
    assert tidy(tmp_path) == [old]
    assert folders(tmp_path) == [new]


def test_the_oldest_folders_beyond_the_size_limit_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [folder_of(tmp_path, number, days=10 - number, size=100_000) for number in range(1, 5)]
    monkeypatch.setenv(BYTES_VARIABLE, "250000")
    assert tidy(tmp_path) == kept[:2]


def test_locked_new_and_foreign_folders_are_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(DAYS_VARIABLE, "0")
    used, strange = folder_of(tmp_path, 1, days=3), folder_of(tmp_path, 2, days=3)
    taken = Journal.take(used)
    assert taken is not None
    (strange / "diary.txt").write_text("masking")
    os.utime(strange / "diary.txt", (0, 0))
    folder_of(tmp_path, 3, days=0)
    (tmp_path / "not-ours").mkdir()
    (tmp_path / NAME).symlink_to(tmp_path / "not-ours")
    assert tidy(tmp_path) == []
    taken.release()
    monkeypatch.setenv(DAYS_VARIABLE, "soon")
    assert tidy(tmp_path) == []
    assert "'soon'" in caplog.text
    assert tidy(tmp_path / "nowhere") == []
