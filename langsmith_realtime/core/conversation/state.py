"""The state of one conversation, and the runs that complete as time passes.

Pure: time is an argument, in seconds since the conversation opened. State is kept per ``response_id`` and
``item_id``, because responses run in parallel and transcripts arrive in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.conversation.agents import Agents
from langsmith_realtime.core.conversation.interruptions import Interruptions
from langsmith_realtime.core.conversation.mcp_calls import McpCalls
from langsmith_realtime.core.conversation.responses import Response, model_run
from langsmith_realtime.core.conversation.run_data import EventRun, ModelRun, RunData, SpeechRun
from langsmith_realtime.core.conversation.sent_events import SentEvents
from langsmith_realtime.core.conversation.tool_calls import ToolCalls
from langsmith_realtime.core.conversation.user_turns import UserTurns, Utterances
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.protocol.events import TRANSCRIBED, Event, is_final_status, mapping, number, text
from langsmith_realtime.core.protocol.inputs import Ref
from langsmith_realtime.core.protocol.items import Item, Items
from langsmith_realtime.core.protocol.prices import Price
from langsmith_realtime.core.protocol.session_config import SessionConfig
from langsmith_realtime.core.protocol.usage import Usage, usage_of

#: How often done responses are checked for completeness, in seconds.
CHECK_INTERVAL_S = 0.1
#: How long the run of a done response waits for the transcripts of its input items, in seconds.
TRANSCRIPT_TIMEOUT_S = 30.0


class ConversationState:
    """Everything known about one conversation; the event handlers read and change it.

    A response is in ``active_responses`` until its ``response.done``, then in ``done_responses`` until the transcripts
    of its input items and its playback are known or no longer awaited. Then it becomes a :class:`ModelRun`.
    """

    def __init__(self, tracks: Tracks, prices: Mapping[str, Price], model: str | None = None) -> None:
        self.config = SessionConfig(model)
        #: The instructions, tools and voice that the root run tells: those of the first response; None before it.
        self.root_role: dict[str, Any] | None = None
        #: How many events of the server changed the instructions, the tools or the voice after the first response.
        self.session_changes = 0
        self.items = Items()
        self.tracks = tracks
        self.prices = prices
        self.usage = Usage()
        self.turns = UserTurns()
        self.utterances = Utterances()
        self.interruptions = Interruptions(self.items, self.tracks, self.turns)
        self.tool_calls = ToolCalls()
        self.mcp_calls = McpCalls()
        self.agents = Agents()
        self.active_responses: dict[str, Response] = {}
        self.done_responses: list[Response] = []
        #: The numbers in the metadata of each model run, in the order in which the runs were made.
        self.response_numbers: list[dict[str, float]] = []
        #: What the client sent and the server may still refuse.
        self.sent = SentEvents()
        #: Whether a response of this conversation has had a ``conversation_id``.
        self.names_conversations = False
        #: The id of a response by another id that some of its events have.
        self.response_names: dict[str, str] = {}
        #: The ids of responses whose ``response.done`` came before their ``response.created``.
        self.done_before_created: set[str] = set()
        self.event_count = 0
        self.error_count = 0
        self.reconnections = 0
        #: Items of earlier server sessions, which the client may tell the new one before its first response.
        self.repeatable: list[Item] = []
        #: The error that told that the session is over; None if a session or a response began after it.
        self.session_ended: Failure | None = None
        #: ``input_audio_buffer.append`` events whose audio is not base64.
        self.undecodable_appends = 0
        self.malformed_count = 0
        #: Items with sound that the client sent, such as a file: no event tells when it was spoken.
        self.unrecorded_items = 0
        self.duration_s = 0.0
        self._checked_at = 0.0
        self._speech_taken_at = -1.0
        self._over: set[str] = set()  # ids of responses that have their runs
        self._unnamed_count = 0

    def advance(self, t: float) -> list[RunData]:
        """Move the conversation's time to ``t`` and return the runs of the responses that are complete by then."""
        self._checked_at = t
        self.tracks.advance(t)
        runs = self.tool_calls.advance(t)
        incomplete = []
        for response in self.done_responses:
            if self._is_complete(response, t):
                runs.append(self.take_model_run(response))
            else:
                incomplete.append(response)
        self.done_responses = incomplete
        return runs

    def advance_if_due(self, t: float) -> list[RunData]:
        """Like :meth:`advance`, but do nothing within 100 ms of it: audio and deltas arrive many times a second."""
        return self.advance(t) if t >= self._checked_at + CHECK_INTERVAL_S else []

    def set_formats(self) -> None:
        """Take over the session's audio formats, those that the client asked for included.

        Audio that is sent from here on has the new format, before the server confirms it. A response that is being made
        keeps its format: what the client asked for the agent's audio counts from the next response on.
        """
        self.tracks.set_formats(self.config.user_format, None if self.active_responses else self.config.agent_format)

    def end_active_responses(self, t: float) -> None:
        """Mark all active responses as done at ``t``: the server session or the conversation ended.

        A response without any output whose id is that of an earlier one never began: its ``response.created`` came late
        or twice. One that the server never ended was over when the next one of the conversation began.
        """
        earlier = self._over | {response.response_id for response in self.done_responses}
        for response in self.active_responses.values():
            response.done_at = t if response.next_began is None else response.next_began
            if response.response_id not in earlier or response.items or response.first_token is not None:
                self.done_responses.append(response)
        self.active_responses = {}

    def responses(self) -> list[Response]:
        """All responses that have no run yet."""
        return [*self.active_responses.values(), *self.done_responses]

    def is_over(self, response_id: str | None) -> bool:
        """Whether the response with that id has its run."""
        return response_id in self._over

    def unnamed(self, kind: str) -> str:
        """A new id for a response or an item of which no event tells the id."""
        self._unnamed_count += 1
        return f"unnamed_{kind}_{self._unnamed_count}"

    def event_run(self, event: Event, ref: Ref, error: str | None = None, *, interrupted: bool = False) -> EventRun:
        """The run of a server event. ``error`` is counted, unless ``interrupted``: the response was cancelled."""
        if error is not None and not interrupted:
            self.error_count += 1
        return EventRun(ref, event.name, event.body, error=error, interrupted=interrupted)

    def take_model_run(self, response: Response) -> ModelRun:
        """The response's run; its numbers are added to ``response_numbers``."""
        self._over.add(response.response_id)
        numbers = self.interruptions.numbers(response)
        interrupted_by = self.interruptions.barge_ins.interrupted_by(response.response_id)
        self.response_numbers.append(numbers)
        model = text(response.body.get("model")) or response.config.model or self.config.model
        self.usage.add_response(model, response.usage)
        run = model_run(
            response,
            self.items,
            model,
            interrupted=self.interruptions.barge_ins.is_interrupted(response.response_id),
            numbers={**numbers, **self.interruptions.moments(response)},
            heard_shares=self.interruptions.heard_shares(response),
            root_role=self.root_role,
            prices=self.prices,
            is_cut=self.agents.stopped(response.response_id),
            cut_off=None if interrupted_by is None else interrupted_by.received_at,
        )
        run.metadata.update(self.agents.response_metadata(response.response_id))
        return run

    def take_speech(self, *, is_closed: bool = False) -> list[SpeechRun]:
        """The utterances that have ended and whose words are known or no longer awaited, each of them once."""
        if self._checked_at == self._speech_taken_at and not is_closed:
            return []  # deltas and audio arrive many times a second
        self._speech_taken_at = self._checked_at
        spoken = []
        for item_id, begin, end in self.utterances.ended():
            item = self.items.get(item_id)
            is_awaited = self.config.transcribes and self._checked_at < end + TRANSCRIPT_TIMEOUT_S
            if not is_closed and is_awaited and (item is None or not item.parts or item.awaits_transcript):
                continue
            self.utterances.told(item_id)
            if item is not None and item.from_idle_timeout:
                continue  # silence
            words = "" if item is None else item.spoken_text
            failed = item is not None and item.transcription_failed
            error = Failure("the transcription failed") if failed else None
            message = {"role": "user", "content": words} if words else None
            spoken.append(SpeechRun(item_id, begin, end, message, error))
        return spoken

    def usage_reported(self, event: Event) -> None:
        """Note the usage that an event reports, beside the response or the transcription that the event names.

        A transcription whose event reports no usage counts, too: its cost is not known.
        """
        usage, body = usage_of(event.body), event.body
        if "transcription" in event.kind and not event.kind.startswith("response."):
            is_final = event.kind == TRANSCRIBED and is_final_status(body)
            if is_final or (usage is not None and event.kind != TRANSCRIBED):
                item_id = text(body.get("item_id"))
                key = None if item_id is None else (item_id, number(body.get("content_index")) or 0)
                self.usage.add_transcription(self.config.transcription_model, usage, key)
        elif usage is not None:
            response_id = text(mapping(body.get("response")).get("id")) or text(body.get("response_id"))
            for response in self.responses():
                if response.response_id == response_id:
                    response.usage = usage

    def speech_padding_ms(self) -> float:
        """How far ``audio_start_ms`` of ``speech_started`` lies before the start of the speech, in ms.

        This is ``prefix_padding_ms``; if that is not set, 300 for server VAD and 0 otherwise.
        """
        turn_detection = mapping(self.config.inputs().get("turn_detection"))
        default = 300.0 if turn_detection.get("type") == "server_vad" else 0.0
        padding = number(turn_detection.get("prefix_padding_ms"))
        return default if padding is None else padding

    def _is_complete(self, response: Response, t: float) -> bool:
        done_at = t if response.done_at is None else response.done_at
        may_be_transcribed = self.config.transcribes and t < done_at + TRANSCRIPT_TIMEOUT_S
        if may_be_transcribed and any(item.awaits_transcript for item in response.input_items):
            return False
        return self.interruptions.playback_is_final(response, t)
