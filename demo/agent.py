"""The conversation: audio to and from the model, its tools, and what happens when the user barges in."""

from __future__ import annotations

import asyncio
import base64
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from demo.devices import DeviceError, Devices
from demo.playback import RATE, Part
from demo.weather import INSTRUCTIONS, TOOLS, call_tool

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from demo.screen import Screen
    from demo.transcript import Transcript

LAST_SOUND_S = 0.5  # what a device may still hold when its queue is empty
WATCH_EVERY_S = 0.05


class Conversation:
    """One conversation between the devices and the model, on a traced connection."""

    def __init__(self, connection: Any, devices: Devices, screen: Screen, transcript: Transcript) -> None:
        self._connection = connection
        self._devices = devices
        self._screen = screen
        self._transcript = transcript
        self._loop = asyncio.get_running_loop()
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._failed: asyncio.Future[None] = self._loop.create_future()
        self._tools: set[asyncio.Task[None]] = set()
        self._hanging_up = False
        self._turn_ended: float | None = None  # until the answer to it is heard

    async def run(self, seconds: float | None = None) -> None:
        """Talks until one side leaves, or for so many seconds.

        Raises `DeviceError` when a device is lost, and whatever the connection raises when it is.
        """
        await self._connection.session.update(session=_session())
        self._devices.start(self)
        await self._connection.response.create()  # the agent speaks first
        parts: list[asyncio.Future[None]] = [
            asyncio.ensure_future(self._follow_events()),
            asyncio.ensure_future(self._send_microphone()),
            asyncio.ensure_future(self._watch(seconds)),
            self._failed,
        ]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._devices.close()
            for part in [*parts, *self._tools]:
                part.cancel()
            await asyncio.gather(*parts, *self._tools, return_exceptions=True)
        for part in done:
            part.result()

    # What the devices tell, from their own threads.

    def microphone(self, pcm: bytes, at: float) -> None:
        self._connection.record_user_audio(pcm, at=at)
        self._screen.level("user", pcm)
        self._call(self._heard.put_nowait, pcm)

    def speaker(self, pcm: bytes, at: float) -> None:
        self._connection.record_agent_audio(pcm, at=at)
        self._screen.level("agent", pcm)
        turn_ended, self._turn_ended = self._turn_ended, None
        if turn_ended is not None:
            self._call(self._screen.latency, at - turn_ended)

    def lost(self, error: DeviceError) -> None:
        self._call(self._fail, error)

    def _call(self, function: Any, argument: Any) -> None:
        with suppress(RuntimeError):  # the loop has closed: the conversation is over
            self._loop.call_soon_threadsafe(function, argument)

    def _fail(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    # What goes on at the same time.

    async def _send_microphone(self) -> None:
        while True:
            pcm = await self._heard.get()
            while not self._heard.empty():
                pcm += self._heard.get_nowait()
            await self._connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode("ascii"))

    async def _watch(self, seconds: float | None) -> None:
        deadline = None if seconds is None else time.monotonic() + seconds
        while deadline is None or time.monotonic() < deadline:
            if self._devices.finished or (self._hanging_up and self._devices.quiet):
                await asyncio.sleep(LAST_SOUND_S)
                return
            await asyncio.sleep(WATCH_EVERY_S)

    async def _follow_events(self) -> None:
        async for event in self._connection:
            match event.type:
                case "response.output_audio.delta":
                    self._devices.play(Part(event.item_id, event.content_index), base64.b64decode(event.delta))
                case "response.output_audio_transcript.delta":
                    self._transcript.item(event.item_id, "agent").text += event.delta
                case "response.output_audio_transcript.done":
                    self._screen.complete(self._transcript.item(event.item_id, "agent"))
                case "conversation.item.added" if event.item.type == "message":
                    self._transcript.item(event.item.id, "user" if event.item.role == "user" else "agent")
                case "conversation.item.input_audio_transcription.completed":
                    entry = self._transcript.item(event.item_id, "user")
                    entry.text = event.transcript.strip()
                    if entry.text:
                        self._screen.complete(entry)
                case "input_audio_buffer.speech_started":
                    await self._barge_in()
                case "input_audio_buffer.speech_stopped":
                    self._turn_ended = time.monotonic()
                case "response.done":
                    self._response_done(event.response)
                case "error":
                    self._screen.say(f"  the server reports: {event.error.message}")

    async def _barge_in(self) -> None:
        for cut in self._devices.flush():
            self._transcript.item(cut.part.item_id, "agent").heard_ms = cut.heard_ms
            self._screen.interrupted(cut.heard_ms)
            await self._connection.conversation.item.truncate(
                item_id=cut.part.item_id, content_index=cut.part.content_index, audio_end_ms=cut.heard_ms
            )

    def _response_done(self, response: Any) -> None:
        calls = [item for item in response.output or [] if item.type == "function_call"]
        if response.status == "completed" and calls:
            self._start(self._answer(calls))
        elif response.status != "cancelled":
            self._devices.turn_over()
        if response.status == "failed":
            error = response.status_details.error if response.status_details else None
            self._screen.say(f"  the model failed to answer ({error.code if error else 'no reason given'})")

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Tools run beside the events, so that the user can barge in on a slow one.

        A task carries the context it was made in: traced tools nest under the event that called for them.
        """
        task = asyncio.create_task(work)
        self._tools.add(task)
        task.add_done_callback(self._tool_done)

    def _tool_done(self, task: asyncio.Task[None]) -> None:
        self._tools.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _answer(self, calls: Sequence[Any]) -> None:
        for call in calls:
            started = time.monotonic()
            output = await call_tool(call.name, call.arguments)
            self._screen.tool(call.name, call.arguments, output, time.monotonic() - started)
            await self._connection.conversation.item.create(
                item={"type": "function_call_output", "call_id": call.call_id, "output": output}
            )
        if any(call.name == "hang_up" for call in calls):
            self._hanging_up = True
        else:
            await self._connection.response.create()


def _session() -> dict[str, Any]:
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
