"""Compares the recording of a conversation on sound devices with an independent recording of the devices."""

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


#: Tolerance for cuts by the playback model, and for a half second's distance from the others of its channel.
MAX_ERROR_MS = 20.0
#: Length of one block of the sound card; tolerance for cuts by fed audio.
BLOCK_MS = BLOCK_FRAMES / RATE * 1000
#: Tolerance for the distance between fed times and the recording.
MAX_FED_ERROR_MS = 5.0
#: Tolerance for the lag between the channels, with a block of the virtual devices, which a microphone cannot report.
MAX_LAG_MS = 30.0
#: Tolerance for the difference between the buffers of virtual devices.
DEVICE_BUFFERS_MS = 60.0
#: Length of a speaker's buffer, which the playback model does not know.
SPEAKER_BUFFER_MS = 180.0
#: Factor of all tolerances if the machine stalled.
STALLED_FACTOR = 3
#: Length of one reply of the agent in seconds.
REPLY_S = 6.0
#: Length of one utterance of the user in seconds.
UTTERANCE_S = 2.0
#: Seed of the first utterance's noise, different from those of replies.
UTTERANCE_SEED = 10_000
#: Seconds from the start of a reply to the barge-in.
BARGE_IN_S = 2.0
#: Seconds around the expected position in which half a second is searched.
SEARCH_S = 0.4
#: Seconds within which the next utterance or reply begins.
NEXT_S = 30.0


def noise(seconds: float, seed: int) -> Sound:
    """Returns noise of constant level: a different signal for each seed."""
    white = np.random.default_rng(seed).normal(0, 0.25, round(seconds * RATE))
    heard: Sound = np.convolve(white, [0.25, 0.5, 0.25], "same").clip(-0.9, 0.9)
    return heard


def pcm16(sound: Sound) -> bytes:
    return (sound * 32767).astype("<i2").tobytes()


@dataclass(frozen=True)
class Truth:
    """Errors of the recording under test, in ms, against the room recording: the independent one of the devices.

    Each half second of an utterance or a reply is searched in both recordings. The recordings start at different times,
    so only differences between offsets have a meaning.

    Attributes:
        cut_in_program: of each cut reply, the length in the recording minus the time that the program played it.
        cut_in_room: of each cut reply, the length in the recording minus that in the room, where devices play whole
            blocks.
        user: of each utterance, by half seconds: position in the room minus position in the recording.
        agent: of each reply, by half seconds: position in the room minus position in the recording.
        fed: of each half second, the position in the recording minus the time that the program fed.
    """

    cut_in_program: list[float]
    cut_in_room: list[float]
    user: list[list[float]]
    agent: list[list[float]]
    fed: list[float]

    @property
    def complete(self) -> bool:
        """Whether each utterance and reply has at least half a second. A device whose buffer underruns plays less."""
        return all(self.user + self.agent)

    @property
    def lag(self) -> float:
        """Median offset of the agent minus that of the user: by how much the recording places the agent too early."""
        if not self.complete:
            return inf
        return median(chain(*self.agent)) - median(chain(*self.user))

    @property
    def lags(self) -> list[float]:
        """The lag in each turn, which should be constant over the conversation."""
        return [median(agent) - median(user) for agent, user in zip(self.agent, self.user, strict=True)]

    @property
    def apart(self) -> list[float]:
        """Distance of each half second's offset from the median of the other channel in its turn."""
        turns = [(agent, median(agent), user, median(user)) for agent, user in zip(self.agent, self.user, strict=True)]
        return [
            abs(lag)
            for agent, agents, user, users in turns
            for lag in (*(each - users for each in agent), *(agents - each for each in user))
        ]

    @property
    def drift(self) -> float:
        """Growth of the lag from the first turn to the last, by linear regression."""
        lags = self.lags if self.complete else []
        return float(np.polyfit(range(len(lags)), lags, 1)[0]) * (len(lags) - 1) if len(lags) > 1 else 0.0

    @property
    def wander(self) -> float:
        """Largest distance of a half second's offset from the median of its channel."""
        return max(spread(list(chain(*side))) for side in (self.user, self.agent))

    def error_ratio(self, *, timed: bool) -> float:
        """Returns the largest error relative to its tolerance; above 1 the recording is wrong.

        Args:
            timed: the program fed its audio with times; otherwise the playback model applies.
        """
        if timed:
            cut, lag = _most(self.cut_in_room) / BLOCK_MS, abs(self.lag) / MAX_LAG_MS
            return max(cut, lag, self.wander / MAX_ERROR_MS, spread(self.fed) / MAX_FED_ERROR_MS)
        # In the model, audio plays at once. A device plays the end of a reply later by its buffer, but the
        # beginning less late, while the buffer fills: then the room hears more of the reply.
        ends = max(abs(self.lag - cut - SPEAKER_BUFFER_MS) for cut in self.cut_in_room) / DEVICE_BUFFERS_MS
        return max(_most(self.cut_in_program) / MAX_ERROR_MS, ends, self.wander / MAX_ERROR_MS)

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
            f"{spread(self.fed):.1f} ms from the fed times"
        )


