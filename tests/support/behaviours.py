"""Behaviours of a server, run over any surface, and the assertions on their traces."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import soundfile
from websockets.exceptions import ConnectionClosed

from langsmith_realtime.collector import Collector
from langsmith_realtime.core.payloads.scrubbing import scrub
from langsmith_realtime.testing import RealtimeServer, Script
from tests.support.conversations import Node, spanned
from tests.support.surfaces import After, Client, Frame, Part, Surface, end_of

ASK = {"type": "response.create"}


DONE = "response.done"


LIMITS = "rate_limits.updated"


def typed(words: str) -> Frame:
    content = [{"type": "input_text", "text": words}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}}


def result(call_id: str, output: str) -> Frame:
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return {"type": "conversation.item.create", "item": item}


@dataclass(frozen=True)
class Behaviour:
    """A server's script, a client's part, and the expected end and trace.

    `ends` is the end for the application: ``clean``, a close code, or ``dropped``. The other fields are of the trace:
    `transcript` has the messages, with ``(cut)`` after an interrupted one; `models` are the statuses of the responses;
    `tools` are the tool runs, as parent's name, name and output; `errors` are the events whose error is no
    interruption, with a part of its text; `interrupted` are the events that were interrupted; `barge_ins` is their
    number; `recording_hz` is the rate of the recording in Hz, or None for no recording.
    """

    name: str
    script: Script | Sequence[Script]
    part: Part
    ends: str = "clean"
    transcript: Sequence[str] = ()
    models: Sequence[str] = ("completed",)
    tools: Sequence[tuple[str, str, str | None]] = ()
    errors: Sequence[tuple[str, str]] = ()
    interrupted: Sequence[str] = ()
    barge_ins: int = 0
    recording_hz: int | None = 24_000
    metadata: Mapping[str, Any] | None = None
    error: str | None = None


def asked(*, until: tuple[str, int] = (LIMITS, 1), replies: Sequence[After] = ()) -> Part:
    """Returns the part of a client that sends a question as text and requests a response."""
    return Part(opening=[typed("Hello?"), ASK], replies=replies, until=until)


@dataclass(frozen=True)
class Conversed:
    """A conversation that has ended: its client, and the frames that the server sent and received."""

    client: Client
    ended: str
    sent: list[Frame]
    received: list[str | bytes]


def converse(behaviour: Behaviour, surface: Surface, **options: Any) -> Conversed:
    """Runs a behaviour over a surface, traced with the options."""
    client, problem = Client(behaviour.part), None
    with RealtimeServer(behaviour.script) as server:
        try:
            surface.talk(server, client, **options)
        except ConnectionClosed as error:
            problem = error
    # The log is complete once the server has stopped.
    sent, received = [frame.event for frame in server.sent], [frame.raw for frame in server.received]
    return Conversed(client, end_of(problem), sent, received)


def descendants(node: Node) -> Iterator[Node]:
    """Yields all runs below a run."""
    for child in node.children:
        yield child
        yield from descendants(child)


def assert_complete(root: Node, sent: list[Frame]) -> None:
    """Asserts that a trace has a run for each event the server sent, in order, all ended, and all counted tokens."""
    events = [event for event in sent if not event["type"].endswith(".delta")]
    assert root.names() == spanned(sent)
    assert [child.run.inputs for child in root.children] == [{"event": scrub(event)} for event in events]
    starts = [child.run.start_time for child in root.children]
    assert all(earlier < later for earlier, later in itertools.pairwise([root.run.start_time, *starts]))

    runs = [root.run, *(node.run for node in descendants(root))]
    assert all(run.end_time is not None and run.end_time >= run.start_time for run in runs)
    assert {run.thread_id for run in runs} == {root.run.thread_id} != {None}
    assert root.metadata["event_count"] == len(events)

    usages = {
        event["response"]["id"]: (event["response"].get("usage") or {}).get("total_tokens", 0)
        for event in events
        if event["type"] == DONE
    }
    counted = {
        node.metadata["response_id"]: node.metadata.get("usage_metadata", {}).get("total_tokens", 0)
        for node in root.find("model")
    }
    assert {response: tokens for response, tokens in counted.items() if response in usages} == usages
    assert root.metadata.get("total_tokens", 0) == sum(usages.values())


def assert_expected(root: Node, behaviour: Behaviour, collector: Collector) -> None:
    """Asserts that a trace is as the behaviour expects."""
    error = str(root.run.error)
    if behaviour.error is not None:
        assert behaviour.error in error
    elif root.metadata.get("close_code") == 1001:
        assert "the server closed the connection: 1001" in error
    else:
        assert {"clean": "None", "dropped": "ConnectionClosedError"}.get(behaviour.ends, behaviour.ends) in error
    assert [line(message) for message in (root.run.outputs or {})["messages"]] == list(behaviour.transcript)

    models = list(root.find("model"))
    assert sorted(choice_of(node)["finish_reason"] for node in models) == sorted(behaviour.models)
    assert all(child.names() == ["model"] for child in root.children if child.run.name == "response.created")

    tools = [
        (parent.run.name, node.run.name, (node.run.outputs or {}).get("content"))
        for parent in [root, *descendants(root)]
        for node in parent.children
        if node.run.run_type == "tool"
    ]
    assert sorted(tools, key=str) == sorted(behaviour.tools, key=str)

    failed = [child for child in root.children if child.run.error is not None]
    interrupted = [child.run.name for child in failed if "ls_is_error_interrupt" in child.metadata]
    errors = [child.run for child in failed if "ls_is_error_interrupt" not in child.metadata]
    assert interrupted == list(behaviour.interrupted)
    assert [run.name for run in errors] == [name for name, _ in behaviour.errors]
    assert all(words in str(run.error) for run, (_, words) in zip(errors, behaviour.errors, strict=True))
    assert root.metadata["errors"] == len(behaviour.errors)
    assert root.metadata["interruptions"] == behaviour.barge_ins
    assert (behaviour.metadata or {}).items() <= root.metadata.items()

    if behaviour.recording_hz is None:
        assert root.run.attachments == {}
    else:
        recorded = soundfile.info(collector.attachment(root.run.id, "conversation")[1])
        assert (recorded.samplerate, recorded.channels) == (behaviour.recording_hz, 2)


def line(message: dict[str, Any]) -> str:
    """Returns a message as ``role: content``, with ``(cut)`` after an interrupted one."""
    return f"{message['role']}: {message['content']}{'(cut)' if message.get('interrupted') else ''}"


def choice_of(model: Node) -> dict[str, Any]:
    """Returns the only choice of a model run."""
    (choice,) = (model.run.outputs or {})["choices"]
    return dict(choice)
