"""The multipart request has the body that LangSmith's client would send, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from langsmith import Client, env

from langsmith_realtime.collector import Collector
from langsmith_realtime.delivery.langsmith_client.multipart import multipart_ingest
from langsmith_realtime.trace.run_trees.run_ids import segment, time_of, uuid7


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """The bodies of the requests that LangSmith's clients send."""
    sent: list[bytes] = []
    original = Client.request_with_retries

    def request(self: Client, *arguments: Any, **fields: Any) -> Any:
        body = fields.get("request_kwargs", {}).get("data")
        if body is not None:
            sent.append(body if isinstance(body, bytes) else body.read())
        return original(self, *arguments, **fields)

    monkeypatch.setattr(Client, "request_with_retries", request)
    yield sent


def run(**fields: Any) -> dict[str, Any]:
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    run_id = uuid7(now)
    return {
        "id": run_id,
        "trace_id": run_id,
        "dotted_order": segment(time_of(now), run_id),
        "name": "session.created",
        "run_type": "chain",
        "start_time": time_of(now),
        "inputs": {"event": {"said": "my number is 1234", "naïve": "é"}},
        "extra": {"metadata": {"thread_id": "t"}},
        **fields,
    }


def test_the_request_body_equals_the_clients_own(
    collector: Collector, bodies: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("LANGSMITH_", "LANGCHAIN_"))]:
        monkeypatch.delenv(name)  # the client alone would send these settings
    getattr(env.get_langchain_env_var_metadata, "cache_clear")()  # noqa: B009 - the overloads' type hides the cache
    client = Client(api_url=collector.url, api_key="k", anonymizer=lambda data: {**data, "masked": True})
    rows = [run(), run(error="failed", outputs={"a": 1}), run(name="third")]
    client.multipart_ingest(
        create=[dict(row, extra={"metadata": {"thread_id": "t"}}) for row in rows[:2]],
        update=[dict(rows[2], extra={"metadata": {}})],
    )
    multipart_ingest(
        client,
        [dict(row, extra={"metadata": {"thread_id": "t"}}) for row in rows[:2]],
        [dict(rows[2], extra={"metadata": {}})],
    )
    theirs, ours = bodies
    assert ours == theirs
    assert b'"masked":true' in ours


def test_attachments_and_repeated_runs_take_the_clients_own_method(collector: Collector, tmp_path: Path) -> None:
    client = Client(api_url=collector.url, api_key="k")
    recording = tmp_path / "recording"
    recording.write_bytes(b"audio")
    first, second = run(), run(attachments={"conversation": ("audio/wav", recording)})
    multipart_ingest(client, [first], [{**first, "end_time": first["start_time"]}])  # a create and an update of one run
    multipart_ingest(client, [second], [])
    one, other = collector.wait_for(lambda runs: len(runs) == 2, timeout=30)
    assert one.end_time is not None
    assert other.attachments["conversation"].path.read_bytes() == b"audio"


@pytest.mark.newest  # langsmith 0.8 has no fallback
def test_a_server_without_the_multipart_route_gets_a_json_batch(collector: Collector) -> None:
    client = Client(api_url=collector.url, api_key="k")
    collector.respond_with(404, times=2)
    multipart_ingest(client, [run()], [])
    assert len(collector.runs()) == 1
    assert [request.path for request in collector.requests if request.method == "POST"][-1].endswith("/runs/batch")
