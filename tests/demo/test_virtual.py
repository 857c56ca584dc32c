"""The virtual user and the devices it talks through."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from demo.playback import Part
from demo.speech import Line, line
from demo.virtual import BLOCK_BYTES, SILENCE, Cue, VirtualDevices, VirtualUser, bundled_cues

if TYPE_CHECKING:
    from demo.devices import DeviceError

HELLO = Line("hello", "user", "Hello.", b"h" * (BLOCK_BYTES + 2))  # one block and a bit
WAIT = Line("wait", "user", "Wait!", b"w" * BLOCK_BYTES)


class Agent:
    """Asks the user for blocks, as devices would, with an agent that is talking or not."""

    def __init__(self, user: VirtualUser) -> None:
        self.user = user
        self.played_ms = 0

    def talks(self, blocks: int) -> bytes:
        heard = b""
        for _ in range(blocks):
            self.played_ms += 20
            heard += self.user.next_block(speaker_quiet=False, played_ms=self.played_ms)
        return heard

    def listens(self, blocks: int) -> bytes:
        return b"".join(self.user.next_block(speaker_quiet=True, played_ms=self.played_ms) for _ in range(blocks))


def test_waits_until_the_agent_has_finished_and_been_heard_and_a_pause_has_passed() -> None:
    user = VirtualUser([Cue(HELLO, pause_ms=60)])
    agent = Agent(user)
    assert agent.listens(10) == SILENCE * 10  # the agent has not said anything yet
    user.turn_over()
    assert agent.talks(5) == SILENCE * 5  # its answer is complete, but still being played
    assert agent.listens(2) == SILENCE * 2
    assert agent.listens(2) == HELLO.pcm.ljust(2 * BLOCK_BYTES, b"\0")
    assert agent.listens(5) == SILENCE * 5


def test_barges_in_when_so_much_of_the_reply_was_heard() -> None:
    user = VirtualUser([Cue(HELLO, pause_ms=20), Cue(WAIT, into_reply_ms=60)])
    agent = Agent(user)
    agent.talks(10)  # a greeting, which is no reply
    user.turn_over()
    assert agent.listens(2) == HELLO.pcm.ljust(2 * BLOCK_BYTES, b"\0")
    assert agent.listens(50) == SILENCE * 50  # the agent is thinking
    assert agent.talks(2) == SILENCE * 2
    assert agent.talks(1) == WAIT.pcm


def test_a_reply_too_short_to_interrupt_is_answered_when_it_is_over() -> None:
    user = VirtualUser([Cue(WAIT, pause_ms=40, into_reply_ms=5_000)])
    agent = Agent(user)
    agent.talks(3)
    user.turn_over()
    assert agent.listens(1) == SILENCE
    assert agent.listens(1) == WAIT.pcm


def test_leaves_when_everything_is_said_and_answered() -> None:
    user = VirtualUser([Cue(WAIT, pause_ms=20)])
    agent = Agent(user)
    user.turn_over()
    agent.listens(1)
    agent.listens(200)
    assert not user.finished  # no answer yet
    user.turn_over()
    agent.listens(99)
    assert not user.finished
    agent.listens(1)
    assert user.finished


class Ears:
    """Keeps what the devices report."""

    def __init__(self, enough: int) -> None:
        self.said: list[tuple[bytes, float]] = []
        self.heard: list[tuple[bytes, float]] = []
        self.done = threading.Event()
        self._enough = enough

    def microphone(self, pcm: bytes, at: float) -> None:
        self.said.append((pcm, at))
        if len(self.said) == self._enough:
            self.done.set()

    def speaker(self, pcm: bytes, at: float) -> None:
        self.heard.append((pcm, at))

    def lost(self, error: DeviceError) -> None:
        raise error


def test_the_devices_keep_real_time_and_say_when_everything_was_heard() -> None:
    ears = Ears(enough=25)
    began = time.monotonic()
    with VirtualDevices([Cue(WAIT, pause_ms=20)]) as devices:
        devices.play(Part("item", 0), b"ab" * 720)  # 30 ms
        devices.turn_over()
        devices.start(ears)
        assert ears.done.wait(20)
        assert devices.quiet
        assert not devices.finished
    took = time.monotonic() - began
    assert [pcm for pcm, _ in ears.heard] == [b"ab" * 480, b"ab" * 240]
    assert b"".join(pcm for pcm, _ in ears.said).strip(b"\0") == WAIT.pcm
    assert took >= 0.5  # 25 blocks of 20 ms, each handed over when it was complete
    times = [at for _, at in ears.said]
    assert began <= times[0] == ears.heard[0][1]
    assert all(later - earlier == pytest.approx(0.02, abs=1e-6) for earlier, later in pairwise(times))


def test_closing_devices_that_never_started_is_harmless() -> None:
    devices = VirtualDevices()
    devices.close()
    assert devices.flush() == []


def test_the_bundled_conversation_has_a_barge_in_and_comes_as_speech() -> None:
    cues = bundled_cues()
    assert [cue.line.speaker for cue in cues] == ["user"] * 3
    assert [cue.into_reply_ms is not None for cue in cues] == [False, True, False]
    assert sum(cue.line.duration_s for cue in cues) < line("agent-paris").duration_s < 20
    with pytest.raises(KeyError):
        line("nothing")
