"""Measures the errors of recordings and latencies in ms, on simulated time or through real audio devices.

Run it with ``python -m bench.accuracy``.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from bench import conversation
from bench.conversation import base64_text, microphone_chunk, timed_frames
from bench.measuring.counting_collector import CountingCollector
from bench.measuring.interleaved import MemorySocket
from bench.measuring.simulated_time import SimulatedTime
from bench.measuring.stalls import Stalls
from langsmith_realtime import flush, wrap_realtime
from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from tests.support.audio.long_conversation import placement_errors_ms
from tests.support.audio.sounds import RATE, laid_out, wire
from tests.support.conversations import tracing_to
from tests.support.timed_turns import TimedTurns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from langsmith_realtime.collector import Collector
    from langsmith_realtime.core.audio.decoding import Samples
    from tests.support.audio.ground_truth import Truth

#: Seconds of audio that the application passes to its speaker at a time.
BLOCK_S = 0.02
BARGE_INS = 200
#: Seconds of one turn through real devices.
DEVICE_TURN_S = 5.0
#: Turns in the measurement of voice-to-voice latencies.
LATENCY_TURNS = 20
#: The sources of playback times: the playback model, or a tap that passes in the played audio with its times.
PLAYBACK_SOURCES = ("model", "tap")
CLOSING_MINUTES = 10
CHUNK_MS = 100
#: The process is idle if it uses less CPU than this in half a second, in seconds.
IDLE_CPU_S = 0.05


def cut_errors(source: str) -> list[float]:
    """Returns for each of `BARGE_INS` barge-ins by how many ms the recording's cut is late; negative if it is early.

    `source` is the recording's source of playback times: ``model`` (the playback model), ``positions`` (reported
    playback positions) or ``tap`` (the played audio with its times).
    """
    randomness = random.Random(7)
    return [_cut_error(source, randomness) for _ in range(BARGE_INS)]


def _cut_error(source: str, randomness: random.Random) -> float:
    """Plays one reply in blocks, from its arrival to a barge-in. The blocks passed to the speaker are played whole."""
    tracks = Tracks()
    reply = np.full(6 * RATE, 10_000, dtype=np.int16)
    starts, cut = 1.0, 1.5 + randomness.random() * 3
    blocks = int((cut - starts) / BLOCK_S) + 1
    tracks.agent_received(starts, "item", wire(reply))
    size = round(BLOCK_S * RATE)
    for block in range(blocks):
        at = starts + block * BLOCK_S
        if source == "tap":
            pcm = reply[block * size : (block + 1) * size].tobytes()
            tracks.agent_fed(at + 0.001, pcm, at + randomness.gauss(0, 0.001))
        elif source == "positions" and block % 5 == 4:
            tracks.played(at, "item", (block + 1) * BLOCK_S * 1000)
    tracks.barge_in(cut)
    if source == "positions":
        tracks.played(cut, "item", blocks * BLOCK_S * 1000)
    tracks.close(10)
    recorded = laid_out(item.write for item in tracks.take_writes() if item.channel == AGENT)
    return float((np.flatnonzero(recorded)[-1] + 1) / RATE - starts - blocks * BLOCK_S) * 1000


class LateMicrophone(TimedTurns):
    """A conversation whose microphone chunks are sent up to 150 ms late."""

    def __init__(self) -> None:
        super().__init__()
        self._random = random.Random(7)

    def append(self, at: float, sound: Samples) -> None:
        super().append(max(self.t, at + self._random.random() ** 4 * 0.15), sound)


def voice_to_voice_errors() -> list[float]:
    """Returns for each turn by how many ms the run's ``voice_to_voice_ms`` exceeds the true latency."""
    timed_turns, randomness = LateMicrophone(), random.Random(7)
    truth, starts = {}, 1.0
    for turn in range(LATENCY_TURNS):
        ends = starts + randomness.uniform(0.6, 2.0)
        timed_turns.speech(starts, ends)
        arrives, silence = timed_turns.t + randomness.uniform(0.2, 0.9), randomness.uniform(0.0, 0.2)
        timed_turns.answers(f"resp_{turn}", arrives, silence=silence)
        timed_turns.done(f"resp_{turn}")
        truth[f"resp_{turn}"] = (arrives + silence - ends) * 1000
        starts = arrives + 5
    timed_turns.close(at=starts + 10)
    return [timed_turns.numbers(response)["voice_to_voice_ms"] - ms for response, ms in truth.items()]


async def _background_idle() -> None:
    """Waits until no thread encodes or sends, as at real speed, where the threads keep up with the conversation."""
    cpu_s = -1.0
    while time.process_time() - cpu_s > IDLE_CPU_S:
        cpu_s = time.process_time()
        await asyncio.sleep(0.5)


async def _stalls_ms(path: Path, clock: SimulatedTime) -> tuple[float, float]:
    """Returns the longest stall while the conversation closes, and the longest in an idle time of equal length."""
    socket = MemorySocket(timed_frames(path))
    connection = AsyncRealtimeConnection(cast("Any", socket))
    chunk_text = base64_text(microphone_chunk(CHUNK_MS))
    async with wrap_realtime(connection, enabled=True):
        async for _ in connection:
            while clock.elapsed < socket.next_at:
                await clock.advance_to(clock.elapsed + CHUNK_MS / 1000)
                await connection.input_audio_buffer.append(audio=chunk_text)
        await asyncio.to_thread(flush, 60)  # at real speed the recording is written during the conversation
        await _background_idle()
        began, closing = time.perf_counter(), Stalls()
        watching = asyncio.create_task(closing.watch(0.001))
        await asyncio.sleep(0.01)
    await asyncio.to_thread(flush, 60)
    watching.cancel()
    await _background_idle()
    took, idle = time.perf_counter() - began, Stalls()
    watching = asyncio.create_task(idle.watch(0.001))
    await asyncio.sleep(took)
    watching.cancel()
    return closing.longest * 1000, idle.longest * 1000


