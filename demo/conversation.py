"""The conversation loop: audio between the devices and the model, the model's tool calls, and barge-ins."""

from __future__ import annotations

import asyncio
import base64
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from demo.devices.interface import DeviceError, Devices
from demo.devices.playback_queue import RATE, ContentPart
from demo.weather import INSTRUCTIONS, TOOLS, call_tool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.display.screen import Screen
    from demo.display.transcript import Transcript

#: How long a device may still play after its queue is empty.
DEVICE_BUFFER_S = 0.5
END_CHECK_INTERVAL_S = 0.05


class Conversation:
    """One conversation between the devices and the model, over a traced connection. It is the devices' `Listener`."""

    def __init__(self, connection: Any, devices: Devices, screen: Screen, transcript: Transcript) -> None:
        self._connection = connection
        self._devices = devices
        self._screen = screen
        self._transcript = transcript
        self._loop = asyncio.get_running_loop()
        self._captured: asyncio.Queue[bytes] = asyncio.Queue()
        self._failure: asyncio.Future[None] = self._loop.create_future()
        self._tool_tasks: set[asyncio.Task[None]] = set()
        self._hanging_up = False
        self._turn_ended_at: float | None = None  # None once the reply is played

    async def run(self, seconds: float | None = None) -> None:
        """Holds the conversation until the user or the agent ends it, or for `seconds` seconds.

        Raises:
            DeviceError: a device was lost.
            websockets.exceptions.ConnectionClosed: the connection to the model was lost.
        """
        await self._connection.session.update(session=_session_config())
        self._devices.start(self)
        await self._connection.response.create()  # the agent speaks first
        activities: list[asyncio.Future[None]] = [
            asyncio.ensure_future(self._handle_events()),
            asyncio.ensure_future(self._send_microphone()),
            asyncio.ensure_future(self._wait_for_end(seconds)),
            self._failure,
        ]
        try:
            done, _ = await asyncio.wait(activities, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._devices.close()
            for activity in [*activities, *self._tool_tasks]:
                activity.cancel()
            await asyncio.gather(*activities, *self._tool_tasks, return_exceptions=True)
        for activity in done:
            activity.result()

    # The methods of `Listener`, called by the devices' threads

    def microphone_audio(self, pcm: bytes, at: float) -> None:
        self._connection.record_user_audio(pcm, at=at)
        self._screen.show_level("user", pcm)
        self._call_in_loop(self._captured.put_nowait, pcm)

    def speaker_audio(self, pcm: bytes, at: float) -> None:
        self._connection.record_agent_audio(pcm, at=at)
        self._screen.show_level("agent", pcm)
        turn_ended_at, self._turn_ended_at = self._turn_ended_at, None
        if turn_ended_at is not None:
            self._call_in_loop(self._screen.reply_started, at - turn_ended_at)

    def device_lost(self, error: DeviceError) -> None:
        self._call_in_loop(self._fail, error)

    def _call_in_loop(self, function: Any, argument: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed, so the conversation is over
            self._loop.call_soon_threadsafe(function, argument)

    def _fail(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_exception(error)

    # The tasks of `run`

    async def _send_microphone(self) -> None:
        while True:
            pcm = await self._captured.get()
            while not self._captured.empty():
                pcm += self._captured.get_nowait()
            await self._connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode("ascii"))

    async def _wait_for_end(self, seconds: float | None) -> None:
        deadline = None if seconds is None else time.monotonic() + seconds
        while deadline is None or time.monotonic() < deadline:
            if self._devices.user_left or (self._hanging_up and self._devices.speaker_idle):
                await asyncio.sleep(DEVICE_BUFFER_S)
                return
            await asyncio.sleep(END_CHECK_INTERVAL_S)

    async def _handle_events(self) -> None:
        async for event in self._connection:
            match event.type:
                case "response.output_audio.delta":
                    self._devices.play(ContentPart(event.item_id, event.content_index), base64.b64decode(event.delta))
                case "response.output_audio_transcript.delta":
                    self._transcript.message(event.item_id, "agent").text += event.delta
                case "response.output_audio_transcript.done":
                    self._screen.message_completed(self._transcript.message(event.item_id, "agent"))
                case "conversation.item.added" if event.item.type == "message":
                    self._transcript.message(event.item.id, "user" if event.item.role == "user" else "agent")
                case "conversation.item.input_audio_transcription.completed":
                    message = self._transcript.message(event.item_id, "user")
                    message.text = event.transcript.strip()
                    if message.text:
                        self._screen.message_completed(message)
                case "input_audio_buffer.speech_started":
                    await self._barge_in()
                case "input_audio_buffer.speech_stopped":
                    self._turn_ended_at = time.monotonic()
                case "response.done":
                    self._response_done(event.response)
                case "error":
                    self._screen.print_line(f"  error from the server: {event.error.message}")

    async def _barge_in(self) -> None:
        for truncation in self._devices.flush():
            part, played_ms = truncation.part, truncation.played_ms
            self._transcript.message(part.item_id, "agent").played_ms = played_ms
            self._screen.reply_interrupted(played_ms)
            await self._connection.conversation.item.truncate(
                item_id=part.item_id, content_index=part.content_index, audio_end_ms=played_ms
            )

    def _response_done(self, response: Any) -> None:
        calls = [item for item in response.output or [] if item.type == "function_call"]
        if response.status == "completed" and calls:
            self._start_tools(calls)
        elif response.status != "cancelled":
            self._devices.agent_finished()
        if response.status == "failed":
            error = response.status_details.error if response.status_details else None
            self._screen.print_line(f"  the response failed: {error.code if error else 'no reason given'}")

    def _start_tools(self, calls: Sequence[Any]) -> None:
        """Runs tools in a task of their own, so that the user can barge in on a slow one.

        A task keeps the context of its creation, so a traced tool nests under the `response.done` that called it.
        """
        task = asyncio.create_task(self._answer_calls(calls))
        self._tool_tasks.add(task)
        task.add_done_callback(self._tool_done)

    def _tool_done(self, task: asyncio.Task[None]) -> None:
        self._tool_tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _answer_calls(self, calls: Sequence[Any]) -> None:
        for call in calls:
            started = time.monotonic()
            output = await call_tool(call.name, call.arguments)
            self._screen.tool_answered(call.name, call.arguments, output, time.monotonic() - started)
            await self._connection.conversation.item.create(
                item={"type": "function_call_output", "call_id": call.call_id, "output": output}
            )
        if any(call.name == "hang_up" for call in calls):
            self._hanging_up = True
        else:
            await self._connection.response.create()


def _session_config() -> dict[str, Any]:
    pcm = {"type": "audio/pcm", "rate": RATE}
    return {
        "type": "realtime",
        "instructions": INSTRUCTIONS,
        "tools": TOOLS,
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": pcm,
                "transcription": {"model": "gpt-4o-mini-transcribe"},
                "turn_detection": {"type": "server_vad"},
            },
            "output": {"format": pcm, "voice": "marin"},
        },
    }
