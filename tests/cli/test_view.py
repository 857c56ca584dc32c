"""The command `view`, and `show` for notebooks."""

from __future__ import annotations

import argparse
import html
import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from langsmith import Client

from langsmith_realtime import show
from langsmith_realtime.cli.fetching import FetchError, fetch
from langsmith_realtime.cli.main import main
from langsmith_realtime.cli.view import _fill
from langsmith_realtime.collector import Collector
from langsmith_realtime.journal.frame_lines import FrameLines
from langsmith_realtime.journal.reader import JournalError
from langsmith_realtime.journal.state_directory import state_directory
from langsmith_realtime.options.tracing import Options
from tests.support.collector_requests import ask
from tests.support.stored_conversation import Conversation, with_three_problems

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.newest


def server(t: float, kind: str, **fields: object) -> dict[str, Any]:
    return {"dir": "server", "t": t, "event": {"type": kind, **fields}}


LINES = [
    server(0.1, "session.created", session={"model": "gpt-realtime"}),
    server(1.0, "input_audio_buffer.speech_started", item_id="i", audio_start_ms=0),
    server(2.0, "input_audio_buffer.speech_stopped", item_id="i", audio_end_ms=900),
    server(2.1, "conversation.item.input_audio_transcription.completed", item_id="i", transcript="Is it raining?"),
    server(2.2, "response.created", response={"id": "r"}),
    server(2.4, "response.output_audio_transcript.done", response_id="r", item_id="j", transcript="It is."),
    server(3.0, "response.done", response={"id": "r", "status": "completed"}),
]


