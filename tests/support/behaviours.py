"""A server's behaviour, held over any surface, and what its trace must then be."""

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
from tests.support.surfaces import After, Client, Frame, Part, Surface, ended

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
    """One row.

    `ends` is how the conversation ends for the caller: ``clean``, a close code, or ``dropped``. Of the trace:
    `says` is the transcript, ``(cut)`` where it was interrupted; `models` the statuses of the responses; `tools`
    the tool runs, each under its event with what came out of it; `errors` the events with an error that is none of
    the user's, and words of it; `interrupted` the events shown as interrupted; `barge_ins` how many there were;
    `sound` the rate of the recording in Hz, None for no recording.
    """

    name: str
    script: Script | Sequence[Script]
    part: Part
    ends: str = "clean"
    says: Sequence[str] = ()
    models: Sequence[str] = ("completed",)
    tools: Sequence[tuple[str, str, str | None]] = ()
    errors: Sequence[tuple[str, str]] = ()
    interrupted: Sequence[str] = ()
    barge_ins: int = 0
    sound: int | None = 24_000
    metadata: Mapping[str, Any] | None = None


def asked(*, until: tuple[str, int] = (LIMITS, 1), replies: Sequence[After] = ()) -> Part:
    """A client that types a question, and wants it answered."""
    return Part(opening=[typed("Hello?"), ASK], replies=replies, until=until)


@dataclass(frozen=True)
class Conversed:
    """A conversation that was had: what the client heard, and what the server's log says of it."""

    client: Client
    ended: str
    sent: list[Frame]
    received: list[str | bytes]


def converse(behaviour: Behaviour, surface: Surface, **options: Any) -> Conversed:
    client, problem = Client(behaviour.part), None
    with RealtimeServer(behaviour.script) as server:
        try:
            surface.talk(server, client, **options)
        except ConnectionClosed as error:
            problem = error
    # Stopped, the server has logged everything.
    sent, received = [frame.event for frame in server.sent], [frame.raw for frame in server.received]
    return Conversed(client, ended(problem), sent, received)


def below(node: Node) -> Iterator[Node]:
    for child in node.children:
        yield child
        yield from below(child)


def assert_complete(root: Node, sent: list[Frame]) -> None:
    """What every trace has: exactly what the server sent, in its order, and the tokens it counted."""
    events = [event for event in sent if not event["type"].endswith(".delta")]
    assert root.names() == spanned(sent)
    assert [child.run.inputs for child in root.children] == [{"event": scrub(event)} for event in events]
    starts = [child.run.start_time for child in root.children]
    assert all(earlier < later for earlier, later in itertools.pairwise([root.run.start_time, *starts]))

    runs = [root.run, *(node.run for node in below(root))]
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
    """What its row says of the trace."""
    error = str(root.run.error)
    assert {"clean": "None", "dropped": "ConnectionClosedError"}.get(behaviour.ends, behaviour.ends) in error
    assert [shown(message) for message in (root.run.outputs or {})["messages"]] == list(behaviour.says)

    models = list(root.find("model"))
    assert sorted(choice_of(node)["finish_reason"] for node in models) == sorted(behaviour.models)
    assert all(child.names() == ["model"] for child in root.children if child.run.name == "response.created")

    tools = [
        (parent.run.name, node.run.name, (node.run.outputs or {}).get("content"))
        for parent in [root, *below(root)]
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

    if behaviour.sound is None:
        assert root.run.attachments == {}
    else:
        recorded = soundfile.info(collector.attachment(root.run.id, "conversation")[1])
        assert (recorded.samplerate, recorded.channels) == (behaviour.sound, 2)


def shown(message: dict[str, Any]) -> str:
    return f"{message['role']}: {message['content']}{'(cut)' if message.get('interrupted') else ''}"


def choice_of(model: Node) -> dict[str, Any]:
    (choice,) = (model.run.outputs or {})["choices"]
    return dict(choice)
