"""Write requests: stored runs, refusals, and that a refused request stores nothing."""

from __future__ import annotations

import gzip
import json
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import zstandard

from langsmith_realtime.collector import Collector, Limits
from langsmith_realtime.collector.ingest import parts as ingest
from tests.support.collector_requests import ask, body, child, create, part, root, send, send_body, update
from tests.support.processes import unix_only

if TYPE_CHECKING:
    from collections.abc import Iterator


def stored_files(collector: Collector) -> list[Path]:
    return [path for path in (collector.directory / "attachments").rglob("*") if path.is_file()]


def test_a_run_is_stored_with_its_fields_and_attachment(collector: Collector) -> None:
    run = root(session_name="calls", tags=["a"], extra={"metadata": {"thread_id": "t1"}})

    answer = send(
        collector,
        part(f"post.{run['id']}", run),
        part(f"post.{run['id']}.inputs", {"question": "Ärger?"}),
        part(f"post.{run['id']}.events", [{"name": "new_token"}]),
        part(f"attachment.{run['id']}.conversation", b"RIFF\r\n--cut", Content_Type="audio/wav"),
    )

    assert answer.status_code == 202
    (stored,) = collector.runs()
    assert stored.id == stored.trace_id == run["id"]
    assert (stored.name, stored.run_type, stored.project, stored.status) == ("session", "chain", "calls", "pending")
    assert (stored.inputs, stored.outputs) == ({"question": "Ärger?"}, None)
    assert (stored.tags, stored.events) == (["a"], [{"name": "new_token"}])
    assert (stored.metadata, stored.thread_id) == ({"thread_id": "t1"}, "t1")
    assert (stored.creates, stored.updates) == (1, 0)
    mime_type, path = collector.attachment(run["id"], "conversation")
    assert (mime_type, path.read_bytes()) == ("audio/wav", b"RIFF\r\n--cut")
    assert collector.violations == []
    assert (collector.requests[-1].operations, collector.requests[-1].status) == (1, 202)


