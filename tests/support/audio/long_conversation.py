"""Long conversations on simulated time, and the errors of their recordings."""

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
from langsmith_realtime.core.protocol.inputs import ClientFrame, Closed, Ref, ServerFrame
from langsmith_realtime.live.coalescing import parsed
from langsmith_realtime.recording.finishing import FinishedRecording
from langsmith_realtime.recording.recorder import Recorder
from langsmith_realtime.runtime.files import bytes_on_disk
from langsmith_realtime.runtime.guard import Guard
from tests.support.audio.sounds import RATE, Take, wire

if TYPE_CHECKING:
    from langsmith_realtime.core.audio.decoding import Samples


#: Frames of one microphone chunk.
CHUNK = RATE // 10
#: Length of a turn in seconds.
TURN_S = 20
#: Second of a turn in which the user interrupts an answer of 12 s.
BARGE_IN_S = 8
#: Drift of the microphone's clock, in parts per million.
PPM = 100


def placement_errors_ms(seconds: int, path: Path) -> dict[int, list[float]]:
    """Returns by how many ms each click is late in the recording of a conversation, by channel.

    The microphone captures a click every second. Its clock is 100 ppm fast, and its chunks arrive up to 150 ms late.
    The agent's audio begins with a click every 10 s, and is cut before its second click.

    Args:
        seconds: length of the conversation.
        path: file to which the recording is written.
    """
    take, randomness = Take(path), random.Random(4)
    tracks, click = take.tracks, np.full(24, 12_000, dtype=np.int16)
    truth: dict[int, list[float]] = {USER: [], AGENT: []}
    arrival = 0.0
    for second in range(seconds):
        if second % 10 == 0:
            reply = np.zeros(4 * RATE, dtype=np.int16)
            reply[: len(click)] = reply[2 * RATE : 2 * RATE + len(click)] = click
        for tenth in range(10):
            chunk = np.zeros(CHUNK, dtype=np.int16)
            if tenth == 0:
                chunk[: len(click)] = click
                truth[USER].append(second / (1 + PPM * 1e-6))
            captured = (second + (tenth + 1) / 10) / (1 + PPM * 1e-6)
            arrival = max(arrival, captured + randomness.random() ** 4 * 0.15)
            tracks.user_sent(arrival, wire(chunk))
            if second % 10 == 0 and tenth == 5:
                truth[AGENT].append(arrival)
                tracks.agent_received(arrival, f"item {second}", wire(reply))
            if second % 10 == 2 and tenth == 0:
                tracks.barge_in(arrival)
        take.record()
    found = dict(zip((USER, AGENT), map(_clicks, take.end(seconds)), strict=True))
    assert {side: len(clicks) for side, clicks in found.items()} == {side: len(each) for side, each in truth.items()}
    return {
        side: [(at - true) * 1000 for at, true in zip(found[side], truth[side], strict=True)] for side in (USER, AGENT)
    }


def _clicks(channel: Samples) -> list[float]:
    """Returns the begin of each click in seconds."""
    loud = np.flatnonzero(channel > 6_000)
    starts = loud[np.r_[True, np.diff(loud) > 100]]
    return [float(start) / RATE for start in starts]


def record_conversation(hours: float, folder: Path) -> None:
    """Runs and records a conversation with speech, answers and barge-ins, as a session does; the recording is deleted.

    Args:
        hours: length of the conversation.
        folder: folder for the recording.
    """
    noise = np.random.default_rng(5).integers(-9_000, 9_000, 12 * RATE).astype(np.int16)
    speech, silence, reply = wire(noise[:RATE]), wire(bytes(RATE * 2)), wire(noise)
    tracks, recorded = Tracks(), list[FinishedRecording]()
    conversation = Conversation(tracks=tracks)
    recorder = Recorder(
        Recording(directory=folder, format="wav"),
        name=f"{hours}",
        limit_s=None,
        hidden=set(),
        guard=Guard(),
        run_in_thread=lambda work: work(),
    )
    created = {"type": "session.created", "session": {"id": "sess_1"}}
    conversation.take(ServerFrame(created, 0.0, Ref(1)))
    received, seconds = 1, round(hours * 3600)
    for second in range(seconds):
        payload = speech if second % TURN_S in (0, BARGE_IN_S) else silence
        append = {"type": "input_audio_buffer.append", "audio": payload}
        conversation.take(parsed(ClientFrame(append, second + 1.0)))
        for event in _events(second, reply):
            received += 1
            run = None if str(event["type"]).endswith(".delta") else Ref(received)
            conversation.take(parsed(ServerFrame(event, second + 1.1, run)))
        assert tracks.rate is not None
        recorder.write(tracks.take_writes(), tracks.rate, second + 1.1)
    conversation.take(Closed(seconds + 2.0))
    recorder.write(tracks.take_writes(), RATE, seconds + 2.0)
    recorder.finish(seconds + 2.0, recorded.append)
    (wav,) = folder.glob(f"{hours}.wav")
    assert soundfile.info(wav).frames == (seconds + 2) * RATE
    assert conversation.numbers()["interruptions"] == seconds // TURN_S
    assert bytes_on_disk(wav.stat()) < 0.7 * wav.stat().st_size  # silence takes no space
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
