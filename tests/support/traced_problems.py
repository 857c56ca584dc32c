"""A conversation with a slow turn, a wrong tool argument and an interruption, traced from frames with their times."""

from __future__ import annotations

import heapq
import json
from typing import TYPE_CHECKING, Any

from langsmith import Client

from langsmith_realtime.core.protocol.inputs import ClientFrame, Closed, Input, ServerFrame, ToolFailed
from langsmith_realtime.journal.frame_lines import FrameLines
from langsmith_realtime.journal.recovery import replay_anew
from langsmith_realtime.options.tracing import Options
from tests.support.timed_turns import TimedTurns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from langsmith_realtime.collector import Collector
    from langsmith_realtime.core.conversation.run_data import RunData

#: When the conversation began, in µs since the epoch.
_START = 1_795_870_979_000_000
#: From when each problem is heard, in seconds, and its turn: the user stops, the tool is called, the answer begins
#: that is cut off less than 2 s later.
PROBLEMS = ((7.0, 2), (14.6, 3), (20.7, 4))
ERROR = "ValueError: no such city 'Utrek'"


class _Frames(TimedTurns):
    """Keeps what the tests' conversation is told as lines of frames."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        super().__init__()

    def _take(self, given: Input) -> list[RunData]:
        if isinstance(given, ServerFrame | ClientFrame):
            side = "server" if isinstance(given, ServerFrame) else "client"
            self.lines.append({"dir": side, "t": given.t, "event": given.frame})
        return []

    def turn(self, begin: float, end: float, words: str, response_id: str, first_audio: float, answer: str) -> None:
        """The user speaks from `begin` to `end`, and the answer's audio arrives at `first_audio`, 2 s of it."""
        self.speech(begin, end)
        self.transcribed(words, f"item_{begin:g}")
        self.answers(response_id, first_audio, seconds=2.0, words=answer)
        where: dict[str, Any] = {"response_id": response_id, "item_id": f"item_{response_id}", "content_index": 0}
        self.server("response.output_audio_transcript.done", **where, transcript=answer)
        self.done(response_id)


class _WithFailedTool(FrameLines):
    """The frames of a file, and the error of a tool, which frames do not say."""

    def inputs(self) -> Iterator[Input]:
        *frames, closed = super().inputs()
        assert isinstance(closed, Closed)
        yield from heapq.merge(frames, [ToolFailed("call_1", 14.7, ERROR)], key=lambda each: getattr(each, "t", 0.0))
        yield closed


def trace_three_problems(collector: Collector, folder: Path, project: str) -> str:
    """Trace the conversation into the collector, which takes half a second; return the trace's id."""
    frames = _Frames()
    frames.turn(1.0, 2.5, "Where is my parcel?", "resp_1", 3.2, "It is on its way.")
    frames.turn(6.0, 7.0, "When does it arrive?", "resp_2", 9.8, "It arrives on Tuesday.")
    frames.speech(13.0, 14.0)
    frames.transcribed("Can you bring it to Utrecht?", "item_13")
    frames.begins("resp_3")
    call = {"id": "item_call", "type": "function_call", "call_id": "call_1", "name": "redirect"}
    arguments = json.dumps({"city": "Utrek"})
    frames.output("resp_3", call)
    frames.server(
        "response.function_call_arguments.done", at=14.6, response_id="resp_3", **_of(call), arguments=arguments
    )
    frames.ends("resp_3", {**call, "arguments": arguments})
    output = {"type": "function_call_output", "call_id": "call_1", "output": "Something went wrong."}
    frames.client("conversation.item.create", at=14.8, item=output)
    frames.item("item_output", **output)
    frames.client("response.create")
    frames.answers("resp_4", 15.0, seconds=3.0, words="I cannot do that.")
    frames.done("resp_4")
    frames.turn(19.0, 20.0, "And what does it cost?", "resp_5", 20.7, "It costs six euros and fifty cents.")
    frames.speech(21.7, 22.7)
    frames.client("conversation.item.truncate", at=22.9, item_id="item_resp_5", content_index=0, audio_end_ms=1100)
    frames.server("conversation.item.truncated", item_id="item_resp_5", content_index=0, audio_end_ms=1100)
    frames.transcribed("Six is fine, thank you.", "item_21.7")
    frames.answers("resp_6", 23.6, seconds=1.0, words="You are welcome.")
    frames.done("resp_6")
    frames.server("rate_limits.updated", at=26.0)
    file = folder / "problems.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in frames.lines))
    client = Client(api_url=collector.url, api_key="local", auto_batch_tracing=False)
    trace_id = replay_anew(_WithFailedTool(file, _START, Options()), client, project=project)
    assert trace_id is not None
    return trace_id


def _of(call: dict[str, Any]) -> dict[str, Any]:
    return {"item_id": call["id"], "call_id": call["call_id"], "name": call["name"]}
