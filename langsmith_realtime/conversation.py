"""(event, time) → what happened: the conversation's state, and the runs that follow from each event.

Pure: time is an argument, in seconds since the conversation opened, so a journal of frames replays to
the identical trace. Events are told apart by their ``type`` string alone, state is kept per
``response_id`` and ``item_id``, because responses run in parallel and transcripts come in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langsmith_realtime.audio.tracks import Tracks
from langsmith_realtime.calls import Calls
from langsmith_realtime.events import Event, announced_calls, mapping, number, sequence, text
from langsmith_realtime.happenings import EventRun, Happening, Ref
from langsmith_realtime.items import Item, Items, messages_of
from langsmith_realtime.responses import Response, error_text, model_run, outcome_of
from langsmith_realtime.setup import Setup
from langsmith_realtime.usage import usage_metadata

#: How long a response's run waits for the transcripts of what it answered, in seconds.
TRANSCRIPT_PATIENCE = 30.0
#: A client tells how much was heard a moment after the playing ended, in seconds.
TRUNCATE_PATIENCE = 1.0

_AUDIO_DELTA = "response.output_audio.delta"


class Conversation:
    """The state of one conversation. Every method returns the runs that are complete by then."""

    def __init__(self, *, model: str | None = None, tracks: Tracks | None = None) -> None:
        self.setup = Setup(model)
        self.items = Items()
        self.tracks = tracks or Tracks()
        self.events = 0
        self.errors = 0
        self.interruptions = 0
        self.reconnections = 0
        self.undecodable_audio = 0
        self.total_tokens = 0
        self._calls = Calls()
        self._responses: dict[str, Response] = {}
        self._unsettled: list[Response] = []  # done, but not yet known in full
        self._last_spoken: Response | None = None
        self._speech_stopped: float | None = None
        self._out_of_band_requests: list[dict[str, Any]] = []
        self._truncations: list[tuple[str | None, str]] = []  # the client's event_id, item_id

    # Events

    def server_event(
        self, event: Event, t: float, ref: Ref = None, *, agent_speaking: bool | None = None
    ) -> list[Happening]:
        """An event arrived at ``t``; ``ref`` names it unless it is a delta.

        ``agent_speaking`` is what the application says of its own playback at this moment.
        """
        before = self.advance(t)
        if event.is_delta:
            self._delta(event, t)
            return before
        self.events += 1
        if event.kind == "input_audio_buffer.speech_started":
            self._speech_started(t, agent_speaking)
        handler = _HANDLERS.get(event.kind)
        happenings = handler(self, event, t, ref) if handler else [EventRun(ref, event.name, event.body)]
        self.errors += sum(1 for h in happenings if isinstance(h, EventRun) and h.error and not h.interrupted)
        return before + happenings

    def client_event(self, event: Event, t: float) -> list[Happening]:
        """The application sent an event at ``t``."""
        happenings = self.advance(t)
        body = event.body
        if event.kind == "input_audio_buffer.append":
            try:
                self.tracks.user_sent(t, body.get("audio"))
            except ValueError:
                self.undecodable_audio += 1
        elif event.kind == "conversation.item.create":
            item = mapping(body.get("item"))
            if item.get("type") == "function_call_output":
                happenings += self._calls.answered(item, t)
        elif event.kind == "conversation.item.truncate":
            self._truncate(body, t)
        elif event.kind == "response.create" and mapping(body.get("response")).get("conversation") == "none":
            self._out_of_band_requests.append(mapping(body.get("response")))
        return happenings

    def tool_entered(self, call_id: str, ref: Ref) -> None:
        """The application opened its own block around a call; ``ref`` is where it hangs if nobody announced it."""
        self._calls.entered(call_id, ref)

    def tool_left(self, call_id: str, t: float, error: str | None = None) -> None:
        """The application's own block around a call ended, with an error or without."""
        self._calls.left(call_id, t, error)

    def advance(self, t: float) -> list[Happening]:
        """Time went on to ``t``: responses that are known in full by now."""
        self.tracks.advance(t)
        if not self._unsettled:
            return []
        settled = [response for response in self._unsettled if self._is_settled(response, t)]
        self._unsettled = [response for response in self._unsettled if response not in settled]
        return [model_run(response, self.items, self.setup.model) for response in settled]

    def close(self, t: float) -> list[Happening]:
        """The conversation ended at ``t``."""
        for cut in self.tracks.close(t):
            self._mark_heard(cut.item_id, cut.heard_ms, interrupted=False)
        happenings: list[Happening] = [
            model_run(response, self.items, self.setup.model) for response in self._unsettled
        ]
        for response in self._responses.values():
            response.done_at = t
            happenings.append(model_run(response, self.items, self.setup.model))
        self._unsettled, self._responses = [], {}
        return happenings + self._calls.close()

    # What the root says of the whole

    def messages(self) -> list[dict[str, Any]]:
        """The transcript in conversation order, as chat messages."""
        return [message for item in self.items.ordered() for message in messages_of(item)]

    def numbers(self) -> dict[str, Any]:
        """Counts for the root's metadata."""
        counts: dict[str, Any] = {
            "event_count": self.events,
            "turns": sum(1 for item in self.items.ordered() if item.is_turn),
            "interruptions": self.interruptions,
            "errors": self.errors,
            "total_tokens": self.total_tokens,
        }
        if self.reconnections:
            counts["reconnections"] = self.reconnections
        if self.undecodable_audio:
            counts["undecodable_audio"] = self.undecodable_audio
        return counts

    # Deltas

    def _delta(self, event: Event, t: float) -> None:
        body = event.body
        item_id, index = text(body.get("item_id")), _index(body)
        response = self._responses.get(text(body.get("response_id")) or "")
        if response is not None:
            if response.first_token is None:
                response.first_token = t
            if event.kind == _AUDIO_DELTA:
                self._audio(response, item_id or "", body.get("delta"), t)
        elif event.kind == _AUDIO_DELTA:
            self._audio(None, item_id or "", body.get("delta"), t)
        if item_id is None:
            return
        if event.kind == "response.output_audio_transcript.delta":
            self.items.add_words(item_id, index, body.get("delta"), kind="audio")
        elif event.kind == "response.output_text.delta":
            self.items.add_words(item_id, index, body.get("delta"), kind="text")
        elif event.kind == "conversation.item.input_audio_transcription.delta":
            self.items.know(item_id).role = "user"
            self.items.add_words(item_id, index, body.get("delta"), kind="audio")

    def _audio(self, response: Response | None, item_id: str, payload: object, t: float) -> None:
        if response is not None:
            if not response.in_band:
                return  # nobody plays it, unless the application feeds it
            self._last_spoken = response
            if response.latency_ms is None and self._speech_stopped is not None:
                response.latency_ms = (t - self._speech_stopped) * 1000
                self._speech_stopped = None
        try:
            self.tracks.agent_received(t, item_id, payload, muted=response is not None and response.interrupted)
        except ValueError:
            self.undecodable_audio += 1

    # The session

    def on_session(self, event: Event, _t: float, ref: Ref) -> list[Happening]:
        known = self.setup.session_id
        self.setup.update(event.body.get("session"))
        self.tracks.set_formats(self.setup.user_format, self.setup.agent_format)
        metadata = {}
        if event.kind == "session.created" and known is not None and known != self.setup.session_id:
            self.reconnections += 1
            metadata = {"reconnected": True}
        return [EventRun(ref, event.name, event.body, metadata=metadata)]

    def on_error(self, event: Event, _t: float, ref: Ref) -> list[Happening]:
        error = mapping(event.body.get("error"))
        self._refused(error)
        return [EventRun(ref, event.name, event.body, error=error_text(error) or "error")]

    def _refused(self, error: dict[str, Any]) -> None:
        """A truncation the server refuses was no truncation."""
        client_event = text(error.get("event_id"))
        message = f"{error.get('message')} {error.get('param')} {error.get('code')}".lower()
        for truncation in self._truncations:
            event_id, item_id = truncation
            named = client_event is not None and client_event == event_id
            described = client_event is None and (
                "trunc" in message or "audio_end_ms" in message or "shorter" in message
            )
            if named or described:
                self._truncations.remove(truncation)
                cut = self.tracks.truncate_refused(item_id)
                item = self.items.know(item_id)
                item.interrupted, item.heard_ms = cut is not None, cut.heard_ms if cut else None
                return

    # Items

    def on_item(self, event: Event, t: float, ref: Ref) -> list[Happening]:
        wire = mapping(event.body.get("item"))
        item = self.items.update(wire)
        run = EventRun(ref, event.name, event.body)
        if item is None:
            return [run]
        if event.kind != "conversation.item.retrieved":
            self.items.place(item.item_id, event.body.get("previous_item_id"))
        if item.type == "function_call_output":
            return [run, *self._calls.answered(wire, t)]
        if item.type == "mcp_call":
            return [run, *self._mcp(item, event, t, ref)]
        return [run]

    def on_committed(self, event: Event, _t: float, ref: Ref) -> list[Happening]:
        item_id = text(event.body.get("item_id"))
        if item_id is not None:
            item = self.items.place(item_id, event.body.get("previous_item_id"))
            item.role = item.role or "user"
            self.items.update_part(item, 0, {"type": "input_audio"})
        return [EventRun(ref, event.name, event.body)]

    def on_idle(self, event: Event, _t: float, ref: Ref) -> list[Happening]:
        item_id = text(event.body.get("item_id"))
        if item_id is not None:
            self.items.know(item_id).idle = True
        return [EventRun(ref, event.name, event.body)]

    def on_transcribed(self, event: Event, t: float, ref: Ref) -> list[Happening]:
        item_id = text(event.body.get("item_id"))
        error = None
        if item_id is not None:
            item = self.items.know(item_id)
            item.role = item.role or "user"
            if event.kind.endswith(".failed"):
                item.transcription_failed = True
            else:
                self.items.set_words(item_id, _index(event.body), event.body.get("transcript"), kind="audio")
        if event.kind.endswith(".failed"):
            error = f"transcription failed: {error_text(mapping(event.body.get('error'))) or 'no reason given'}"
        return [EventRun(ref, event.name, event.body, error=error), *self.advance(t)]

    def on_words(self, event: Event, _t: float, ref: Ref) -> list[Happening]:
        item_id = text(event.body.get("item_id"))
        if item_id is not None:
            spoken = event.kind == "response.output_audio_transcript.done"
            words = event.body.get("transcript" if spoken else "text")
            self.items.set_words(item_id, _index(event.body), words, kind="audio" if spoken else "text")
        return [EventRun(ref, event.name, event.body)]

    # Speech

    def _speech_started(self, t: float, agent_speaking: bool | None) -> None:
        self._speech_stopped = None
        if self.setup.interrupts:
            interrupted = {cut.item_id for cut in self._cut_all(t)}
            for response in self._responses.values():
                if response.in_band:
                    # The server cancels it; what still arrives of it is not played.
                    if response.first_token is not None and interrupted.isdisjoint(response.items):
                        interrupted.update(response.items[-1:])
                    response.interrupted = True
            if interrupted and agent_speaking is None:
                self.interruptions += 1
        if agent_speaking:
            self.interruptions += 1
            if self._last_spoken is not None:
                self._last_spoken.interrupted = True

    def on_speech_stopped(self, event: Event, t: float, ref: Ref) -> list[Happening]:
        self._speech_stopped = t
        return [EventRun(ref, event.name, event.body)]

    def on_playback_cleared(self, event: Event, t: float, ref: Ref) -> list[Happening]:
        if self._cut_all(t):
            self.interruptions += 1
        return [EventRun(ref, event.name, event.body)]

    def _cut_all(self, t: float) -> list[Any]:
        cuts = self.tracks.barge_in(t)
        for cut in cuts:
            self._mark_heard(cut.item_id, cut.heard_ms, interrupted=True)
        return cuts

    def _truncate(self, body: dict[str, Any], t: float) -> None:
        item_id, heard_ms = text(body.get("item_id")), number(body.get("audio_end_ms"))
        if item_id is None or heard_ms is None:
            return
        cut = self.tracks.truncate(t, item_id, heard_ms)
        already = self.items.know(item_id).interrupted
        self._mark_heard(item_id, cut.heard_ms if cut else heard_ms, interrupted=True)
        self._truncations.append((text(body.get("event_id")), item_id))
        if not already:
            self.interruptions += 1

    def on_truncated(self, event: Event, _t: float, ref: Ref) -> list[Happening]:
        item_id = event.body.get("item_id")
        self._truncations = [waiting for waiting in self._truncations if waiting[1] != item_id]
        return [EventRun(ref, event.name, event.body)]

    def _mark_heard(self, item_id: str, heard_ms: float, *, interrupted: bool) -> None:
        item = self.items.know(item_id)
        item.interrupted, item.heard_ms = interrupted or item.interrupted, heard_ms
        for response in [*self._responses.values(), *self._unsettled]:
            if item_id in response.items and interrupted:
                response.interrupted = True

    # Responses

    def on_response_created(self, event: Event, t: float, ref: Ref) -> list[Happening]:
        body = mapping(event.body.get("response"))
        response = Response(text(body.get("id")) or "", ref, t, body=body)
        response.in_band = "conversation_id" not in body or body["conversation_id"] is not None
        if response.in_band:
            fresh = self.items.take_fresh()
            response.input_items = [item for item in fresh if item.type in ("message", "function_call_output")]
        else:
            response.input_messages = self._requested_input(body)
        self._responses[response.response_id] = response
        return [EventRun(ref, event.name, event.body)]

    def _requested_input(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """What an out-of-band response was asked with: its own input, or the conversation's."""
        requests = self._out_of_band_requests
        if not requests:
            return []
        index = next((i for i, r in enumerate(requests) if r.get("metadata") == body.get("metadata")), 0)
        request = requests.pop(index)
        messages: list[dict[str, Any]] = []
        if text(request.get("instructions")):
            messages.append({"role": "system", "content": request["instructions"]})
        for wire in sequence(request.get("input")):
            known = self.items.get(mapping(wire).get("id"))
            if known is None:
                known = Items().update({"id": "given", "type": "message", **mapping(wire)})
            messages += messages_of(known) if known else []
        return messages

    def on_output_item(self, event: Event, t: float, ref: Ref) -> list[Happening]:
        item = self.items.update(event.body.get("item"))
        response = self._responses.get(text(event.body.get("response_id")) or "")
        run = EventRun(ref, event.name, event.body)
        if item is None:
            return [run]
        item.produced = True
        if response is not None and item.item_id not in response.items:
            response.items.append(item.item_id)
        self._calls.announced(announced_calls(event), ref)
        if item.type == "mcp_call":
            return [run, *self._mcp(item, event, t, ref)]
        return [run]

    def on_arguments(self, event: Event, _t: float, ref: Ref) -> list[Happening]:
        self._calls.announced(announced_calls(event), ref)
        return [EventRun(ref, event.name, event.body)]

    def on_mcp(self, event: Event, t: float, ref: Ref) -> list[Happening]:
        item_id = text(event.body.get("item_id"))
        failed = event.kind.endswith(".failed")
        error = "the MCP call failed" if failed else None
        run = EventRun(ref, event.name, event.body, error=error)
        if item_id is None:
            return [run]
        item = self.items.know(item_id)
        item.type = "mcp_call"
        if text(event.body.get("arguments")):
            item.fields["arguments"] = event.body["arguments"]
        return [run, *self._mcp(item, event, t, ref, failed=failed)]

    def _mcp(self, item: Item, event: Event, t: float, ref: Ref, *, failed: bool = False) -> list[Happening]:
        finishes = event.kind in ("response.mcp_call.completed", "response.mcp_call.failed") or (
            event.kind.endswith(".done") and ("output" in item.fields or "error" in item.fields)
        )
        announces = event.kind in ("response.mcp_call_arguments.done", "response.mcp_call.in_progress")
        return self._calls.mcp_event(
            item, ref, announces=announces or finishes, finished=t if finishes else None, failed=failed
        )

    def on_mcp_list_failed(self, event: Event, _t: float, ref: Ref) -> list[Happening]:
        return [EventRun(ref, event.name, event.body, error="listing the MCP tools failed")]

    def on_response_done(self, event: Event, t: float, ref: Ref) -> list[Happening]:
        body = mapping(event.body.get("response"))
        response = self._responses.pop(text(body.get("id")) or "", None)
        if response is None:
            response = Response(text(body.get("id")) or "", ref, t)
        response.done_at, response.body = t, body
        mcp_items = []
        for wire in sequence(body.get("output")):
            item = self.items.update(wire)
            if item is None:
                continue
            item.produced = True
            if response.in_band:
                self.items.place(item.item_id, None)
            if item.item_id not in response.items:
                response.items.append(item.item_id)
            if item.type == "mcp_call":
                mcp_items.append(item)
        outcome = outcome_of(body)
        if outcome.interrupted and outcome.reason == "turn_detected":
            if not response.interrupted:
                self.interruptions += 1
            response.interrupted = True
        if outcome.interrupted:
            for item_id in response.items:
                self.items.know(item_id).interrupted = True
        usage = usage_metadata(body.get("usage"))
        self.total_tokens += usage["total_tokens"] if usage else 0
        run = EventRun(ref, event.name, event.body, error=outcome.error, interrupted=outcome.interrupted)
        happenings = self._calls.response_done(run, announced_calls(event), mcp_items)
        self._unsettled.append(response)
        return happenings + self.advance(t)

    def _is_settled(self, response: Response, t: float) -> bool:
        done_at = response.done_at if response.done_at is not None else t
        waits = self.setup.transcribes and t < done_at + TRANSCRIPT_PATIENCE
        if waits and any(item.lacks_words for item in response.input_items):
            return False
        ends = [end for end in map(self.tracks.playing_until, response.items) if end is not None]
        return all(t >= end + TRUNCATE_PATIENCE for end in ends)


def _index(body: dict[str, Any]) -> int:
    return int(number(body.get("content_index")) or 0)


#: One row for every event that changes state; the others only become a run.
_HANDLERS: dict[str, Callable[[Conversation, Event, float, Ref], list[Happening]]] = {
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
    "input_audio_buffer.timeout_triggered": Conversation.on_idle,
    "input_audio_buffer.speech_stopped": Conversation.on_speech_stopped,
    "output_audio_buffer.cleared": Conversation.on_playback_cleared,
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