@contextmanager
def viewing(*arguments: object) -> Iterator[tuple[str, list[str]]]:
    """Run the command; yield the address of the page, and all lines that it printed."""
    command = [sys.executable, "-m", "langsmith_realtime.cli.main", "view", "--no-open", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not lines or lines[-1] != "Stop with Ctrl-C.":
                line = process.stdout.readline()
                assert line, process.communicate(timeout=10)[1]
                lines.append(line.strip())
            yield next(line for line in lines if "http" in line).removeprefix("The page is at "), lines
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()


def written(folder: Path, *, times: bool = True) -> Path:
    file = folder / "call.jsonl"
    lines = [line if times else {key: line[key] for key in ("dir", "event")} for line in LINES]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def shape(address: str) -> dict[str, Any]:
    found: dict[str, Any] = ask("GET", address.replace("/view/c/", "/view/api/conversations/")).json()
    return found


def words(found: dict[str, Any]) -> list[str]:
    return [line["text"] for line in found["lines"]]


def test_a_file_of_frames_becomes_a_conversation_with_its_recording(tmp_path: Path) -> None:
    file = written(tmp_path)
    (tmp_path / "call.wav").write_bytes(with_three_problems().sound())
    with viewing(file, "--directory", tmp_path / "store") as (address, _):
        found = shape(address)
        assert words(found) == ["Is it raining?", "It is."]
        assert found["recording"]["bytes"] == (tmp_path / "call.wav").stat().st_size
        assert found["recording"]["mime"] == "audio/wav"


def test_frames_without_times_are_shown_and_said_to_have_none(tmp_path: Path) -> None:
    with viewing(written(tmp_path, times=False), "--directory", tmp_path / "store") as (address, lines):
        assert "The frames have no times" in lines[0]
        assert "made up" in json.dumps(shape(address)["findings"])


def test_what_was_downloaded_as_json_lines_can_be_viewed_again(tmp_path: Path) -> None:
    call = with_three_problems()
    call.user_says(30, 31, "One line,\u2028and the next\x85one.")  # some ends of lines are no ends of JSON lines
    with Collector() as collector:
        call.into(collector)
        content = ask("GET", f"{collector.url}/view/api/conversations/{call.id}/download.jsonl").content
    (tmp_path / "again.jsonl").write_bytes(content)
    with viewing(tmp_path / "again.jsonl", "--directory", tmp_path / "store") as (address, _):
        assert {"Where is my parcel?", "One line,\u2028and the next\x85one."} <= set(words(shape(address)))


@pytest.mark.parametrize("text", ["", "no json\n", '{"t": 1}\n', "[]\n"])
def test_a_file_that_has_no_frames_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(text)
    with pytest.raises(JournalError, match=r"bad\.jsonl"):
        FrameLines(file, 0, Options())


def test_the_local_store_keeps_conversations_and_finds_them_by_their_ids(tmp_path: Path) -> None:
    call, running = with_three_problems(), Conversation()
    (state_directory() / running.id).mkdir(parents=True)
    with Collector(tmp_path) as collector:
        call.into(collector)
        running.into(collector, ended=False)
    with viewing(call.id, "--directory", tmp_path, "--slow-above", "2000") as (address, _):
        assert address.endswith(f"/view/c/{call.id}?slow=2000")
    with viewing("--directory", tmp_path) as (address, _):
        page = ask("GET", f"{address}api/conversations").json()
        assert {row["id"] for row in page["conversations"]} == {call.id, running.id}
        shown = ask("GET", f"{address}api/conversations/{running.id}").json()
        assert shown["recording"]["state"] == "growing", "the command knows the folder of running conversations"


def test_a_running_collector_is_opened_in_place_of_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Collector() as collector:
        monkeypatch.setenv("LANGSMITH_ENDPOINT", collector.url)
        assert main(["view", "--no-open"]) == 0
        assert capsys.readouterr().out == f"The page is at {collector.url}/view/\n"


def test_a_running_collector_with_a_key_is_opened_by_a_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Collector(api_key="secret") as collector:
        monkeypatch.setenv("LANGSMITH_ENDPOINT", collector.url)
        monkeypatch.setenv("LANGSMITH_API_KEY", "secret")
        assert main(["view", "--no-open"]) == 0
        address = capsys.readouterr().out.removeprefix("The page is at ").strip()
        assert "secret" not in address
        assert ask("GET", address).headers["set-cookie"].startswith("langsmith-realtime-view=")


@pytest.mark.parametrize("target", ["missing.jsonl", "missing.mp3", "no/such/folder"])
def test_a_target_that_does_not_exist_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    assert main(["view", target, "--directory", str(tmp_path), "--no-open"]) == 1
    assert capsys.readouterr().err == f"{target} does not exist.\n"


def test_what_cannot_be_shown_is_refused_in_one_line_that_names_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGSMITH_API_KEY", "key-of-nobody")
    (tmp_path / "call.mp3").write_bytes(b"ID3")
    (tmp_path / "lone.wav").write_bytes(b"RIFF")
    (tmp_path / "conversation.jsonl").write_text('{"journal": 2}\n')
    with Collector(api_key="another-key") as guarded:
        for target, endpoint, expected in (
            (
                str(tmp_path / "call.mp3"),
                None,
                "must be a folder of a journal, a .jsonl file of frames, or a recording",
            ),
            (str(tmp_path / "lone.wav"), None, "must have its frames beside it"),
            (
                str(tmp_path / "conversation.jsonl"),
                None,
                f"is a journal, not a file of frames; name its folder, {tmp_path}",
            ),
            ("", None, "got an empty text"),
            (" ", None, "got an empty text"),
            ("file:///call.jsonl", None, "must be the address of a run or a thread"),
            ("smith.langchain.com/o/x/projects/p/y", None, "must be the address of a run or a thread"),
            ("a-thread", "http://127.0.0.1:9", "it does not answer. Check LANGSMITH_ENDPOINT"),
            ("a-thread", "http://[::1", "Invalid IPv6 URL"),
            ("a-thread", "nowhere", "must start with 'http://'"),
            ("a-thread", guarded.url, "it refuses the API key. Set LANGSMITH_API_KEY"),
        ):
            monkeypatch.setenv("LANGSMITH_ENDPOINT", endpoint or "http://127.0.0.1:9")
            assert main(["view", target, "--directory", str(tmp_path / "store"), "--no-open"]) == 1, target
            printed = capsys.readouterr().err
            assert expected in printed
            assert printed.count("\n") == 1, "one line"
            assert "key-of" not in printed
    for wrong in ("-1", "nan", "fast"):
        with pytest.raises(SystemExit, match="2"):
            main(["view", "--slow-above", wrong])


def test_a_thread_is_fetched_whole_by_its_address_into_the_project_of_that_address(
    langsmith: tuple[Collector, Client],
) -> None:
    original, client = langsmith
    start = Conversation().start
    for second in range(101):  # a page of LangSmith's has 100 traces
        Conversation(thread="a thread/1", start=start + timedelta(seconds=second)).into(original)
    project_id = str(client.read_project(project_name="parcel-desk").id).upper()
    found = fetch(client, f"https://smith.langchain.com/o/x/projects/p/{project_id}/t/a%20thread%2F1", "another")
    assert len(found) == 101
    assert {run["session_name"] for runs, _ in found for run in runs} == {"parcel-desk"}


def test_the_frames_beside_a_recording_may_be_called_json(tmp_path: Path) -> None:
    written(tmp_path).rename(tmp_path / "call.json")
    (tmp_path / "call.wav").write_bytes(Conversation(seconds=2).sound())
    with Collector(tmp_path / "store") as collector:
        (conversation_id,) = _fill(collector, argparse.Namespace(target=str(tmp_path / "call.wav"), api_key=None))
        assert words(shape(collector.view_url(conversation_id))) == ["Is it raining?", "It is."]


@pytest.fixture
def langsmith() -> Iterator[tuple[Collector, Client]]:
    """A server that speaks LangSmith's API, and its client."""
    with Collector() as server:
        yield server, Client(api_url=server.url, api_key="local", auto_batch_tracing=False)


def test_a_conversation_is_fetched_with_its_sound_by_trace_thread_and_address(
    langsmith: tuple[Collector, Client], tmp_path: Path
) -> None:
    original, client = langsmith
    call = with_three_problems(thread="thread/1")
    call.into(original, sound=call.sound())
    project_id = client.read_project(project_name="parcel-desk").id
    address = f"https://smith.langchain.com/o/x/projects/p/{project_id}"
    for target in (call.id, "thread/1", f"{address}/r/{call.id}?poll=true", f"{address}/r/x?trace_id={call.id}"):
        ((runs, files),) = fetch(client, target, "parcel-desk")
        assert len(runs) == len(call.runs) + 1
        assert files[call.id, "conversation"] == ("audio/wav", call.sound())
        with Collector(tmp_path / "copy") as copy:
            copy.add(runs, files)
            copy.add(runs, files)  # what is stored already stays
            found, expected = (shape(f"{each.url}/view/c/{call.id}") for each in (copy, original))
            for key in ("lines", "turns", "events", "numbers", "project", "tags"):
                assert found[key] == expected[key]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("00000000-0000-4000-8000-000000000000", "Neither a trace nor a thread"),
        ("https://smith.langchain.com/settings", "must be the address of a run"),
    ],
)
def test_what_is_not_found_says_what_was_searched(
    langsmith: tuple[Collector, Client], target: str, message: str
) -> None:
    original, client = langsmith
    with_three_problems().into(original)
    with pytest.raises(FetchError, match=message):
        fetch(client, target, "parcel-desk")