def closing_stalls_ms(minutes: float, repeat: int = 3) -> tuple[float, float]:
    """Returns the longest stall, in ms, of an event loop that iterates every ms: at closing, and idle.

    The first is measured while a conversation of `minutes` closes, until its recording and its runs are sent. The
    second, in an idle process, is the machine's own. Both are the least of `repeat` measurements, because other
    processes can only lengthen a stall.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        CountingCollector() as collector,
        tracing_to(cast("Collector", collector), patch),
    ):
        path, measured = Path(folder) / "conversation", []
        conversation.write_frames(path, round(minutes * 60 / conversation.TURN_S))
        for _ in range(repeat):
            with SimulatedTime(1) as clock:
                measured.append(asyncio.run(_stalls_ms(path, clock)))
    return min(closing for closing, _ in measured), min(idle for _, idle in measured)


def distribution(errors: Iterable[float]) -> str:
    """Returns the median, the 95th percentile and the maximum of the absolute errors, in columns."""
    p50, p95, most = np.quantile(np.abs(list(errors)), [0.5, 0.95, 1.0])
    return f"{p50:8.1f}{p95:8.1f}{most:8.1f}"


def print_simulated() -> None:
    """Prints the distribution of each error on simulated time, in ms, and the stalls at closing."""
    with tempfile.TemporaryDirectory() as folder:
        placed = placement_errors_ms(600, Path(folder) / "conversation.wav")
    rows = {
        "user: position (clock 100 ppm fast, chunks up to 150 ms late)": placed[USER],
        "agent: start of a reply": placed[AGENT],
        "agent: cut at a barge-in, from the playback model": cut_errors("model"),
        "agent: cut at a barge-in, from reported playback positions": cut_errors("positions"),
        "agent: cut at a barge-in, from a tap with times": cut_errors("tap"),
        f"voice-to-voice latency, {LATENCY_TURNS} turns": voice_to_voice_errors(),
    }
    print(f"{'error in ms':62}{'p50':>8}{'p95':>8}{'max':>8}")
    for name, errors in rows.items():
        print(f"{name:62}{distribution(errors)}")
    print_closing(CLOSING_MINUTES)


def print_closing(minutes: float) -> None:
    """Prints the longest stall of the event loop when a conversation of `minutes` closes."""
    closing, idle = closing_stalls_ms(minutes)
    print(
        f"Longest stall of the event loop while a conversation of {minutes:g} min closes: {closing:.1f} ms "
        f"({idle:.1f} ms in an idle process)"
    )


def print_devices(minutes: float, *, sources: Collection[str] = PLAYBACK_SOURCES) -> None:
    """Holds a conversation through PulseAudio for each source of playback times, and prints the recordings' errors.

    The reference is a second recording of the devices, made by PulseAudio. `minutes` is the length of one conversation.
    """
    from langsmith_realtime.collector import Collector  # noqa: PLC0415
    from tests.support.audio.ground_truth import measure  # noqa: PLC0415  needs the PortAudio library
    from tests.support.audio.pulseaudio import ROOM, pulseaudio, raise_priority  # noqa: PLC0415

    raise_priority(0)
    for source in sources:
        with (
            tempfile.TemporaryDirectory() as folder,
            pytest.MonkeyPatch.context() as patch,
            Collector() as collector,
            pulseaudio(ROOM) as devices,
            tracing_to(collector, patch),
        ):
            patch.setenv("PULSE_SERVER", devices.environment["PULSE_SERVER"])
            _look_for_devices_again()
            turns = max(1, round(minutes * 60 / DEVICE_TURN_S))
            truth: Truth = measure(Path(folder) / "conversation", devices, timed=source == "tap", turns=turns)
        print(f"{'tap with times' if source == 'tap' else 'playback model'}, {turns} turns: {truth}", flush=True)


def _look_for_devices_again() -> None:
    """Restarts PortAudio, which looks for devices only once in a process."""
    import sounddevice  # noqa: PLC0415

    sounddevice._terminate()
    sounddevice._initialize()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--devices",
        type=float,
        nargs="?",
        const=1.0,
        metavar="MINUTES",
        help="hold conversations of this length through virtual devices of a PulseAudio daemon (default: 1)",
    )
    parser.add_argument(
        "--known-from",
        choices=PLAYBACK_SOURCES,
        action="append",
        help="with --devices: take playback times from the playback model or from a tap (default: one after the other)",
    )
    parser.add_argument(
        "--closing",
        type=float,
        metavar="MINUTES",
        help="measure only the longest stall of the event loop while a conversation of this length closes",
    )
    options = parser.parse_args()
    if options.closing is not None:
        print_closing(options.closing)
    elif options.devices is None:
        print_simulated()
    else:
        print_devices(options.devices, sources=options.known_from or PLAYBACK_SOURCES)


if __name__ == "__main__":
    main()
