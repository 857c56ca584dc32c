"""Payloads lose audio and secrets, and nothing else."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from langsmith_realtime.core.payloads.json_values import MAX_DEPTH
from langsmith_realtime.core.payloads.scrubbing import REMOVED, scrub, scrub_message
from tests.support.conversations import recordings

KEY = "sk-proj-" + "aB3" * 20


def encoded(size: int) -> str:
    return base64.b64encode(os.urandom(size)).decode()


def test_a_session_loses_its_client_secret_and_nothing_else() -> None:
    event = {
        "type": "session.created",
        "session": {
            "id": "sess_1",
            "client_secret": {"value": "ek_68af296e8e408191a1120ab6383263c2", "expires_at": 1785217650},
            "instructions": "Talk quickly. " * 500,
            "audio": {"input": {"format": {"type": "audio/pcm", "rate": 24000}, "transcription": None}},
        },
    }
    clean = scrub(event)
    assert clean["session"].pop("client_secret") == REMOVED
    event["session"].pop("client_secret")  # type: ignore[attr-defined]
    assert clean == event


def test_a_client_secret_that_is_null_stays_null() -> None:
    assert scrub({"client_secret": None, "headers": None, "type": "mcp"}) == {
        "client_secret": None,
        "headers": None,
        "type": "mcp",
    }


def test_an_mcp_tool_loses_its_authorization_and_headers() -> None:
    tool = {
        "type": "mcp",
        "server_label": "shop",
        "server_url": "https://shop.example/mcp",
        "authorization": "a-token",
        "headers": {"X-Tenant": "mine", "Cookie": "session=1"},
        "allowed_tools": ["buy"],
        "require_approval": "never",
    }
    assert scrub({"session": {"tools": [tool]}}) == {
        "session": {"tools": [{**tool, "authorization": REMOVED, "headers": REMOVED}]}
    }


def test_tool_parameters_named_like_secrets_stay() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "headers": {"type": "object", "properties": {"authorization": {"type": "string"}}},
            "api_key": {"type": "string", "description": "The key."},
            "client_secret": True,
            "audio": {"type": "string"},
        },
        "required": ["headers", "authorization", "audio"],
    }
    tool = {"type": "function", "name": "fetch", "parameters": parameters}
    assert scrub({"tools": [tool]}) == {"tools": [tool]}


def test_headers_outside_mcp_tools_lose_only_their_secrets() -> None:
    given_headers = {"url": "https://example.com", "headers": {"Accept": "text/html", "Authorization": "Basic abc"}}
    assert scrub(given_headers) == {
        "url": "https://example.com",
        "headers": {"Accept": "text/html", "Authorization": REMOVED},
    }


@pytest.mark.parametrize(
    "secret",
    [KEY, "sk-" + "a1" * 24, "ek_68af296e8e408191a1120ab6383263c2", "lsv2_pt_" + "0a" * 16 + "_0123456789"],
)
def test_api_keys_are_removed_from_any_text(secret: str) -> None:
    assert scrub([f"Incorrect API key provided: {secret}."]) == [f"Incorrect API key provided: {REMOVED}."]
    assert scrub_message(f"bad key '{secret}'") == f"bad key '{REMOVED}'"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"password":"hunter2","x":1}', '{"password":"<secret removed>","x":1}'),
        ('{"Password" : "hun\\"ter2", "x": "y"}', '{"Password" : "<secret removed>", "x": "y"}'),
        ('{"a":"{\\"api_key\\": \\"abc\\"}"}', '{"a":"{\\"api_key\\": \\"<secret removed>\\"}"}'),
        (
            '{"type":"mcp","authorization":"a-token","headers',
            '{"type":"mcp","authorization":"<secret removed>","headers',
        ),
        ("{'Authorization': 'Basic abc'}", "{'Authorization': '<secret removed>'}"),
        ('{"t": "the key:\\nsk-proj-aB3aB3aB3aB3"}', '{"t": "the key:\\n<secret removed>"}'),
        ('{"properties": {"password": {"type": "string"}}, "token": "Hello"}',) * 2,
        ('{"password": "", "api_key": null, "keys": "a"}',) * 2,
    ],
)
def test_secrets_in_json_text_are_removed(text: str, shown: str) -> None:
    assert scrub({"arguments": text}) == {"arguments": shown}
    assert scrub_message(text) == shown


def test_bearer_tokens_are_removed() -> None:
    assert scrub_message("with Bearer eyJhbGciOiJIUzI1NiJ9.e30.c2ln== it failed") == f"with {REMOVED} it failed"


@pytest.mark.parametrize(
    "words",
    [
        "The task-management-system and sk-learn-is-a-library, pk_primary_key_of_orders.",
        "The bearer certificates of the standard bearer organisation.",
        "item_E4BAsP00UV55RqqV8zSub call_42LHxWvnwPP9TAch resp_E4BAsy7BWzPzysFg4Xvvk",
        "-" * 400,
        "word " * 1000,
        "eins zwei drei\nvier fünf sechs\n" * 100,
        "{" + '"city": "London", ' * 100 + "}",
    ],
)
def test_ordinary_text_stays_whole(words: str) -> None:
    assert scrub({"text": words, "audio": words}) == {"text": words, "audio": words}


@pytest.mark.parametrize("size", [1, 2, 3, 33, 100_000])
def test_audio_of_any_length_becomes_its_size(size: int) -> None:
    part = {"type": "input_audio", "audio": encoded(size), "transcript": "Hello."}
    item = {"id": "item_1", "type": "message", "role": "user", "content": [part]}
    clean = scrub({"type": "conversation.item.retrieved", "item": item})
    assert clean["item"]["content"] == [
        {"type": "input_audio", "audio": f"<audio: {size} bytes>", "transcript": "Hello."}
    ]
    assert scrub({"type": "input_audio_buffer.append", "audio": part["audio"]})["audio"] == f"<audio: {size} bytes>"


def test_audio_that_is_not_base64_stays() -> None:
    assert scrub({"type": "input_audio", "audio": "not base64!"})["audio"] == "not base64!"


def test_other_fields_named_audio_stay() -> None:
    words: dict[str, Any] = {
        "type": "realtime",
        "audio": "on",
        "modalities": ["audio"],
        "content": {"audio": {"input": 1}},
    }
    assert scrub(words) == words


@pytest.mark.parametrize("size", [192, 1000, 65_537])
def test_base64_in_any_field_becomes_its_size(size: int) -> None:
    code = encoded(size)
    assert scrub({"data": code}) == {"data": f"<base64: {size} bytes>"}
    assert scrub([json.dumps({"image": code, "page": 1})]) == [f'{{"image": "<base64: {size} bytes>", "page": 1}}']
    url_safe = base64.urlsafe_b64encode(base64.b64decode(code)).decode()
    assert scrub(url_safe) == f"<base64: {size} bytes>"


def test_base64_in_mime_lines_becomes_its_size() -> None:
    data = os.urandom(1000)
    assert scrub(base64.encodebytes(data).decode()) == "<base64: 1000 bytes>\n"


def test_data_urls_keep_their_media_type() -> None:
    code = encoded(20)
    assert scrub({"image_url": f"data:image/png;base64,{code}"}) == {"image_url": "<image/png: 20 bytes>"}
    assert scrub(f"see data:text/plain;charset=utf-8;base64,{code} there") == "see <text/plain: 20 bytes> there"
    assert scrub(f"data:;base64,{code}") == "<data: 20 bytes>"
    assert scrub("data:text/plain,hello") == "data:text/plain,hello"


def test_bytes_become_their_size() -> None:
    assert scrub([b"abc", bytearray(2), memoryview(bytes(8)).cast("i")]) == ["<3 bytes>", "<2 bytes>", "<8 bytes>"]


def test_too_deep_nesting_and_cycles_become_placeholders() -> None:
    deep: Any = "bottom"
    for _ in range(MAX_DEPTH - 1):
        deep = [deep]
    assert scrub(deep) == deep
    assert "nested too deeply" in repr(scrub([[[deep]]]))
    endless: list[Any] = []
    endless.append((endless,))
    assert scrub(endless) == [["<contains itself>"]]


def test_the_original_payload_is_not_changed() -> None:
    event = {"session": {"client_secret": {"value": "ek_1"}, "tools": [{"type": "mcp", "headers": {"a": "b"}}]}}
    before = json.dumps(event)
    scrub(event)
    assert json.dumps(event) == before


def test_patterns_take_linear_time_on_hostile_text() -> None:
    for text in (
        "sk-" * 100_000,
        "bearer " * 100_000,
        "bearer" + " " * 300_000,
        "data:a/b;" * 50_000,
        ("A" * 76 + "\n") * 5_000 + "!",
        ("A" * 255 + " ") * 2_000,
        "\\" * 200_000 + '"password"',
        '"password":"' + "\\" * 200_000,
        "'password'" * 30_000,
        "key://" + "a." * 100_000,
    ):
        scrub(text)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=60),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=20,
    )
)
def test_payloads_without_secrets_stay_whole(payload: Any) -> None:
    assume(
        not any(
            word in repr(payload).lower()
            for word in ("auth", "api", "secret", "sk", "ek", "rk", "lsv2", "bear", "key", "token", "password", "://")
        )
    )
    assert repr(scrub(payload)) == repr(payload)


def test_recorded_events_lose_only_their_audio() -> None:
    for frames in recordings().values():
        for frame in frames:
            event = frame["event"]
            if "audio" not in event:
                assert scrub(event) == event
            else:
                assert scrub(event) == {**event, "audio": "<audio: 33 bytes>"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://mcp.example/sse?api_key=abc123&lang=en", "https://mcp.example/sse?api_key=<secret removed>&lang=en"),
        ("wss://me:pass@mcp.example/sse", "wss://<secret removed>@mcp.example/sse"),
        (
            "https://mcp.example/a?token=t0&access_token=t1#x",
            "https://mcp.example/a?token=<secret removed>&access_token=<secret removed>#x",
        ),
        ("postgres://me:hunter2@db/orders", "postgres://<secret removed>@db/orders"),
        ("redis://:hunter2@cache:6379", "redis://<secret removed>@cache:6379"),
        (
            "https://b.example/a?X-Amz-Credential=AKIA&n=1&X-Amz-Signature=ff",
            "https://b.example/a?X-Amz-Credential=<secret removed>&n=1&X-Amz-Signature=<secret removed>",
        ),
        (
            "https://example.com/?client_secret=1&id_token=2",
            "https://example.com/?client_secret=<secret removed>&id_token=<secret removed>",
        ),
        ("https://example.com/weather?city=Paris&monkey=1", "https://example.com/weather?city=Paris&monkey=1"),
    ],
)
def test_urls_lose_only_their_credentials(url: str, shown: str) -> None:
    assert scrub({"server_url": url}) == {"server_url": shown}
    assert scrub_message(f"cannot reach {url}") == f"cannot reach {shown}"


@pytest.mark.parametrize("key", ["API-Key", "clientSecret", "access_token", "Refresh-Token", "password", "apikey"])
def test_secret_keys_are_recognised_in_any_spelling(key: str) -> None:
    assert scrub({key: "abc123"}) == {key: "<secret removed>"}
