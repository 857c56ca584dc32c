"""Every recorded conversation, and every situation from a public report, as spans, log records and metrics.

All conversations of a module's fixture are open at once, on one provider, beside LangSmith.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import pytest

from langsmith_realtime import SessionTracer
from langsmith_realtime.collector import Collector
from tests.support import otel_conversation as talk
from tests.support.cases import case_frames, case_names
from tests.support.conversations import Node, recordings, stored_trees, tracing_to
from tests.support.otlp_receiver import OtlpReceiver, Providers, ReceivedPoint, ReceivedSpan, otlp_receiver

pytestmark = pytest.mark.newest

ERROR = 2
#: The attributes of the conventions, with the type of each; ``*`` stands for one or more words.
TYPES: dict[str, type] = {
    "gen_ai.operation.name": str,
    "gen_ai.provider.name": str,
    "gen_ai.agent.name": str,
    "gen_ai.conversation.id": str,
    "gen_ai.conversation.item.id": str,
    "gen_ai.realtime_session.id": str,
    "gen_ai.request.model": str,
    "gen_ai.request.max_tokens": int,
    "gen_ai.request.reasoning.level": str,
    "gen_ai.request.temperature": float,
    "gen_ai.response.finish_reasons": list,
    "gen_ai.response.id": str,
    "gen_ai.response.model": str,
    "gen_ai.response.time_to_first_chunk": float,
    "gen_ai.output.type": str,
    "gen_ai.tool.name": str,
    "gen_ai.tool.type": str,
    "gen_ai.tool.call.id": str,
    "gen_ai.tool.call.arguments": str,
    "gen_ai.tool.call.result": str,
    "gen_ai.tool.definitions": str,
    "gen_ai.system_instructions": str,
    "gen_ai.input.messages": str,
    "gen_ai.output.messages": str,
    "gen_ai.usage.*": int,
    "error.type": str,
    "server.address": str,
    "server.port": int,
}
VALUES = {
    "gen_ai.operation.name": {"chat", "execute_tool", "invoke_agent"},
    "gen_ai.output.type": {"text", "speech"},
    "gen_ai.tool.type": {"function", "extension"},
    "gen_ai.response.finish_reasons": {"stop", "length", "error", "content_filter"},
}
#: The unit, the number of bounds and the last bound of each histogram, and the unit of each counter.
HISTOGRAMS = {
    **{
        f"gen_ai.client.{name}": ("s", 14, 81.92)
        for name in (
            "operation.duration",
            "operation.time_to_first_chunk",
            "inference.duration",
            "inference.time_to_first_chunk",
        )
    },
    "gen_ai.execute_tool.duration": ("s", 14, 81.92),
    "gen_ai.invoke_agent.duration": ("s", 13, 409.6),
    "gen_ai.client.token.usage": ("{token}", 14, 67_108_864),
    "gen_ai.client.inference.operation.input_tokens": ("{token}", 14, 67_108_864),
    "gen_ai.client.inference.operation.output_tokens": ("{token}", 14, 67_108_864),
    "gen_ai.invoke_agent.inference_calls": ("{inference_call}", 8, 128),
    "gen_ai.invoke_agent.tool_calls": ("{tool_call}", 8, 128),
}
#: The keys of an event under which its words stand.
WORDS = {"transcript", "text", "instructions", "arguments", "output", "message", "description", "content"}


@dataclass
class Shown:
    """What arrived of all conversations: spans by thread, points, everything as text, and LangSmith's runs."""

    spans: dict[str, list[ReceivedSpan]]
    points: list[ReceivedPoint]
    everything: str
    runs: dict[str, Node]
    receiver: OtlpReceiver


def conversations() -> dict[str, list[dict[str, Any]]]:
    """The frames of each conversation, by its name."""
    return {**recordings(), **{name: case_frames(name) for name in case_names()}}


