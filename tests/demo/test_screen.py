"""The demo's output: transcript, live screen, plain lines, run tree and error messages."""

from __future__ import annotations

import io
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from websockets.exceptions import ConnectionClosedError, InvalidHandshake, InvalidStatus
from websockets.frames import Close

from demo.devices.interface import DeviceError
from demo.display.run_tree import render_run_tree
from demo.display.screen import LiveScreen, Screen, audio_level, create_screen
from demo.display.transcript import Transcript
from demo.errors import user_message
from langsmith_realtime.collector import Attachment, StoredRun


def tone(dbfs: float) -> bytes:
    """Returns 20 ms of a 1 kHz tone with an RMS level in dBFS."""
    wave = np.sin(2 * np.pi * 1_000 * np.arange(480) / 24_000) * math.sqrt(2) * 10 ** (dbfs / 20)
    return (wave * 32767).astype("<i2").tobytes()


def conversation() -> Transcript:
    transcript = Transcript()
    transcript.message("u1", "user")  # its transcript arrives last
    transcript.message("a1", "agent").text += "In Paris "
    transcript.message("a1", "agent").text += "it's [sunny]."
    transcript.message("a1", "agent").played_ms = 5_120
    transcript.message("a2", "agent")
    transcript.message("u1", "user").text = "Paris?"
    return transcript


def test_a_late_transcript_stands_before_its_reply_and_items_without_text_are_left_out() -> None:
    assert str(conversation()) == "You: Paris?\nAgent: In Paris it's [sunny].  [interrupted after 5.1 s]"


def test_output_to_a_file_is_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    transcript = conversation()
    with create_screen(transcript) as shown:
        assert type(shown) is Screen
        shown.show_level("user", tone(-20))
        shown.message_completed(transcript.messages[0])
        shown.tool_answered("lookup_weather", '{"city": "Paris"}', "{}", 0.2)
        shown.reply_started(0.8)
        shown.reply_interrupted(5_120)
    assert capsys.readouterr().out.splitlines() == [
        "You: Paris?",
        '  tool lookup_weather({"city": "Paris"}) → {}  [200 ms]',
        "  reply played 800 ms after the end of your turn",
        "  interrupted after 5.1 s of the reply",
    ]


def test_a_terminal_shows_levels_transcript_tools_and_latencies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdout", SimpleNamespace(isatty=lambda: True, write=lambda _: 0, flush=lambda: None))
    assert isinstance(create_screen(Transcript()), LiveScreen)

    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100, height=30, color_system=None)
    transcript = conversation()
    with LiveScreen(transcript, console) as shown:
        shown.print_line("Talking to [nobody]")
        shown.show_level("user", tone(-30))
        shown.message_completed(transcript.messages[0])
        shown.tool_answered("lookup_weather", '{"city": "Paris"}', '{"now": "[sunny]"}', 0.2)
        shown.reply_started(0.6)
        shown.reply_started(0.8)
        shown.reply_interrupted(5_120)
        console.print(shown._render())
    text = out.getvalue()
    assert "Talking to [nobody]" in text
    assert "You: Paris?" in text
    assert "In Paris it's [sunny].  [interrupted after 5.1 s]" in text
    assert 'lookup_weather({"city": "Paris"}) → {"now": "[sunny]"}' in text
    assert "reply played 800 ms after the end of your turn (mean 700 ms)" in text
    assert "interrupted after 5.1 s of the reply" in text


def test_audio_levels_are_logarithmic() -> None:
    assert audio_level(b"") == audio_level(bytes(960)) == audio_level(tone(-70)) == 0
    assert audio_level(tone(-30)) == pytest.approx(0.5, abs=0.01)
    assert audio_level(tone(-3)) == pytest.approx(0.95, abs=0.01)


START = datetime(2026, 1, 1, tzinfo=UTC)


def run(
    name: str, parent: StoredRun | None = None, *, began: float = 0, took: float | None = 0, **more: Any
) -> StoredRun:
    own = f"{began:09.3f}{name}"
    fields: dict[str, Any] = {
        "run_type": "chain",
        "inputs": {},
        "outputs": None,
        "error": None,
        "extra": {},
        "tags": [],
        "events": [],
        "project": "demo",
        "status": "success",
    }
    began_at = START + timedelta(seconds=began)
    return StoredRun(
        **{
            **fields,
            **more,
            "id": own,
            "name": name,
            "trace_id": parent.trace_id if parent else own,
            "parent_run_id": parent.id if parent else None,
            "dotted_order": f"{parent.dotted_order}.{own}" if parent else own,
            "start_time": began_at,
            "end_time": None if took is None else began_at + timedelta(seconds=took),
        }
    )


def test_the_run_tree_is_in_order_of_start_times() -> None:
    root = run("realtime_session", took=27.5, attachments={"conversation": Attachment("audio/wav", Path("x"))})
    done = run("response.done", root, began=7.4)
    tool = run("lookup_weather", done, began=7.41, took=0.2, run_type="tool", error="Boom\nTraceback …")
    created = run("response.created", root, began=6.9)
    metadata = {"usage_metadata": {"total_tokens": 214}}
    model = run("model", created, began=6.9, took=None, run_type="llm", extra={"metadata": metadata})
    assert render_run_tree([tool, done, model, created, root]).splitlines() == [
        "realtime_session · chain · at 0.00 s · 27.50 s · attachment conversation",
        "├─ response.created · chain · at 6.90 s",
        "│  └─ model · llm · at 6.90 s · not ended · 214 tokens",
        "└─ response.done · chain · at 7.40 s",
        "   └─ lookup_weather · tool · at 7.41 s · 0.20 s · error: Boom",
    ]
    assert render_run_tree([]) == ""


class UnknownError(Exception):
    """An error that the demo has no message for."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (DeviceError("The speaker was lost."), "The speaker was lost."),
        (InvalidStatus(SimpleNamespace(status_code=401)), "refused the API key (401): set OPENAI_API_KEY"),  # type: ignore[arg-type]
        (InvalidStatus(SimpleNamespace(status_code=429)), "usage limits"),  # type: ignore[arg-type]
        (InvalidStatus(SimpleNamespace(status_code=500)), "(500): check --model"),  # type: ignore[arg-type]
        (ConnectionClosedError(Close(1011, "keepalive"), None), "lost (1011 keepalive): check the network"),
        (ConnectionClosedError(Close(3000, "invalid_api_key"), None), "refused the API key"),
        (ConnectionClosedError(None, None), "lost (no close frame received)"),
        (InvalidHandshake("no websocket"), "cannot be reached (no websocket)"),
        (PermissionError(13, "Permission denied", "/x"), "/x cannot be written (Permission denied): choose another"),
        (ConnectionRefusedError(), "cannot be reached (ConnectionRefusedError)"),
        (UnknownError(), None),
    ],
)
def test_errors_that_the_user_can_fix_have_a_message_with_the_remedy(error: Exception, expected: str | None) -> None:
    message = user_message(error)
    if expected is None:
        assert message is None
    else:
        assert expected in str(message)
        assert str(message).endswith(".")
