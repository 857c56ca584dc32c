"""A LangSmith server without the multipart route, on a real socket: each run arrives once, by the JSON route."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from langsmith import Client
from langsmith.run_trees import RunTree
from urllib3.util.retry import Retry

from langsmith_realtime import Recording, SessionTracer, flush
from langsmith_realtime.delivery.batches import send_batch
from langsmith_realtime.delivery.operations import Operation
from langsmith_realtime.live.process import process
from langsmith_realtime.options.limits import Limits
from langsmith_realtime.testing import tone
from langsmith_realtime.trace.run_trees.run_ids import segment, time_of, uuid7

pytestmark = pytest.mark.newest  # langsmith 0.8 has no fallback


class JsonOnlyServer(ThreadingHTTPServer):
    """Has ``POST /runs/batch``, and answers 404 to every other write, as LangSmith before the multipart route did.

    Attributes:
        url: address of the API.
        writes: path and status of each write request.
        created: runs of accepted creates, oldest first.
        updated: runs of accepted updates, oldest first.
        routes: the write routes that exist.
        next_statuses: statuses of the next requests to the JSON route; 0 stores the runs and closes the connection.
        refused_names: names of runs for which a request gets the status 422.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.writes: list[tuple[str, int]] = []
        self.created: list[dict[str, Any]] = []
        self.updated: list[dict[str, Any]] = []
        self.routes = {"/runs/batch"}
        self.next_statuses: list[int] = []
        self.refused_names: set[str] = set()

    def finished(self) -> list[str]:
        """The names of the runs that have ended, the root's last, whether their end came with the create or later."""
        runs = {run["id"]: run for run in (*self.created, *self.updated) if run.get("end_time")}
        return [run["name"] for run in sorted(runs.values(), key=lambda run: run.get("parent_run_id") is None)]

    def take(self, path: str, body: bytes) -> int:
        """Store the runs of a request, and return its status."""
        if path not in self.routes:
            return 404
        content = json.loads(body)
        created, updated = content.get("post", []), content.get("patch", [])
        if self.refused_names & {run.get("name") for run in (*created, *updated)}:
            return 422
        stored = [{run["id"] for run in runs} for runs in (self.created, self.updated)]
        if any({run["id"] for run in new} & ids for new, ids in zip((created, updated), stored, strict=True)):
            return 409
        status = self.next_statuses.pop(0) if self.next_statuses else 202
        if status in (0, 202):
            self.created += created
            self.updated += updated
        return status


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: JsonOnlyServer

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/info" else 404)

    def do_POST(self) -> None:
        status = self.server.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
        self.server.writes.append((self.path, status))
        if status:
            self._answer(status)
        else:
            self.close_connection = True

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Keep the tests' output free of requests."""