def spread(offsets: list[float]) -> float:
    """Returns the largest distance from the median."""
    if not offsets:
        return inf
    return max(abs(offset - median(offsets)) for offset in offsets)


def _most(errors: list[float]) -> float:
    return max(map(abs, errors))


class FedAudio:
    """The audio that the program captured or played, with the time of each block."""

    def __init__(self) -> None:
        self._blocks: list[tuple[float, bytes]] = []

    def add(self, pcm: bytes, at: float) -> None:
        """Adds a block of PCM16 whose first frame is at `at` seconds."""
        self._blocks.append((at, pcm))

    @property
    def sound(self) -> Sound:
        """All blocks as one signal."""
        return np.frombuffer(b"".join(pcm for _, pcm in self._blocks), "<i2") / 32768

    def times(self, frames: list[int]) -> list[float]:
        """Returns the times of frames, in ms."""
        begins = np.cumsum([0, *(len(pcm) // 2 for _, pcm in self._blocks[:-1])])
        blocks = np.searchsorted(begins, frames, "right") - 1
        return [
            (self._blocks[block][0] + float(frame - begins[block]) / RATE) * 1000
            for frame, block in zip(frames, blocks.tolist(), strict=True)
        ]


class VoiceProgram:
    """A voice application on the sound card.

    Args:
        connection: wrapped connection.
        card: devices to capture from and to play on.
        timed: feed all audio with the times that the devices report, and truncate cut items. Otherwise a barge-in only
            empties the speaker's queue.
    """

    def __init__(self, connection: Any, card: SoundCard, *, timed: bool) -> None:
        self._connection = connection
        self._card = card
        self._timed = timed
        self._loop = asyncio.get_running_loop()
        self._microphone: asyncio.Queue[bytes] = asyncio.Queue()
        self._spoke = asyncio.Event()
        self._began: dict[str, float] = {}
        self.captured, self.played = FedAudio(), FedAudio()
        self.played_ms: list[float] = []  # of each reply, until it was cut

    def microphone_audio(self, pcm: bytes, at: float) -> None:
        self.captured.add(pcm, at)
        if self._timed:
            self._connection.record_user_audio(pcm, at=at)
        self._loop.call_soon_threadsafe(self._microphone.put_nowait, pcm)

    def speaker_audio(self, pcm: bytes, at: float) -> None:
        self.played.add(pcm, at)
        if self._timed:
            self._connection.record_agent_audio(pcm, at=at)

    def device_lost(self, error: DeviceError) -> None:
        raise error

    async def talk(self, devices: PulseAudio, folder: Path, turns: int) -> None:
        """Holds the conversation: in every turn the user interrupts the agent, which then replies."""
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
                path = folder / f"utterance-{turn}.wav"
                soundfile.write(path, noise(UTTERANCE_S, UTTERANCE_SEED + turn), RATE)
                assert await asyncio.to_thread(devices.speak(path).wait, 30) == 0
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
    """Holds a conversation with `turns` barge-ins on the default devices, and returns the errors of its recording.

    The caller sets up tracing.
    """
    folder.mkdir()
    replies = [noise(REPLY_S, seed) for seed in range(turns + 1)]
    script = Script(turns=[Turn(Say("Noise.", audio=pcm16(reply))) for reply in replies], speed=0)

    async def converse(server: RealtimeServer) -> VoiceProgram:
        async with (
            async_client(server).realtime.connect(model="gpt-realtime") as raw,
            wrap_realtime(raw, recording=Recording(directory=folder / "recording", keep=True)) as connection,
        ):
            program = VoiceProgram(connection, SoundCard(), timed=timed)
            await program.talk(devices, folder, turns)
        return program

    with RealtimeServer(script) as server, devices.record_room(folder / "room.raw"):
        program = asyncio.run(converse(server))
    assert flush(timeout=30)
    (path,) = (folder / "recording").glob("*.wav")
    recording, rate = soundfile.read(path, always_2d=True)
    assert rate == RATE
    room = read_pcm(folder / "room.raw").reshape(-1, 2) / 32768
    truth = Truth([], [], [], [], [])
    signals = _Signals(_Signal(recording[:, 1]), _Signal(room[:, 1]), program.played)
    for reply, played_ms in zip(replies, program.played_ms, strict=False):
        signals.find(reply)
        heard = [_heard_frames(reply, signal.sound[signal.begin :]) for signal in (signals.recording, signals.room)]
        truth.cut_in_program.append(heard[0] / RATE * 1000 - played_ms)
        truth.cut_in_room.append((heard[0] - heard[1]) / RATE * 1000)
        truth.agent.append(signals.compare(reply[: min(heard)], truth.fed))
    signals = _Signals(_Signal(recording[:, 0]), _Signal(room[:, 0]), program.captured)
    for turn in range(turns):
        utterance = noise(UTTERANCE_S, UTTERANCE_SEED + turn)
        signals.find(utterance)
        truth.user.append(signals.compare(utterance, truth.fed))
    assert len(truth.agent) == turns
    return truth


class _Signal:
    """One channel of a recording. Each search starts where the previous one succeeded."""

    def __init__(self, sound: Sound) -> None:
        self.sound = sound
        self.begin = 0  # frame at which the last found sound begins

    def find(self, sound: Sound) -> None:
        """Sets `begin` to the next place at which a sound begins."""
        self.begin += _place(sound[:RATE], self.sound[self.begin : self.begin + round(NEXT_S * RATE)])

    def places(self, sound: Sound) -> list[int]:
        """Returns the frames at which the half seconds of the found sound begin."""
        search, half = round(SEARCH_S * RATE), RATE // 2
        places = []
        for start in range(0, len(sound) - half + 1, half):
            first = max(0, self.begin + start - search)
            within = self.sound[first : self.begin + start + half + search]
            places.append(first + _place(sound[start : start + half], within))
        return places


class _Signals:
    """One channel in the recording under test, in the room recording, and as the program fed it."""

    def __init__(self, recording: _Signal, room: _Signal, fed: FedAudio) -> None:
        self.recording, self.room, self._fed = recording, room, fed
        self._fed_signal = _Signal(fed.sound)

    def find(self, sound: Sound) -> None:
        """Finds a sound in all three."""
        for signal in (self.recording, self.room, self._fed_signal):
            signal.find(sound)

    def compare(self, sound: Sound, fed: list[float]) -> list[float]:
        """Returns by how many ms each half second of the sound is later in the room than in the recording.

        Appends to `fed` by how many ms each is later in the recording than the time that the program fed.
        """
        recorded, in_room, in_fed = (signal.places(sound) for signal in (self.recording, self.room, self._fed_signal))
        fed += [frame / RATE * 1000 - ms for frame, ms in zip(recorded, self._fed.times(in_fed), strict=True)]
        return [(there - here) / RATE * 1000 for here, there in zip(recorded, in_room, strict=True)]


def _place(wanted: Sound, within: Sound) -> int:
    """Returns the frame of `within` at which `wanted` correlates best."""
    size = 1 << (len(wanted) + len(within)).bit_length()
    fit = np.fft.irfft(np.fft.rfft(within, size) * np.conj(np.fft.rfft(wanted, size)), size)
    return int(np.argmax(fit[: len(within)]))


def _heard_frames(reply: Sound, recorded: Sound) -> int:
    """Returns how many frames of a reply are recorded, from its beginning: up to the first 100 ms of silence."""
    block = RATE // 1000
    loud = [
        rms(recorded[n * block : (n + 1) * block]) > 0.03 for n in range(min(len(recorded), len(reply) + RATE) // block)
    ]
    silent_from = next((n for n in range(len(loud)) if not any(loud[n : n + 100])), len(loud))
    return silent_from * block
