"""Who can reach a collector: its host, its key, the page's cookie, and the headers that are checked."""

from __future__ import annotations

import logging
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from langsmith import Client
from starlette.datastructures import Headers

from langsmith_realtime.cli import main
from langsmith_realtime.cli.servers import TOKEN_VARIABLE, reach_elsewhere
from langsmith_realtime.collector import Collector
from langsmith_realtime.collector.addresses import Addresses, is_loopback
from tests.support.collector_requests import ask
from tests.support.stored_conversation import Conversation

if TYPE_CHECKING:
    from pathlib import Path

KEY = "a-key-of-more-than-16-characters"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"host": "0.0.0.0"}, ValueError, "at least 16 characters .* got none"),
        ({"host": "::", "api_key": "short"}, ValueError, "got 5 characters"),
        ({"host": "example.com"}, ValueError, "other machines can reach example.com"),
        ({"host": ""}, ValueError, "host must not be empty"),
        ({"host": 7}, TypeError, "host must be a string, got 7"),
        ({"api_key": ""}, ValueError, "api_key must not be empty"),
        ({"keep_days": 0}, ValueError, "keep_days must be above 0"),
        ({"keep_gb": float("nan")}, ValueError, "keep_gb must be above 0"),
        ({"keep_gb": "1"}, TypeError, "keep_gb must be a number, got '1'"),
    ],
)
def test_a_wrong_argument_raises_at_once(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Collector(**arguments)


@pytest.mark.parametrize("command", ["collector", "view"])
def test_the_command_refuses_a_host_without_a_key_in_one_sentence(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([command, "--host", "0.0.0.0", "--directory", str(tmp_path)]) == 1

    (sentence,) = capsys.readouterr().err.splitlines()
    assert "api_key must have at least 16 characters" in sentence


@pytest.mark.parametrize("command", ["collector", "view"])
def test_a_key_comes_from_a_file_or_the_environment_so_that_no_list_of_processes_shows_it(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "key"
    file.write_text("in-file\n")
    reach = [command, "--host", "0.0.0.0", "--directory", str(tmp_path / "store")]
    monkeypatch.setenv(TOKEN_VARIABLE, "variable")

    # The keys are too short, so the command ends with a sentence that says which one it took.
    for arguments, characters in (([], 8), (["--token-file", str(file)], 7), (["--token", "given"], 5)):
        assert main.main([*reach, *arguments]) == 1
        assert capsys.readouterr().err.count(f"got {characters} characters") == 1
    monkeypatch.setenv(TOKEN_VARIABLE, "")
    assert main.main(reach) == 1
    assert "got none" in capsys.readouterr().err


def test_a_file_without_one_key_is_refused_and_its_content_is_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "key"
    for content, problem in ((b"", "got 0 words"), (b"secret words", "got 2 words"), (b"\xff", "cannot be read")):
        file.write_bytes(content)
        with pytest.raises(SystemExit):
            main.main(["collector", "--token-file", str(file)])
        said = capsys.readouterr().err
        assert problem in said
        assert "secret" not in said
    with pytest.raises(SystemExit):
        main.main(["view", "--token-file", str(file), "--token", "given"])


def test_other_machines_need_the_key_for_the_api_and_for_the_page(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    call = Conversation()
    with Collector(tmp_path, host="0.0.0.0", api_key=KEY) as collector:
        call.into(collector)
        port = int(collector.url.rpartition(":")[2])
        data = f"{collector.url}/view/api/conversations"
        elsewhere = {"Host": f"192.0.2.7:{port}"}
        assert ask("GET", data).status_code == 401
        assert ask("GET", data, headers={**elsewhere, "x-api-key": KEY}).status_code == 200
        assert ask("GET", f"{collector.url}/info", headers={"Host": "rebound.example"}).status_code == 421
        assert ask("GET", data, headers={"x-api-key": KEY, "Origin": "http://evil.example"}).status_code == 403
        client = Client(api_url=collector.url, api_key=KEY)
        assert client.has_project(call.project)
        client.cleanup(timeout=5)

        opened = ask("GET", f"{collector.url}/view/c/{call.id}?slow=900&token={KEY}")
        assert (opened.status_code, opened.headers["location"]) == (303, f"/view/c/{call.id}?slow=900")
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert KEY not in cookie
        assert "set-cookie" not in ask("GET", f"{collector.url}/view/?token={KEY}x").headers
        sent = {"Cookie": cookie.partition(";")[0]}
        assert ask("GET", data, headers=sent).json()["counts"]["all"] == 1
        assert ask("GET", f"{collector.url}/runs/{call.id}", headers=sent).status_code == 401  # for the page only
        assert not any(KEY in str(request) for request in collector.requests)
        assert KEY not in str(collector.violations)

    with Collector(tmp_path, port=port, api_key=KEY) as collector:
        assert ask("GET", data, headers=sent).status_code == 200
    with Collector(tmp_path, port=port, api_key="another-key") as collector:
        assert ask("GET", data, headers=sent).status_code == 401
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("http")]  # our own client
    assert not any(KEY in message for message in logged)
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_streams_waveforms_and_choices_of_the_page_need_the_cookie_or_the_key_and_answer_no_other_site(
    tmp_path: Path,
) -> None:
    call = Conversation(start=datetime.now(UTC))
    (tmp_path / "state" / call.id).mkdir(parents=True)
    with (
        Collector(tmp_path / "store", host="0.0.0.0", api_key=KEY, state=tmp_path / "state") as collector,
        httpx.Client(trust_env=False, timeout=20) as client,
    ):
        call.into(collector, ended=False)
        cookie = ask("GET", f"{collector.url}/view/?token={KEY}").headers["set-cookie"].partition(";")[0]
        for path in (
            "choices",
            "changes",
            f"conversations/{call.id}/changes",
            f"conversations/{call.id}/growing?from=0&to=1",
            f"conversations/{call.id}/peaks/10",
        ):
            found = 404 if "peaks" in path else 200  # it has no recording yet
            for status, headers in (
                (401, {}),
                (403, {"x-api-key": f"{KEY}x"}),
                (401, {"Cookie": f"{cookie}x"}),
                (421, {"Cookie": cookie, "Host": "rebound.example"}),
                (403, {"Cookie": cookie, "Origin": "http://evil.example"}),
                (403, {"Cookie": cookie, "Sec-Fetch-Site": "cross-site"}),
                (found, {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}),
                (found, {"x-api-key": KEY}),
            ):
                with client.stream("GET", f"{collector.url}/view/api/{path}", headers=headers) as answer:
                    assert answer.status_code == status, (path, headers)


def test_the_command_says_where_other_machines_open_the_page() -> None:
    assert reach_elsewhere("127.0.0.1", "1984") == []
    assert reach_elsewhere("0.0.0.0", "1984") == [
        "From another machine, open http://<this machine>:1984/view/?token=<your key>"
    ]
    assert reach_elsewhere("calls.example", "80") == [
        "From another machine, open http://calls.example:80/view/?token=<your key>"
    ]


def test_the_hosts_and_origins_of_a_collector() -> None:
    def status(host: str, origin: str | None = None, *, listens: str = "127.0.0.1") -> int:
        headers = {"host": host} | ({} if origin is None else {"origin": origin})
        refusal = Addresses(listens).refusal(Headers(headers), 1984)
        return 200 if refusal is None else refusal[0]

    for own in ("127.0.0.1:1984", "localhost:1984", "LOCALHOST:1984"):
        assert status(own, f"http://{own}") == 200
    for foreign in ("127.0.0.1:1985", "127.0.0.1", "192.0.2.7:1984", "evil.example:1984", "", "[::1]:1984"):
        assert status(foreign) == 421
    for origin in ("https://localhost:1984", "null", "http://localhost:1985", "http://127.0.0.1:1984.evil.example"):
        assert status("localhost:1984", origin) == 403
    assert status("[::1]:1984", "http://[::1]:1984", listens="::1") == 200

    for own in ("192.0.2.7:80", "192.0.2.7", "[2001:db8::1]:1984", "[2001:db8::1]", f"{socket.gethostname()}:8080"):
        assert status(own, f"https://{own}", listens="0.0.0.0") == 200
    assert status("calls.example", listens="calls.example") == 200
    for foreign in ("evil.example", "evil.example:1984", "192.0.2.7.evil.example", "2001:db8::1]:80"):
        assert status(foreign, listens="0.0.0.0") == 421
    assert status("192.0.2.7", "null", listens="0.0.0.0") == 403


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_only_this_machine_reaches_a_loopback_host(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "localhost.example"])
def test_other_machines_may_reach_any_other_host(host: str) -> None:
    assert not is_loopback(host)
