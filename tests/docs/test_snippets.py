"""The snippets of the pages in docs run unchanged, and do what the pages say.

The snippets of docs/testing.md and docs/deploying.md have test files of their own.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import sys
import threading
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from langsmith import traceable
from openai.resources.realtime.realtime import RealtimeConnection

from langsmith_realtime import SessionTracer, pii, wrap_realtime
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Call, Close, Fail, RealtimeServer, Say, Script, Turn, silence, speech_like
from tests.support.conversations import Node, async_client, sync_client, the_tree, trees
from tests.support.snippets import run, snippet, text_of

CLOSES_AT_ONCE = Script(on_connect=[Close(1000)])
CREATED = {"type": "session.created", "event_id": "event_1"}


def ends_with(turn: Turn, **options: Any) -> Script:
    """Returns a script of one response, after which the server closes the connection."""
    return Script([Turn(*turn.steps, then=[Close(1000)])], speed=8, **options)


class RequestingClient:
    """A client whose new connections request a response, for snippets that only receive."""

    def __init__(self, server: RealtimeServer) -> None:
        self.realtime = self
        self._client = sync_client(server)

    @contextmanager
    def connect(self, **arguments: str) -> Iterator[RealtimeConnection]:
        with self._client.realtime.connect(**cast("Any", arguments)) as connection:
            connection.response.create()
            yield connection


def run_receiving(source: str, script: Script, **names: object) -> None:
    """Runs a snippet that connects with a synchronous ``client`` and only receives."""
    with RealtimeServer(script) as server:
        run(source, client=RequestingClient(server), **names)


def outputs(node: Node) -> dict[str, Any]:
    """Returns the outputs of a run. Fails if it has none."""
    assert node.run.outputs is not None
    return node.run.outputs


def channels(tracing: Collector, root: Node) -> tuple[int, int, int]:
    """Returns the recording's rate in Hz, and the number of bytes that are not zero in its left and right channel."""
    with wave.open(str(tracing.attachment(root.run.id, "conversation")[1])) as recording:
        frames = recording.readframes(recording.getnframes())
        rate = recording.getframerate()
    left, right = (sum(map(bool, frames[side::4] + frames[side + 1 :: 4])) for side in (0, 2))
    return rate, left, right


# docs/migrating.md


def test_the_loop_by_hand_and_its_replacement_trace_equal_events(tracing: Collector) -> None:
    for source in (
        snippet("docs/migrating.md", "RunTree("),
        snippet("docs/migrating.md", "async with", "wrap_realtime(raw)"),
    ):
        with RealtimeServer(CLOSES_AT_ONCE) as server:
            run(source, client=async_client(server))
    assert [root.shape() for root in trees(tracing)] == [("realtime_session", ["session.created"])] * 2


def test_the_synchronous_lines(tracing: Collector) -> None:
    with RealtimeServer(CLOSES_AT_ONCE) as server:
        source = snippet("docs/migrating.md", "    for event in connection")
        run(source, client=sync_client(server), wrap_realtime=wrap_realtime)
    assert the_tree(tracing).names() == ["session.created"]


# docs/recording.md, docs/telephony.md


