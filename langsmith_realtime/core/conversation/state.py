"""The state of one conversation, and the runs that complete as time passes.

Pure: time is an argument, in seconds since the conversation opened. State is kept per ``response_id`` and
``item_id``, because responses run in parallel and transcripts arrive in any order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.conversation.interruptions import Interruptions
from langsmith_realtime.core.conversation.responses import Response, model_run
from langsmith_realtime.core.conversation.run_data import EventRun, ModelRun, RunData
from langsmith_realtime.core.conversation.tool_calls import McpCalls, ToolCalls
from langsmith_realtime.core.conversation.user_turns import UserTurns, Utterances
from langsmith_realtime.core.protocol.audio_formats import Format
from langsmith_realtime.core.protocol.events import Event, mapping, number
from langsmith_realtime.core.protocol.inputs import Ref
from langsmith_realtime.core.protocol.items import Items
from langsmith_realtime.core.protocol.prices import Price
from langsmith_realtime.core.protocol.session_config import SessionConfig
from langsmith_realtime.core.protocol.usage import Usage

#: How often done responses are checked for completeness, in seconds.
CHECK_INTERVAL_S = 0.1
#: How long the run of a done response waits for the transcripts of its input items, in seconds.
TRANSCRIPT_TIMEOUT_S = 30.0
#: How many out-of-band requests may wait for their ``response.created``; older ones are forgotten.
MAX_OUT_OF_BAND_REQUESTS = 64


class ConversationState:
    """Everything known about one conversation; the event handlers read and change it.

    A response is in ``active_responses`` until its ``response.done``, then in ``done_responses`` until the transcripts
    of its input items and its playback are known or no longer awaited. Then it becomes a :class:`ModelRun`.
    """

    def __init__(self, tracks: Tracks, prices: Mapping[str, Price]) -> None:
        self.config = SessionConfig()
        self.items = Items()
        self.tracks = tracks
        self.prices = prices
        self.usage = Usage()
        self.turns = UserTurns()
        self.utterances = Utterances()
        self.interruptions = Interruptions(self.items, self.tracks, self.turns)
        self.tool_calls = ToolCalls()
        self.mcp_calls = McpCalls()
        self.active_responses: dict[str, Response] = {}
        self.done_responses: list[Response] = []
        #: The numbers in the metadata of each model run, in the order in which the runs were made.
        self.response_numbers: list[dict[str, float]] = []
        #: The ``event_id`` and the user's audio format of a ``session.update`` that the server has not confirmed.
        self.unconfirmed_user_format: tuple[str | None, Format] | None = None
        #: The ``event_id`` and the ``response`` of each ``response.create`` with ``conversation: "none"``.
        self.out_of_band_requests: deque[tuple[str | None, dict[str, Any]]] = deque(maxlen=MAX_OUT_OF_BAND_REQUESTS)
        self.event_count = 0
        self.error_count = 0
        self.reconnections = 0
        #: ``input_audio_buffer.append`` events whose audio is not base64.
        self.undecodable_appends = 0
        self.malformed_count = 0
        self.duration_s = 0.0
        self._checked_at = 0.0

    def advance(self, t: float) -> list[RunData]:
        """Move the conversation's time to ``t`` and return the runs of the responses that are complete by then."""
        self._checked_at = t
        self.tracks.advance(t)
        runs: list[RunData] = []
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

    def end_active_responses(self, t: float) -> None:
        """Mark all active responses as done at ``t``: the server session or the conversation ended."""
        for response in self.active_responses.values():
            response.done_at = t
        self.done_responses += self.active_responses.values()
        self.active_responses = {}

    def responses(self) -> list[Response]:
        """All responses that have no run yet."""
        return [*self.active_responses.values(), *self.done_responses]

    def event_run(self, event: Event, ref: Ref, error: str | None = None, *, interrupted: bool = False) -> EventRun:
        """The run of a server event. ``error`` is counted, unless ``interrupted``: the response was cancelled."""
        if error is not None and not interrupted:
            self.error_count += 1
        return EventRun(ref, event.name, event.body, error=error, interrupted=interrupted)

    def take_model_run(self, response: Response) -> ModelRun:
        """The response's run; its numbers are added to ``response_numbers``."""
        numbers = self.interruptions.numbers(response)
        self.response_numbers.append(numbers)
        return model_run(
            response,
            self.items,
            self.config.model,
            interrupted=self.interruptions.barge_ins.is_interrupted(response.response_id),
            numbers={**numbers, **self.interruptions.moments(response)},
            heard_shares=self.interruptions.heard_shares(response),
        )

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
