"""Computes the server's frames of one Realtime connection from client events and the time, without I/O and clock.

The order and the fields of the events are those of recorded GA sessions, or, where no session was recorded, of the
Realtime API's reference.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from langsmith_realtime.testing.agent.mcp import McpServers
from langsmith_realtime.testing.agent.response import Response
from langsmith_realtime.testing.script.replay import Replay
from langsmith_realtime.testing.script.script import Action, Close, Event, Pause, Script
from langsmith_realtime.testing.state.config import default_session, modalities, updated_session
from langsmith_realtime.testing.state.conversation import Conversation, Entry, new_item
from langsmith_realtime.testing.state.dialect import (
    DIALECTS,
    Translator,
    defaults_of,
    request_of,
    response_request,
    session_change,
)
from langsmith_realtime.testing.state.scheduler import Outgoing, Process, Scheduler
from langsmith_realtime.testing.state.shared import SharedState
from langsmith_realtime.testing.state.wire import ClientError, Ids, missing, wrong_type
from langsmith_realtime.testing.user.listener import Listener


class Session:
    """The server's end of one connection that follows a script.

    Call `open` first. Pass client frames to `receive` and the time to `advance`, and send each returned frame at its
    time `Outgoing.at`.
    Times are in seconds of any clock that does not go back.

    Args:
        script: The script.
        model: The model in ``session.created``.
        sideband: Whether the connection belongs to a telephone or WebRTC call (``?call_id=``), which has no
            ``session.created`` and no audio deltas.
        now: Time at which the connection begins.
        epoch: Unix time in seconds at which the connection begins, for ``expires_at`` and the times of telephone keys.
        seed: Seed of the generated ids; None for the seed of the script.

    Raises:
        ClientError: The script's `session` is invalid; a ValueError.
    """

    def __init__(
        self,
        script: Script,
        *,
        model: str = "gpt-realtime",
        sideband: bool = False,
        now: float = 0.0,
        epoch: float = 0.0,
        seed: int | str | None = None,
    ) -> None:
        self._script = script
        self._dialect = DIALECTS[script.dialect]
        self._ids = Ids(script.seed if seed is None else seed)
        self._scheduler = Scheduler(self._ids, now, Translator(self._dialect))
        self._conversation = Conversation(self._ids.new("conv"))
        self._expires = now + script.session_seconds
        defaults = default_session(self._ids.new("sess"), model, int(epoch + script.session_seconds))
        self._session = defaults_of(self._dialect, defaults)
        for change in (self._dialect.session, script.session):
            self._change_session(change if self._dialect.is_flat else {"type": "realtime", **change}, has_spoken=False)
        self._shared = SharedState(
            script, self._scheduler, self._ids, self._conversation, sideband=sideband, unix_zero=epoch - now
        )
        self._mcp = McpServers(self._shared)
        self._turns = iter(script.turns)
        self._responses: dict[str, Response] = {}
        self._listener = Listener(
            self._shared, self._session["audio"]["input"], interrupt=self._interrupt, respond=self._respond_to_speech
        )
        self._handlers: dict[str, Callable[[Event], None]] = {
            "session.update": self._session_update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._item_create,
            "conversation.item.retrieve": self._item_retrieve,
            "conversation.item.truncate": self._item_truncate,
            "conversation.item.delete": self._item_delete,
            "response.create": self._response_create,
            "response.cancel": self._response_cancel,
            "output_audio_buffer.clear": self._output_clear,
        }

    def open(self, now: float) -> list[Outgoing]:
        """Begin the connection; returns the frames that are due at `now`."""
        self._scheduler.run(now)
        if self._script.session_created and not self._shared.sideband:
            self._scheduler.send("session.created", session=self._session)
        self._mcp.configure(self._session["tools"])
        self._scheduler.start(self._perform(self._script.on_connect))
        return self.advance(now)

    def receive(self, frame: str | bytes | Mapping[str, Any], now: float) -> list[Outgoing]:
        """Process a client's frame, JSON text or an object; returns the frames that are due.

        An invalid frame leads to an ``error`` event, and not to an exception.
        """
        self._run(now)
        if self._scheduler.ended:
            return self._scheduler.take()
        event_id: str | None = None
        try:
            event = request_of(self._dialect, _parsed(frame))
            event_id = event["event_id"] if isinstance(event.get("event_id"), str) else None
            self._handler(event)(event)
        except ClientError as error:
            self._send_error(error, event_id)
        except RecursionError:
            self._send_error(ClientError("invalid_value", "The event is nested too deeply."), event_id)
        return self.advance(now)

    def advance(self, now: float) -> list[Outgoing]:
        """Return the frames that became due by `now`, in order of their times.

        With ``now=math.inf``, return all frames that follow without a client event, except for the end of the session
        after `Script.session_seconds`.
        """
        self._run(now)
        return self._scheduler.take()

    @property
    def next_at(self) -> float | None:
        """Time of the next call of `advance`; None if the connection has ended."""
        if self._scheduler.ended:
            return None
        due = self._scheduler.next_at
        return self._expires if due is None else min(due, self._expires)

    def _run(self, now: float) -> None:
        self._scheduler.run(now if math.isinf(now) else min(now, self._expires))
        if self._expires <= now < math.inf:
            self._expire()
            self._scheduler.run(now)

    def _expire(self) -> None:
        minutes = f"{self._script.session_seconds / 60:g} minutes"
        message = f"Your session hit the maximum duration of {minutes}."
        self._send_error(ClientError("session_expired", message), None)
        self._scheduler.end(Close(1001, message))

    # The handlers of client events.

    def _handler(self, event: Event) -> Callable[[Event], None]:
        kind = event.get("type")
        if kind is None:
            raise missing("type")
        if not isinstance(kind, str) or kind not in self._handlers:
            supported = ", ".join(repr(name) for name in self._handlers)
            raise ClientError("invalid_value", f"Invalid value: {kind!r}. Supported values are: {supported}.", "type")
        return self._handlers[kind]

    def _session_update(self, event: Event) -> None:
        self._change_session(_required(event, "session"), has_spoken=self._conversation.has_spoken)
        self._listener.configure(self._session["audio"]["input"])
        self._scheduler.send("session.updated", session=self._session)
        self._mcp.configure(self._session["tools"])

    def _change_session(self, change: object, *, has_spoken: bool) -> None:
        if self._dialect.is_flat:
            change = session_change(change, self._dialect, self._session)
        self._session = updated_session(self._session, change, has_spoken=has_spoken)

    def _append(self, event: Event) -> None:
        encoded = _required(event, "audio")
        try:
            audio = base64.b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise ClientError("invalid_value", "Invalid 'audio': expected base64-encoded bytes.", "audio") from None
        self._listener.append(audio)

    def _commit(self, _: Event) -> None:
        self._listener.commit()

    def _clear(self, _: Event) -> None:
        self._listener.clear()

    def _item_create(self, event: Event) -> None:
        item = new_item(event.get("item"), self._ids)
        previous_item_id = self._conversation.add(Entry(item), event.get("previous_item_id"))
        self._shared.announce_item(item, previous_item_id)

    def _item_retrieve(self, event: Event) -> None:
        entry = self._conversation.find(event.get("item_id"), "retrieve")
        self._scheduler.send("conversation.item.retrieved", item=entry.item)

    def _item_truncate(self, event: Event) -> None:
        entry = self._conversation.find(event.get("item_id"), "truncate")
        index, end_ms = _number(event, "content_index"), _number(event, "audio_end_ms")
        content = entry.item.get("content", [])
        if entry.item.get("role") != "assistant" or not entry.audio_ms:
            raise ClientError("invalid_value", "Only audio messages of the agent can be truncated.", "item_id")
        if index not in range(max(1, len(content))):
            raise ClientError("invalid_value", f"The item has no content part {index}.", "content_index")
        if not 0 <= end_ms <= math.ceil(entry.audio_ms):
            raise ClientError(
                "invalid_value", f"Audio content of {entry.audio_ms:.0f}ms ends before {end_ms}ms.", "audio_end_ms"
            )
        entry.audio_ms = end_ms
        entry.item["content"] = [{"type": "output_audio", "transcript": None} for _ in content]
        self._scheduler.send(
            "conversation.item.truncated", item_id=entry.item["id"], content_index=index, audio_end_ms=end_ms
        )

    def _item_delete(self, event: Event) -> None:
        self._conversation.remove(event.get("item_id"))
        self._scheduler.send("conversation.item.deleted", item_id=event["item_id"])

    def _response_create(self, event: Event) -> None:
        request = event.get("response") or {}
        if not isinstance(request, dict):
            raise wrong_type("response", "an object")
        if self._dialect.is_flat:
            request = response_request(request)
        if "output_modalities" in request:
            modalities(request["output_modalities"], "response.output_modalities")
        response = self._respond(request)
        response.begin()
        response.generate()

    def _response_cancel(self, event: Event) -> None:
        response_id = event.get("response_id")
        active = self._active if response_id is None else self._responses.get(str(response_id))
        if active is None:
            raise ClientError("response_cancel_not_active", "There is no active response to cancel.")
        active.cancel("client_cancelled")

    def _output_clear(self, _: Event) -> None:
        if not self._shared.sideband:
            raise ClientError("invalid_value", "Only calls (WebRTC, SIP) have an output audio buffer.", "type")
        self._shared.clear_output_audio()

    # The agent's responses.

    @property
    def _active(self) -> Response | None:
        """The active response, leaving out responses with ``conversation: "none"``; None if there is none."""
        return next((each for each in self._responses.values() if each.in_conversation), None)

    def _respond(self, request: Mapping[str, Any]) -> Response:
        active = self._active
        if active is not None and request.get("conversation", "auto") != "none":
            raise ClientError(
                "conversation_already_has_active_response",
                f"The conversation already has an active response: {active.id}. Wait until it is done.",
            )
        turn = next(self._turns, self._script.afterwards)
        response = Response(self._shared, turn, self._session, request, self._response_done)
        self._responses[response.id] = response
        if response.in_conversation:
            self._listener.response_begun()
        return response

    def _response_done(self, response: Response) -> None:
        del self._responses[response.id]
        if response.in_conversation:
            self._listener.response_done(response.playback_seconds)
        self._scheduler.start(self._perform(response.turn.then))

    def _interrupt(self) -> None:
        if self._active is not None:
            self._active.cancel("turn_detected")
        self._shared.clear_output_audio()

    def _respond_to_speech(self) -> Response | None:
        try:
            response = self._respond({})
        except ClientError as error:
            self._send_error(error, None)
            return None
        response.begin()
        return response

    # Actions and errors.

    def _perform(self, actions: Iterable[Action]) -> Process:
        for action in actions:
            if isinstance(action, Pause):
                yield action.seconds
            else:
                self._shared.perform(action)

    def _send_error(self, error: ClientError, event_id: str | None) -> None:
        fields = {
            "type": "invalid_request_error",
            "code": error.code,
            "message": error.message,
            "param": error.param,
            "event_id": event_id,
        }
        self._scheduler.send("error", error=fields)


def _parsed(frame: str | bytes | Mapping[str, Any]) -> Event:
    if isinstance(frame, Mapping):
        return dict(frame)
    try:
        event = json.loads(frame)
    except (ValueError, RecursionError):
        raise ClientError("invalid_json", "The frame is not valid JSON.") from None
    if not isinstance(event, dict):
        raise ClientError("invalid_json", "The frame is not a JSON object.")
    return event


def _required(event: Event, name: str) -> Any:
    if event.get(name) is None:
        raise missing(name)
    return event[name]


def _number(event: Event, name: str) -> int:
    value = _required(event, name)
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, "an integer")
    return value


class ReplaySession:
    """The server's end of one connection that repeats a `Replay`. It has the methods of `Session`."""

    def __init__(self, replay: Replay) -> None:
        self._remaining = list(reversed(replay.frames))
        self._unmatched_client_frames = 0
        self.next_at: float | None = None

    def open(self, now: float) -> list[Outgoing]:
        """Begin the connection; returns the recording's frames before the first client frame."""
        return self._next_frames(now)

    def receive(self, frame: str | bytes | Mapping[str, Any], now: float) -> list[Outgoing]:  # noqa: ARG002
        """Count a client's frame with any content; returns the server frames up to the next client frame to wait for.

        After the recording's last frame, a ``Close`` follows.
        """
        self._unmatched_client_frames += 1
        return self._next_frames(now)

    def advance(self, now: float) -> list[Outgoing]:  # noqa: ARG002
        """Return nothing, because a recording has no times."""
        return []

    def _next_frames(self, now: float) -> list[Outgoing]:
        out: list[Outgoing] = []
        if not self._remaining:
            return out
        while self._remaining:
            direction, event = self._remaining[-1]
            if direction == "server":
                out.append(Outgoing(now, event))
            elif self._unmatched_client_frames:
                self._unmatched_client_frames -= 1
            else:
                return out
            self._remaining.pop()
        out.append(Outgoing(now, Close(1000)))
        return out
