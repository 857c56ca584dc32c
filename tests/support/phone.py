"""A telephone call on Twilio's media stream: its JSON frames over a WebSocket, mu-law at 8 kHz both ways."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import deque
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from langsmith_realtime.core.audio.decoding import Decoder, Samples
from langsmith_realtime.core.protocol.audio_formats import ULAW
from tests.support.cases import encoded

#: Bytes of 20 ms, which Twilio sends in one frame.
FRAME = 160
CALL_SID, STREAM_SID = "CA1", "MZ1"


def mulaw(pcm: bytes) -> bytes:
    """PCM16 at 24 kHz as mu-law at 8 kHz."""
    return encoded(np.frombuffer(pcm, dtype="<i2")[::3], "ulaw")


class Phone:
    """A caller who speaks in real time, and hears in real time what the other side sends.

    As Twilio does, it answers a mark when all sound before it has been played, and a ``clear`` with all marks at once.

    Attributes:
        speech: what the caller says, in mu-law.
        heard_ms: the sound that the caller heard before each ``clear``, and at the end.
    """

    def __init__(self, speech: bytes) -> None:
        self.speech = mulaw(speech)
        self._queue: deque[str | int] = deque()  # bytes to be played, and names of marks between them
        self._played = 0  # bytes
        self.heard_ms: list[float] = []

    def spoken(self, since: float, until: float) -> Samples:
        """What the caller says from one second to another, as PCM16 at 8 kHz."""
        decoder = Decoder(ULAW)
        return decoder.decode(self.speech[round(since * 8000) : round(until * 8000)])

    async def call(self, port: int) -> None:
        """Call, speak, and hang up."""
        async with connect(f"ws://127.0.0.1:{port}") as socket:
            listening = asyncio.create_task(self._listen(socket))
            await _send(socket, "connected", protocol="Call", version="1.0.0")
            await _send(socket, "start", start={"callSid": CALL_SID, "streamSid": STREAM_SID})
            begin = time.monotonic()
            for offset in range(0, len(self.speech), FRAME):
                payload = base64.b64encode(self.speech[offset : offset + FRAME]).decode()
                await _send(socket, "media", media={"track": "inbound", "payload": payload})
                await asyncio.sleep(begin + (offset + FRAME) / 8000 - time.monotonic())
                await self._play(socket)
            self._end()
            await _send(socket, "stop")
            await listening

    async def _play(self, socket: ClientConnection) -> None:
        left = FRAME
        while self._queue and (left or isinstance(self._queue[0], str)):
            first = self._queue.popleft()
            if isinstance(first, str):
                await _send(socket, "mark", mark={"name": first})
                continue
            played = min(first, left)
            left, self._played = left - played, self._played + played
            if first > played:
                self._queue.appendleft(first - played)

    async def _listen(self, socket: ClientConnection) -> None:
        try:
            async for frame in socket:
                message = json.loads(frame)
                assert message["streamSid"] == STREAM_SID
                if message["event"] == "media":
                    self._queue.append(len(base64.b64decode(message["media"]["payload"])))
                elif message["event"] == "mark":
                    self._queue.append(message["mark"]["name"])
                elif message["event"] == "clear":
                    marks = [each for each in self._queue if isinstance(each, str)]
                    self._end()
                    for name in marks:
                        await _send(socket, "mark", mark={"name": name})
        except ConnectionClosed:
            pass

    def _end(self) -> None:
        self._queue.clear()
        self.heard_ms.append(self._played / 8)
        self._played = 0


async def _send(socket: ClientConnection, event: str, **more: Any) -> None:
    await socket.send(json.dumps({"event": event, "streamSid": STREAM_SID, **more}))
