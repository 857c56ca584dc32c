"""A conversation on real devices beside an independent recording of what was said and played."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass
from itertools import chain
from math import inf
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from demo.devices.interface import BLOCK_FRAMES
from demo.devices.playback_queue import ContentPart
from demo.devices.sound_card import SoundCard
from langsmith_realtime import Recording, flush, wrap_realtime
from langsmith_realtime.testing import RealtimeServer, Say, Script, Turn
from tests.support.audio.pulseaudio import read_pcm
from tests.support.audio.sound_comparison import RATE, Sound, rms
from tests.support.conversations import async_client

if TYPE_CHECKING:
    from pathlib import Path

    from demo.devices.interface import DeviceError
    from tests.support.audio.pulseaudio import PulseAudio


WITHIN_MS = 20.0


BUFFER_MS = BLOCK_FRAMES / RATE * 1000


KEPT_MS = 5.0


LAG_MS = 30.0  # a block of the virtual devices, of which a microphone cannot be told, included


DEVICES_MS = 60.0  # by which virtual devices differ in what they hold


PLAYED_AFTER_MS = 180.0  # what a speaker holds, which the playback model knows nothing of


STARVED = 3  # then so many times as much is allowed


REPLY_S = 6.0


SAID_S = 2.0


FIRST_SAID = 10_000  # no reply is the same noise


BARGE_IN_S = 2.0


SEARCH_S = 0.4


NEXT_S = 30.0  # the next thing said, or reply, begins within that


def noise(seconds: float, seed: int) -> Sound:
    """Steady noise: like nothing else, and as loud at its end as anywhere."""
    white = np.random.default_rng(seed).normal(0, 0.25, round(seconds * RATE))
    heard: Sound = np.convolve(white, [0.25, 0.5, 0.25], "same").clip(-0.9, 0.9)
    return heard


def pcm16(sound: Sound) -> bytes:
    return (sound * 32767).astype("<i2").tobytes()


@dataclass(frozen=True)
class Truth:
    """How far our recording is from what happened, in ms.

    A reply that was cut is compared by how much of it was heard: with how long the program played it before it emptied
    its speaker's queue (`cut_in_program`), and with what the room heard, where a device plays whole blocks
    (`cut_in_room`). Each half second of either channel lies somewhere in both recordings: `user` and `agent` are by
    how much it is later in the room's. The two began at different times, so only differences of these mean anything.
    The same holds for `kept`: by how much it lies later in ours than the program said.
    """

    cut_in_program: list[float]
    cut_in_room: list[float]
    user: list[list[float]]  # of each thing said
    agent: list[list[float]]  # of each reply
    kept: list[float]

    @property
    def complete(self) -> bool:
        """Whether half a second of everything was found. A device that runs dry at once plays less."""
        return all(self.user + self.agent)

    @property
    def lag(self) -> float:
        """How much later the room heard the agent than ours says, compared with the user."""
        if not self.complete:
            return inf
        return median(chain(*self.agent)) - median(chain(*self.user))

    @property
    def lags(self) -> list[float]:
        """The lag in each turn. However long the conversation is, it should stay the same."""
        return [median(agent) - median(user) for agent, user in zip(self.agent, self.user, strict=True)]

    @property
    def apart(self) -> list[float]:
        """How far each half second is from where the other channel lies in its turn."""
        turns = [(agent, median(agent), user, median(user)) for agent, user in zip(self.agent, self.user, strict=True)]
        return [
            abs(lag)
            for agent, agents, user, users in turns
            for lag in (*(each - users for each in agent), *(agents - each for each in user))
        ]

    @property
    def drift(self) -> float:
        """By how much the lag grows from the first turn to the last, on the straight line that fits it best."""
        lags = self.lags if self.complete else []
        return float(np.polyfit(range(len(lags)), lags, 1)[0]) * (len(lags) - 1) if len(lags) > 1 else 0.0

    @property
    def wander(self) -> float:
        """How far any half second is from the others of the same channel."""
        return max(spread(list(chain(*side))) for side in (self.user, self.agent))

    def wrong(self, *, timed: bool) -> float:
        """Above 1 the recording is wrong."""
        if timed:
            cut, lag = _most(self.cut_in_room) / BUFFER_MS, abs(self.lag) / LAG_MS
            return max(cut, lag, self.wander / WITHIN_MS, spread(self.kept) / KEPT_MS)
        # The model plays at once. A device plays the end of a reply as late as what it holds takes, and its beginning
        # sooner while it fills up: then the room hears more of the reply.
        ends = max(abs(self.lag - cut - PLAYED_AFTER_MS) for cut in self.cut_in_room) / DEVICES_MS
        return max(_most(self.cut_in_program) / WITHIN_MS, ends, self.wander / WITHIN_MS)

    def __str__(self) -> str:
        program, room = (
            f"{median(each):+.1f} ms ({min(each):+.1f} to {max(each):+.1f})"
            for each in (self.cut_in_program, self.cut_in_room)
        )
        apart = ", ".join(f"{ms:.1f}" for ms in np.quantile(self.apart, [0.5, 0.95, 1])) if self.complete else "inf"
        return (
            f"{len(self.cut_in_room)} cuts {program} from the program, {room} from the room; agent {self.lag:+.1f} ms "
            f"from the user, drifting {self.drift:+.1f} ms; {sum(map(len, self.user + self.agent))} half seconds apart "
            f"{apart} ms (p50, p95, max), from their channel up to {self.wander:.1f} ms; "
            f"{spread(self.kept):.1f} ms from the times told"
        )


def spread(offsets: list[float]) -> float:
    """How far any is from the usual one."""
    if not offsets:
        return inf
    return max(abs(offset - median(offsets)) for offset in offsets)


def _most(errors: list[float]) -> float:
    return max(map(abs, errors))


class Told:
    """What the program said of its sound: the sound, and when each frame of it was."""

    def __init__(self) -> None:
        self._blocks: list[tuple[float, bytes]] = []

    def add(self, pcm: bytes, at: float) -> None:
        self._blocks.append((at, pcm))

    @property
    def sound(self) -> Sound:
        return np.frombuffer(b"".join(pcm for _, pcm in self._blocks), "<i2") / 32768

    def times(self, frames: list[int]) -> list[float]:
        """When these frames were, in ms."""
        begins = np.cumsum([0, *(len(pcm) // 2 for _, pcm in self._blocks[:-1])])
        blocks = np.searchsorted(begins, frames, "right") - 1
        return [
            (self._blocks[block][0] + float(frame - begins[block]) / RATE) * 1000
            for frame, block in zip(frames, blocks.tolist(), strict=True)
        ]


class VoiceProgram:
    """Talks through the sound card, as an application would.

    With `timed` it tells when, on the devices' word, and truncates what was cut. Otherwise it only empties its
    speaker's queue.
    """

    def __init__(self, connection: Any, card: SoundCard, *, timed: bool) -> None:
        self._connection = connection
        self._card = card
        self._timed = timed
        self._loop = asyncio.get_running_loop()
        self._microphone: asyncio.Queue[bytes] = asyncio.Queue()
        self._spoke = asyncio.Event()
        self._began: dict[str, float] = {}
        self.said, self.heard = Told(), Told()
        self.played_ms: list[float] = []  # of each reply, before it was cut

    def microphone_audio(self, pcm: bytes, at: float) -> None:
        self.said.add(pcm, at)
        if self._timed:
            self._connection.record_user_audio(pcm, at=at)
        self._loop.call_soon_threadsafe(self._microphone.put_nowait, pcm)

    def speaker_audio(self, pcm: bytes, at: float) -> None:
        self.heard.add(pcm, at)
        if self._timed:
            self._connection.record_agent_audio(pcm, at=at)

    def device_lost(self, error: DeviceError) -> None:
        raise error

    async def talk(self, devices: PulseAudio, folder: Path, turns: int) -> None:
        """The agent speaks; in every turn it is cut off by the user, and answers."""
        await self._connection.session.update(
            session={"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
        )
        self._card.start(self)
        working = [asyncio.create_task(self._send()), asyncio.create_task(self._play())]
        try:
            await self._connection.response.create()
            for turn in range(turns):
                await asyncio.wait_for(self._spoke.wait(), 20)
                await asyncio.sleep(BARGE_IN_S)
                self._spoke.clear()
                said = folder / f"said-{turn}.wav"
                soundfile.write(said, noise(SAID_S, FIRST_SAID + turn), RATE)
                assert await asyncio.to_thread(devices.speak(said).wait, 30) == 0
            await asyncio.wait_for(self._spoke.wait(), 20)
        finally:
            self._card.close()
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            pcm = await self._microphone.get()
            await self._connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())

    async def _play(self) -> None:
        async for event in self._connection:
            if event.type == "response.output_audio.delta":
                self._began.setdefault(event.item_id, time.monotonic())
                self._card.play(ContentPart(event.item_id, event.content_index), base64.b64decode(event.delta))
                self._spoke.set()
            elif event.type == "input_audio_buffer.speech_started":
                await self._cut()

    async def _cut(self) -> None:
        for cut in self._card.flush():
            self.played_ms.append((time.monotonic() - self._began[cut.part.item_id]) * 1000)
            if self._timed:
                await self._connection.conversation.item.truncate(
                    item_id=cut.part.item_id, content_index=cut.part.content_index, audio_end_ms=cut.played_ms
                )


def measure(folder: Path, devices: PulseAudio, *, timed: bool, turns: int = 1) -> Truth:
    """Holds one conversation with so many barge-ins and compares. Needs tracing set up; opens the default devices."""
    folder.mkdir()
    replies = [noise(REPLY_S, seed) for seed in range(turns + 1)]
    script = Script(turns=[Turn(Say("Noise.", audio=pcm16(reply))) for reply in replies], speed=0)

    async def hold(server: RealtimeServer) -> VoiceProgram:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw, recording=Recording(directory=folder / "ours", keep=True)) as connection,
        ):
            program = VoiceProgram(connection, SoundCard(), timed=timed)
            await program.talk(devices, folder, turns)
        return program

    with RealtimeServer(script) as server, devices.record_room(folder / "room.raw"):
        program = asyncio.run(hold(server))
    assert flush(timeout=30)
    (path,) = (folder / "ours").glob("*.wav")
    ours, rate = soundfile.read(path, always_2d=True)
    assert rate == RATE
    room = read_pcm(folder / "room.raw").reshape(-1, 2) / 32768
    truth = Truth([], [], [], [], [])
    sides = _Sides(_Side(ours[:, 1]), _Side(room[:, 1]), program.heard)
    for reply, played_ms in zip(replies, program.played_ms, strict=False):
        sides.find(reply)
        heard = [_heard(reply, side.sound[side.begin :]) for side in (sides.ours, sides.room)]
        truth.cut_in_program.append(heard[0] / RATE * 1000 - played_ms)
        truth.cut_in_room.append((heard[0] - heard[1]) / RATE * 1000)
        truth.agent.append(sides.compare(reply[: min(heard)], truth.kept))
    sides = _Sides(_Side(ours[:, 0]), _Side(room[:, 0]), program.said)
    for turn in range(turns):
        said = noise(SAID_S, FIRST_SAID + turn)
        sides.find(said)
        truth.user.append(sides.compare(said, truth.kept))
    assert len(truth.agent) == turns
    return truth


class _Side:
    """One channel of a recording. What comes next is looked for from where the last thing was found."""

    def __init__(self, sound: Sound) -> None:
        self.sound = sound
        self.begin = 0  # the frame at which what was looked for begins

    def find(self, sound: Sound) -> None:
        self.begin += _place(sound[:RATE], self.sound[self.begin : self.begin + round(NEXT_S * RATE)])

    def places(self, sound: Sound) -> list[int]:
        """The frames at which its half seconds begin."""
        search, half = round(SEARCH_S * RATE), RATE // 2
        places = []
        for start in range(0, len(sound) - half + 1, half):
            first = max(0, self.begin + start - search)
            within = self.sound[first : self.begin + start + half + search]
            places.append(first + _place(sound[start : start + half], within))
        return places


class _Sides:
    """One channel as we recorded it, as the room was recorded, and as the program told it."""

    def __init__(self, ours: _Side, room: _Side, told: Told) -> None:
        self.ours, self.room, self._told = ours, room, told
        self._in_told = _Side(told.sound)

    def find(self, sound: Sound) -> None:
        for side in (self.ours, self.room, self._in_told):
            side.find(sound)

    def compare(self, sound: Sound, kept: list[float]) -> list[float]:
        """By how many ms each half second is later in the room's recording than in ours; and in ours than was told."""
        in_ours, in_room, in_told = (side.places(sound) for side in (self.ours, self.room, self._in_told))
        kept += [at / RATE * 1000 - ms for at, ms in zip(in_ours, self._told.times(in_told), strict=True)]
        return [(there - here) / RATE * 1000 for here, there in zip(in_ours, in_room, strict=True)]


def _place(wanted: Sound, within: Sound) -> int:
    size = 1 << (len(wanted) + len(within)).bit_length()
    fit = np.fft.irfft(np.fft.rfft(within, size) * np.conj(np.fft.rfft(wanted, size)), size)
    return int(np.argmax(fit[: len(within)]))


def _heard(reply: Sound, there: Sound) -> int:
    """How many frames of the reply are there, from its beginning: up to the first 100 ms of quiet."""
    block = RATE // 1000
    loud = [rms(there[n * block : (n + 1) * block]) > 0.03 for n in range(min(len(there), len(reply) + RATE) // block)]
    quiet = next((n for n in range(len(loud)) if not any(loud[n : n + 100])), len(loud))
    return quiet * block
