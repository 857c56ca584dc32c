"""LangSmith's own client writes to the collector and reads from it."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import requests
from langsmith import Client, traceable
from langsmith.run_helpers import tracing_context
from langsmith.run_trees import RunTree
from langsmith.utils import LangSmithError, LangSmithNotFoundError

from langsmith_realtime.collector import Collector
from tests.support.collector_requests import START, child, root, update

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# LangSmith deprecates reading by v1, but most programs still do.
pytestmark = [
    pytest.mark.filterwarnings("ignore::langsmith.utils.LangSmithWarning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated and will be removed:DeprecationWarning"),
]


@pytest.fixture(params=["zstd", "plain"])
def client(request: pytest.FixtureRequest, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    if request.param == "plain":
        monkeypatch.setenv("LANGSMITH_DISABLE_RUN_COMPRESSION", "true")
    client = Client(api_url=collector.url, api_key="local")
    yield client
    client.cleanup(timeout=5)


def finished(run: Any) -> bool:
    return run.end_time is not None


def test_the_client_accepts_the_answer_to_info(collector: Collector, client: Client) -> None:
    info = client.info

    assert info.batch_ingest_config is not None
    assert info.batch_ingest_config["use_multipart_endpoint"] is True
    assert info.batch_ingest_config["size_limit_bytes"] == 20_971_520
    assert info.instance_flags == {"zstd_compression_enabled": True, "dataset_examples_multipart_enabled": True}


def test_a_run_is_created_and_updated(collector: Collector, client: Client, tmp_path: Path) -> None:
    recording = tmp_path / "talk.wav"
    recording.write_bytes(os.urandom(300_000))
    run = root()
    run_id = run.pop("id")
    client.create_run(
        **{key: run[key] for key in ("name", "run_type", "trace_id", "dotted_order")},
        id=run_id,
        start_time=START,
        inputs={"question": "Ärger?"},
        project_name="calls",
        extra={"metadata": {"thread_id": "t1"}},
        attachments={"note": ("text/plain", b"said \r\n--nothing")},
    )
    client.flush()
    client.update_run(
        run_id,
        trace_id=run["trace_id"],
        dotted_order=run["dotted_order"],
        end_time=START + timedelta(seconds=3),
        outputs={"answer": 42},
        attachments={"conversation": ("audio/wav", recording)},
        dangerously_allow_filesystem=True,
    )
    client.flush()

    (stored,) = collector.wait_for(lambda runs: runs and finished(runs[0]), timeout=30)
    assert (stored.inputs, stored.outputs) == ({"question": "Ärger?"}, {"answer": 42})
    assert (stored.project, stored.thread_id) == ("calls", "t1")
    assert (stored.creates, stored.updates) == (1, 1)
    assert collector.attachment(run_id, "note")[1].read_bytes() == b"said \r\n--nothing"
    mime_type, path = collector.attachment(run_id, "conversation")
    assert (mime_type, path.read_bytes()) == ("audio/wav", recording.read_bytes())
    assert collector.violations == []

    read = client.read_run(run_id)
    assert (read.name, read.status, read.outputs) == ("session", "success", {"answer": 42})
    reader = read.attachments["conversation"]["reader"]
    assert reader.read() == recording.read_bytes()
    assert read.attachments["note"]["mime_type"] == "text/plain"


def test_a_batch_is_ingested_in_one_request(collector: Collector, client: Client, tmp_path: Path) -> None:
    recording = tmp_path / "talk.wav"
    recording.write_bytes(b"RIFF")
    first = root(inputs={"a": 1})
    runs = [child(first, seconds) for seconds in (1, 2, 3)]
    attachments = {"conversation": ("audio/wav", recording), "note": ("text/plain", b"hi")}
    ids = [run["id"] for run in (first, *runs)]  # copied first, because the client replaces the ids by UUID objects

    client.multipart_ingest(create=[first, *runs])
    client.multipart_ingest(
        update=[update(first, outputs={"b": 2}, attachments=attachments)], dangerously_allow_filesystem=True
    )

    stored = collector.runs(ids[0])
    assert [run.id for run in stored] == ids
    assert stored[0].outputs == {"b": 2}
    assert stored[0].attachments["conversation"].path.read_bytes() == b"RIFF"
    assert stored[0].attachments["note"].mime_type == "text/plain"
    assert [request.operations for request in collector.requests if request.method == "POST"] == [4, 1]
    assert collector.violations == []


@pytest.mark.parametrize("size", [100 << 20])
def test_a_long_recording_is_streamed(collector: Collector, tmp_path: Path, size: int) -> None:
    recording = tmp_path / "talk.wav"
    with recording.open("wb") as file:
        file.truncate(size)
    client = Client(api_url=collector.url, api_key="local", auto_batch_tracing=False)
    run = root()

    client.multipart_ingest(
        create=[{**run, "attachments": {"conversation": ("audio/wav", recording)}}],
        dangerously_allow_filesystem=True,
    )

    assert collector.attachment(run["id"], "conversation")[1].stat().st_size == size
    client.cleanup()


def test_traced_functions_nest(collector: Collector, client: Client) -> None:
    @traceable(run_type="tool")
    def look_up(city: str) -> str:
        return f"sunny in {city}"

    @traceable
    def fail() -> None:
        raise ValueError("no such city")

    @traceable(name="answer", tags=["spoken"], metadata={"thread_id": "t1"})
    def answer(city: str) -> str:
        with pytest.raises(ValueError, match="no such city"):
            fail()
        return look_up(city)

    with tracing_context(enabled=True, client=client, project_name="calls"):
        answer("Oslo")
    client.flush()

    runs = collector.wait_for(lambda runs: len(runs) == 3 and all(map(finished, runs)), timeout=30)
    assert [(run.name, run.run_type, run.status) for run in runs] == [
        ("answer", "chain", "success"),
        ("fail", "chain", "error"),
        ("look_up", "tool", "success"),
    ]
    assert {run.parent_run_id for run in runs[1:]} == {runs[0].id}
    assert runs[1].ancestors == [runs[0].id]
    assert {run.thread_id for run in runs} == {"t1"}
    assert collector.roots("calls") == runs[:1]
    assert collector.roots("other") == []
    assert collector.violations == []

    tree = client.read_run(runs[0].id, load_child_runs=True)
    assert [child_run.name for child_run in tree.child_runs or []] == ["fail", "look_up"]


def test_without_batching_each_run_is_a_request(collector: Collector) -> None:
    client = Client(api_url=collector.url, api_key="local", auto_batch_tracing=False)
    run = RunTree(name="call", ls_client=client)

    run.post()
    run.end(outputs={"a": 1})
    run.patch()

    (stored,) = collector.runs()
    assert (stored.name, stored.outputs, stored.creates, stored.updates) == ("call", {"a": 1}, 1, 1)
    assert [(request.method, request.path) for request in collector.requests] == [
        ("POST", "/runs"),
        ("PATCH", f"/runs/{run.id}"),
    ]
    client.cleanup()


def test_a_run_is_updated_by_its_id_alone(collector: Collector) -> None:
    client = Client(api_url=collector.url, api_key="local", auto_batch_tracing=False)
    run_id = uuid4()
    client.create_run("call", {"a": 1}, "chain", id=run_id)
    client.update_run(run_id, outputs={"b": 2}, end_time=datetime.now(UTC))
    assert (client.read_run(run_id).status, client.read_run(run_id).outputs) == ("success", {"b": 2})
    client.cleanup()


@pytest.fixture
def calls(collector: Collector, client: Client) -> list[dict[str, Any]]:
    """Two traces of one thread in project "calls", one in another, started now."""
    now = datetime.now(UTC)

    def started(seconds: float, name: str, thread: str, **fields: Any) -> dict[str, Any]:
        run_id = str(uuid4())
        start = now + timedelta(seconds=seconds)
        fields = {"inputs": {"said": name}, "outputs": {"heard": name}, **fields}
        return root(
            id=run_id,
            trace_id=run_id,
            dotted_order=f"{start:%Y%m%dT%H%M%S%fZ}{run_id}",
            start_time=start.isoformat(),
            end_time=(start + timedelta(seconds=2)).isoformat(),
            name=name,
            session_name="calls",
            extra={"metadata": {"thread_id": thread}},
            **fields,
        )

    first, second, other = started(-9, "first", "t1"), started(-6, "second", "t1", error="cut"), started(-3, "o", "t2")
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "input_token_details": {"audio": 4}}
    child_run = started(-5, "model", "t1", run_type="llm", tags=["spoken"])
    child_run |= {
        "trace_id": second["id"],
        "parent_run_id": second["id"],
        "dotted_order": f"{second['dotted_order']}.{child_run['dotted_order']}",
        "extra": {"metadata": {"thread_id": "t1", "usage_metadata": usage}},
        "events": [{"name": "new_token", "time": child_run["end_time"]}],
    }
    runs = [first, second, child_run, other]
    client.multipart_ingest(create=[{**run, "attachments": {"note": ("text/plain", b"hi")}} for run in runs])
    assert len(collector.runs()) == 4
    return runs


def names(runs: Any) -> list[str]:
    return [run.name for run in runs]


def test_runs_are_listed(client: Client, calls: list[dict[str, Any]]) -> None:
    everything = list(client.list_runs(project_name="calls"))

    assert names(everything) == ["o", "model", "second", "first"]
    assert everything[1].total_tokens == 7
    assert everything[1].first_token_time is not None
    assert names(client.list_runs(project_name="calls", is_root=True, limit=2)) == ["o", "second"]
    assert names(client.list_runs(project_name="calls", error=True)) == ["second"]
    assert names(client.list_runs(project_name="calls", run_type="llm")) == ["model"]
    assert names(client.list_runs(project_name="calls", filter='eq(name, "first")')) == ["first"]
    assert names(client.list_runs(project_name="calls", trace_filter='eq(name, "second")')) == ["model", "second"]
    assert names(client.list_runs(project_name="calls", tree_filter='has(tags, "spoken")')) == ["model", "second"]
    assert names(client.list_runs(trace_id=calls[1]["id"], order="asc")) == ["second", "model"]
    assert names(client.list_runs(parent_run_id=calls[1]["id"])) == ["model"]
    assert names(client.list_runs(run_ids=[calls[0]["id"], calls[3]["id"]])) == ["o", "first"]
    late = datetime.fromisoformat(calls[2]["start_time"])
    assert names(client.list_runs(project_name="calls", start_time=late)) == ["o", "model"]
    (selected,) = client.list_runs(run_ids=[calls[0]["id"]], select=["outputs"])
    assert (selected.outputs, selected.inputs, selected.attachments) == ({"heard": "first"}, {}, {})


def test_threads_are_read_by_v1(client: Client, calls: list[dict[str, Any]]) -> None:
    assert names(client.read_thread(thread_id="t1", project_name="calls")) == ["first", "second"]
    assert [(thread["thread_id"], thread["count"]) for thread in client.list_threads(project_name="calls")] == [
        ("t2", 1),
        ("t1", 2),
    ]


def test_projects_are_read(client: Client, calls: list[dict[str, Any]]) -> None:
    project = client.read_project(project_name="calls")

    assert client.read_project(project_id=str(project.id)).name == "calls"
    assert client.has_project("calls")
    assert not client.has_project("other")
    assert [each.name for each in client.list_projects(name_contains="all")] == ["calls"]
    assert abs((project.start_time - datetime.fromisoformat(calls[0]["start_time"])).total_seconds()) < 0.001
    with pytest.raises(LangSmithNotFoundError):
        client.read_project(project_id=str(uuid4()))
    run = client.read_run(calls[0]["id"])
    assert client.get_run_url(run=run).endswith(f"{run.app_path}?poll=true")


def test_a_missing_run_is_not_found(client: Client) -> None:
    with pytest.raises(LangSmithNotFoundError):
        client.read_run(uuid4())


def test_listing_runs_needs_a_project_or_ids(collector: Collector, client: Client) -> None:
    with pytest.raises(LangSmithError, match="At least one of"):
        list(client.list_runs())
    assert [violation.rule for violation in collector.violations] == ["query"]


def test_feedback_is_created_and_listed(collector: Collector, client: Client, calls: list[dict[str, Any]]) -> None:
    run_id = calls[0]["id"]
    client.create_feedback(run_id=run_id, trace_id=run_id, key="kind", score=1)
    client.create_feedback(run_id=run_id, key="fast", score=0, comment="slow")
    client.flush()
    collector.wait_for(lambda _: len(collector.feedback(run_id)) == 2, timeout=30)

    assert {each.key: each.score for each in client.list_feedback(run_ids=[run_id])} == {"kind": 1, "fast": 0}
    assert [each.comment for each in client.list_feedback(feedback_key=["fast"])] == ["slow"]
    assert list(client.list_feedback(run_ids=[uuid4()])) == []


@pytest.mark.newest  # langsmith 0.8 has no v2 client
def test_runs_threads_and_traces_are_read_by_v2(client: Client, calls: list[dict[str, Any]]) -> None:
    async def read() -> str:
        project = str(client.read_project(project_name="calls").id)
        run = await client.runs.retrieve_v2(
            calls[1]["id"], project_id=project, selects=["NAME", "STATUS", "RUN_TYPE", "ATTACHMENTS", "IS_ROOT"]
        )
        assert (run.id, run.name, run.status, run.run_type) == (calls[1]["id"], "second", "ERROR", "CHAIN")
        assert run.is_root is True
        assert run.attachments is not None
        link = run.attachments["note"]
        assert run.inputs is None

        listed = client.runs.query_v2(project_ids=[project], selects=["NAME"], page_size=2)
        assert [each.name async for each in listed] == ["o", "model", "second", "first"]
        listed = client.runs.query_v2(
            project_ids=[project], run_type="LLM", has_error=False, is_root=False, selects=["PROMPT_TOKEN_DETAILS"]
        )
        (model,) = [each async for each in listed]
        assert model.prompt_token_details is not None
        assert model.prompt_token_details.raw == {"audio": 4}

        threads = [each async for each in client.threads.query(project_id=project)]
        assert [(each.thread_id, each.count, each.total_tokens) for each in threads] == [("t2", 1, 0), ("t1", 2, 7)]
        assert (threads[1].num_errored_turns, threads[1].last_error, threads[1].latency_p50) == (1, "cut", 2.0)
        assert threads[1].last_trace_id == calls[1]["id"]

        traces = [each async for each in client.threads.list_traces("t1", project_id=project, page_size=1)]
        assert [(each.name, each.turn_number, each.total_tokens) for each in traces] == [
            ("first", 1, 0),
            ("second", 2, 7),
        ]
        assert [
            (each.name, each.trace_id)
            async for each in client.threads.list_traces("t2", project_id=project, selects=["NAME"])
        ] == [("o", None)]

        runs = await client.traces.list_runs(calls[1]["id"], project_id=project, selects=["NAME", "METADATA"])
        assert [each.name for each in runs.items or []] == ["second", "model"]

        queried = [
            each async for each in client.traces.query(project_id=project, trace_ids=[calls[1]["id"]], selects=["NAME"])
        ]
        assert queried[0].root_run is not None
        assert queried[0].root_run.name == "second"
        assert queried[0].trace_aggregates is not None
        assert queried[0].trace_aggregates.total_tokens == 7
        assert len(queried) == 1
        await client._get_langsmith_api().close()
        return link

    assert requests.get(asyncio.run(read()), timeout=5).content == b"hi"


def test_the_client_needs_the_collectors_key(tmp_path: Path) -> None:
    run = root()
    with Collector(api_key="right") as collector:
        for key in ("right", "wrong"):
            client = Client(api_url=collector.url, api_key=key, auto_batch_tracing=False)
            client.multipart_ingest(create=[{**run, "attachments": {"note": ("text/plain", b"hi")}}])
            if key == "right":
                read = client.read_run(run["id"])
                assert read.attachments["note"]["reader"].read() == b"hi"
            else:
                with pytest.raises(LangSmithError, match="Forbidden"):
                    client.read_run(run["id"])
            client.cleanup()
        assert [violation.rule for violation in collector.violations] == ["api-key-wrong"] * 2
        assert collector.requests[-1].status == 403