def test_view_fetches_a_trace_into_the_local_store(
    langsmith: tuple[Collector, Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, _ = langsmith
    call = with_three_problems()
    call.into(original, sound=call.sound())
    monkeypatch.setenv("LANGSMITH_ENDPOINT", original.url)
    monkeypatch.setenv("LANGSMITH_API_KEY", "local")
    with viewing(call.id, "--project", "parcel-desk", "--directory", tmp_path) as (address, lines):
        assert lines[0].startswith("Fetched 1 conversation in")
        assert words(shape(address))[1] == "Where is my parcel?"


def test_a_notebook_shows_a_conversation_in_a_frame_without_rights(
    langsmith: tuple[Collector, Client], tmp_path: Path
) -> None:
    original, client = langsmith
    call = with_three_problems()
    call.into(original, sound=call.sound())
    shown = show(call.id, client=client, project="parcel-desk", sound=True)
    markup = shown._repr_html_()
    assert markup.startswith("<iframe sandbox ")
    assert html.escape("It costs six euros") in markup
    assert "<script" not in markup
    assert "Conversation of Sat 28 Nov 2026 12:42:59 UTC. Slowest answer 3,060 ms in turn 2" in repr(shown)
    assert html.escape(repr(shown)) in markup, "for a viewer that takes the frame out"
    shown.save(tmp_path / "call.html")
    assert "data:audio/ogg" in (tmp_path / "call.html").read_text()


def test_a_trace_without_conversation_cannot_be_shown(langsmith: tuple[Collector, Client]) -> None:
    original, client = langsmith
    other = Conversation()
    root = other.root(ended=True)
    root["extra"] = {}
    other.root = lambda *, ended: root  # type: ignore[method-assign]
    other.into(original)
    with pytest.raises(ValueError, match="must be a conversation"):
        show(other.id, client=client, project="parcel-desk")


def test_show_names_the_type_and_the_package_that_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match=r"trace must be an id or an address .*, got NoneType"):
        show(None)  # type: ignore[arg-type]
    for name in [name for name in sys.modules if name.startswith("langsmith_realtime.collector")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "starlette.requests", None)
    with pytest.raises(ModuleNotFoundError, match=r"show\(\) needs starlette.*; .* 'langsmith-realtime\[collector\]'"):
        show("call-7")
