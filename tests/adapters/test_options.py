"""Options: their checks, their defaults, and LangSmith's tracing switch."""

from __future__ import annotations

import base64
import functools
import logging
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from langsmith import Client, RunTree, tracing_context, utils

from langsmith_realtime import Keep, Recording, SessionTracer, flush, pii
from langsmith_realtime.core.protocol.audio_formats import Format
from langsmith_realtime.options import tracing as options
from langsmith_realtime.options.tracing import Options

if TYPE_CHECKING:
    from pathlib import Path

    from langsmith_realtime.collector import Collector


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"thread": "t"}, TypeError, "'thread' is not a tracing option; choose from address, agent_format, client,"),
        ({"thread_id": 7}, TypeError, "thread_id must be of type str or UUID, got int"),
        ({"replicas": [1]}, TypeError, "WriteReplica"),
        ({"sample_rate": "24000"}, TypeError, "sample_rate must be of type int, got str"),
        ({"sample_rate": True}, TypeError, "sample_rate must be of type int, got bool"),
        ({"sample_rate": 0}, ValueError, "between 1000 and 192000 Hz, got 0"),
        ({"sample_rate": None}, ValueError, "got None"),
        ({"project_name": 1}, TypeError, "project_name must be of type str"),
        ({"tags": "one"}, TypeError, "tags must be of type list"),
        ({"tags": ["one", 2]}, TypeError, "tags must be a list of str"),
        ({"metadata": ["a"]}, TypeError, "metadata must be of type Mapping"),
        ({"is_agent_speaking": True}, TypeError, "is_agent_speaking must be a function"),
        ({"max_audio_seconds": -1}, ValueError, "max_audio_seconds must be positive, got -1"),
        ({"client": "client"}, TypeError, "client must be of type Client"),
        ({"replicas": "one"}, TypeError, "replicas must be of type list or tuple"),
        ({"enabled": "yes"}, TypeError, "enabled must be of type bool"),
        ({"parent": "trace"}, TypeError, "parent must be of type RunTree or Mapping"),
        ({"parent": 7}, TypeError, "parent must be of type RunTree or Mapping, got int"),
        ({"recording": "wav"}, TypeError, "recording must be of type bool or Recording"),
        ({"recording": None}, TypeError, "recording must be True or False, got None; leave it out for the default"),
        ({"transcripts": None}, TypeError, "transcripts must be True or False, got None"),
        ({"langsmith": None}, TypeError, "langsmith must be True or False, got None"),
        ({"redact": pii}, TypeError, r"redact must be a function of a payload, or pii\(\), got pii\(\*, cards"),
        ({"keep": Keep}, TypeError, r"keep must be a Keep\(\.\.\.\), or a function of .*, got Keep\(\*, share"),
        ({"keep": lambda: True}, TypeError, r"keep must be .*, got <lambda>\(\)"),
        ({"is_agent_speaking": lambda at: at}, TypeError, "must be a function without arguments, got <lambda>"),
        ({"user_format": 8000}, TypeError, "user_format must be of type str or Mapping, got int"),
        ({"user_format": "mp3"}, ValueError, "user_format must be one of audio/pcm, pcm16, .*g711_alaw, got 'mp3'"),
        ({"agent_format": {"type": "opus"}}, ValueError, "agent_format must be one of .*, got {'type': 'opus'}"),
        ({"agent_format": {}}, ValueError, "agent_format must be one of"),
        ({"agent_format": {"type": "audio/pcm", "rate": 7}}, ValueError, "between 1000 and 192000 Hz, got 7"),
        ({"agent_format": {"type": "audio/pcm", "rate": "8k"}}, ValueError, "between 1000 and 192000 Hz, got '8k'"),
    ],
)
def test_a_wrong_option_raises(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SessionTracer(**given)


def test_functions_are_taken_whatever_more_they_could_be_given() -> None:
    def is_speaking(default: bool = True) -> bool:
        return default

    partial = functools.partial(lambda limit, numbers: numbers["turns"] > limit, 3)
    given = Options.of(redact=dict, keep=partial, is_agent_speaking=is_speaking)
    assert (given.redact, given.keep, given.is_agent_speaking) == (dict, partial, is_speaking)


def test_a_wrong_value_of_a_recording_raises() -> None:
    with pytest.raises(TypeError, match="directory must be a path or a URL, got int"):
        Recording(directory=7)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="keep must be a bool, got str"):
        Recording(keep="yes")  # type: ignore[arg-type]


