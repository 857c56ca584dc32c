"""How right the recording is: by how many ms it is off, on simulated time, or with ``--devices`` on real ones.

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
from bench.collecting import Counting
from bench.conversation import microphone, timed_frames
from bench.loops import MemorySocket, Stalls
from bench.passing import ConversationTime
from langsmith_realtime import flush, wrap_realtime
from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from tests.support.audio.long_conversation import misplaced
from tests.support.audio.sounds import RATE, laid_out, wire
from tests.support.conversations import tracing_to
from tests.support.timed_turns import TimedTurns

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from langsmith_realtime.collector import Collector
    from langsmith_realtime.core.audio.decoding import Samples
    from tests.support.audio.ground_truth import Truth

BLOCK_S = 0.02  # what the client hands its speaker at a time
BARGE_INS = 200
TURN_S = 5.0  # with real devices
TURNS = 20
KNOWN_FROM = ("model", "tap")
CLOSING_MINUTES = 10
CHUNK_MS = 100
AT_REST_S = 0.05  # of work, in half a second


def cut_errors(source: str) -> list[float]:
    """By how many ms the recording's cut is off, over many barge-ins; known from the model, positions or a tap."""
    randomness = random.Random(7)
    return [_cut_error(source, randomness) for _ in range(BARGE_INS)]


def _cut_error(source: str, randomness: random.Random) -> float:
    """One reply, played from its arrival on in blocks; what was handed over before the barge-in is heard."""
    tracks = Tracks()
    reply = np.full(6 * RATE, 10_000, dtype=np.int16)
    begins, cut = 1.0, 1.5 + randomness.random() * 3
    blocks = int((cut - begins) / BLOCK_S) + 1
    tracks.agent_received(begins, "item", wire(reply))
    size = round(BLOCK_S * RATE)
    for block in range(blocks):
        at = begins + block * BLOCK_S
        if source == "tap":
            pcm = reply[block * size : (block + 1) * size].tobytes()
            tracks.agent_fed(at + 0.001, pcm, at + randomness.gauss(0, 0.001))
        elif source == "positions" and block % 5 == 4:
            tracks.played(at, "item", (block + 1) * BLOCK_S * 1000)
    tracks.barge_in(cut)
    if source == "positions":
        tracks.played(cut, "item", blocks * BLOCK_S * 1000)
    tracks.close(10)
    heard = laid_out(item.write for item in tracks.take_writes() if item.channel == AGENT)
    return float((np.flatnonzero(heard)[-1] + 1) / RATE - begins - blocks * BLOCK_S) * 1000


class LateLine(TimedTurns):
    """A microphone whose chunks are handed over up to 150 ms late."""

    def __init__(self) -> None:
        super().__init__()
        self._dice = random.Random(7)

    def append(self, at: float, sound: Samples) -> None:
        super().append(max(self.t, at + self._dice.random() ** 4 * 0.15), sound)


def voice_to_voice_errors() -> list[float]:
    """By how many ms each turn's latency, as its run tells it, is from when they spoke."""
    line, dice = LateLine(), random.Random(7)
    truth, begins = {}, 1.0
    for turn in range(TURNS):
        ends = begins + dice.uniform(0.6, 2.0)
        line.speech(begins, ends)
        arrives, hears = line.t + dice.uniform(0.2, 0.9), dice.uniform(0.0, 0.2)
        line.answers(f"resp_{turn}", arrives, hears=hears)
        line.done(f"resp_{turn}")
        truth[f"resp_{turn}"] = (arrives + hears - ends) * 1000
        begins = arrives + 5
    line.close(at=begins + 10)
    return [line.numbers(response)["voice_to_voice_ms"] - ms for response, ms in truth.items()]


async def _at_rest() -> None:
    """Nothing is encoded or sent any more in this process: people talk for so long that it is always done by then."""
    worked = -1.0
    while time.process_time() - worked > AT_REST_S:
        worked = time.process_time()
        await asyncio.sleep(0.5)


async def _stalls_ms(path: Path, passing: ConversationTime) -> tuple[float, float]:
    """The longest stall while the conversation in that file closes, and afterwards, for as long."""
    socket = MemorySocket(timed_frames(path))
    connection = AsyncRealtimeConnection(cast("Any", socket))
    sent = wire(microphone(CHUNK_MS))
    async with wrap_realtime(connection, enabled=True):
        async for _ in connection:
            while passing.elapsed < socket.next_at:
                await passing.until(passing.elapsed + CHUNK_MS / 1000)
                await connection.input_audio_buffer.append(audio=sent)
        await asyncio.to_thread(flush, 60)  # the recording is made while people talk
        await _at_rest()
        began, closing = time.perf_counter(), Stalls()
        watching = asyncio.create_task(closing.watch(0.001))
        await asyncio.sleep(0.01)
    await asyncio.to_thread(flush, 60)
    watching.cancel()
    await _at_rest()
    took, idle = time.perf_counter() - began, Stalls()
    watching = asyncio.create_task(idle.watch(0.001))
    await asyncio.sleep(took)
    watching.cancel()
    return closing.longest * 1000, idle.longest * 1000


