"""Puts conversations into a collector as the tracer would send them: events, models, tools, and a recording."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import soundfile

from langsmith_realtime.collector.records import Attachment
from langsmith_realtime.collector.rules import Batch, Operation

if TYPE_CHECKING:
    from pathlib import Path

    from langsmith_realtime.collector import Collector
    from langsmith_realtime.collector.storage.store import Store

RATE = 8000


@dataclass
class Conversation:
    """One conversation, at seconds since its begin. ``id`` is the id of its root.

    Everything but the sound is in the root and in `runs`; :meth:`store` sends it.
    """

    start: datetime = datetime(2026, 11, 28, 12, 42, 59, tzinfo=UTC)
    thread: str = "thread-1"
    project: str = "parcel-desk"
    seconds: float = 30.0
    metadata: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.id = str(uuid4())
        self.runs: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.spoken: dict[str, list[tuple[float, float]]] = {"user": [], "agent": []}
        self.answers: list[dict[str, Any]] = []

    @property
    def order(self) -> str:
        return f"{self.start:%Y%m%dT%H%M%S%fZ}{self.id}"

    def run(self, t: float, name: str, run_type: str = "chain", end: float | None = None, **fields: Any) -> str:
        run_id, moment = str(uuid4()), self.start + timedelta(seconds=t)
        self.runs.append(
            {
                "id": run_id,
                "trace_id": self.id,
                "parent_run_id": self.id,
                "dotted_order": f"{self.order}.{moment:%Y%m%dT%H%M%S%fZ}{run_id}",
                "name": name,
                "run_type": run_type,
                "start_time": moment.isoformat(),
                "end_time": (self.start + timedelta(seconds=t if end is None else end)).isoformat(),
                "session_name": self.project,
                **fields,
            }
        )
        return run_id

    def event(self, t: float, kind: str, error: str | None = None, **payload: Any) -> str:
        return self.run(t, kind, inputs={"event": {"type": kind, **payload}}, error=error)

    def user_says(self, begin: float, end: float, words: str, *, detection: float = 0.2) -> None:
        item = f"item_{len(self.runs)}"
        self.event(begin + 0.04, "input_audio_buffer.speech_started", item_id=item)
        self.event(end + detection, "input_audio_buffer.speech_stopped", item_id=item)
        kind = "conversation.item.input_audio_transcription.completed"
        self.event(end + detection + 0.3, kind, item_id=item, transcript=words)
        self.spoken["user"].append((begin, end))
        self.messages.append({"role": "user", "content": words})
        self._user = (begin, end, end + detection)

    def agent_says(
        self,
        first_audio: float,
        end: float,
        words: str,
        *,
        playback: float = 0.06,
        tool: tuple[str, float, float, str | None] | None = None,
        heard: str | None = None,
        greeting: bool = False,
        **numbers: Any,
    ) -> None:
        """The agent's answer; `tool` is its name, begin, end and error; `heard` are the words before a barge-in."""
        response, begin = f"resp_{len(self.runs)}", first_audio + playback
        if tool is not None:
            name, since, until, error = tool
            result = {"output": "done"} if error is None else None
            self.run(since, name, "tool", until, inputs={"city": "Paris"}, outputs=result, error=error)
        metadata: dict[str, Any] = {
            "response_id": response,
            "first_audio_s": first_audio,
            "heard_from_s": begin,
            "heard_until_s": end,
            "spoken_ms": round((end - begin) * 1000),
            "heard_ms": round((end - begin) * 1000),
        }
        created = first_audio - 0.2
        if not greeting:
            user_from, user_until, speech_ended = self._user
            metadata |= {
                "user_audible_from_s": user_from,
                "user_audible_until_s": user_until,
                "speech_ended_s": speech_ended,
                "latency_to_first_audio_ms": round((first_audio - speech_ended) * 1000),
                "voice_to_voice_ms": round((begin - user_until) * 1000),
                "time_to_first_token_ms": 190,
            }
        message = {"role": "assistant", "content": words}
        if heard is not None:
            metadata |= {"was_interrupted": True, "spoken_ms": round((end - begin) * 2000)}
            message["heard"] = heard
        metadata |= numbers
        self.event(created, "response.created", response={"id": response})
        self.event(end - 0.01, "response.output_audio_transcript.done", response_id=response, transcript=words)
        outputs = {"choices": [{"message": message}]}
        self.run(created, "model", "llm", end, outputs=outputs, extra={"metadata": metadata})
        self.spoken["agent"].append((begin, end))
        self.messages.append({"role": "assistant", "content": words})
        self.answers.append(metadata)

    def root(self, *, ended: bool) -> dict[str, Any]:
        latencies = sorted(each["voice_to_voice_ms"] for each in self.answers if "voice_to_voice_ms" in each)
        numbers: dict[str, Any] = {"turns": len(latencies), "model": "gpt-realtime", "total_tokens": 2800}
        if latencies:
            middle = latencies[(len(latencies) - 1) // 2]
            numbers |= {"voice_to_voice_p50_ms": middle, "voice_to_voice_p95_ms": latencies[-1]}
            numbers["voice_to_voice_max_ms"] = latencies[-1]
        numbers["interruptions"] = sum("was_interrupted" in each for each in self.answers)
        numbers["errors"] = sum(bool(run.get("error")) and run["run_type"] != "tool" for run in self.runs)
        metadata = {"ls_integration": "langsmith-realtime", "thread_id": self.thread}
        run: dict[str, Any] = {
            "id": self.id,
            "trace_id": self.id,
            "dotted_order": self.order,
            "name": "realtime_session",
            "run_type": "chain",
            "start_time": self.start.isoformat(),
            "session_name": self.project,
            "tags": list(self.tags),
            "extra": {"metadata": metadata | (numbers | self.metadata if ended else {})},
        }
        if ended:
            run["end_time"] = (self.start + timedelta(seconds=self.seconds)).isoformat()
            run["outputs"] = {"messages": self.messages}
            run["error"] = self.error
        return run

    def sound(self, form: str = "WAV", rate: int = RATE, **options: Any) -> bytes:
        """The recording: the user is a tone on the left, the agent one on the right."""
        samples = np.zeros((round(self.seconds * rate), 2), dtype=np.int16)
        for side, name in enumerate(("user", "agent")):
            for begin, end in self.spoken[name]:
                first, last = round(begin * rate), min(round(end * rate), len(samples))
                time = np.arange(last - first) / rate
                swell = 0.6 + 0.4 * np.sin(time * 9)
                samples[first:last, side] = 12000 * swell * np.sin(time * 2 * np.pi * (300 + 200 * side))
        buffer = io.BytesIO()
        with soundfile.SoundFile(buffer, "w", rate, 2, format=form, **options) as file:
            for first in range(0, len(samples), rate):
                file.write(samples[first : first + rate])
        return buffer.getvalue()

    def store(
        self,
        store: Store,
        *,
        ended: bool = True,
        sound: bytes | None = None,
        mime_type: str = "audio/wav",
        folder: Path | None = None,
    ) -> str:
        """Store everything in one batch; return the id."""
        batch = Batch([Operation("post", self.id, self.root(ended=ended))])
        batch.operations += [Operation("post", run["id"], run) for run in self.runs]
        if sound is not None:
            path = (folder or store.incoming) / f"incoming-{self.id}"
            path.write_bytes(sound)
            batch.operations[0].attachments["conversation"] = Attachment(mime_type, path)
        batch.check(10_000_000)
        store.apply(batch)
        return self.id

    def into(self, collector: Collector, **options: Any) -> str:
        return self.store(collector._store, **options)


def with_three_problems(**fields: Any) -> Conversation:
    """Five turns: the second is slow, in the third a tool fails, and the fourth answer is interrupted."""
    call = Conversation(seconds=40.0, **fields)
    call.agent_says(0.2, 2.0, "Hello! This is the parcel desk.", greeting=True)
    call.user_says(3.0, 4.5, "Where is my parcel?")
    call.agent_says(5.3, 8.0, "It is on its way.", tool=("find_parcel", 4.8, 5.0, None))
    call.user_says(9.0, 10.0, "When does it arrive?")
    call.agent_says(13.0, 15.0, "It arrives on Tuesday.", tool=("find_route", 10.4, 12.7, None))
    call.user_says(16.0, 17.0, "Can you bring it to Utrecht?")
    call.agent_says(17.9, 20.0, "I cannot do that.", tool=("redirect", 17.3, 17.5, "ValueError: no such city 'Utrek'"))
    call.user_says(21.0, 22.0, "And what does it cost?")
    call.agent_says(
        22.8,
        25.0,
        "It costs six euros and fifty cents, tax included.",
        heard="It costs six euros",
        barge_in_reaction_ms=80,
    )
    call.user_says(24.9, 26.5, "Six is fine, thank you.")
    call.agent_says(27.2, 29.0, "You are welcome.")
    return call


def with_agents(**fields: Any) -> Conversation:
    """Two agents of the Agents SDK: a handoff, a tool that waited for an approval, and an answer that a guardrail cut.

    The words are Arabic, with emoji, and some are long.
    """
    call = Conversation(seconds=24.0, **fields)
    call.event(0.1, "agent_changed", agent="Front desk", tools=["transfer_to_billing"])
    call.agent_says(0.2, 2.0, "Hello!", greeting=True, agent="Front desk")
    call.user_says(3.0, 4.5, "أريد استرداد المبلغ، رقم 123-ABC")
    call.run(5.0, "transfer_to_billing", "tool", 5.2, inputs={}, outputs={"output": "Billing"})
    call.event(5.2, "handoff", agent="Billing", previous_agent="Front desk")
    call.agent_says(5.8, 8.0, "How much?", agent="Billing")
    call.user_says(9.0, 10.0, "Hundred euros.")
    call.event(10.4, "tool_approval_required", call_id="call_1", name="refund", agent="Billing")
    approval = {"approval": "approved", "approval_wait_ms": 2300}
    long = {"note": "a" * 300}
    call.run(10.4, "refund", "tool", 12.9, inputs=long, error="TimeoutError", extra={"metadata": approval})
    words, heard, guardrails = "🎉🎉🎉 Done. Your card number is four one.", "🎉🎉🎉 Done.", ["no_card_numbers"]
    not_the_user: dict[str, Any] = {"was_interrupted": False, "guardrails": guardrails}
    call.agent_says(13.5, 16.0, words, heard=heard, agent="Billing", **not_the_user)
    answer = call.runs[-1]
    answer["outputs"]["choices"][0]["message"]["interrupted"] = True
    response = answer["extra"]["metadata"]["response_id"]
    found = [{"name": "no_card_numbers", "agent": "Billing", "info": {}}]
    call.event(14.2, "guardrail_tripped", response_id=response, guardrails=found, message="Done. Your card")
    told = {"type": "input_text", "text": "guardrail triggered: no_card_numbers"}
    call.event(14.3, "conversation.item.added", item={"id": "item_told", "role": "user", "content": [told]})
    call.agent_says(17.0, 20.0, "I cannot say that.", greeting=True, agent="Billing")
    return call


def an_hour(**fields: Any) -> Conversation:
    """An hour of 120 turns, about 20 events each. Six answers are slow, eight are interrupted, and a tool fails."""
    call = Conversation(seconds=3600.0, **fields)
    for turn in range(120):
        begin = turn * 30.0
        slow = turn % 20 == 6
        call.user_says(begin + 1, begin + 4 + turn % 3, f"Question {turn + 1}: how do I get from Utrecht to Lyon?")
        first_audio = begin + 4.6 + turn % 3 + (2.0 + turn % 7 / 3 if slow else 0.1 * (turn % 7))
        tool = ("find_trains", begin + 4.3 + turn % 3, first_audio - 0.15, "TimeoutError" if turn % 50 == 36 else None)
        cut = turn % 14 == 9
        call.agent_says(
            first_audio,
            begin + (21 if not cut else 14),
            f"Answer {turn + 1}. There are 6 connections before noon. The first leaves at seven and reaches Lyon"
            " three hours later with one change; the second leaves forty minutes after it and needs no change at all.",
            tool=tool if turn % 4 == 2 else None,
            heard=f"Answer {turn + 1}. There are 6 connections before noon." if cut else None,
        )
        for number in range(14):
            call.event(begin + 4.5 + number, "rate_limits.updated" if number % 2 else "response.output_item.added")
    return call
