"""Sends the events of one response, from ``response.created`` to ``rate_limits.updated``, by a turn of the script."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Mapping
from typing import Any, Literal

from langsmith_realtime.testing.agent.output import Output, Outputs
from langsmith_realtime.testing.agent.pacing import delta_sizes, split_arguments, split_words, timed_deltas
from langsmith_realtime.testing.script.script import Call, Event, Fail, Incomplete, McpCall, Pause, Say, Turn
from langsmith_realtime.testing.signals import speech_like
from langsmith_realtime.testing.state.formats import AudioFormat, audio_format
from langsmith_realtime.testing.state.scheduler import Process
from langsmith_realtime.testing.state.shared import TOKEN_LIMIT, SharedState
from langsmith_realtime.testing.state.usage import Tokens, item_tokens, prompt_tokens, response_usage

WORDS_PER_SECOND = 5
"""Words in one second of a text response at speed 1."""


class Response:
    """One response of the agent.

    Args:
        shared: The state of the session.
        turn: The turn of the script.
        session: The session's configuration when the response begins.
        request: The ``response`` object of the client's ``response.create``; empty for a response to speech.
        on_done: Called after ``response.done`` and ``rate_limits.updated``.

    Attributes:
        id: The response's id.
        in_conversation: Whether the response belongs to the conversation (false for ``conversation: "none"``).
        turn: The turn of the script.
        status: The response's status, as in its events.
    """

    def __init__(
        self,
        shared: SharedState,
        turn: Turn,
        session: Event,
        request: Mapping[str, Any],
        on_done: Callable[[Response], None],
    ) -> None:
        self.id = shared.ids.new("resp")
        self.in_conversation = request.get("conversation", "auto") != "none"
        self.turn = turn
        self.status = "in_progress"
        self._shared = shared
        self._scheduler = shared.scheduler
        self._on_done = on_done
        self._request = request
        self._session = session
        self._outputs = Outputs(shared, self.id, in_conversation=self.in_conversation)
        self._mcp_calls_after_done: list[tuple[Output, McpCall]] = []
        self._playback_end = 0.0
        self._has_audio = request.get("output_modalities", session["output_modalities"]) == ["audio"]
        self._format: AudioFormat = audio_format(session["audio"]["output"]["format"])
        self._prompt = prompt_tokens(session, shared.conversation.entries)
        self._process = self._generate()
        # Seeded, so that the sizes of deltas differ between responses and are equal in every run of a test.
        self._rng = random.Random(len(shared.conversation.entries))  # noqa: S311

    @property
    def generation_seconds(self) -> float:
        """Seconds that the turn's thinking, messages and pauses take if nothing interrupts the response."""
        pauses = sum(step.seconds for step in self.turn.steps if isinstance(step, Pause))
        says = [step for step in self.turn.steps if isinstance(step, Say)]
        return self.turn.think + pauses + sum(self._shared.script.pace(self._say_seconds(say)) for say in says)

    @property
    def playback_seconds(self) -> float:
        """Seconds until a client that plays the deltas one after the other has played the audio sent so far."""
        return max(0.0, self._playback_end - self._scheduler.now)

    def begin(self) -> None:
        """Send ``response.created``."""
        self._scheduler.send("response.created", response=self._resource())

    def generate(self) -> None:
        """Start the process that generates the response."""
        self._scheduler.start(self._process)

    def cancel(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """Stop generating, close the open items, and send ``response.done``.

        If the script has rate limits, ``rate_limits.updated`` follows. An item that lacks content becomes
        ``incomplete``.
        """
        self._scheduler.stop(self._process)
        self._finish("cancelled", {"type": "cancelled", "reason": reason})

    # The steps of the turn.

    def _generate(self) -> Process:
        yield self.turn.think
        for step in self.turn.steps:
            if isinstance(step, Say | Call | McpCall) and not self._shared.script.overlap_items:
                self._outputs.close_all()
            if isinstance(step, Say):
                yield from self._say(step)
            elif isinstance(step, Call):
                yield from self._call(step)
            elif isinstance(step, McpCall):
                yield from self._call_mcp(step)
            elif isinstance(step, Pause):
                yield step.seconds
            elif isinstance(step, Fail):
                error = {"type": step.type, "code": step.code, "message": step.message}
                self._finish("failed", {"type": "failed", "error": error})
                return
            elif isinstance(step, Incomplete):
                if self._outputs.all:
                    self._outputs.all[-1].complete = False
                self._finish("incomplete", {"type": "incomplete", "reason": step.reason})
                return
            else:
                self._shared.perform(step)
                if self._scheduler.ended:
                    return
        self._finish("completed", None)

    def _say(self, say: Say) -> Process:
        kind: Literal["audio", "text"] = "audio" if self._has_audio else "text"
        phase = {} if say.phase is None else {"phase": say.phase}
        item = {"id": self._shared.ids.new("item"), "type": "message", "status": "in_progress", "role": "assistant"}
        output = self._outputs.add({**item, "content": [], **phase}, kind)
        part = {"type": "audio", "transcript": ""} if self._has_audio else {"type": "text", "text": ""}
        self._outputs.send_part("response.content_part.added", output, part=part)
        words = split_words(say.text)
        yield from self._speak(output, words, say) if self._has_audio else self._write(output, words)
        output.complete = True

    def _write(self, output: Output, words: list[str]) -> Process:
        for word in words:
            output.text += word
            self._outputs.send_part("response.output_text.delta", output, delta=word)
            yield self._shared.script.pace(1 / WORDS_PER_SECOND)

    def _speak(self, output: Output, words: list[str], say: Say) -> Process:
        audio = self._audio_of(say)
        seconds = self._format.milliseconds(len(audio)) / 1000
        script = self._shared.script
        sizes = delta_sizes(self._format, script.chunk_ms, self._rng, odd=script.odd_splits)
        previous = 0.0
        for at, delta in timed_deltas(words, audio, self._format, sizes):
            yield self._shared.script.pace(at - previous)
            previous = at
            if isinstance(delta, str):
                output.text += delta
                self._outputs.send_part("response.output_audio_transcript.delta", output, delta=delta)
            else:
                self._send_audio(output, delta, seconds)
        yield self._shared.script.pace(seconds - previous)

    def _call(self, call: Call) -> Process:
        call_id = call.call_id or self._shared.ids.new("call", 16)
        item = {"id": self._shared.ids.new("item"), "type": "function_call", "status": "in_progress"}
        output = self._outputs.add({**item, "name": call.name, "call_id": call_id, "arguments": ""})
        for delta in _argument_deltas(call):
            output.text += delta
            self._outputs.send_part("response.function_call_arguments.delta", output, call_id=call_id, delta=delta)
            yield self._shared.script.pace(0.5 / WORDS_PER_SECOND)
        output.complete = True

    def _call_mcp(self, call: McpCall) -> Process:
        item = {"id": self._shared.ids.new("mcp"), "type": "mcp_call", "server_label": call.server_label}
        result = {"approval_request_id": None, "output": None, "error": None}
        output = self._outputs.add({**item, "name": call.name, "arguments": "", **result})
        for delta in _argument_deltas(call):
            output.text += delta
            self._outputs.send_part("response.mcp_call_arguments.delta", output, delta=delta)
            yield self._shared.script.pace(0.5 / WORDS_PER_SECOND)
        output.item["arguments"] = output.text
        self._outputs.send_part("response.mcp_call_arguments.done", output, arguments=output.text)
        place = {"item_id": output.item["id"], "output_index": output.index}
        self._scheduler.send("response.mcp_call.in_progress", **place)
        if call.outlives_response:
            output.closed = True
            self._mcp_calls_after_done.append((output, call))
        else:
            yield from self._finish_mcp(output, call)

    def _finish_mcp(self, output: Output, call: McpCall) -> Process:
        yield call.seconds
        kind = "completed" if call.error is None else "failed"
        place = {"item_id": output.item["id"], "output_index": output.index}
        self._scheduler.send(f"response.mcp_call.{kind}", **place)
        if call.error is None:
            output.item["output"] = call.output
        else:
            output.item["error"] = dict(call.error)
        output.complete = True
        self._outputs.close(output)

    # Audio.

    def _say_seconds(self, say: Say) -> float:
        if not self._has_audio:
            return len(say.text.split()) / WORDS_PER_SECOND
        return say.duration if say.audio is None else len(say.audio) / 48_000

    def _audio_of(self, say: Say) -> bytes:
        return self._format.from_pcm16(speech_like(say.text, say.duration) if say.audio is None else say.audio)

    def _send_audio(self, output: Output, delta: bytes, seconds: float) -> None:
        if not self._shared.sideband:
            self._outputs.send_part("response.output_audio.delta", output, delta=base64.b64encode(delta).decode())
        elif not output.entry.audio_ms:
            self._scheduler.send("output_audio_buffer.started", response_id=self.id)
            self._shared.playing[self.id] = self._scheduler.start(self._play(seconds))
        # Deltas arrive faster than the client plays them, so each delta plays after the previous one.
        self._playback_end = max(self._playback_end, self._scheduler.now) + self._format.milliseconds(len(delta)) / 1000
        output.audio_bytes += len(delta)
        output.entry.audio_ms = self._format.milliseconds(output.audio_bytes)

    def _play(self, seconds: float) -> Process:
        yield seconds
        del self._shared.playing[self.id]
        self._scheduler.send("output_audio_buffer.stopped", response_id=self.id)

    # The end of the response.

    def _finish(self, status: str, details: Event | None) -> None:
        self._outputs.close_all(cancelled=status == "cancelled")
        self.status = status
        usage = None if status == "failed" else self._usage()
        self._scheduler.send("response.done", response=self._resource(details, usage))
        if self._shared.script.rate_limits:
            self._send_rate_limits(usage or {})
        for output, call in self._mcp_calls_after_done:
            self._scheduler.start(self._finish_mcp(output, call))
        self._on_done(self)

    def _usage(self) -> Event:
        if self.turn.usage is not None:
            return dict(self.turn.usage)
        output = sum((item_tokens(output.entry) for output in self._outputs.all), Tokens())
        previous, self._shared.previous_prompt = self._shared.previous_prompt, self._prompt
        return response_usage(self._prompt, previous, output)

    def _send_rate_limits(self, usage: Event) -> None:
        self._shared.remaining_tokens -= usage.get("total_tokens", 0)
        remaining = self._shared.remaining_tokens
        limits = [{"name": "tokens", "limit": TOKEN_LIMIT, "remaining": remaining, "reset_seconds": 0.002}]
        self._scheduler.send("rate_limits.updated", rate_limits=limits)

    def _resource(self, details: Event | None = None, usage: Event | None = None) -> Event:
        output = self._session["audio"]["output"]
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": self.status,
            "status_details": details,
            "output": [each.item for each in self._outputs.all] if self.status != "in_progress" else [],
            "conversation_id": self._shared.conversation.id if self.in_conversation else None,
            "output_modalities": ["audio"] if self._has_audio else ["text"],
            "max_output_tokens": self._request.get("max_output_tokens", self._session["max_output_tokens"]),
            "audio": {"output": {"format": output["format"], "voice": output["voice"]}},
            "usage": usage,
            "metadata": self._request.get("metadata"),
        }


def _argument_deltas(call: Call | McpCall) -> list[str]:
    return split_arguments(call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments))