@unix_only
def test_stored_files_are_readable_by_their_owner_only(collector: Collector) -> None:
    run = root()
    send(
        collector,
        part(f"post.{run['id']}", run),
        part(f"attachment.{run['id']}.conversation", b"x", Content_Type="audio/wav"),
    )

    for path in [collector.directory, *collector.directory.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("update_first", [False, True])
def test_fields_of_an_update_replace_those_of_the_create_in_any_order(collector: Collector, update_first: bool) -> None:
    run = root(inputs={"from": "create"}, tags=["create"], error="create", session_name="calls")
    later = update(run, inputs={"from": "update"}, tags=None, end_time=run["start_time"], outputs={"is": "done"})
    requests = [part(f"post.{run['id']}", run), part(f"patch.{run['id']}", later)]

    for request in reversed(requests) if update_first else requests:
        assert send(collector, request).status_code == 202

    (stored,) = collector.runs()
    assert (stored.inputs, stored.outputs, stored.tags) == ({"from": "update"}, {"is": "done"}, ["create"])
    assert (stored.error, stored.status, stored.project) == ("create", "error", "calls")
    assert (stored.creates, stored.updates) == (1, 1)


def test_an_update_without_a_create_is_stored(collector: Collector) -> None:
    run = root()

    send(collector, part(f"patch.{run['id']}", update(run, end_time=run["start_time"])))

    (stored,) = collector.runs()
    assert (stored.creates, stored.updates, stored.name, stored.status) == (0, 1, "", "success")
    assert stored.start_time.isoformat() == run["start_time"]


@pytest.mark.parametrize("kind", ["post", "patch"])
def test_a_second_create_or_update_conflicts_and_is_lost(collector: Collector, kind: str) -> None:
    run = root()
    other = child(run)
    send(collector, part(f"{kind}.{run['id']}", {**run, "name": "first"}))

    answer = send(collector, part(f"post.{other['id']}", other), part(f"{kind}.{run['id']}", {**run, "name": "second"}))

    assert answer.status_code == 409
    assert answer.json()["error"].startswith(
        "Conflict: payload already received: payloads already received; send a run"
    )
    assert [stored.name for stored in collector.runs()] == ["first"]
    (violation,) = collector.violations
    assert (violation.rule, violation.run_id, violation.status) == ("conflict", run["id"], 409)


def test_a_request_with_two_creates_of_a_run_conflicts(collector: Collector) -> None:
    run = root()

    assert send(collector, *[part(f"post.{run['id']}", run)] * 2).status_code == 409
    answer = ask("POST", f"{collector.url}/runs/batch", json={"post": [run, run]})
    assert answer.status_code == 409
    assert collector.runs() == []


def test_one_bad_run_fails_its_whole_request(collector: Collector) -> None:
    good, bad = root(), root(run_type="agent")

    answer = send(
        collector,
        part(f"post.{good['id']}", good),
        part(f"attachment.{good['id']}.conversation", b"x", Content_Type="audio/wav"),
        part(f"post.{bad['id']}", bad),
    )

    assert answer.status_code == 422
    assert "run_type must be one of chain, embedding, " in answer.json()["error"]
    assert collector.runs() == []
    assert stored_files(collector) == []
    (violation,) = collector.violations
    assert (violation.rule, violation.run_id) == ("run-type", bad["id"])


def test_an_attachment_with_a_period_in_its_name_is_dropped(collector: Collector) -> None:
    run = root()

    answer = send(
        collector,
        part(f"post.{run['id']}", run),
        part(f"attachment.{run['id']}.talk.wav", b"x", Content_Type="audio/wav"),
    )

    assert answer.status_code == 202
    assert collector.runs()[0].attachments == {}
    assert stored_files(collector) == []
    assert [violation.rule for violation in collector.violations] == ["attachment-name"]


@pytest.mark.parametrize("copies", [2, 3])
def test_of_attachments_with_one_name_the_first_is_stored_and_no_other_file_stays(
    collector: Collector, copies: int
) -> None:
    run = root()
    name = f"attachment.{run['id']}.conversation"

    answer = send(
        collector,
        *(part(name, b"take %d" % number, Content_Type="audio/wav") for number in range(copies)),
        part(f"post.{run['id']}", run),
    )

    assert answer.status_code == 202
    stored = collector.attachment(run["id"], "conversation")[1]
    assert stored.read_bytes() == b"take 0"
    assert stored_files(collector) == [stored]


def test_a_refused_request_with_two_attachments_of_one_name_leaves_no_files(collector: Collector) -> None:
    run, other = root(), root()
    recording = part(f"attachment.{run['id']}.conversation", b"x", Content_Type="audio/wav")
    homeless = part(f"attachment.{other['id']}.conversation", b"x", Content_Type="audio/wav")

    # Attachments join their runs from the last part to the first, so the one without a run is found at the end.
    answer = send(collector, homeless, part(f"post.{run['id']}", run), recording, recording)

    assert answer.status_code == 422
    assert stored_files(collector) == []


def test_the_length_of_a_part_may_be_a_parameter_of_the_content_type(collector: Collector) -> None:
    run = root()
    attachment = part(
        f"attachment.{run['id']}.conversation", b"1234", Content_Type="audio/wav; length=4", Content_Length=None
    )

    assert send(collector, attachment, part(f"post.{run['id']}", run)).status_code == 202
    assert collector.attachment(run["id"], "conversation")[0] == "audio/wav"


ID = str(uuid4())


@pytest.mark.parametrize(
    ("parts", "rule"),
    [
        ([part(f"post.{ID}", {}, Content_Type=None)], "part-content-type"),
        ([part(f"post.{ID}", {}, Content_Type="text/plain")], "part-content-type"),
        ([part(f"attachment.{ID}.a", b"", Content_Type="audio/ü")], "part-content-type"),
        ([part(f"post.{ID}", {}, Content_Length=None)], "part-length"),
        ([part(f"post.{ID}", {}, Content_Length="3")], "part-length"),
        ([part(f"post.{ID}", {}, Content_Length="-2")], "part-length"),
        (
            [part(f"attachment.{ID}.a", b"12345", Content_Type="audio/wav; length=4", Content_Length=None)],
            "part-length",
        ),
        ([part(f"attachment.{ID}.a", b"1", Content_Type="audio/wav", Content_Length="9" * 5000)], "part-length"),
        ([part(f"post.{ID}", {}, Content_Encoding="gzip")], "part-encoding"),
        ([part("", {}, Content_Disposition=None)], "part-name"),
        ([part("post", {})], "part-name"),
        ([part(f"put.{ID}", {})], "part-name"),
        ([part(f"attachment.{ID}", b"")], "part-name"),
        ([part(f"post.{ID}", root(id=ID)), part(f"post.{ID}.name", "x")], "part-name"),
        ([part(f"feedback.{ID}.key", "x")], "part-name"),
        ([part(f"post.{ID}.inputs", {})], "part-alone"),
        ([part(f"patch.{ID}", root(id=ID)), part(f"post.{ID}.inputs", {})], "part-alone"),
        ([part(f"attachment.{ID}.a", b"", Content_Type="audio/wav")], "part-alone"),
        ([part(f"post.{ID}", b"{")], "body"),
        ([part(f"post.{ID}", b'{"a": NaN}')], "body"),
        ([part(f"post.{ID}", b"[" * 100_000)], "body"),
        ([part(f"post.{ID}", [])], "body"),
        ([part("post.x", {})], "id"),
        ([part("feedback.x", {"key": "a"})], "id"),
        ([part(f"feedback.{ID}", {})], "field"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_part_that_breaks_a_rule_fails_the_request(collector: Collector, parts: list[bytes], rule: str) -> None:
    # The attachment comes first, so that its temporary file exists when the request is refused.
    run = root()
    before = [
        part(f"attachment.{run['id']}.conversation", b"x", Content_Type="audio/wav"),
        part(f"post.{run['id']}", run),
    ]

    answer = send(collector, *before, *parts)

    assert answer.status_code == 422
    assert [violation.rule for violation in collector.violations] == [rule]
    assert collector.violations[0].message == answer.json()["error"]
    assert collector.runs() == []
    assert stored_files(collector) == []


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"--cut-here\r\nbroken", {}),
        (b"{}", {"Content_Type": "application/json"}),
        (b"--x--", {"Content_Type": "multipart/form-data"}),
        (b"no zstd at all", {"Content_Encoding": "zstd"}),
        (zstandard.compress(body([part("post.x", {})]))[:-20], {"Content_Encoding": "zstd"}),
    ],
    ids=["broken", "json", "no boundary", "not zstd", "incomplete"],
)
def test_a_body_that_is_not_multipart_is_refused(collector: Collector, content: bytes, headers: dict[str, str]) -> None:
    answer = send_body(collector, content, **headers)

    assert answer.status_code == 422
    assert [violation.rule for violation in collector.violations] == ["body"]


def test_an_unknown_encoding_is_refused(collector: Collector) -> None:
    assert send_body(collector, bytes(1 << 20), Content_Encoding="br").status_code == 415


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_whole_body_may_be_compressed(collector: Collector, encoding: str) -> None:
    run = root()
    plain = body([part(f"post.{run['id']}", run)])
    compressed = gzip.compress(plain) if encoding == "gzip" else zstandard.compress(plain)

    assert send_body(collector, compressed, Content_Encoding=encoding).status_code == 202
    assert [stored.id for stored in collector.runs()] == [run["id"]]
    assert collector.requests[-1].bytes == len(compressed)


def test_a_body_without_parts_is_accepted_as_a_violation(collector: Collector) -> None:
    assert send(collector).status_code == 202
    assert [violation.rule for violation in collector.violations] == ["body-empty"]


class TestLimits:
    @pytest.fixture
    def collector(self) -> Iterator[Collector]:
        with Collector(limits=Limits(run_bytes=4000, body_bytes=100_000, trace_runs=3)) as running:
            yield running

    def test_a_run_above_the_limit_is_refused(self, collector: Collector) -> None:
        run = root()

        answer = send(collector, part(f"post.{run['id']}", run), part(f"post.{run['id']}.inputs", {"text": "x" * 4000}))

        assert answer.status_code == 413
        assert answer.json()["error"].startswith("Payload too large")
        assert [violation.rule for violation in collector.violations] == ["body-size"]

    def test_attachments_and_other_runs_do_not_count_towards_the_limit_of_a_run(self, collector: Collector) -> None:
        first = root(inputs={"text": "x" * 3000})
        second = child(first, inputs={"text": "x" * 3000})
        attachment = part(f"attachment.{first['id']}.conversation", bytes(50_000), Content_Type="audio/wav")

        answer = send(collector, part(f"post.{first['id']}", first), attachment, part(f"post.{second['id']}", second))

        assert answer.status_code == 202

    def test_a_body_above_the_limit_before_decompression_is_refused_and_read_to_its_end(
        self, collector: Collector
    ) -> None:
        run = root()
        attachment = part(f"attachment.{run['id']}.conversation", bytes(8 << 20), Content_Type="audio/wav")

        answer = send(collector, part(f"post.{run['id']}", run), attachment)

        assert answer.status_code == 413
        assert collector.requests[-1].bytes > 8 << 20
        assert stored_files(collector) == []

    def test_a_json_body_above_the_limit_is_refused(self, collector: Collector) -> None:
        answer = ask("POST", f"{collector.url}/runs", json=root(inputs={"text": "x" * 5000}))

        assert answer.status_code == 413
        assert "detail" in answer.json()

    def test_a_run_beyond_the_limit_of_a_trace_is_refused(self, collector: Collector) -> None:
        first = root()
        create(collector, first, child(first), child(first))
        late = child(first)

        answer = send(collector, part(f"post.{late['id']}", late))

        assert answer.status_code == 422
        assert [violation.rule for violation in collector.violations] == ["trace-size"]
        finished = part(f"patch.{first['id']}", update(first, end_time=first["start_time"]))
        assert send(collector, finished).status_code == 202

    def test_a_request_above_the_memory_limit_is_refused(
        self, collector: Collector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ingest, "MEMORY_LIMIT", 5000)
        runs = [root(inputs={"text": "x" * 2000}) for _ in range(3)]

        answer = send(collector, *(part(f"post.{run['id']}", run) for run in runs))

        assert answer.status_code == 413
        assert collector.runs() == []


def test_a_batch_stores_creates_and_updates(collector: Collector) -> None:
    run = root()
    content = {"post": [run], "patch": [update(run, outputs={"a": 1})]}

    answer = ask("POST", f"{collector.url}/api/v1/runs/batch", json=content)

    assert answer.status_code == 202
    assert collector.runs()[0].outputs == {"a": 1}
    assert collector.requests[-1].operations == 2


@pytest.mark.parametrize("content", ["{", "[]", '{"post": {}}', '{"post": [1]}'])
def test_a_malformed_batch_is_refused(collector: Collector, content: str) -> None:
    answer = ask("POST", f"{collector.url}/runs/batch", content=content)

    assert answer.status_code == 422
    assert answer.json()["detail"] == collector.violations[0].message


def test_a_root_in_a_request_of_its_own_may_lack_trace_id_and_dotted_order(collector: Collector) -> None:
    run = root()
    first = {key: value for key, value in run.items() if key not in {"trace_id", "dotted_order"}}

    assert ask("POST", f"{collector.url}/runs", json=first).status_code == 202
    finished = ask("PATCH", f"{collector.url}/runs/{run['id']}", json={"outputs": {"a": 1}})
    assert finished.status_code == 202
    (stored,) = collector.runs()
    assert (stored.dotted_order, stored.outputs) == (run["dotted_order"], {"a": 1})


def test_an_update_in_a_request_of_its_own_may_lack_trace_id_and_dotted_order(collector: Collector) -> None:
    run = root()
    child_run = child(run)
    create(collector, run)

    assert ask("POST", f"{collector.url}/runs", json=child_run).status_code == 202
    assert ask("PATCH", f"{collector.url}/runs/{child_run['id']}", json={"error": "lost"}).status_code == 202
    assert [stored.status for stored in collector.runs()] == ["pending", "error"]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_run_without_dotted_order_and_start_time_is_refused(collector: Collector, method: str) -> None:
    fields = {"id": ID, "name": "x", "run_type": "chain"}
    path = "/runs" if method == "POST" else f"/runs/{ID}"

    assert ask(method, collector.url + path, json=fields).status_code == 422


def test_feedback_is_stored_by_both_endpoints(collector: Collector) -> None:
    first, second = (str(uuid4()) for _ in range(2))

    assert send(collector, part(f"feedback.{first}", {"key": "kind", "run_id": ID, "score": 1})).status_code == 202
    answer = ask("POST", f"{collector.url}/feedback", json={"id": second, "key": "fast", "run_id": None})

    assert answer.status_code == 202
    assert [feedback["key"] for feedback in collector.feedback()] == ["kind", "fast"]
    assert [feedback["id"] for feedback in collector.feedback(ID)] == [first]


@pytest.mark.parametrize("known", [True, False])
def test_a_run_may_name_its_project_by_id(collector: Collector, known: bool) -> None:
    create(collector, root(session_name="calls"))
    (project,) = ask("GET", f"{collector.url}/sessions").json()
    run = root(session_id=project["id"] if known else ID)

    create(collector, run)

    assert {stored.id: stored.project for stored in collector.runs()}[run["id"]] == ("calls" if known else "default")


def test_a_second_collector_keeps_the_runs_of_its_directory(tmp_path: Path) -> None:
    run = root()
    unfinished = tmp_path / "kept" / "attachments" / "incoming-1"
    with Collector(tmp_path / "kept") as first:
        create(first, run)
    unfinished.write_bytes(b"an unfinished upload")

    with Collector(tmp_path / "kept") as second:
        assert [stored.id for stored in second.runs()] == [run["id"]]
        assert second.wait_for(len, timeout=30)[0].name == "session"
        assert send(second, part(f"post.{run['id']}", run)).status_code == 409

    assert not unfinished.exists()
    assert (tmp_path / "kept" / "runs.sqlite3").exists()


def test_the_api_key_is_not_stored(collector: Collector) -> None:
    secret = "lsv2_secret"  # not a key
    run = root()
    send_body(collector, body([part(f"post.{run['id']}", run)]), x_api_key=secret)

    with sqlite3.connect(collector.directory / "runs.sqlite3") as database:
        assert secret not in "".join(database.iterdump())
    database.close()
    assert secret not in json.dumps([vars(request) for request in collector.requests])


def test_multipart_answers_with_error_and_other_endpoints_with_detail(collector: Collector) -> None:
    answers: list[dict[str, Any]] = [
        send(collector, part("post.x", {})).json(),
        ask("POST", f"{collector.url}/runs", json={"id": "x"}).json(),
    ]

    assert [list(answer) for answer in answers] == [["error"], ["detail"]]
