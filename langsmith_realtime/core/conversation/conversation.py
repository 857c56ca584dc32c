"""(event, time) → what happened: the conversation's state, and the runs that follow from each event.

Pure: time is an argument, in seconds since the conversation opened, so a journal of frames replays to
the identical trace. Events are told apart by their ``type`` string alone, state is kept per
``response_id`` and ``item_id``, because responses run in parallel and transcripts come in any order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.conversation.interruptions import Interruptions
from langsmith_realtime.core.conversation.metrics import of_responses, of_talk
from langsmith_realtime.core.conversation.responses import Response, model_run, outcome_of
from langsmith_realtime.core.conversation.run_data import EventRun, ModelRun, Ref, RunData
from langsmith_realtime.core.conversation.tool_calls import FAILED, McpCalls, ToolCalls
from langsmith_realtime.core.conversation.user_turns import UserTurns, Utterances
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER, Format
from langsmith_realtime.core.protocol.events import (
    APPEND,
    Event,
    announced_calls,
    error_text,
    mapping,
    number,
    of_type,
    sequence,
    text,
)
from langsmith_realtime.core.protocol.items import Item, Items, messages_of
from langsmith_realtime.core.protocol.prices import PRICES, Price, estimated_cost
from langsmith_realtime.core.protocol.session_config import SessionConfig
from langsmith_realtime.core.protocol.usage import Usage

#: How often responses are looked at that only time completes, in seconds.
LOOK_S = 0.1
#: How long a response's run waits for the transcripts of what it answered, in seconds.
TRANSCRIPT_PATIENCE = 30.0
#: How far from where it is thought to play an item may be where the application feeds what it plays, in seconds.
FED_LATE = 1.0
#: Out-of-band requests that no response was created for so far.
PENDING_REQUESTS = 64

_AUDIO_DELTA = "response.output_audio.delta"


class Conversation:
    """The state of one conversation. Every method returns the runs that are complete by then."""

    def __init__(
        self, *, model: str | None = None, tracks: Tracks | None = None, prices: Mapping[str, Price] = PRICES
    ) -> None:
        self.setup = SessionConfig(model)
        self.items = Items()
        self.tracks = tracks or Tracks()
        self.events = 0
        self.errors = 0
        self.reconnections = 0
        self.usage = Usage()
        #: What the runs of the responses say in milliseconds, one after the other.
        self.response_numbers: list[dict[str, float]] = []
        self._prices = prices
        self._lasted = 0.0
        self._turns = UserTurns()
        self._utterances = Utterances()
        self._hearing = Interruptions(self.items, self.tracks, self._turns)
        self._undecodable_sent = 0
        self._calls = ToolCalls()
        self._mcp = McpCalls()
        self._responses: dict[str, Response] = {}
        self._unsettled: list[Response] = []  # done, but not yet known in full
        self._looked = 0.0  # at those, when
        # The user's format that was asked for and is not confirmed yet, with the client's event_id.
        self._asked_format: tuple[str | None, Format] | None = None
        # Out-of-band requests: the client's event_id, and the response it asked for.
        self._requests: deque[tuple[str | None, dict[str, Any]]] = deque(maxlen=PENDING_REQUESTS)

    # Events

    def server_event(
        self, event: Event, t: float, ref: Ref = None, *, agent_speaking: bool | None = None
    ) -> list[RunData]:
        """An event arrived at ``t``; ``ref`` names it unless it is a delta.

        ``agent_speaking`` is what the application says of its own playback at this moment.
        """
        if event.is_delta:
            before = self._go_on(t)
            self._delta(event, t)
            return before
        before = self.advance(t)
        self.events += 1
        if event.kind == "input_audio_buffer.speech_started":
            start_ms = number(event.body.get("audio_start_ms"))
            self._utterances.started(text(event.body.get("item_id")), self._turns.moment(t, start_ms))
            self._turns.speech_started(t, None if start_ms is None else start_ms + self._padding_ms())
            active = [response for response in self._responses.values() if response.in_band]
            self._hearing.speech_started(t, active, interrupts=self.setup.interrupts, agent_speaking=agent_speaking)
        handler = HANDLERS.get(event.kind, Conversation.on_other)
        return before + handler(self, event, t, ref)

    def client_event(self, event: Event, t: float) -> list[RunData]:
        """The application sent an event at ``t``."""
        body = event.body
        if event.kind == APPEND:
            return self.microphone(body.get("audio"), t)
        happenings = self.advance(t)
        if event.kind == "input_audio_buffer.commit":
            self._turns.commit_sent(t)
        elif event.kind == "conversation.item.create":
            result = of_type(mapping(body.get("item")), "function_call_output")
            self._turns.tools.answered(text(result.get("call_id")), t)
            happenings += self._calls.answered(result, t)
        elif event.kind == "session.update":
            # What is sent from here on is in the new format, before the server confirms it.
            asked = SessionConfig()
            asked.update(body.get("session"))
            if asked.user_format is not None:
                self._asked_format = (text(body.get("event_id")), asked.user_format)
                self.tracks.set_formats(asked.user_format, None)
        elif event.kind == "conversation.item.truncate":
            self._hearing.truncate(body, t)
        elif event.kind == "response.create" and mapping(body.get("response")).get("conversation") == "none":
            self._requests.append((text(body.get("event_id")), mapping(body.get("response"))))
        return happenings

    def microphone(self, sound: object, t: float) -> list[RunData]:
        """The application had sent that sound by ``t``, in base64 or decoded."""
        happenings = self._go_on(t)
        try:
            self._turns.wrote(t, self.tracks.user_sent(t, sound))
        except ValueError:
            self._undecodable_sent += 1
        return happenings

    def played(self, item_id: str, ms: float, t: float, at: float) -> list[RunData]:
        """The application said at ``t`` that at ``at`` so many milliseconds of the item had been played."""
        happenings = self.advance(t)
        self._hearing.played(item_id, ms, min(at, t))
        return happenings

    def tool_entered(self, call_id: str, ref: Ref) -> None:
        """The application opened its own block around a call; ``ref`` is where it hangs if nobody announced it."""
        self._calls.entered(call_id, ref)

    def tool_left(self, call_id: str, t: float, error: str | None = None) -> None:
        """The application's own block around a call ended, with an error or without."""
        self._calls.left(call_id, t, error)

    def _go_on(self, t: float) -> list[RunData]:
        """Time went on to ``t``, and nothing else happened: many frames a second bring that news."""
        return self.advance(t) if t >= self._looked + LOOK_S else []

    def advance(self, t: float) -> list[RunData]:
        """Time went on to ``t``: responses that are known in full by now."""
        self._looked = t
        self.tracks.advance(t)
        settled: list[RunData] = []
        unsettled = []
        for response in self._unsettled:
            if self._is_settled(response, t):
                settled.append(self._model_run(response))
            else:
                unsettled.append(response)
        self._unsettled = unsettled
        return settled

    def close(self, t: float) -> list[RunData]:
        """The conversation ended at ``t``."""
        self._lasted = t
        self._hearing.close(t)
        self._abandon_responses(t)
        runs: list[RunData] = [self._model_run(response) for response in self._unsettled]
        self._unsettled = []
        return [*runs, *self._mcp.close(), *self._calls.close()]

    def sound_of(self, item_id: str) -> tuple[int, float, float] | None:
        """The channel in which an item is heard, since when and until when, as far as is known by now."""
        spoken = self._utterances.span(item_id)
        if spoken is not None:
            return USER, *spoken
        begins, ends = self.tracks.begins(item_id), self.tracks.playing_until(item_id)
        if begins is None or ends is None:
            return None
        margin = FED_LATE if self.tracks.agent_is_fed else 0.0
        return AGENT, begins - margin, ends + margin

    # What the root says of the whole

    def messages(self) -> list[dict[str, Any]]:
        """The transcript in conversation order, as chat messages."""
        return [message for item in self.items.ordered() for message in messages_of(item)]

    def numbers(self) -> dict[str, Any]:
        """What the conversation comes to, for the root's metadata; once it is closed."""
        counts: dict[str, Any] = {
            "event_count": self.events,
            "turns": sum(1 for item in self.items.ordered() if item.is_turn),
            "interruptions": self._hearing.barge_ins.count,
            "errors": self.errors,
            **of_responses(self.response_numbers),
            **of_talk(self.tracks.user_activity, self.tracks.agent_activity, self._lasted),
            **self.usage.numbers(),
            **estimated_cost(self.usage.charges, self._prices),
        }
        if self.reconnections:
            counts["reconnections"] = self.reconnections
        undecodable = self._undecodable_sent + self._hearing.undecodable
        if undecodable:
            counts["undecodable_audio"] = undecodable
        return counts

    # Deltas

    def _delta(self, event: Event, t: float) -> None:
        body = event.body
        item_id, index = text(body.get("item_id")), _index(body)
        response_id = text(body.get("response_id"))
        response = self._responses.get(response_id or "")
        if response is not None:
            self._hearing.begun(response, t)
        if event.kind == _AUDIO_DELTA:
            self._hearing.audio(response, item_id or "", body.get("delta"), t)
        if item_id is None:
            return
        if response_id is not None:
            self.items.produced(item_id, response_id)
        if event.kind == "response.output_audio_transcript.delta":
            self.items.add_words(item_id, index, body.get("delta"), kind="audio")
        elif event.kind == "response.output_text.delta":
            self.items.add_words(item_id, index, body.get("delta"), kind="text")
        elif event.kind == "conversation.item.input_audio_transcription.delta":
            self.items.know(item_id).role = "user"
            self.items.add_words(item_id, index, body.get("delta"), kind="audio")

    # The session

    def on_other(self, event: Event, _t: float, ref: Ref) -> list[RunData]:
        return [self._run(event, ref)]

    def on_session(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        known = self.setup.session_id
        self.setup.update(event.body.get("session"))
        # A change that was sent before the session's first word is not taken back by that word.
        asked = self._asked_format if event.kind == "session.created" and known is None else None
        self._asked_format = asked
        self.tracks.set_formats(asked[1] if asked else self.setup.user_format, self.setup.agent_format)
        if event.kind == "session.created" and known is not None and known != self.setup.session_id:
            self.reconnections += 1
            self._turns.reconnected(t)
            self._hearing.reconnected()
            self._abandon_responses(t)
            run = EventRun(ref, event.name, event.body, metadata={"reconnected": True})
            return [run, *self.advance(t)]
        return [self._run(event, ref)]

    def on_error(self, event: Event, _t: float, ref: Ref) -> list[RunData]:
        error = mapping(event.body.get("error"))
        self._hearing.refused(error)
        if error.get("code") == "input_audio_buffer_commit_empty":
            self._turns.commit_refused()
        refused = text(error.get("event_id"))
        if self._asked_format is not None and refused == self._asked_format[0]:
            self._asked_format = None
            self.tracks.set_formats(self.setup.user_format, None)
        if refused is not None:
            asked = [request for request in self._requests if request[0] != refused]
            self._requests = deque(asked, maxlen=PENDING_REQUESTS)
        return [self._run(event, ref, error_text(error) or Failure("error"))]

    # Items

    def on_item(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        wire = mapping(event.body.get("item"))
        item = self.items.update(wire)
        run = self._run(event, ref)
        if item is None:
            return [run]
        if event.kind != "conversation.item.retrieved":
            self.items.place(item.item_id, event.body.get("previous_item_id"))
        if item.type == "function_call_output":
            self._turns.tools.answered(text(wire.get("call_id")), t)
            return [run, *self._calls.answered(wire, t)]
        if item.type == "mcp_call":
            return [run, *self._mcp.event(event.kind, item, t, ref)]
        return [run]

    def on_committed(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        self._turns.committed(t)
        item_id = text(event.body.get("item_id"))
        self._utterances.committed(item_id, t)
        if item_id is not None:
            item = self.items.place(item_id, event.body.get("previous_item_id"))
            item.role = item.role or "user"
            self.items.update_part(item, 0, {"type": "input_audio"})
        return [self._run(event, ref)]

    def on_idle(self, event: Event, _t: float, ref: Ref) -> list[RunData]:
        self._turns.nobody_spoke()
        item_id = text(event.body.get("item_id"))
        if item_id is not None:
            self.items.know(item_id).idle = True
        return [self._run(event, ref)]

    def on_transcribed(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        failed = event.kind.endswith(".failed")
        item_id = text(event.body.get("item_id"))
        if item_id is not None:
            item = self.items.know(item_id)
            item.role = item.role or "user"
            if failed:
                item.transcription_failed = True
            else:
                self.items.set_words(item_id, _index(event.body), event.body.get("transcript"), kind="audio")
        if not failed:
            self.usage.transcribed(self.setup.transcription_model, event.body.get("usage"))
        reason = error_text(mapping(event.body.get("error"))) or Failure("no reason given")
        run = self._run(event, ref, reason.of("transcription failed") if failed else None)
        return [run, *self.advance(t)]

    def on_words(self, event: Event, _t: float, ref: Ref) -> list[RunData]:
        item_id, response_id = text(event.body.get("item_id")), text(event.body.get("response_id"))
        if item_id is not None:
            spoken = event.kind == "response.output_audio_transcript.done"
            words = event.body.get("transcript" if spoken else "text")
            self.items.set_words(item_id, _index(event.body), words, kind="audio" if spoken else "text")
            self.items.produced(item_id, response_id or "")
        return [self._run(event, ref)]

    # Speech and playback

    def on_cleared(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        self._utterances.cleared(t)
        return [self._run(event, ref)]

    def on_speech_stopped(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        end_ms = number(event.body.get("audio_end_ms"))
        self._utterances.stopped(text(event.body.get("item_id")), self._turns.moment(t, end_ms))
        self._turns.speech_stopped(t, end_ms)
        return [self._run(event, ref)]

    def on_server_plays(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        playing = event.kind == "output_audio_buffer.started"
        responses = [*self._responses.values(), *self._unsettled]
        self._hearing.server_plays(text(event.body.get("response_id")), responses, t, playing=playing)
        return [self._run(event, ref), *self.advance(t)]

    def on_server_cleared(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        responses = [*self._responses.values(), *self._unsettled]
        self._hearing.server_cleared(text(event.body.get("response_id")), responses, t)
        return [self._run(event, ref), *self.advance(t)]

    def on_truncated(self, event: Event, _t: float, ref: Ref) -> list[RunData]:
        self._hearing.truncated(event.body)
        return [self._run(event, ref)]

    # Responses

    def on_response_created(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        body = mapping(event.body.get("response"))
        response_id = text(body.get("id"))
        if response_id is not None and response_id not in self._responses:
            response = self._responses[response_id] = Response(response_id, ref, t, _is_in_band(body), body=body)
            if response.in_band:
                response.answers = self._turns.unanswered
                response.input_items = self.items.take_fresh()
            else:
                self._ask(response)
        return [self._run(event, ref)]

    def _ask(self, response: Response) -> None:
        """What an out-of-band response was asked with: its own input, or the conversation's."""
        wanted = response.body.get("metadata") or None
        same = [asked for asked in self._requests if (asked[1].get("metadata") or None) == wanted]
        asked = next(iter(same or self._requests), None)
        if asked is None:
            return
        self._requests.remove(asked)
        request = asked[1]
        if text(request.get("instructions")):
            response.input_messages.append({"role": "system", "content": request["instructions"]})
        if not isinstance(request.get("input"), list):
            response.input_items = self.items.fresh()
        for wire in sequence(request.get("input")):
            known = self.items.get(mapping(wire).get("id")) or Items().update({**mapping(wire), "id": "given"})
            response.input_messages += messages_of(known) if known else []

    def on_output_item(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        run = self._run(event, ref)
        item = self.items.update(event.body.get("item"))
        if item is None:
            return [run]
        self._produced(item, text(event.body.get("response_id")) or "")
        self._announced(event, t, ref)
        if item.type == "function_call":
            self._calls.named(item.fields.get("call_id"), item.fields.get("name"))
        if item.type == "mcp_call":
            return [run, *self._mcp.event(event.kind, item, t, ref)]
        return [run]

    def _produced(self, item: Item, response_id: str) -> None:
        self.items.produced(item.item_id, response_id)
        response = self._responses.get(response_id)
        if response is not None:
            response.take(item)

    def on_arguments(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        self._announced(event, t, ref)
        return [self._run(event, ref)]

    def _announced(self, event: Event, t: float, ref: Ref) -> None:
        calls = announced_calls(event)
        self._calls.announced(calls, ref)
        for call in calls:
            if call.complete:
                self._turns.tools.announced(call.call_id, t)

    def on_mcp(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        run = self._run(event, ref, FAILED if event.kind.endswith(".failed") else None)
        item_id = text(event.body.get("item_id"))
        if item_id is None:
            return [run]
        if event.kind in ("response.mcp_call.completed", "response.mcp_call.failed"):
            self._turns.tools.answered(item_id, t)
        else:
            self._turns.tools.announced(item_id, t)
        item = self.items.update({"id": item_id, "type": "mcp_call", "arguments": text(event.body.get("arguments"))})
        assert item is not None
        return [run, *self._mcp.event(event.kind, item, t, ref)]

    def on_mcp_list_failed(self, event: Event, _t: float, ref: Ref) -> list[RunData]:
        return [self._run(event, ref, Failure("listing the MCP tools failed"))]

    def on_response_done(self, event: Event, t: float, ref: Ref) -> list[RunData]:
        body = mapping(event.body.get("response"))
        response_id = text(body.get("id")) or ""
        response = self._responses.pop(response_id, None) or Response(response_id, ref, t, _is_in_band(body))
        response.done_at, response.body = t, body
        previous: str | None = None
        for item in map(self.items.update, sequence(body.get("output"))):
            if item is not None:
                self.items.produced(item.item_id, response_id)
                if response.in_band:
                    self.items.place(item.item_id, previous)
                previous = item.item_id
                response.take(item)
        outcome = outcome_of(body)
        if outcome.interrupted and response.in_band:
            self._hearing.cancelled(response, t, turn_detected=outcome.reason == "turn_detected")
        if body.get("status") == "completed" and response.answers is not None and self._is_text(response):
            response.answers.answered = True
        for call in announced_calls(event):
            if call.complete:
                self._turns.tools.announced(call.call_id, t)
        self.usage.responded(self.setup.model, body.get("usage"))
        run = self._run(event, ref, outcome.error, interrupted=outcome.interrupted)
        of_mcp = [item for item in map(self.items.know, response.items) if item.type == "mcp_call"]
        self._unsettled.append(response)
        return [
            *self._calls.response_done(run, announced_calls(event)),
            *self._mcp.response_done(of_mcp, t, ref),
            *self.advance(t),
        ]

    def _is_text(self, response: Response) -> bool:
        """Whether it was an answer, and not in sound: neither tool calls, after which the answer comes, nor audio."""
        items = [self.items.know(item_id) for item_id in response.items]
        return response.first_audio is None and not any(item.is_call or item.has_audio for item in items)

    def _abandon_responses(self, t: float) -> None:
        """The connection is gone: what it had not finished never will be."""
        for response in self._responses.values():
            response.done_at = t
        self._unsettled += self._responses.values()
        self._responses = {}

    def _is_settled(self, response: Response, t: float) -> bool:
        done_at = t if response.done_at is None else response.done_at
        waits = self.setup.transcribes and t < done_at + TRANSCRIPT_PATIENCE
        if waits and any(item.lacks_words for item in response.input_items):
            return False
        return self._hearing.is_over(response, t)

    # Runs

    def _model_run(self, response: Response) -> ModelRun:
        interrupted = self._hearing.barge_ins.cut_off(response.response_id)
        numbers = self._hearing.numbers(response)
        self.response_numbers.append(numbers)
        return model_run(
            response,
            self.items,
            self.setup.model,
            interrupted=interrupted,
            numbers=numbers,
            heard_shares=self._hearing.heard_shares(response),
        )

    def _padding_ms(self) -> float:
        """How much audio before the speech ``audio_start_ms`` includes."""
        detection = mapping(self.setup.inputs().get("turn_detection"))
        default = 300.0 if detection.get("type") == "server_vad" else 0.0
        padding = number(detection.get("prefix_padding_ms"))
        return default if padding is None else padding

    def _run(self, event: Event, ref: Ref, error: str | None = None, *, interrupted: bool = False) -> EventRun:
        if error is not None and not interrupted:
            self.errors += 1
        return EventRun(ref, event.name, event.body, error=error, interrupted=interrupted)


def _index(body: dict[str, Any]) -> int:
    return int(number(body.get("content_index")) or 0)


def _is_in_band(response: dict[str, Any]) -> bool:
    """``conversation: "none"`` was asked for: the server says so with a null id; a beta server says nothing."""
    return "conversation_id" not in response or response["conversation_id"] is not None


#: One row for every event that changes state; the others only become a run.
HANDLERS: dict[str, Callable[[Conversation, Event, float, Ref], list[RunData]]] = {
    "session.created": Conversation.on_session,
    "session.updated": Conversation.on_session,
    "error": Conversation.on_error,
    "conversation.item.added": Conversation.on_item,
    "conversation.item.done": Conversation.on_item,
    "conversation.item.retrieved": Conversation.on_item,
    "conversation.item.truncated": Conversation.on_truncated,
    "conversation.item.input_audio_transcription.completed": Conversation.on_transcribed,
    "conversation.item.input_audio_transcription.failed": Conversation.on_transcribed,
    "input_audio_buffer.committed": Conversation.on_committed,
    "input_audio_buffer.cleared": Conversation.on_cleared,
    "input_audio_buffer.timeout_triggered": Conversation.on_idle,
    "input_audio_buffer.speech_stopped": Conversation.on_speech_stopped,
    "output_audio_buffer.started": Conversation.on_server_plays,
    "output_audio_buffer.stopped": Conversation.on_server_plays,
    "output_audio_buffer.cleared": Conversation.on_server_cleared,
    "response.created": Conversation.on_response_created,
    "response.output_item.added": Conversation.on_output_item,
    "response.output_item.done": Conversation.on_output_item,
    "response.output_audio_transcript.done": Conversation.on_words,
    "response.output_text.done": Conversation.on_words,
    "response.function_call_arguments.done": Conversation.on_arguments,
    "response.mcp_call_arguments.done": Conversation.on_mcp,
    "response.mcp_call.in_progress": Conversation.on_mcp,
    "response.mcp_call.completed": Conversation.on_mcp,
    "response.mcp_call.failed": Conversation.on_mcp,
    "mcp_list_tools.failed": Conversation.on_mcp_list_failed,
    "response.done": Conversation.on_response_done,
}
