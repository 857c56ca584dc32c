"""Every behaviour of a server over every surface: the trace is correct, and tracing changes no byte on the wire.

One row of `BEHAVIOURS` has the server's script, the client's part, and the expected trace. The properties of every
trace are asserted for each row, too, against the server's log.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from langsmith_realtime import flush
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import (
    Call,
    Close,
    Drop,
    Emit,
    Fail,
    Incomplete,
    McpCall,
    Pause,
    Say,
    Script,
    Turn,
    UserTranscript,
    silence,
    speech_like,
    tone,
)
from langsmith_realtime.testing.state.formats import audio_format
from tests.support.behaviours import (
    ASK,
    DONE,
    LIMITS,
    Behaviour,
    asked,
    assert_complete,
    assert_expected,
    converse,
    result,
    typed,
)
from tests.support.conversations import Node, tracing_to
from tests.support.surfaces import SURFACES, After, Frame, Part, Surface

# Frames of the client.

CANCEL = {"type": "response.cancel"}
COMMIT = {"type": "input_audio_buffer.commit"}
FIRST_SOUND = "response.output_audio.delta"
STARTED = "input_audio_buffer.speech_started"
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"

SPEECH = speech_like("What is the weather?", 0.3)
SILENCE = silence(0.4)


def append(pcm: bytes, law: str = "audio/pcm") -> Frame:
    encoded = base64.b64encode(audio_format({"type": law}).from_pcm16(pcm)).decode()
    return {"type": "input_audio_buffer.append", "audio": encoded}


def telephone(law: str) -> Frame:
    audio_in = {"format": {"type": law}, "transcription": {"model": "whisper-1"}}
    audio = {"input": audio_in, "output": {"format": {"type": law}}}
    return {"type": "session.update", "session": {"type": "realtime", "audio": audio}}


def truncate(milliseconds: int) -> Callable[[list[Frame]], list[Frame]]:
    """Returns frames that truncate the agent's last message."""

    def frames(received: list[Frame]) -> list[Frame]:
        messages = [
            event["item"]["id"]
            for event in received
            if event["type"] == "response.output_item.added" and event["item"]["type"] == "message"
        ]
        cut = {"type": "conversation.item.truncate", "item_id": messages[-1], "content_index": 0}
        return [{**cut, "audio_end_ms": milliseconds, "event_id": "evt_cut"}]

    return frames


def cancel_first(received: list[Frame]) -> list[Frame]:
    first = next(event for event in received if event["type"] == "response.created")
    return [{**CANCEL, "response_id": first["response"]["id"]}]


def configured(**audio_in: Any) -> dict[str, Any]:
    return {"audio": {"input": audio_in}}


TRANSCRIBES = configured(transcription={"model": "whisper-1"})
PUSH_TO_TALK = configured(turn_detection=None, transcription={"model": "whisper-1"})

# A reply that lasts until it is stopped: four words and a chunk of its audio arrive at once, the rest seconds later.
STORY = Say("Once upon a time there.", audio=tone(220, 6.0))
STORY_TURN = Turn(STORY)
STORY_PACE: dict[str, Any] = {"speed": 1, "chunk_ms": (5000, 5000)}
SORRY = Turn(Say("Sorry.", seconds=0.05))


# The behaviours.


def spoken(*, until: tuple[str, int] = (LIMITS, 1)) -> Part:
    return Part(opening=[append(SPEECH), append(SILENCE)], until=until)


def closing(name: str, how: Close | Drop, ends: str) -> Behaviour:
    script = Script([Turn(Say("Goodbye."), then=[how])], speed=0, seed=1)
    return Behaviour(
        name, script, Part(opening=[typed("Bye."), ASK]), ends, transcript=["user: Bye.", "assistant: Goodbye."]
    )


WEATHER = Call("lookup_weather", {"city": "Paris"}, call_id="call_weather")
TIME = Call("lookup_time", {"city": "Paris"}, call_id="call_time")
TRANSCRIPT = "What is the weather?"
SUNNY = Turn(Say("Sunny."))
TRANSCRIBED_AND_ANSWERED = [f"user: {TRANSCRIPT}", "assistant: Sunny."]


def transcribing(name: str, user_transcript: UserTranscript, until: tuple[str, int], **expected: Any) -> Behaviour:
    script = Script([SUNNY], user_transcripts=[user_transcript], session=TRANSCRIBES, speed=0, seed=1)
    return Behaviour(name, script, spoken(until=until), **{"transcript": TRANSCRIBED_AND_ANSWERED, **expected})


def mcp(kind: str, **fields: Any) -> Emit:
    return Emit({"type": kind, "item_id": "mcp_1", "output_index": 0, **fields})