def words(value: Any, key: str = "") -> Iterator[str]:
    """The texts of an event that are content: sentences and JSON."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from words(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from words(each, key)
    elif isinstance(value, str) and key in WORDS and (" " in value or ":" in value):
        yield value


@pytest.fixture(scope="module", params=[False, True], ids=["without content", "with content"])
def shown(request: pytest.FixtureRequest) -> Iterator[Shown]:
    with pytest.MonkeyPatch.context() as patch, otlp_receiver() as receiver, Collector() as collector:
        patch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental/dup")
        providers = Providers(receiver)
        with tracing_to(collector, patch):
            for name, frames in conversations().items():
                options: dict[str, Any] = {"otel": providers.otel(content=request.param), "thread_id": name}
                with SessionTracer(**options) as tracer:
                    for frame in frames:
                        take = tracer.server_event if frame["dir"] == "server" else tracer.client_event
                        take(frame["event"])
            talk.arrive(providers)
            roots = {str(node.metadata["thread_id"]): node for node in stored_trees(collector)}
        providers.shutdown()

        def thread(span: ReceivedSpan) -> str:
            return str(span.attributes["gen_ai.conversation.id"])

        grouped = groupby(sorted(receiver.all_spans, key=thread), key=thread)
        latest = {(point.name, str(sorted(point.attributes.items()))): point for point in receiver.points}
        everything = str([receiver.all_spans, receiver.records, receiver.points])
        spans = {name: list(each) for name, each in grouped}
        yield Shown(spans, list(latest.values()), everything, roots, receiver)


def test_each_conversation_is_one_tree_inside_the_times_of_its_session(shown: Shown) -> None:
    assert shown.spans.keys() == shown.runs.keys() == conversations().keys()
    assert shown.receiver.orphans() == []
    ids = [span.span_id for span in shown.receiver.all_spans]
    assert len(ids) == len(set(ids)), "no span arrives twice"
    for name, spans in shown.spans.items():
        by_id = {span.span_id: span for span in spans}
        (session,) = [span for span in spans if not span.parent_id]
        assert len({span.trace_id for span in spans}) == 1, name
        for span in spans:
            assert session.start <= span.start <= span.end <= session.end, (name, span.name)
            assert by_id.get(span.parent_id, session).start <= span.start, (name, span.name)
            for event, at, _ in span.events:
                assert span.start <= at <= span.end, (name, span.name, event)


def test_responses_end_and_fail_as_langsmiths_runs_do(shown: Shown) -> None:
    for name, root in shown.runs.items():
        responses = sorted((span for span in shown.spans[name] if span.name.startswith("chat")), key=lambda s: s.end)
        models = sorted(root.find("model"), key=lambda node: str(node.run.end_time))
        (session,) = [span for span in shown.spans[name] if not span.parent_id]
        for span, node in zip([session, *responses], [root, *models], strict=True):
            assert node.run.end_time is not None
            assert abs(span.end / 1e9 - node.run.end_time.timestamp()) <= 0.001, (name, span.name)
            assert (span.status[0] == ERROR) == bool(node.run.error) == ("error.type" in span.attributes), name


def test_the_tokens_of_responses_sum_to_those_of_their_session_and_to_those_of_the_metrics(shown: Shown) -> None:
    def told(points: str, **attributes: str) -> float:
        wanted = {f"gen_ai.token.{key}": value for key, value in attributes.items()}.items()
        return sum(each.value for each in shown.points if each.name == points and wanted <= each.attributes.items())

    for side in ("input", "output"):
        key, total = f"gen_ai.usage.{side}_tokens", 0
        for name, spans in shown.spans.items():
            counts = [span.attributes.get(key, 0) for span in spans]
            (session,) = [span for span in spans if not span.parent_id]
            assert sum(counts) == session.attributes.get(f"langsmith_realtime.{side}_tokens", 0), name
            total += sum(counts)
        assert total > 0
        assert told("gen_ai.client.token.usage", type=side) == total
        assert told(f"gen_ai.client.inference.operation.{side}_tokens") == total
        assert told(f"gen_ai.client.inference.usage.{side}_tokens") == total
        assert told("langsmith_realtime.tokens", type=side) == total


def test_attributes_have_the_names_types_and_values_of_the_conventions(shown: Shown) -> None:
    all_attributes = [
        *(each.attributes for each in shown.receiver.all_spans),
        *({**point.attributes} for point in shown.points),
    ]
    for name, value in {(name, str(value)): value for each in all_attributes for name, value in each.items()}.items():
        key = name[0]
        if not key.startswith(("gen_ai.", "server.", "error.")) or key.startswith("gen_ai.token."):
            continue
        kind = TYPES.get(key) or TYPES.get(re.sub(r"(gen_ai\.usage\.).*", r"\1*", key))
        assert kind is not None, f"{key} is no attribute of the conventions"
        assert type(value) is kind, (key, value)
        if key in VALUES:
            assert set(value if isinstance(value, list) else [value]) <= VALUES[key], (key, value)


def test_metrics_have_the_units_and_buckets_of_the_conventions(shown: Shown) -> None:
    for point in shown.points:
        assert "gen_ai.conversation.id" not in point.attributes
        if point.bounds:
            expected = HISTOGRAMS.get(point.name)
            if expected is None:
                assert point.name.startswith("langsmith_realtime."), point.name
            else:
                assert (point.unit, len(point.bounds), point.bounds[-1]) == expected, point.name
        elif point.name.startswith("gen_ai."):
            assert point.unit == "{token}", point.name
            assert point.attributes["gen_ai.token.modality"] in {"text", "audio", "image", "unknown"}
    assert HISTOGRAMS.keys() <= {point.name for point in shown.points}


def test_no_word_of_a_conversation_arrives_unless_content_is_shown(
    shown: Shown, request: pytest.FixtureRequest
) -> None:
    has_content = "with content" in request.node.name
    all_said = {said for frames in conversations().values() for frame in frames for said in words(frame["event"])}
    assert len(all_said) > 50
    found = [
        said
        for said in all_said
        if any(form[1:-1] in shown.everything for form in (repr(said), json.dumps(said), repr(json.dumps(said)[1:-1])))
    ]
    assert bool(found) is has_content, found[:3]