def test_the_recording_is_kept_as_flac(tracing: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_receiving(snippet("docs/recording.md", "Recording("), ends_with(Turn(Say("Hello."))))
    root = the_tree(tracing)
    assert root.metadata["recording_format"] == "flac"
    assert [path.name for path in (tmp_path / "calls").iterdir()] == [f"{root.run.id}.flac"]


def test_the_lines_for_a_sound_card(tracing: Collector) -> None:
    with SessionTracer() as connection:
        now = time.monotonic()
        names = {"pcm": b"\1\0" * 2400, "captured_at": now, "played_at": now}
        run(snippet("docs/telephony.md", "record_agent_audio"), connection=connection, **names)
    root = the_tree(tracing)
    assert root.metadata["recording_source"] == root.metadata["recording_source_user"] == "timed_tap"


def test_the_marks_of_a_telephone_stream_move_the_recording(tracing: Collector) -> None:
    with SessionTracer() as connection:
        names = run(snippet("docs/telephony.md", "def on_mark"), connection=connection, stream_sid="stream_1")
        sound = base64.b64encode(b"\1\1" * 240_000).decode()
        delta = {"type": "response.output_audio.delta", "response_id": "resp_1", "item_id": "item_1"}
        connection.server_event({**delta, "content_index": 0, "output_index": 0, "delta": sound})
        mark = names["mark_after"]("item_1", 50)
        assert mark["streamSid"] == "stream_1"
        time.sleep(0.4)  # the telephone plays later than the playback model assumes
        names["on_mark"](mark)
    assert the_tree(tracing).metadata["recording_source"] == "played_positions"


def test_a_call_is_traced_by_its_sideband_connection(tracing: Collector) -> None:
    source = snippet("docs/telephony.md", "connect(call_id=call_id)")
    run_receiving(source, ends_with(Turn(Say("Hello."))), call_id="rtc_1")
    root = the_tree(tracing)
    assert root.metadata["thread_id"] == "rtc_1"
    assert outputs(root["model"])["choices"][0]["message"]["content"] == "Hello."


def test_telephone_audio_is_passed_in_unchanged(tracing: Collector) -> None:
    source = snippet("docs/telephony.md", "user_format")
    run(source, call_sid="call-1", media_payload=b"\x00" * 8000)
    root = the_tree(tracing)
    rate, left, right = channels(tracing, root)
    assert (rate, right) == (8000, 0)
    assert left > 8000
    assert root.metadata["thread_id"] == "call-1"


def test_the_lines_for_the_applications_own_socket(tracing: Collector) -> None:
    script = Script([Turn(Say("Good morning."), then=[Close(1000)])], speed=8)
    with RealtimeServer(script, strict=True) as server:
        url = f"{server.websocket_base_url}/realtime?model=gpt-realtime"
        headers = {"Authorization": "Bearer test"}
        run(
            snippet("docs/telephony.md", "await socket.send(json.dumps(greet))"),
            url=url,
            headers=headers,
            call_id="call-1",
        )
        assert [frame.type for frame in server.received] == ["response.create"]
    root = the_tree(tracing)
    assert outputs(root["model"])["choices"][0]["message"]["content"] == "Good morning."


# docs/privacy.md


def test_redact_removes_the_card_number(tracing: Collector) -> None:
    run_receiving(snippet("docs/privacy.md", "def redact"), ends_with(Turn(Say("It is 4111 1111 1111 1111."))))
    root = the_tree(tracing)
    assert "[card number]" in json.dumps(root["response.output_audio_transcript.done"].run.inputs)
    assert "4111" not in json.dumps([(each.inputs, each.outputs) for each in tracing.runs()])


def test_pii_masks_the_words_and_silences_the_sound(tracing: Collector) -> None:
    run_receiving(snippet("docs/privacy.md", "phones="), ends_with(Turn(Say("It is 4111 1111 1111 1111."))))
    root = the_tree(tracing)
    assert outputs(root["model"])["choices"][0]["message"]["content"] == "It is [card number]."
    assert "4111" not in json.dumps([(each.inputs, each.outputs) for each in tracing.runs()])
    _, _, right = channels(tracing, root)
    assert right == 0


def test_presidio_finds_more(tracing: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    class AnalyzerEngine:
        def analyze(self, *, text: str, language: str, entities: list[str]) -> list[SimpleNamespace]:
            assert (language, "PERSON" in entities) == ("en", True)
            begin = text.find("Ada")
            return [] if begin < 0 else [SimpleNamespace(start=begin, end=begin + 3, entity_type="PERSON")]

    monkeypatch.setitem(sys.modules, "presidio_analyzer", SimpleNamespace(AnalyzerEngine=AnalyzerEngine))
    names = run(snippet("docs/privacy.md", "presidio_analyzer"))
    assert names["tracer"].run_id == str(the_tree(tracing).run.id)
    assert pii(find=names["find"])({"text": "I am Ada, a@example.com"}) == {"text": "I am [person], [email address]"}


def test_the_lines_for_a_card_number(tracing: Collector) -> None:
    with SessionTracer() as connection:
        before = time.monotonic()
        connection.record_user_audio(b"\1\0" * 48_000, at=before)
        run(snippet("docs/privacy.md", "connection.silence"), connection=connection, item_id="item_1")
        after = time.monotonic()
    _, left, _ = channels(tracing, the_tree(tracing))
    assert left < (after - before + 0.2) * 24_000  # frames spoken between two of the lines


# docs/trace.md


def test_a_tool_with_its_call_id_nests_under_its_call(tracing: Collector) -> None:
    source = snippet("docs/trace.md", "connection.tool")

    def end_after_the_result() -> None:
        server.wait_for(lambda frame: frame.type == "conversation.item.create", timeout=30)
        server.stop()

    with (
        RealtimeServer(Script([Turn(Call("look_up", {"city": "Paris"}))])) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        ending = threading.Thread(target=end_after_the_result)
        ending.start()
        connection.response.create()
        run(source, connection=connection)
        ending.join()
    tool = the_tree(tracing)["look_up"]
    assert outputs(tool)["content"] == "18 degrees in Paris"
    assert tool.shape() == ("look_up", ["look_up"])  # the call's run, with the application's traced function below it


def test_what_the_application_adds_is_on_the_root(tracing: Collector) -> None:
    run(snippet("docs/trace.md", "tracer.add"))
    root = the_tree(tracing)
    assert root.metadata["customer"] == "c-17"
    assert "vip" in (root.run.tags or [])
    assert outputs(root) == {"documents": ["refund policy"], "messages": []}


def test_the_lines_that_read_a_trace(tracing: Collector, capsys: pytest.CaptureFixture[str]) -> None:
    with SessionTracer() as tracer:
        tracer.record_user_audio(b"\1\0" * 2400, at=time.monotonic())
    trees(tracing)
    run(snippet("docs/trace.md", "urlopen"))
    assert re.fullmatch(r"realtime_session 0 turns\n\d{4,} bytes of sound\n", capsys.readouterr().out)


@pytest.mark.parametrize("page", ["README.md", "docs/trace.md"])
def test_the_tree_on_the_page_is_the_tree_of_a_conversation(tracing: Collector, page: str) -> None:
    script = Script(
        [Turn(Call("lookup_weather", {"city": "Paris"})), Turn(Say("Mild."), then=[Close(1000)])],
        user_transcripts=["What is the weather in Paris?"],
        speed=8,
    )
    with (
        RealtimeServer(script) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        connection.session.update(session={"type": "realtime"})
        connection.input_audio_buffer.append(audio=base64.b64encode(speech_like("Paris", 1.0) + silence(1.0)).decode())
        for event in connection:
            calls = list(event.response.output or []) if event.type == "response.done" else []
            for call in calls:
                if call.type == "function_call":
                    output = {"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"}
                    connection.conversation.item.create(item=output)  # type: ignore[arg-type]
                    connection.response.create()
    runs = iter(_flat(the_tree(tracing)))
    for run_of_page in _runs_of_page(page):
        assert run_of_page in runs, f"{page} shows {run_of_page}, which the conversation does not have here"


def _flat(node: Node, depth: int = 0) -> list[tuple[int, str]]:
    return [(depth, node.run.name)] + [each for child in node.children for each in _flat(child, depth + 1)]


def _runs_of_page(page: str) -> list[tuple[int, str]]:
    """Returns the depth and the name of each run in the page's tree. Lines with an ellipsis are left out."""
    text = text_of(page)
    tree = text[text.index("\nrealtime_session") :].split("```", 1)[0]
    lines = re.findall(r"^([│├└─ ]*)([\w.]+)", tree, flags=re.MULTILINE)
    return [(len(bars) // 3, name) for bars, name in lines]


@pytest.mark.parametrize(
    ("turn", "error"), [(Turn(Fail()), "failed: "), (Turn(Say("Long.", seconds=30)), "cancelled: client_cancelled")]
)
def test_errors_and_interruptions_look_as_the_page_says(tracing: Collector, turn: Turn, error: str) -> None:
    with (
        RealtimeServer(Script([turn])) as server,
        sync_client(server).realtime.connect(model="gpt-realtime") as raw,
        wrap_realtime(raw) as connection,
    ):
        connection.response.create()
        for event in connection:
            if event.type == "response.content_part.added":
                connection.response.cancel()
            if event.type == "response.done":
                break
    root = the_tree(tracing)
    for run_ in (root["response.done"].run, root["model"].run):
        assert str(run_.error).startswith(error)
        assert run_.metadata.get("ls_is_error_interrupt", False) is error.startswith("cancelled")
    assert root.metadata["errors"] == (0 if error.startswith("cancelled") else 1)


# docs/options.md


def test_the_lines_for_the_applications_own_price(tracing: Collector) -> None:
    run_receiving(snippet("docs/options.md", "Price("), ends_with(Turn(Say("Hello."))))
    metadata = the_tree(tracing).metadata
    assert metadata["estimated_cost_usd"] > 0
    assert "estimated_cost_incomplete" not in metadata


def test_only_conversations_selected_by_keep_are_sent(tracing: Collector) -> None:
    source = snippet("docs/options.md", "Keep(").replace("share=0.1", "share=0")
    run_receiving(source, ends_with(Turn(Say("Hello."))))
    assert trees(tracing) == []
    run_receiving(source, ends_with(Turn(Fail())))
    assert the_tree(tracing).metadata["errors"] == 1


# docs/journal.md


def test_the_lines_that_trace_a_kept_journal_again(
    tracing: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SessionTracer(journal="keep") as tracer:
        tracer.server_event(CREATED)
        tracer.client_event({"type": "response.create"})
        tracer.server_event({"type": "response.created", "event_id": "event_2", "response": {"id": "resp_1"}})
    first = the_tree(tracing)
    (kept,) = Path(os.environ["LANGSMITH_REALTIME_DIR"]).glob("*/conversation.jsonl")
    monkeypatch.chdir(kept.parent)
    run(snippet("docs/journal.md", "SessionTracer"))
    assert [root.shape() for root in trees(tracing)] == [first.shape()] * 2


# docs/troubleshooting.md


def test_the_lines_that_show_the_debug_log() -> None:
    logger = logging.getLogger("langsmith_realtime")
    before = logger.level
    try:
        run(snippet("docs/troubleshooting.md", "basicConfig"))
        assert logger.isEnabledFor(logging.DEBUG)
    finally:
        logger.setLevel(before)


def test_a_tool_in_a_thread_nests_with_the_copied_context(tracing: Collector) -> None:
    with SessionTracer() as tracer:
        tracer.server_event(CREATED)
        run(snippet("docs/troubleshooting.md", "copy_context"), look_up=traceable(run_type="tool", name="look_up")(len))
    assert the_tree(tracing).shape() == ("realtime_session", [("session.created", ["look_up"])])