MCP_ITEM = {"id": "mcp_1", "type": "mcp_call", "server_label": "maps", "name": "find", "arguments": ""}

BETA_EVENTS: list[Frame] = [
    {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}},
    {"type": "response.audio_transcript.delta", "delta": "Dzień "},
    {"type": "response.audio.delta", "delta": base64.b64encode(tone(220, 0.2)).decode()},
    {"type": "response.audio_transcript.done", "transcript": "Dzień dobry."},
    {"type": "response.audio.done"},
    {"type": DONE, "response": {"id": "resp_1", "status": "completed", "output": []}},
]

BEHAVIOURS = [
    Behaviour(
        "plain_audio_reply",
        Script([Turn(Say("Hello there."))], speed=0, seed=1),
        asked(),
        transcript=["user: Hello?", "assistant: Hello there."],
    ),
    Behaviour(
        "text_reply",
        Script([Turn(Say("Hello there."))], session={"output_modalities": ["text"]}, speed=0, seed=1),
        asked(),
        transcript=["user: Hello?", "assistant: Hello there."],
        recording_hz=None,
    ),
    Behaviour(
        "speech_and_its_answer",
        Script([SUNNY], session=TRANSCRIBES, user_transcripts=[TRANSCRIPT], speed=0, seed=1),
        spoken(),
        transcript=TRANSCRIBED_AND_ANSWERED,
    ),
    Behaviour(
        "tool_call",
        Script([Turn(WEATHER), SUNNY], speed=0, seed=1),
        asked(until=(LIMITS, 2), replies=[After(DONE, [result("call_weather", "21 degrees"), ASK])]),
        transcript=["user: Hello?", "assistant: ", "tool: 21 degrees", "assistant: Sunny."],
        models=["completed", "completed"],
        tools=[(DONE, "lookup_weather", "21 degrees")],
    ),
    Behaviour(
        "result_before_the_response_is_done",
        Script([Turn(WEATHER, Say("One moment."), Pause(3600))], overlap_items=False, speed=0, seed=1),
        asked(replies=[After("response.function_call_arguments.done", [result("call_weather", "21 degrees"), CANCEL])]),
        transcript=["user: Hello?", "assistant: ", "assistant: One moment.(cut)", "tool: 21 degrees"],
        models=["cancelled"],
        tools=[("response.function_call_arguments.done", "lookup_weather", "21 degrees")],
        interrupted=[DONE],
    ),
    Behaviour(
        "message_and_several_calls_in_one_response",
        Script([Turn(Say("Let me see."), WEATHER, TIME), SUNNY], speed=0, seed=1),
        asked(
            until=(LIMITS, 2),
            replies=[After(DONE, [result("call_time", "noon"), result("call_weather", "21 degrees"), ASK])],
        ),
        transcript=[
            "user: Hello?",
            "assistant: Let me see.",
            "assistant: ",
            "assistant: ",
            "tool: noon",
            "tool: 21 degrees",
            "assistant: Sunny.",
        ],
        models=["completed", "completed"],
        tools=[(DONE, "lookup_weather", "21 degrees"), (DONE, "lookup_time", "noon")],
    ),
    Behaviour(
        "call_never_answered",
        Script([Turn(WEATHER)], speed=0, seed=1),
        asked(),
        transcript=["user: Hello?", "assistant: "],
        tools=[(DONE, "lookup_weather", None)],
        recording_hz=None,
    ),
    *(
        Behaviour(
            f"barge_in_speech_{'first' if first else 'last'}",
            Script([STORY_TURN, SORRY], speech_started_first=first, **STORY_PACE, seed=1),
            asked(until=(LIMITS, 2), replies=[After(FIRST_SOUND, [append(SPEECH), append(SILENCE)])]),
            transcript=[
                "user: Hello?",
                "assistant: Once upon a time(cut)",
                "user: [audio, not transcribed]",
                "assistant: Sorry.",
            ],
            models=["cancelled", "completed"],
            interrupted=[DONE],
            barge_ins=1,
        )
        for first in (True, False)
    ),
    Behaviour(
        "barge_in_while_it_plays_and_truncate",
        Script([Turn(STORY), SORRY], speed=0, seed=1),
        asked(
            until=(LIMITS, 2),
            replies=[
                After(LIMITS, [append(SPEECH)]),
                After(STARTED, truncate(100)),
                After("conversation.item.truncated", [append(SILENCE)]),
            ],
        ),
        transcript=[
            "user: Hello?",
            "assistant: Once upon a time there.(cut)",
            "user: [audio, not transcribed]",
            "assistant: Sorry.",
        ],
        models=["completed", "completed"],
        barge_ins=1,
    ),
    Behaviour(
        "refused_truncate",
        Script([Turn(STORY)], speed=0, seed=1),
        asked(until=("error", 1), replies=[After(LIMITS, truncate(600_000))]),
        transcript=["user: Hello?", "assistant: Once upon a time there."],
        errors=[("error", "ends before 600000ms")],
    ),
    Behaviour(
        "client_cancel",
        Script([STORY_TURN], **STORY_PACE, seed=1),
        asked(replies=[After(FIRST_SOUND, [CANCEL])]),
        transcript=["user: Hello?", "assistant: Once upon a time(cut)"],
        models=["cancelled"],
        interrupted=[DONE],
    ),
    Behaviour(
        "failed_response",
        Script([Turn(Say("Well"), Fail("rate_limit_exceeded", "Too much."))], speed=0, seed=1),
        asked(),
        transcript=["user: Hello?", "assistant: Well"],
        models=["failed"],
        errors=[(DONE, "failed: rate_limit_exceeded: Too much.")],
    ),
    *(
        Behaviour(
            f"incomplete_response_{reason}",
            Script([Turn(Say("Well"), Incomplete(reason))], speed=0, seed=1),
            asked(),
            transcript=["user: Hello?", "assistant: Well"],
            models=["incomplete"],
            errors=[(DONE, f"incomplete: {reason}")],
        )
        for reason in ("max_output_tokens", "content_filter")
    ),
    Behaviour(
        "errors_that_keep_the_conversation_open",
        Script([SUNNY], speed=0, seed=1),
        Part(
            opening=[{**COMMIT, "event_id": "evt_1"}, {**CANCEL, "event_id": "evt_2"}, typed("Hello?"), ASK],
            until=(LIMITS, 1),
        ),
        transcript=["user: Hello?", "assistant: Sunny."],
        errors=[("error", "input_audio_buffer_commit_empty"), ("error", "response_cancel_not_active")],
    ),
    transcribing("transcript_late", UserTranscript(TRANSCRIPT, when="after"), (TRANSCRIBED, 1)),
    transcribing("transcript_early", UserTranscript(TRANSCRIPT, when="early"), (LIMITS, 1)),
    transcribing("transcript_whole", UserTranscript(TRANSCRIPT, streamed=False), (LIMITS, 1)),
    transcribing("transcript_by_tokens", UserTranscript(TRANSCRIPT, usage="tokens"), (LIMITS, 1)),
    transcribing("transcript_without_usage", UserTranscript(TRANSCRIPT, usage=None), (LIMITS, 1)),
    transcribing(
        "transcript_failed",
        UserTranscript(TRANSCRIPT, error="Too noisy."),
        (LIMITS, 1),
        transcript=["user: [audio, transcription failed]", "assistant: Sunny."],
        errors=[("conversation.item.input_audio_transcription.failed", "Too noisy.")],
    ),
    Behaviour(
        "out_of_band_response",
        Script([SUNNY, Turn(Say("weather"))], speed=0, seed=1),
        asked(
            until=(LIMITS, 2),
            replies=[After(LIMITS, [{**ASK, "response": {"conversation": "none", "metadata": {"topic": "1"}}}])],
        ),
        transcript=["user: Hello?", "assistant: Sunny."],
        models=["completed", "completed"],
    ),
    Behaviour(
        "parallel_responses",
        Script([Turn(Say("Let me think."), Pause(3600)), Turn(Say("question"))], speed=0, seed=1),
        asked(
            until=(LIMITS, 2),
            replies=[
                After("response.created", [{**ASK, "response": {"conversation": "none", "metadata": {"topic": "1"}}}]),
                After(LIMITS, cancel_first),
            ],
        ),
        transcript=["user: Hello?", "assistant: Let me think.(cut)"],
        models=["cancelled", "completed"],
        interrupted=[DONE],
    ),
    Behaviour(
        "unknown_events",
        Script(
            on_connect=[
                Emit({"type": "response.mood.changed", "mood": {"name": "sunny", "level": [1, None]}}),
                Emit({"type": "input_audio_buffer.dtmf_event_received", "event": "5", "event_id": None}),
                Emit({"type": "conversation.item.hummed", "item": {"id": "item_tune", "type": "tune"}}),
                Close(),
            ],
            seed=1,
        ),
        Part(),
        models=[],
        recording_hz=None,
    ),
    *(
        Behaviour(
            f"g711_{law[-4:]}",
            Script([SUNNY], user_transcripts=[TRANSCRIPT], speed=0, seed=1),
            Part(
                opening=[telephone(law), append(SPEECH, law), append(SILENCE, law)],
                until=(LIMITS, 1),
            ),
            transcript=TRANSCRIBED_AND_ANSWERED,
            recording_hz=8_000,
        )
        for law in ("audio/pcmu", "audio/pcma")
    ),
    Behaviour(
        "odd_splits",
        Script([Turn(Say("Hello there."))], odd_splits=True, chunk_ms=(5, 30), speed=0, seed=1),
        asked(),
        transcript=["user: Hello?", "assistant: Hello there."],
    ),
    Behaviour(
        "sideband",
        Script([Turn(Say("Hello there."), then=[Close()])], speed=0, seed=1),
        Part(opening=[typed("Hello?"), ASK], sideband=True),
        transcript=["user: Hello?", "assistant: Hello there."],
        recording_hz=None,
    ),
    Behaviour(
        "sideband_cleared",
        Script([Turn(Say("A long story.", audio=STORY.audio))], speed=0, seed=1),
        Part(
            opening=[typed("Hello?"), ASK],
            replies=[After(LIMITS, [{"type": "output_audio_buffer.clear"}])],
            until=("output_audio_buffer.cleared", 1),
            sideband=True,
        ),
        transcript=["user: Hello?", "assistant: A long story.(cut)"],
        barge_ins=1,
        recording_hz=None,
    ),
    Behaviour(
        "push_to_talk",
        Script([SUNNY], session=PUSH_TO_TALK, user_transcripts=[TRANSCRIPT], speed=0, seed=1),
        Part(opening=[append(SPEECH), COMMIT], replies=[After(TRANSCRIBED, [ASK])], until=(LIMITS, 1)),
        transcript=TRANSCRIBED_AND_ANSWERED,
    ),
    Behaviour(
        "reconnect",
        [
            Script([Turn(Say("Hello."), then=[Close(1012, "restarting")])], speed=0, seed=1),
            Script([Turn(Say("Here I am again."))], speed=0, seed=1),
        ],
        Part(
            opening=[typed("Hello?"), ASK],
            replies=[After("session.created", [typed("Still there?"), ASK], nth=2)],
            until=(LIMITS, 2),
            reconnects=True,
        ),
        transcript=["user: Hello?", "assistant: Hello.", "user: Still there?", "assistant: Here I am again."],
        models=["completed", "completed"],
        metadata={"reconnections": 1},
    ),
    closing("close_1000", Close(1000), "clean"),
    closing("close_1001", Close(1001, "going away"), "clean"),
    closing("close_1011", Close(1011, "overloaded"), "1011"),
    closing("close_1012", Close(1012, "restarting"), "1012"),
    closing("close_4000", Close(4000, "expired"), "4000"),
    closing("drop", Drop(), "dropped"),
    closing("drop_mid_frame", Drop(mid_frame=True), "dropped"),
    Behaviour(
        "close_while_speaking",
        Script([Turn(Say("Well"), Close(1011, "overloaded"))], speed=0, seed=1),
        Part(opening=[typed("Hello?"), ASK]),
        ends="1011",
        transcript=["user: Hello?", "assistant: Well"],
        models=["in_progress"],
    ),
    Behaviour(
        "expiry",
        Script([Turn(Say("Hello there."))], session_seconds=1, speed=0, seed=1),
        Part(opening=[typed("Hello?"), ASK]),
        transcript=["user: Hello?", "assistant: Hello there."],
        errors=[("error", "session_expired")],
        error="session_expired",
    ),
    Behaviour(
        "remote_tool",
        Script(
            [Turn(McpCall("find", {"q": "Paris"}, output="found", server_label="maps", seconds=0))], speed=0, seed=1
        ),
        asked(),
        transcript=["user: Hello?", "assistant: ", "tool: found"],
        tools=[("response.mcp_call_arguments.done", "find", "found")],
        recording_hz=None,
    ),
    Behaviour(
        "beta_server",
        Script([Turn(Say("Hello there."))], dialect="beta", speed=0, seed=1),
        asked(),
        transcript=["user: Hello?", "assistant: Hello there."],
    ),
    # In the following rows the script has the server's events.
    Behaviour(
        "mcp_call",
        Script(
            [
                Turn(
                    Emit({"type": "response.output_item.added", "output_index": 0, "item": MCP_ITEM}),
                    mcp("response.mcp_call_arguments.delta", delta='{"q": '),
                    mcp("response.mcp_call_arguments.done", arguments='{"q": "Paris"}'),
                    mcp("response.mcp_call.in_progress"),
                    mcp("response.mcp_call.completed"),
                    Emit(
                        {
                            "type": "response.output_item.done",
                            "output_index": 0,
                            "item": {**MCP_ITEM, "arguments": '{"q": "Paris"}', "output": "found"},
                        }
                    ),
                )
            ],
            speed=0,
            seed=1,
        ),
        asked(),
        transcript=["user: Hello?", "assistant: ", "tool: found"],
        tools=[("response.mcp_call_arguments.done", "find", "found")],
        recording_hz=None,
    ),
    Behaviour(
        "idle_timeout",
        Script(
            [SUNNY],
            on_connect=[
                Emit({"type": "input_audio_buffer.timeout_triggered", "item_id": "item_idle", "audio_start_ms": 0}),
                Emit({"type": "input_audio_buffer.committed", "item_id": "item_idle", "previous_item_id": None}),
            ],
            speed=0,
            seed=1,
        ),
        Part(opening=[ASK], until=(LIMITS, 1)),
        transcript=["assistant: Sunny."],
        metadata={"turns": 0},
    ),
    Behaviour(
        "beta_dialect",
        Script(
            on_connect=[
                *(Emit({"response_id": "resp_1", "item_id": "item_1", **event}) for event in BETA_EVENTS),
                Close(),
            ],
            seed=1,
        ),
        Part(),
        transcript=["assistant: Dzień dobry."],
    ),
]