def closing_stalls_ms(minutes: float, repeat: int = 3) -> tuple[float, float]:
    """How long an event loop, which wants to come round every ms, is kept from it at most.

    While a conversation of that length closes, its recording is finished and everything is sent; and while nothing
    happens: the machine's part. The least of so many times, as other processes can only lengthen it.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        Counting() as collector,
        tracing_to(cast("Collector", collector), patch),
    ):
        path, measured = Path(folder) / "conversation", []
        conversation.make(path, round(minutes * 60 / conversation.TURN_S))
        for _ in range(repeat):
            with ConversationTime(1) as passing:
                measured.append(asyncio.run(_stalls_ms(path, passing)))
    return min(closing for closing, _ in measured), min(idle for _, idle in measured)


def distribution(errors: Iterable[float]) -> str:
    p50, p95, most = np.quantile(np.abs(list(errors)), [0.5, 0.95, 1.0])
    return f"{p50:8.1f}{p95:8.1f}{most:8.1f}"


def on_simulated_time() -> None:
    """Prints the distribution of each error, in ms."""
    with tempfile.TemporaryDirectory() as folder:
        placed = misplaced(600, Path(folder) / "conversation.wav")
    print(f"{'error in ms':44}{'p50':>8}{'p95':>8}{'max':>8}")
    print(f"{'microphone, +100 ppm, up to 150 ms late':44}{distribution(placed[USER])}")
    print(f"{'agent, begin of a reply':44}{distribution(placed[AGENT])}")
    for name, source in (("playback model", "model"), ("played positions", "positions"), ("timed tap", "tap")):
        print(f"{'cut at a barge-in, ' + name:44}{distribution(cut_errors(source))}")
    print(f"{'voice to voice, 20 turns':44}{distribution(voice_to_voice_errors())}")
    at_closing(CLOSING_MINUTES)


def at_closing(minutes: float) -> None:
    """Prints how long the event loop is held up when a conversation of that length closes."""
    closing, idle = closing_stalls_ms(minutes)
    print(
        f"Longest stall of an event loop while a conversation of {minutes:g} min closes: {closing:.1f} ms; "
        f"while nothing happens: {idle:.1f} ms"
    )


def on_devices(minutes: float, *, known_from: Collection[str] = KNOWN_FROM) -> None:
    """Holds a conversation of that length through PulseAudio, and prints how far its recording is from what was heard.

    One for each way in which it is known what was played, one after the other.
    """
    from langsmith_realtime.collector import Collector  # noqa: PLC0415
    from tests.support.audio.ground_truth import measure  # noqa: PLC0415  needs the PortAudio library
    from tests.support.audio.pulseaudio import ROOM, go_first, pulseaudio  # noqa: PLC0415

    go_first(0)
    for way in known_from:
        with (
            tempfile.TemporaryDirectory() as folder,
            pytest.MonkeyPatch.context() as patch,
            Collector() as collector,
            pulseaudio(ROOM) as devices,
            tracing_to(collector, patch),
        ):
            patch.setenv("PULSE_SERVER", devices.environment["PULSE_SERVER"])
            look_again()
            turns = max(1, round(minutes * 60 / TURN_S))
            truth: Truth = measure(Path(folder) / "conversation", devices, timed=way == "tap", turns=turns)
        print(f"{'timed tap' if way == 'tap' else 'playback model'}, {turns} turns: {truth}", flush=True)


def look_again() -> None:
    """PortAudio looks for devices once per process."""
    import sounddevice  # noqa: PLC0415

    sounddevice._terminate()
    sounddevice._initialize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--devices", type=float, nargs="?", const=1.0, metavar="MINUTES", help="through PulseAudio (default: 1)"
    )
    parser.add_argument(
        "--known-from", choices=KNOWN_FROM, action="append", help="with --devices: how it is known what was played"
    )
    parser.add_argument("--closing", type=float, metavar="MINUTES", help="only what its close holds up, of that length")
    options = parser.parse_args()
    if options.closing is not None:
        at_closing(options.closing)
    elif options.devices is None:
        on_simulated_time()
    else:
        on_devices(options.devices, known_from=options.known_from or KNOWN_FROM)


if __name__ == "__main__":
    main()