@contextmanager
def json_only_server() -> Iterator[JsonOnlyServer]:
    with JsonOnlyServer() as running:
        thread = threading.Thread(target=lambda: running.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[JsonOnlyServer]:
    with json_only_server() as running:
        yield running


def client_of(*servers: JsonOnlyServer) -> Client:
    """A client without urllib3's retries, which take 18 s."""
    if len(servers) > 1:
        return Client(api_urls={each.url: f"key {each.url}" for each in servers}, info={}, retry_config=Retry(0))
    return Client(api_url=servers[0].url, api_key="k", retry_config=Retry(0))


def operation(client: Client, **fields: Any) -> Operation:
    now = time.time_ns() // 1000
    run_id = uuid7(now)
    run = RunTree(
        id=run_id,
        trace_id=run_id,
        dotted_order=segment(time_of(now), run_id),
        start_time=time_of(now),
        name="session.created",
        run_type="chain",
        ls_client=client,
        extra={"metadata": {}},
    )
    return Operation(run, **fields)


#: Names of the runs of :func:`converse`.
CONVERSATION = [*["session.updated"] * 3, "realtime_session"]


def converse(tracer: SessionTracer) -> None:
    with tracer:
        for number in range(3):
            tracer.server_event({"type": "session.updated", "event_id": f"event_{number}", "session": {}})


def retry_soon(limits: Limits) -> None:
    limits.first_retry_s = limits.request_wait_s = 0.02


def test_a_batch_that_the_json_route_takes_is_delivered(server: JsonOnlyServer) -> None:
    client = client_of(server)
    batch = [operation(client), operation(client)]

    assert send_batch(client, batch) == 202

    assert [run["id"] for run in server.created] == [str(each.run.id) for each in batch]
    assert server.writes[0] == ("/runs/multipart", 404)
    assert server.writes[-1] == ("/runs/batch", 202)


def test_a_conversation_is_delivered_once_and_not_retried(server: JsonOnlyServer, limits: Limits) -> None:
    retry_soon(limits)
    delivered = process().sender.delivered

    converse(SessionTracer(client=client_of(server), enabled=True, recording=False))

    assert flush(10)
    assert server.finished() == CONVERSATION
    assert process().sender.delivered - delivered == 5
    before = len(server.writes)
    time.sleep(0.2)  # ten times the wait before a retry
    assert len(server.writes) == before
    assert 409 not in [status for _, status in server.writes]


def test_the_status_of_the_json_route_counts_when_it_refuses_a_run(server: JsonOnlyServer) -> None:
    client = client_of(server)
    server.refused_names = {"session.created"}

    assert send_batch(client, [operation(client)]) == 422


def test_one_refused_run_does_not_prevent_the_delivery_of_the_others(server: JsonOnlyServer) -> None:
    server.refused_names = {"rate_limits.updated"}
    with SessionTracer(client=client_of(server), enabled=True, recording=False) as tracer:
        for number, name in enumerate(("session.created", "rate_limits.updated", "session.updated")):
            tracer.server_event({"type": name, "event_id": f"event_{number}"})

    assert not flush(10)

    assert {"session.created", "session.updated"} < {run["name"] for run in server.created}
    assert flush(10)


def test_runs_that_the_json_route_does_not_take_now_are_retried(server: JsonOnlyServer, limits: Limits) -> None:
    retry_soon(limits)
    server.next_statuses = [403]

    converse(SessionTracer(client=client_of(server), enabled=True, recording=False))
    deadline = time.monotonic() + 30
    while server.finished() != CONVERSATION and time.monotonic() < deadline:
        time.sleep(0.01)

    assert flush(10)
    assert server.finished() == CONVERSATION


def test_runs_whose_answer_was_lost_are_delivered_by_the_retry(server: JsonOnlyServer) -> None:
    server.next_statuses = [0, 0, 0]  # as often as LangSmith's client tries

    converse(SessionTracer(client=client_of(server), enabled=True, recording=False))

    for _ in range(4):
        if flush(20):
            break
    assert server.finished() == CONVERSATION
    assert flush(10)


def test_a_server_without_any_route_is_asked_again_until_it_has_one(server: JsonOnlyServer) -> None:
    client = client_of(server)
    server.routes = set()
    assert send_batch(client, [operation(client)]) is None
    converse(SessionTracer(client=client, enabled=True, recording=False))
    assert not flush(10)

    server.routes = {"/runs/batch"}

    assert flush(10)
    assert server.finished() == CONVERSATION


def test_every_endpoint_must_take_the_runs_by_one_of_its_routes(server: JsonOnlyServer) -> None:
    with json_only_server() as other:
        client = client_of(server, other)
        assert send_batch(client, [operation(client)]) == 202
        assert len(server.created) == len(other.created) == 1

        other.routes = set()
        assert send_batch(client, [operation(client)]) is None


def test_two_routes_of_one_endpoint_do_not_stand_for_an_endpoint_without_an_answer(server: JsonOnlyServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        silent = f"http://127.0.0.1:{unused.getsockname()[1]}"
    client = Client(api_urls={server.url: "one", silent: "another"}, info={}, retry_config=Retry(0))

    assert send_batch(client, [operation(client)]) is None

    assert len(server.created) == 1


def test_the_recording_stays_on_disk_and_the_trace_says_so(
    server: JsonOnlyServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracer = SessionTracer(client=client_of(server), enabled=True, recording=Recording(directory=tmp_path))
    tracer.record_user_audio(tone(1000, 0.1))
    assert flush(10)

    tracer.close()

    assert flush(10)
    (kept,) = tmp_path.iterdir()
    assert kept.name == f"{tracer.run_id}.wav"
    assert str(kept) in caplog.text
    (root,) = server.updated
    assert "(HTTP 404); it is kept where it was recorded" in root["extra"]["metadata"]["recording_error"]
    assert "recording_format" not in root["extra"]["metadata"]


def test_a_recording_in_the_first_request_is_not_taken_for_delivered(server: JsonOnlyServer, tmp_path: Path) -> None:
    recording = tmp_path / "conversation.wav"
    recording.write_bytes(b"RIFF")
    client = client_of(server)
    first = operation(client, update=True, attachments={"conversation": ("audio/wav", recording)})

    assert [send_batch(client, [first]) for _ in range(2)] == [404, 404]
    assert len(server.updated) == 1


def test_recordings_are_sent_again_once_the_server_has_the_multipart_route(
    server: JsonOnlyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = tmp_path / "conversation.wav"
    recording.write_bytes(b"RIFF")
    client = client_of(server)
    assert send_batch(client, [operation(client)]) == 202
    taken: list[bytes] = []
    take = server.take

    def take_parts(path: str, body: bytes) -> int:
        if path != "/runs/multipart":
            return take(path, body)
        taken.append(body)
        return 202

    monkeypatch.setattr(server, "take", take_parts)
    assert send_batch(client, [operation(client)]) == 202
    attached = operation(client, attachments={"conversation": ("audio/wav", recording)})

    assert send_batch(client, [attached]) == 202

    assert b"RIFF" in taken[-1]
