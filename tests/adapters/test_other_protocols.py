"""Protocols that are not traced: said at once, by an exception or on the root."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from langsmith_realtime import SessionTracer, wrap_realtime
from langsmith_realtime.collector import Collector
from tests.support.conversations import OTHER_PROTOCOLS, RECORDINGS, the_tree


def stand_in(module: str, name: str) -> Any:
    """Returns an object of a class with this name, as openai's connections of other protocols are."""
    return type(name, (), {"__module__": module})()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("openai.resources.live.live", "AsyncLiveConnection"),
        ("openai.resources.live.sideband", "SidebandConnection"),
        ("openai.resources.realtime.translations.translations", "TranslationsConnection"),
        ("openai.resources.brand_new", "BrandNewConnectionManager"),
    ],
)
def test_a_connection_of_another_protocol_raises(module: str, name: str) -> None:
    with pytest.raises(TypeError, match=f"protocol not traced: {module}.{name}; .*client.realtime.connect"):
        wrap_realtime(stand_in(module, name))


@pytest.mark.newest
@pytest.mark.parametrize("make", [OpenAI, AsyncOpenAI])
def test_what_openai_makes_for_other_protocols_raises(make: Any) -> None:
    client = make(api_key="test")
    with pytest.raises(TypeError, match=r"got (Async)?OpenAI; wrap_openai_realtime\(client\) traces every connection"):
        wrap_realtime(client)
    with pytest.raises(TypeError, match=r"protocol not traced: openai\.resources\.realtime\.translations"):
        wrap_realtime(client.realtime.translations.connect(model="gpt-realtime-translate"))


@pytest.mark.parametrize("prefix", OTHER_PROTOCOLS)
def test_a_recording_of_another_protocol_says_so_on_the_root(
    tracing: Collector, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    paths = sorted(RECORDINGS.glob(f"{prefix}*.jsonl"))
    if not paths:
        pytest.skip(f"no recordings in {RECORDINGS}")
    with SessionTracer() as tracer:
        for line in paths[0].read_text("utf-8").splitlines():
            frame = json.loads(line)
            (tracer.server_event if frame["dir"] == "server" else tracer.client_event)(frame["event"])
    root = the_tree(tracing)
    name = {"live-": "GPT-Live", "translation-": "Realtime translation"}[prefix]
    assert root.metadata["protocol_not_traced"] == name
    assert root.run.error == f"protocol not traced: {name}"
    assert [
        r.message for r in caplog.records if "protocol not traced" in r.message and r.levelno == logging.WARNING
    ] == [f"protocol not traced: {name}. The trace shows only its events; it traces Realtime."]


@pytest.mark.parametrize(
    ("events", "name"),
    [
        ([{"type": "session.started", "session": {"id": "live_1"}}], "GPT-Live"),
        (
            [{"type": "error", "error": {}}, {"type": "response.event", "event": {"type": "response.created"}}],
            "GPT-Live",
        ),
        ([{"type": "session.output_audio.delta", "delta": "AAAA"}], "GPT-Live or Realtime translation"),
        ([{"type": "session.created", "session": {"type": "dubbing"}}], "Realtime dubbing"),
        ([{"type": "session.created", "session": {"type": "realtime"}}], None),
        ([{"type": "session.created", "session": {"type": "transcription"}}], None),
        ([{"type": "session.created", "session": {}}, {"type": "session.avatar.connecting"}], None),
        (
            [{"type": "session.created", "session": {"type": "voice"}}, {"type": "response.created", "response": {}}],
            None,
        ),
    ],
)
def test_a_protocol_is_recognised_by_the_events_that_realtime_does_not_have(
    tracing: Collector, events: list[dict[str, Any]], name: str | None
) -> None:
    with SessionTracer() as tracer:
        for event in events:
            tracer.server_event(event)
    root = the_tree(tracing)
    assert root.metadata.get("protocol_not_traced") == name
    assert root.run.error == (None if name is None else f"protocol not traced: {name}")
