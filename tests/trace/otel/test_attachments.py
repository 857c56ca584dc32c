"""The recording as an attachment of the session's span, for LangSmith's OTLP endpoint."""

from __future__ import annotations

import base64
import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import soundfile
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanLimits

from langsmith_realtime import Recording, SessionTracer
from langsmith_realtime.collector import Collector
from langsmith_realtime.trace.otel.spans.attachments import attach
from tests.support import otel_conversation as talk
from tests.support.otlp_receiver import OtlpReceiver, Providers

pytestmark = pytest.mark.newest

ATTACHMENTS, STARTED = "langsmith.attachments", "langsmith.metadata.ls_audio_recording_started_at"
TONE = b"\x00\x20\x00\xe0" * 1200  # 0.1 s at 24 kHz


def speaks_and_is_answered(tracer: SessionTracer) -> None:
    """A conversation whose user is heard for 0.1 s."""
    tracer.server_event(talk.SESSION)
    tracer.record_user_audio(TONE)
    talk.begins(tracer, "resp_1")
    talk.ends(tracer, "resp_1", talk.says(tracer, "resp_1", "Hello."))


def session_of(providers: Providers, receiver: OtlpReceiver, *, preset: str = "langsmith", **options: Any) -> Any:
    """The attributes of the session's span after such a conversation."""
    receiver.all_spans.clear()
    otel = providers.otel(preset=preset, content=options.pop("content", True))
    talk.run(providers, speaks_and_is_answered, otel=otel, **options)
    return receiver.the_span("realtime_session").attributes


def test_the_recording_is_attached_for_langsmiths_otlp_endpoint(
    providers: Providers, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    session = session_of(providers, receiver, recording=Recording(directory=tmp_path))
    (attachment,) = json.loads(session[ATTACHMENTS])
    assert (attachment["name"], attachment["mime_type"]) == ("conversation", "audio/wav")
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(attachment["content"])), always_2d=True)
    assert (rate, sound.shape[1]) == (24_000, 2)
    assert abs(sound[:, 0]).max() > 0.2, "the user is on the left"
    assert session[STARTED] == pytest.approx(receiver.the_span("realtime_session").start / 1e9, abs=1e-3)
    assert session["langsmith_realtime.recording_format"] == "wav"
    assert list(tmp_path.iterdir()) == [], "nobody needs the file any more"

    session = session_of(providers, receiver, recording=Recording(directory=tmp_path, keep=True, format="flac"))
    assert json.loads(session[ATTACHMENTS])[0]["mime_type"] == "audio/flac"
    assert [path.suffix for path in tmp_path.iterdir()] == [".flac"]


def test_no_recording_is_attached_without_content_or_for_another_backend(
    providers: Providers, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    recording = Recording(directory=tmp_path)
    cases: list[dict[str, Any]] = [
        {"content": False},
        {"content": "event"},
        {"preset": "langfuse"},
        {"recording": False},
    ]
    for options in cases:
        session = session_of(providers, receiver, **{"recording": recording, **options})
        assert not {ATTACHMENTS, STARTED} & session.keys(), options
    assert list(tmp_path.iterdir()) == []


def test_a_recording_that_langsmith_gets_anyway_is_not_sent_twice(
    tracing: Collector, providers: Providers, receiver: OtlpReceiver
) -> None:
    assert ATTACHMENTS not in session_of(providers, receiver, langsmith=True)
    (root,) = tracing.roots()
    assert "conversation" in str(root.attachments)


def test_a_recording_that_a_limit_would_cut_stays_on_disk_and_the_session_says_so(
    receiver: OtlpReceiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limited = Providers(receiver, span_limits=SpanLimits(max_attribute_length=1000))
    with caplog.at_level(logging.WARNING, "langsmith_realtime"):
        session = session_of(limited, receiver, recording=Recording(directory=tmp_path))
    limited.shutdown()
    assert session[ATTACHMENTS] == "[]"
    assert STARTED not in session
    assert "limit for the length of attributes" in session["langsmith_realtime.recording_error"]
    (kept,) = tmp_path.iterdir()
    assert f"it is kept at {kept}" in caplog.text


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    reason = attach(trace.INVALID_SPAN, ATTACHMENTS, "audio/wav", tmp_path / "gone.wav")
    assert reason == "the recording could not be read (FileNotFoundError)"
