"""``parent=`` takes the headers of any request: those of a known caller, and those of a stranger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http.client import HTTPMessage, parse_headers
from io import BytesIO
from typing import Any

import pytest
from langsmith import Client, RunTree
from openai.types.webhooks.realtime_call_incoming_webhook_event import DataSipHeader as SipHeader
from starlette.datastructures import Headers

from langsmith_realtime import SessionTracer
from langsmith_realtime.options.tracing import Options


class StrictHeaders(Mapping[str, str]):
    """Headers as aiohttp has them: any case of a name, several values of one, and nothing but str as a name."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def __getitem__(self, name: str) -> str:
        if not isinstance(name, str):
            raise TypeError("multidict keys should be either str or subclasses of str")
        return next(value for each, value in self._pairs if each.lower() == name.lower())

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def items(self) -> Any:
        return list(self._pairs)


def of_http_server(pairs: list[tuple[str, str]]) -> HTTPMessage:
    lines = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return parse_headers(BytesIO(f"{lines}\r\n".encode()))


FORMS = {
    "starlette": lambda pairs: Headers(raw=[(n.lower().encode(), v.encode()) for n, v in pairs]),
    "aiohttp": StrictHeaders,
    "http.server": of_http_server,
    "dict": dict,
    "upper": lambda pairs: {name.upper(): value for name, value in pairs},
    "bytes": lambda pairs: {name.title().encode(): value.encode() for name, value in pairs},
    "lists": lambda pairs: {name: [value] for name, value in pairs},
    "asgi": lambda pairs: [(name.encode(), value.encode()) for name, value in pairs],
    "sip": lambda pairs: [{"name": name, "value": value} for name, value in pairs],
    "sip by Twilio, of openai": lambda pairs: [SipHeader(name=f"X-{name}", value=value) for name, value in pairs],
}
FOREIGN = [("Host", "example.com"), ("User-Agent", "curl/8")]
forms = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def caller(**fields: Any) -> tuple[RunTree, dict[str, str]]:
    run = RunTree(name="gateway", ls_client=Client(api_url="http://127.0.0.1:1", api_key="k"), **fields)
    return run, run.to_headers()


@forms
def test_the_headers_of_a_known_caller_name_the_parent_and_its_metadata(form: Any) -> None:
    run, headers = caller(extra={"metadata": {"conversation_id": "c-9"}}, tags=["vip"])
    parent = Options.of(parent=form([*FOREIGN, *headers.items()])).parent
    assert parent is not None
    assert (parent.id, parent.trace_id) == (run.id, run.trace_id)
    assert parent.metadata["conversation_id"] == "c-9"
    assert parent.tags == ["vip"]


@forms
def test_headers_without_baggage_name_the_parent(form: Any) -> None:
    run, headers = caller()
    parent = Options.of(parent=form([*FOREIGN, ("Langsmith-Trace", headers["langsmith-trace"])])).parent
    assert parent is not None
    assert parent.id == run.id


@forms
@pytest.mark.parametrize(
    "pairs",
    [
        [],
        FOREIGN,
        [*FOREIGN, ("baggage", "sentry-trace_id=1,langsmith-metadata=%7B%22a%22%3A1%7D")],
        [*FOREIGN, ("Langsmith-Trace", "")],
        [*FOREIGN, ("langsmith-trace", "yesterday")],
        [*FOREIGN, ("langsmith-trace", "20260101T000000000000Znot-an-id")],
    ],
    ids=["none", "foreign", "baggage alone", "empty", "malformed", "no id"],
)
def test_the_headers_of_a_stranger_give_the_conversation_its_own_trace(form: Any, pairs: list[tuple[str, str]]) -> None:
    assert Options.of(parent=form(pairs)).parent is None
    with SessionTracer(parent=form(pairs), enabled=True, client=caller()[0].client, journal=False) as tracer:
        assert tracer.trace_id == tracer.run_id


@pytest.mark.parametrize(
    "baggage",
    [
        "sentry-trace_id=1,sentry-sampled",
        "no pairs at all",
        "langsmith-metadata=%5B1%5D",
        "langsmith-metadata=not JSON",
        "otel=1, langsmith-tags=vip",
    ],
)
def test_the_baggage_of_other_tools_does_not_cost_the_parent(baggage: str) -> None:
    run, headers = caller()
    parent = Options.of(parent={"langsmith-trace": headers["langsmith-trace"], "baggage": baggage}).parent
    assert parent is not None
    assert parent.id == run.id
    assert parent.tags == (["vip"] if "vip" in baggage else [])


def test_several_headers_of_one_name_are_read_as_http_says() -> None:
    run, headers = caller()
    first, second = "langsmith-tags=vip", "langsmith-metadata=%7B%22shop%22%3A7%7D"
    pairs = [
        ("langsmith-trace", headers["langsmith-trace"]),
        ("langsmith-trace", "x"),
        ("baggage", first),
        ("Baggage", second),
    ]
    parent = Options.of(parent=of_http_server(pairs)).parent
    assert parent is not None
    assert (parent.id, parent.tags, parent.metadata["shop"]) == (run.id, ["vip"], 7)


@pytest.mark.parametrize("given", ["trace", 7, ["one"], [{"name": "X-Trace"}], object()])
def test_what_are_no_headers_raises(given: Any) -> None:
    with pytest.raises(TypeError, match="parent must be of type RunTree or Mapping, got"):
        SessionTracer(parent=given)
