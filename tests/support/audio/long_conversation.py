"""A conversation of many minutes on simulated time, and how far its recording is off at the end."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from langsmith_realtime import Recording
from langsmith_realtime.core.audio.tracks import Tracks
from langsmith_realtime.core.conversation.conversation import Conversation
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.core.protocol.events import parse
from langsmith_realtime.recording.recorder import Recorded, Recorder
from langsmith_realtime.runtime.files import bytes_on_disk
from langsmith_realtime.runtime.guard import Guard
from tests.support.audio.sounds import RATE, Take, wire

if TYPE_CHECKING:
    from langsmith_realtime.core.audio.decoding import Samples


CHUNK = RATE // 10  # frames of the microphone in one append


TURN_S = 20


BARGE_IN_S = 8  # of them; the agent would speak for 12


PPM = 100


def misplaced(seconds: int, path: Path) -> dict[int, list[float]]:
    """By how many ms each click of the two channels is off in the recording of a conversation of that length.

    The microphone clicks every second, on a clock that is 100 ppm fast, and is handed over up to 150 ms late. The
    agent begins to speak every 10 s, and is cut off before its second click. The recording is written to ``path``.
    """
    take, randomness = Take(path), random.Random(4)
    tracks, click = take.tracks, np.full(24, 12_000, dtype=np.int16)
    truth: dict[int, list[float]] = {USER: [], AGENT: []}
    handed_over = 0.0
    for second in range(seconds):
        if second % 10 == 0:
            reply = np.zeros(4 * RATE, dtype=np.int16)
            reply[: len(click)] = reply[2 * RATE : 2 * RATE + len(click)] = click
        for tenth in range(10):
            sound = np.zeros(CHUNK, dtype=np.int16)
            if tenth == 0:
                sound[: len(click)] = click
                truth[USER].append(second / (1 + PPM * 1e-6))
            captured = (second + (tenth + 1) / 10) / (1 + PPM * 1e-6)
            handed_over = max(handed_over, captured + randomness.random() ** 4 * 0.15)
            tracks.user_sent(handed_over, wire(sound))
            if second % 10 == 0 and tenth == 5:
                truth[AGENT].append(handed_over)
                tracks.agent_received(handed_over, f"item {second}", wire(reply))
            if second % 10 == 2 and tenth == 0:
                tracks.barge_in(handed_over)
        take.record()
    found = dict(zip((USER, AGENT), map(_clicks, take.end(seconds)), strict=True))
    assert {side: len(clicks) for side, clicks in found.items()} == {side: len(each) for side, each in truth.items()}
    return {
        side: [(at - true) * 1000 for at, true in zip(found[side], truth[side], strict=True)] for side in (USER, AGENT)
    }


def _clicks(channel: Samples) -> list[float]:
    """When they begin, in seconds."""
    loud = np.flatnonzero(channel > 6_000)
    starts = loud[np.r_[True, np.diff(loud) > 100]]
    return [float(start) / RATE for start in starts]


def hold(hours: float, folder: Path) -> None:
    """A conversation with speech, answers and barge-ins, recorded as the session records it.

    Nothing is kept of what it tells.
    """
    noise = np.random.default_rng(5).integers(-9_000, 9_000, 12 * RATE).astype(np.int16)
    speaks, silent, reply = wire(noise[:RATE]), wire(bytes(RATE * 2)), wire(noise)
    tracks, recorded = Tracks(), list[Recorded]()
    conversation = Conversation(tracks=tracks)
    recorder = Recorder(
        Recording(directory=folder, format="wav"),
        name=f"{hours}",
        limit_s=None,
        hidden=set(),
        guard=Guard(),
        aside=lambda work: work(),
    )
    conversation.server_event(parse({"type": "session.created", "session": {"id": "sess_1"}}), 0.0, 1)
    refs, seconds = 1, round(hours * 3600)
    for second in range(seconds):
        said = speaks if second % TURN_S in (0, BARGE_IN_S) else silent
        conversation.client_event(parse({"type": "input_audio_buffer.append", "audio": said}), second + 1.0)
        for event in _events(second, reply):
            refs += 1
            conversation.server_event(parse(event), second + 1.1, refs)
        assert tracks.rate is not None
        recorder.write(tracks.take_writes(), tracks.rate, second + 1.1)
    conversation.close(seconds + 2.0)
    recorder.write(tracks.take_writes(), RATE, seconds + 2.0)
    recorder.finish(seconds + 2.0, recorded.append)
    (wav,) = folder.glob(f"{hours}.wav")
    assert soundfile.info(wav).frames == (seconds + 2) * RATE
    assert conversation.numbers()["interruptions"] == seconds // TURN_S
    assert bytes_on_disk(wav.stat()) < 0.7 * wav.stat().st_size  # silence takes no room
    wav.unlink()


def _events(second: int, audio: str) -> list[dict[str, object]]:
    number = second // TURN_S
    if second % TURN_S == BARGE_IN_S:
        return [{"type": "input_audio_buffer.speech_started", "item_id": f"again_{number}"}]
    return _turn(number, audio) if second % TURN_S == 1 else []


def _turn(number: int, audio: str) -> list[dict[str, object]]:
    user, agent, response = f"user_{number}", f"agent_{number}", f"resp_{number}"
    said = {"id": user, "type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": None}]}
    message = {"id": agent, "type": "message", "role": "assistant", "content": []}
    where = {"response_id": response, "item_id": agent, "content_index": 0}
    done = {"id": response, "status": "completed", "conversation_id": "conv_1", "output": [message]}
    return [
        {"type": "input_audio_buffer.speech_started", "item_id": user},
        {"type": "input_audio_buffer.speech_stopped", "item_id": user},
        {"type": "input_audio_buffer.committed", "item_id": user},
        {"type": "conversation.item.added", "item": said},
        {"type": "response.created", "response": {**done, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "response_id": response, "item": message},
        {"type": "conversation.item.added", "item": message},
        {"type": "response.output_audio.delta", **where, "delta": audio},
        {"type": "response.output_audio_transcript.delta", **where, "delta": f"Answer {number}."},
        {"type": "response.done", "response": done},
    ]