def test_options_are_normalised() -> None:
    thread = uuid.uuid4()
    checked = Options.of(thread_id=thread, tags=["a", "b"], recording=False, max_audio_seconds=600)
    assert checked.thread_id == str(thread)
    assert checked.tags == ("a", "b")
    assert checked.recording is None
    assert Options.of().recording == Recording()
    assert Options.of(thread_id="").thread_id is None
    assert Options.of(max_audio_seconds=float("inf")).max_audio_seconds is None
    assert Options.of(recording=Recording(keep=True)).recording == Recording(keep=True)


def test_a_format_is_given_by_name_or_by_an_object() -> None:
    checked = Options.of(user_format="g711_ulaw", agent_format={"type": "audio/pcm", "rate": 16_000})
    assert (checked.user_format, checked.agent_format) == (Format("ulaw", 8_000), Format("pcm16", 16_000))
    assert Options.of(user_format={"type": "audio/pcm"}).user_format == Format("pcm16", 24_000)
    assert Options.of(user_format=None).user_format is None


def test_audio_is_decoded_in_the_given_formats(tracing: Collector, tmp_path: Path) -> None:
    audio = base64.b64encode(b"\x80" * 800).decode()  # 100 ms of µ-law
    recording = Recording(directory=tmp_path, keep=True)
    with SessionTracer(user_format="g711_ulaw", agent_format={"type": "audio/pcmu"}, recording=recording) as tracer:
        tracer.client_event({"type": "input_audio_buffer.append", "audio": audio})
        tracer.record_agent_audio(b"\x80" * 1600)
    flush(10)
    (path,) = tmp_path.glob("*.wav")
    frames, rate = soundfile.read(path, dtype="int16")
    assert rate == 8_000
    assert np.count_nonzero(frames[:, 0] == 32_124) == 800


def test_an_address_needs_a_langsmith_with_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    address = {"kind": "AGENT", "id": "shop", "environment": "STAGING"}
    if "address" in RunTree.model_fields:
        assert Options.of(address=address).address == address
        with pytest.raises(ValueError, match="exclude each other"):
            Options.of(address=address, project_name="shop")
        with pytest.raises(ValueError, match="LangSmith refuses this address"):
            Options.of(address="agents/shop")
    known = {name: field for name, field in RunTree.model_fields.items() if name != "address"}
    place = "__pydantic_fields__" if hasattr(RunTree, "__pydantic_fields__") else "model_fields"  # before pydantic 2.10
    monkeypatch.setattr(RunTree, place, known)
    with pytest.raises(ValueError, match="address needs a newer langsmith"):
        Options.of(address=address)


def test_the_tracing_switch_is_that_of_langsmith(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Options.of().is_on
    assert Options.of(enabled=True).is_on
    with tracing_context(enabled=True):
        assert Options.of().is_on
        assert not Options.of(enabled=False).is_on
    with tracing_context(enabled="local"):  # truthy, but "local" means that nothing is sent
        assert not Options.of().is_on
    set_environment(monkeypatch, "LANGSMITH_TRACING", "true")
    assert Options.of().is_on
    with tracing_context(enabled=False):
        assert not Options.of().is_on


def test_an_api_key_with_tracing_off_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(options, "_warned", set())
    set_environment(monkeypatch, "LANGSMITH_API_KEY", "lsv2_pt_0123456789abcdef")
    with caplog.at_level(logging.WARNING, "langsmith_realtime"):
        for _ in range(3):
            assert not Options.of().is_on
    (record,) = (record for record in caplog.records if record.name == "langsmith_realtime")
    assert "LANGSMITH_TRACING=true" in record.message
    assert "lsv2_pt" not in caplog.text


@pytest.mark.parametrize("value", ["True", "1", "yes"])
def test_a_spelling_of_true_that_langsmith_does_not_accept_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    monkeypatch.setattr(options, "_warned", set())
    set_environment(monkeypatch, "LANGSMITH_API_KEY", "lsv2_pt_0123456789abcdef")
    set_environment(monkeypatch, "LANGSMITH_TRACING", value)
    assert not Options.of().is_on
    assert "lower case" in caplog.text


def test_tracing_that_is_switched_off_explicitly_is_not_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(options, "_warned", set())
    set_environment(monkeypatch, "LANGSMITH_API_KEY", "lsv2_pt_0123456789abcdef")
    set_environment(monkeypatch, "LANGSMITH_TRACING", "false")
    assert not Options.of().is_on
    assert not Options.of(enabled=False).is_on
    assert caplog.records == []


def test_a_parent_from_headers_uses_the_client_option() -> None:
    client = Client(api_url="http://127.0.0.1:9", api_key="k", auto_batch_tracing=False, info={})
    headers = RunTree(name="gateway", ls_client=client).to_headers()
    parent = Options.of(parent=headers, client=client).parent
    assert parent is not None
    assert parent.ls_client is client


def set_environment(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    getattr(utils.get_env_var, "cache_clear")()  # noqa: B009 - LangSmith reads the environment once
