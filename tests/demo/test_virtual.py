"""The virtual user and the virtual devices."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from demo.devices.playback_queue import ContentPart
from demo.devices.virtual import BLOCK_BYTES, SILENCE, Cue, VirtualDevices, VirtualUser, bundled_cues
from demo.speech import Line, line

if TYPE_CHECKING:
    from demo.devices.interface import DeviceError

HELLO = Line("hello", "user", "Hello.", b"h" * (BLOCK_BYTES + 2))  # one block and one frame
WAIT = Line("wait", "user", "Wait!", b"w" * BLOCK_BYTES)


class AgentSide:
    """Asks the user for blocks, as the devices do, while the agent speaks or listens."""

    def __init__(self, user: VirtualUser) -> None:
        self.user = user
        self.played_ms = 0

    def speaks(self, blocks: int) -> bytes:
        spoken = b""
        for _ in range(blocks):
            self.played_ms += 20
            spoken += self.user.next_block(speaker_idle=False, played_ms=self.played_ms)
        return spoken

    def listens(self, blocks: int) -> bytes:
        return b"".join(self.user.next_block(speaker_idle=True, played_ms=self.played_ms) for _ in range(blocks))


def test_the_user_speaks_after_the_reply_was_played_and_a_pause() -> None:
    user = VirtualUser([Cue(HELLO, pause_ms=60)])
    agent = AgentSide(user)
    assert agent.listens(10) == SILENCE * 10  # the agent has not spoken yet
    user.agent_finished()
    assert agent.speaks(5) == SILENCE * 5  # the reply is complete, but still playing
    assert agent.listens(2) == SILENCE * 2
    assert agent.listens(2) == HELLO.pcm.ljust(2 * BLOCK_BYTES, b"\0")
    assert agent.listens(5) == SILENCE * 5


def test_the_user_barges_in_after_a_part_of_the_reply_was_played() -> None:
    user = VirtualUser([Cue(HELLO, pause_ms=20), Cue(WAIT, into_reply_ms=60)])
    agent = AgentSide(user)
    agent.speaks(10)  # a greeting before the user has spoken
    user.agent_finished()
    assert agent.listens(2) == HELLO.pcm.ljust(2 * BLOCK_BYTES, b"\0")
    assert agent.listens(50) == SILENCE * 50  # the agent is thinking
    assert agent.speaks(2) == SILENCE * 2
    assert agent.speaks(1) == WAIT.pcm


def test_a_barge_in_cue_is_due_at_the_end_of_a_reply_that_is_too_short() -> None:
    user = VirtualUser([Cue(WAIT, pause_ms=40, into_reply_ms=5_000)])
    agent = AgentSide(user)
    agent.speaks(3)
    user.agent_finished()
    assert agent.listens(1) == SILENCE
    assert agent.listens(1) == WAIT.pcm


def test_the_user_leaves_after_the_last_line_was_answered() -> None:
    user = VirtualUser([Cue(WAIT, pause_ms=20)])
    agent = AgentSide(user)
    user.agent_finished()
    agent.listens(1)
    agent.listens(200)
    assert not user.left  # no reply yet
    user.agent_finished()
    agent.listens(99)
    assert not user.left
    agent.listens(1)
    assert user.left


class StoringListener:
    """Stores the audio that the devices report."""

    def __init__(self, enough: int) -> None:
        self.captured: list[tuple[bytes, float]] = []
        self.played: list[tuple[bytes, float]] = []
        self.done = threading.Event()
        self._enough = enough

    def microphone_audio(self, pcm: bytes, at: float) -> None:
        self.captured.append((pcm, at))
        if len(self.captured) == self._enough:
            self.done.set()

    def speaker_audio(self, pcm: bytes, at: float) -> None:
        self.played.append((pcm, at))

    def device_lost(self, error: DeviceError) -> None:
        raise error


def test_virtual_devices_run_in_real_time_and_report_an_idle_speaker() -> None:
    listener = StoringListener(enough=25)
    began = time.monotonic()
    with VirtualDevices([Cue(WAIT, pause_ms=20)]) as devices:
        devices.play(ContentPart("item", 0), b"ab" * 720)  # 30 ms
        devices.agent_finished()
        devices.start(listener)
        assert listener.done.wait(20)
        assert devices.speaker_idle
        assert not devices.user_left
    took = time.monotonic() - began
    assert [pcm for pcm, _ in listener.played] == [b"ab" * 480, b"ab" * 240]
    assert b"".join(pcm for pcm, _ in listener.captured).strip(b"\0") == WAIT.pcm
    assert took >= 0.5  # 25 blocks of 20 ms, each delivered when it was complete
    times = [at for _, at in listener.captured]
    assert began <= times[0] == listener.played[0][1]
    assert all(later - earlier == pytest.approx(0.02, abs=1e-6) for earlier, later in pairwise(times))


def test_devices_that_were_not_started_can_be_closed() -> None:
    devices = VirtualDevices()
    devices.close()
    assert devices.flush() == []


def test_the_bundled_cues_have_one_barge_in_and_recorded_lines() -> None:
    cues = bundled_cues()
    assert [cue.line.speaker for cue in cues] == ["user"] * 3
    assert [cue.into_reply_ms is not None for cue in cues] == [False, True, False]
    assert sum(cue.line.duration_s for cue in cues) < line("agent-paris").duration_s < 20
    with pytest.raises(KeyError):
        line("nothing")
