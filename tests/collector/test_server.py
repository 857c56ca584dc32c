"""The collector as a server: access, faults on demand, waiting for runs, start and stop."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from langsmith_realtime.collector import Collector
from tests.support.collector_requests import ask, body, child, create, part, root, send, send_body

if TYPE_CHECKING:
    from pathlib import Path


def test_a_temporary_folder_is_deleted_at_the_end() -> None:
    with Collector() as collector:
        create(collector, root())
        directory = collector.directory
        assert (directory / "runs.sqlite3").exists()

    assert not directory.exists()
    assert len(collector.requests) == 1
    with pytest.raises(httpx.ConnectError):
        ask("GET", f"{collector.url}/info")


def test_a_port_in_use_raises_on_entering() -> None:
    with Collector() as first, pytest.raises(OSError, match="in use"):
        Collector(port=int(first.url.rpartition(":")[2])).__enter__()


def test_a_folder_that_cannot_be_created_raises_and_leaves_the_port_free(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    with pytest.raises(OSError, match="file"):
        Collector(tmp_path / "file", port=port).__enter__()
    with Collector(tmp_path / "other", port=port) as collector:
        assert collector.url == f"http://127.0.0.1:{port}"


def test_an_exception_of_the_thread_is_raised_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no app")

    monkeypatch.setattr("langsmith_realtime.collector.app.build", fail)

    with pytest.raises(RuntimeError, match="no app"):
        Collector().__enter__()
    assert not any(thread.name == "langsmith-realtime-collector" for thread in threading.enumerate())


def test_a_foreign_host_name_is_refused(collector: Collector) -> None:
    answer = ask("GET", f"{collector.url}/sessions", headers={"Host": "rebound.example"})

    assert answer.status_code == 421


@pytest.mark.parametrize(("origin", "status"), [("http://evil.example", 403), ("null", 403), (None, 202)])
def test_a_foreign_web_page_is_refused(collector: Collector, origin: str | None, status: int) -> None:
    run = root()
    content = body([part(f"post.{run['id']}", run)])

    answer = send_body(collector, content, Origin=origin or collector.url)

    assert answer.status_code == status
    assert len(collector.runs()) == (status == 202)


def test_a_collector_with_a_key_refuses_other_keys() -> None:
    with Collector(api_key="right") as collector:
        answers = [
            ask("GET", f"{collector.url}/sessions", headers=headers)
            for headers in ({}, {"x-api-key": "wrong"}, {"x-api-key": "right"})
        ]
        assert [answer.status_code for answer in answers] == [401, 403, 200]
        assert (
            answers[0].json()["detail"].startswith("Invalid token: the request has no x-api-key header; set LANGSMITH")
        )
        assert answers[1].json()["error"].startswith("Forbidden: the x-api-key header has another key; set LANGSMITH")
        assert answers[2].json() == []
        assert ask("GET", f"{collector.url}/info").status_code == 200
        assert [violation.rule for violation in collector.violations] == ["api-key-missing", "api-key-wrong"]


def test_an_attachment_is_served_only_with_its_signature(collector: Collector) -> None:
    run = root(session_name="calls")
    note = part(f"attachment.{run['id']}.note", b"0123456789", Content_Type="text/html")
    send(collector, part(f"post.{run['id']}", run), note)
    view = ask("GET", f"{collector.url}/runs/{run['id']}").json()
    link = view["s3_urls"]["attachment.note"]["presigned_url"]

    whole = ask("GET", link)
    assert (whole.status_code, whole.content) == (200, b"0123456789")
    assert "sandbox" in whole.headers["content-security-policy"]
    assert ask("GET", link, headers={"Range": "bytes=2-4"}).content == b"234"
    assert ask("GET", link.partition("?")[0]).status_code == 403
    collector.attachment(run["id"], "note")
    for missing in [(run["id"], "other"), (child(run)["id"], "note")]:
        with pytest.raises(KeyError):
            collector.attachment(*missing)


def test_the_link_of_a_missing_attachment_is_not_found(collector: Collector) -> None:
    run = root()
    send(collector, part(f"post.{run['id']}", run), part(f"attachment.{run['id']}.a", b"1", Content_Type="a/b"))
    link = ask("GET", f"{collector.url}/runs/{run['id']}").json()["s3_urls"]["attachment.a"]["presigned_url"]
    collector._store._db.execute("DELETE FROM attachments")

    assert ask("GET", link).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/runs/query", 422),  # not JSON
        ("/api/v2/runs/query", 422),
        ("/nowhere", 501),
    ],
)
def test_a_malformed_query_is_refused(collector: Collector, path: str, status: int) -> None:
    answer = ask("POST", collector.url + path, content=b"{")

    assert answer.status_code == status
    assert "detail" in answer.json()


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/runs/query", []),
        ("/runs/query", {"session": ["x"], "limit": 101}),
        ("/runs/query", {"session": ["x"], "cursor": "next"}),
        ("/api/v2/runs/query", {}),
    ],
)
def test_a_query_with_invalid_values_is_refused(collector: Collector, path: str, query: object) -> None:
    assert ask("POST", collector.url + path, json=query).status_code == 422


@pytest.mark.parametrize(
    "path",
    ["/api/v2/runs/01900000-0000-7000-8000-000000000001", "/api/v2/threads/t/traces", "/api/v2/traces/t/runs"],
)
def test_v2_needs_the_project(collector: Collector, path: str) -> None:
    assert ask("GET", collector.url + path).status_code == 422


def test_v2_does_not_find_a_run_of_another_project(collector: Collector) -> None:
    create(collector, run := root())

    assert ask("GET", f"{collector.url}/api/v2/runs/{run['id']}?project_id=other").status_code == 404


def test_a_run_without_its_create_is_not_returned(collector: Collector) -> None:
    run = root()
    send(collector, part(f"patch.{run['id']}", run))

    assert ask("GET", f"{collector.url}/runs/{run['id']}").status_code == 404
    assert ask("POST", f"{collector.url}/runs/query", json={"id": [run["id"]]}).json()["runs"] == []
    assert len(collector.runs()) == 1


def test_a_thread_of_runs_that_have_not_ended_has_no_latency(collector: Collector) -> None:
    create(collector, root(session_name="calls", extra={"metadata": {"session_id": "s", "thread_id": "t"}}), root())
    (project,) = ask("GET", f"{collector.url}/sessions?name=calls").json()

    query = {"project_id": project["id"], "min_start_time": "2020-01-01T00:00:00Z"}
    (thread,) = ask("POST", f"{collector.url}/api/v2/threads/query", json=query).json()["items"]

    assert (thread["thread_id"], thread["latency_p50"], thread["latency_p99"]) == ("s", None, None)


class TestFaults:
    def post(self, collector: Collector) -> int:
        return send(collector, part(f"post.{(run := root())['id']}", run)).status_code

    def test_the_next_write_requests_fail(self, collector: Collector) -> None:
        collector.respond_with(500, times=2)
        collector.respond_with(429)

        assert [self.post(collector) for _ in range(4)] == [500, 500, 429, 202]
        assert len(collector.runs()) == 1
        assert [request.status for request in collector.requests] == [500, 500, 429, 202]

    def test_read_requests_do_not_fail(self, collector: Collector) -> None:
        collector.respond_with(500)

        assert ask("GET", f"{collector.url}/info").status_code == 200
        assert ask("GET", f"{collector.url}/sessions").status_code == 200
        assert self.post(collector) == 500

    def test_status_0_closes_the_connection(self, collector: Collector) -> None:
        collector.respond_with(0)

        with pytest.raises(httpx.TransportError):
            self.post(collector)
        assert self.post(collector) == 202
        assert [request.status for request in collector.requests] == [0, 202]

    def test_a_request_may_be_stored_and_answered_with_an_error(self, collector: Collector) -> None:
        run = root()
        request = part(f"post.{run['id']}", run)
        collector.respond_with(500, stored=True)
        collector.respond_with(0, stored=True)

        assert send(collector, request).status_code == 500
        assert [stored.id for stored in collector.runs()] == [run["id"]]
        with pytest.raises(httpx.TransportError):
            send(collector, part(f"patch.{run['id']}", run))
        assert [(stored.creates, stored.updates) for stored in collector.runs()] == [(1, 1)]
        assert [(request.status, request.operations) for request in collector.requests] == [(500, 1), (0, 1)]

    def test_an_answer_can_be_delayed(self, collector: Collector) -> None:
        collector.respond_with(202, delay=0.2)
        before = time.monotonic()

        assert self.post(collector) == 202
        assert time.monotonic() - before >= 0.2

    def test_stopping_does_not_wait_for_a_delayed_answer(self) -> None:
        with Collector() as collector:
            collector.respond_with(503, delay=60)
            answers: list[int] = []
            posting = threading.Thread(target=lambda: answers.append(self.post(collector)))
            posting.start()
            while collector._write_endpoints.faults and posting.is_alive():  # until the request has arrived
                time.sleep(0.001)
            before = time.monotonic()

        assert time.monotonic() - before < 30  # half of the answer's delay
        posting.join(30)
        assert answers == [503]

    def test_a_client_that_disconnects_leaves_no_files(self, collector: Collector) -> None:
        run = root()
        content = body(
            [part(f"post.{run['id']}", run), part(f"attachment.{run['id']}.a", bytes(1 << 20), Content_Type="a/b")]
        )
        port = int(collector.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                b"POST /runs/multipart HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %d\r\n"
                b"Content-Type: multipart/form-data; boundary=cut-here\r\n\r\n" % (port, len(content))
            )
            connection.sendall(content[:-100])

        collector.wait_for(lambda _: collector.requests, timeout=30)

        assert [(request.path, request.status) for request in collector.requests] == [("/runs/multipart", 0)]
        assert collector.runs() == []
        assert not any(path.is_file() for path in (collector.directory / "attachments").rglob("*"))


def test_waiting_ends_when_the_run_arrives(collector: Collector) -> None:
    first = root()
    threading.Thread(target=create, args=(collector, first)).start()
    (run,) = collector.wait_for(lambda runs: len(runs) == 1, timeout=30)
    threading.Thread(target=create, args=(collector, child(first))).start()

    runs = collector.wait_for(lambda runs: len(runs) == 2, timeout=30)

    assert runs[0] == run
    assert runs == collector.runs()


def test_a_timeout_names_the_number_of_runs_and_the_violations(collector: Collector) -> None:
    create(collector, root())
    send(collector, part("post.x", {}))

    with pytest.raises(TimeoutError, match=r"not true within 0\.01 s; 1 runs are stored; Violation\(rule='id'"):
        collector.wait_for(lambda runs: len(runs) == 2, timeout=0.01)


def test_a_predicate_may_send_requests(collector: Collector) -> None:
    run = root()
    threading.Thread(target=create, args=(collector, run)).start()

    collector.wait_for(lambda _: ask("GET", f"{collector.url}/runs/{run['id']}").status_code == 200, timeout=30)


def test_concurrent_writers_store_every_run(collector: Collector) -> None:
    first = root()
    create(collector, first)
    runs = [child(first, seconds=n) for n in range(40)]

    async def write() -> list[int]:
        async with httpx.AsyncClient() as client:
            answers = await asyncio.gather(
                *(client.post(f"{collector.url}/runs", json=run, headers={"x-api-key": "any"}) for run in runs)
            )
        return [answer.status_code for answer in answers]

    assert asyncio.run(write()) == [202] * 40
    assert [run.id for run in collector.runs()] == [first["id"], *(run["id"] for run in runs)]


def connect_until_refused(port: int, sockets: list[socket.socket], connected: threading.Event) -> None:
    while len(sockets) < 300:
        try:
            sockets.append(socket.create_connection(("127.0.0.1", port)))
        except OSError:
            return
        connected.set()


def test_clients_that_connect_while_it_stops_leave_no_socket_behind() -> None:
    for _ in range(5):
        sockets: list[socket.socket] = []
        connected = threading.Event()
        with Collector() as running:
            port = int(running.url.rsplit(":", 1)[1])
            thread = threading.Thread(target=connect_until_refused, args=(port, sockets, connected))
            thread.start()
            assert connected.wait(20)
        thread.join()
        for each in sockets:
            each.close()
        gc.collect()  # pytest turns the warning of an unclosed socket into an error