# The matrix.


@pytest.fixture(scope="module")
def shared_collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture
def tracing_shared(shared_collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with tracing_to(shared_collector, monkeypatch):
        yield shared_collector


def surface_of(surface: Surface) -> Any:
    return pytest.param(surface, marks=[pytest.mark.newest] if surface.newest else [], id=surface.name)


def can_take(surface: Surface, behaviour: Behaviour) -> bool:
    return surface.reconnects or not behaviour.part.reconnects


#: Surfaces that run every behaviour. The others run every third one, and the rest in a soak, because they differ from
#: these in how an event reaches the tracing, which no behaviour changes.
WITH_EVERY_BEHAVIOUR = ("iterate", "iterate_sync", "tracer_as_dict")


def marks_of(behaviour: Behaviour, surface: Surface) -> Iterator[pytest.MarkDecorator]:
    if surface.name not in WITH_EVERY_BEHAVIOUR:
        if behaviour is not BEHAVIOURS[0]:  # what the oldest versions change of a behaviour shows over the three above
            yield pytest.mark.newest
        # The expiry of a session takes a second. Closed connections cover this end on the other surfaces.
        if behaviour.name == "expiry" or (BEHAVIOURS.index(behaviour) + SURFACES.index(surface)) % 3:
            yield pytest.mark.soak
    # openai reconnects since 2.32; surfaces of SessionTracer do not depend on it.
    if surface.newest or (behaviour.part.reconnects and not surface.name.startswith("tracer")):
        yield pytest.mark.newest


def cells() -> list[Any]:
    return [
        pytest.param(
            behaviour,
            surface,
            marks=list(marks_of(behaviour, surface)),
            id=f"{behaviour.name}-{surface.name}",
        )
        for behaviour, surface in itertools.product(BEHAVIOURS, SURFACES)
        if can_take(surface, behaviour)
    ]


@pytest.mark.parametrize(("behaviour", "surface"), cells())
@pytest.mark.nocover
def test_every_behaviour_over_every_surface(tracing_shared: Collector, behaviour: Behaviour, surface: Surface) -> None:
    project = f"{behaviour.name}-{surface.name}"
    plain = converse(behaviour, surface, enabled=False, project_name=project)
    traced = converse(behaviour, surface, enabled=True, project_name=project)

    assert traced.client.types == [frame["type"] for frame in traced.sent]
    assert traced.client.types == plain.client.types
    assert traced.received == plain.received
    assert traced.ended == plain.ended == behaviour.ends

    root = tree_of(project, tracing_shared)
    assert_complete(root, traced.sent)
    assert_expected(root, behaviour, tracing_shared)


def tree_of(project: str, collector: Collector) -> Node:
    """Flushes all traces and returns the only one of a project. Fails if a run broke a rule of the collector."""
    assert flush(timeout=60), "the traces were not sent within 60 s"
    assert collector.violations == []
    nodes: dict[str | None, Node] = {}
    for run in collector.runs(project=project):  # parents before children
        nodes[str(run.id)] = node = Node(run)
        if run.parent_run_id is not None:
            nodes[str(run.parent_run_id)].children.append(node)
    (root,) = [node for node in nodes.values() if node.run.parent_run_id is None]
    return root
