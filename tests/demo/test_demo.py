"""The demo as a subprocess: with the bundled user, through PulseAudio devices, and with errors."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile

from demo.speech import line
from langsmith_realtime.collector import Collector
from langsmith_realtime.testing import Drop, RealtimeServer, Say, Script, Turn
from tests import ROOT
from tests.support.audio.machine_stalls import Take, best_take
from tests.support.audio.pulseaudio import PulseAudio, pulseaudio, raise_priority, read_pcm
from tests.support.audio.sound_comparison import (
    AUDIBLE,
    RATE,
    Sound,
    audible_s,
    correlation,
    disagreement,
    find,
    rms,
    shifted,
    window_correlations,
)
from tests.support.processes import unix_only

pytestmark = [pytest.mark.newest, pytest.mark.timeout(400)]  # in real time, so the newest versions only

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WITHIN_S = 90.0
USER_LINES = ["user-paris", "user-london", "user-goodbye"]
AGENT_LINES = ["agent-greeting", "agent-london", "agent-goodbye"]  # without the interrupted one
#: The largest difference of a correlation from 1 at which two sounds agree.
MAX_DISAGREEMENT = 0.001


@dataclass(frozen=True)
class Run:
    """A finished run of the demo."""

    exit_code: int
    out: str
    err: str
    folder: Path

    def channel(self, number: int) -> Sound:
        """One side of the recording: 0 the user, 1 the agent."""
        samples, rate = soundfile.read(self.folder / "conversation.wav", always_2d=True)
        assert (rate, samples.shape[1]) == (RATE, 2)
        side: Sound = samples[:, number]
        return side


@contextmanager
def started(folder: Path, *options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Starts the demo, and kills it when the context is left."""
    hidden = ("OPENAI_", "LANGSMITH_", "LANGCHAIN_", "PULSE_")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    process = subprocess.Popen(
        [sys.executable, "-m", "demo", "--output", str(folder), *options],
        cwd=ROOT,
        env={**inherited, "LANGSMITH_REALTIME_DIR": f"{folder}-state", "PYTHONUNBUFFERED": "1", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    raise_priority(process.pid)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str], folder: Path) -> Run:
    out, err = process.communicate(timeout=WITHIN_S)
    return Run(process.returncode, out, err, folder)


def demo(folder: Path, *options: str, **environment: str) -> Run:
    with started(folder, *options, **environment) as process:
        return finished(process, folder)


def samples(name: str) -> Sound:
    """Returns the samples of a bundled line; full scale is 1."""
    speech: Sound = np.frombuffer(line(name).pcm, "<i2") / 32768
    return speech


def agreement(speech: Sound, channel: Sound) -> float:
    """Returns the correlation of a line with the place in a channel where it is found."""
    at = find(speech, channel)
    return correlation(speech, channel[at : at + len(speech)])


# With the bundled user


@pytest.fixture(scope="module")
def take(tmp_path_factory: pytest.TempPathFactory) -> Take[Run]:
    """The bundled conversation, held once for the tests below, and whether the machine kept time."""
    return best_take(lambda: demo(tmp_path_factory.mktemp("spoken") / "output", "--speak"), lambda _: 0.0)


@pytest.fixture
def spoken(take: Take[Run]) -> Run:
    return take.result


def is_found(speech: Sound, channel: Sound, *, starved: bool) -> bool:
    """Returns whether a line is in a channel. Late audio may leave gaps, if they are few and short."""
    pieces = [(start, speech[start : start + RATE // 2]) for start in range(0, len(speech) - RATE // 2, RATE // 2)]
    audible = [(start, piece) for start, piece in pieces if rms(piece) > AUDIBLE]
    delays = [
        find(piece, channel) - start for start, piece in audible if 1 - agreement(piece, channel) < MAX_DISAGREEMENT
    ]
    return len(delays) >= len(audible) / 2 and max(delays) - min(delays) < (1.0 if starved else 0.2) * RATE


def test_the_demo_needs_no_key_and_no_sound_card(spoken: Run) -> None:
    assert (spoken.exit_code, spoken.err) == (0, "")
    for text in ("You: Sorry, wait, I meant London.", "Agent: You're welcome. Goodbye!", "interrupted after"):
        assert text in spoken.out
    assert f"{spoken.folder}/conversation.wav" in spoken.out


@unix_only
def test_the_output_is_readable_by_its_owner_only(spoken: Run) -> None:
    assert {path.name for path in spoken.folder.iterdir()} == {"conversation.wav", "trace.txt", "traces"}
    for path in [spoken.folder, *spoken.folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_the_trace_has_the_tools_under_their_responses_and_the_recording_on_the_root(spoken: Run) -> None:
    with Collector(spoken.folder / "traces") as collector:
        runs = collector.runs()
        (root,) = collector.roots()
    by_id = {run.id: run for run in runs}
    tools = [run for run in runs if run.run_type == "tool"]
    assert [(tool.name, by_id[str(tool.parent_run_id)].name) for tool in tools] == [
        ("lookup_weather", "response.done"),
        ("lookup_weather", "response.done"),
        ("hang_up", "response.done"),
    ]
    assert root.attachments["conversation"].path.read_bytes() == (spoken.folder / "conversation.wav").read_bytes()
    tree = (spoken.folder / "trace.txt").read_text(encoding="utf-8")
    assert len(tree.splitlines()) == len(runs)
    assert tree in spoken.out + "\n"


def test_the_left_channel_is_the_users_speech(spoken: Run) -> None:
    left = spoken.channel(0)
    for name in USER_LINES:
        assert 1 - agreement(samples(name), left) < MAX_DISAGREEMENT


def test_the_right_channel_is_the_agents_speech_as_played_and_ends_at_the_barge_in(take: Take[Run]) -> None:
    right = take.result.channel(1)
    for name in AGENT_LINES:
        assert is_found(samples(name), right, starved=take.starved)
    barged_in = find(samples("user-london"), take.result.channel(0))
    reply = samples("agent-paris")
    began = find(reply[: 4 * RATE], right)
    played = right[began : began + len(reply)]
    cut = int(np.flatnonzero(played[: 7 * RATE])[-1]) + 1
    assert is_found(reply[:cut], played[:cut], starved=take.starved)
    # The time that voice activity detection takes.
    assert 0 < began + cut - barged_in < (2.0 if take.starved else 0.5) * RATE


# Through real devices


class SpeakerListener:
    """Follows the speaker's output in the file of its monitor, to speak at the right time."""

    def __init__(self, monitor: Path, process: subprocess.Popen[str]) -> None:
        self._monitor = monitor
        self._process = process
        self._blocks = 0
        self.heard_s = 0.0  # since the last reset
        self._quiet_s = 0.0

    def until(self, *, heard_s: float, quiet_s: float = 0.0) -> None:
        """Waits until the agent has spoken for `heard_s` seconds since the call, and then was silent for `quiet_s`."""
        self.heard_s = self._quiet_s = 0.0
        deadline = time.monotonic() + 30
        while self.heard_s < heard_s or self._quiet_s < quiet_s:
            assert time.monotonic() < deadline, f"heard {self.heard_s} s of {heard_s} s, then {self._quiet_s} s quiet"
            assert self._process.poll() is None, "the demo has ended"
            if not self._listen():
                time.sleep(0.02)

    def _listen(self) -> bool:
        block = RATE // 50
        new = read_pcm(self._monitor)[self._blocks * block :] / 32768
        for start in range(0, len(new) - block + 1, block):
            self._blocks += 1
            loud = rms(new[start : start + block]) > AUDIBLE
            self.heard_s += 0.02 * loud
            self._quiet_s = 0.0 if loud else self._quiet_s + 0.02
        return len(new) >= block


@dataclass(frozen=True)
class DeviceConversation:
    """A run of the demo through the devices, and a recording of the speaker's monitor."""

    run: Run
    monitor: Sound

    @property
    def wrong(self) -> float:
        """How far the recording differs from the speech and the monitor; above 1 it is wrong."""
        left = self.run.channel(0)
        user = [difference(speech, left) for speech in map(samples, USER_LINES)]
        return max([difference(self.run.channel(1), self.monitor), *user])


def difference(sound: Sound, reference: Sound, *, starved: bool = False) -> float:
    """Returns how far a sound differs from a reference; above 1 they disagree. Starved devices may differ more."""
    windows = window_correlations(sound, shifted(reference, find(sound, reference)))
    assert len(windows) >= 20
    return disagreement(windows) / (3 if starved else 1)


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Take[DeviceConversation]:
    """The bundled conversation held through PulseAudio, once for the tests below."""
    return best_take(lambda: _hold(tmp_path_factory.mktemp("devices")), lambda held: held.wrong)


def _hold(folder: Path) -> DeviceConversation:
    monitor = folder / "monitor.raw"
    with (
        pulseaudio() as devices,
        devices.record_monitor(monitor),
        started(folder / "output", **_using(devices)) as process,
    ):
        agent = SpeakerListener(monitor, process)
        agent.until(heard_s=1, quiet_s=0.8)
        _say(devices, folder, "user-paris")
        agent.until(heard_s=4)
        _say(devices, folder, "user-london")
        agent.until(heard_s=2, quiet_s=0.8)
        _say(devices, folder, "user-goodbye")
        run = finished(process, folder / "output")
    return DeviceConversation(run, read_pcm(monitor) / 32768)


def _using(devices: PulseAudio) -> Mapping[str, str]:
    return {"PULSE_SERVER": devices.environment["PULSE_SERVER"], "HOME": str(devices.folder)}


def _say(devices: PulseAudio, folder: Path, name: str) -> None:
    path = folder / f"{name}.wav"
    soundfile.write(path, np.frombuffer(line(name).pcm, "<i2"), RATE)
    assert devices.speak(path).wait(30) == 0


@pytest.mark.devices
def test_the_bundled_conversation_can_be_held_through_a_microphone_and_a_speaker(
    call: Take[DeviceConversation],
) -> None:
    run = call.result.run
    assert (run.exit_code, run.err) == (0, "")
    assert "Use headphones" in run.out
    assert "Agent: You're welcome. Goodbye!" in run.out
    assert "interrupted after" in run.out


@pytest.mark.devices
@pytest.mark.parametrize("name", USER_LINES)
def test_the_left_channel_is_the_speech_played_into_the_microphone(call: Take[DeviceConversation], name: str) -> None:
    assert difference(samples(name), call.result.run.channel(0), starved=call.starved) <= 1, call


@pytest.mark.devices
def test_the_right_channel_is_the_speakers_output(call: Take[DeviceConversation]) -> None:
    right, monitor = call.result.run.channel(1), call.result.monitor
    assert difference(right, monitor, starved=call.starved) <= 1, call
    assert audible_s(monitor) == pytest.approx(audible_s(right), abs=0.3)  # the speaker played nothing else


@pytest.mark.devices
@pytest.mark.parametrize("wrong", ["200 ms silent", "200 ms missing", "100 ms late", "cut speech kept"])
def test_a_wrong_recording_is_detected_even_on_a_starved_machine(call: Take[DeviceConversation], wrong: str) -> None:
    right, reply = call.result.run.channel(1), samples("agent-paris")
    # A starved device has errors of its own, which may cancel the error made here.
    reference = right.copy() if call.starved else call.result.monitor
    began = find(reply[: 4 * RATE], right)
    loud = [min(map(rms, np.split(reply[start:][:4800], 4))) for start in range(RATE, 4 * RATE, 480)]
    at = began + RATE + 480 * int(np.argmax(loud))  # in the middle of the agent's speech
    if wrong == "200 ms silent":
        right[at : at + RATE // 5] = 0
    elif wrong == "200 ms missing":
        right = np.delete(right, slice(at, at + RATE // 5))
    elif wrong == "100 ms late":
        right = np.insert(right, at, np.zeros(RATE // 10))
    else:
        right[at : began + len(reply)] = reply[at - began :][: len(right) - at]
    assert difference(right, reference, starved=True) > 1


@pytest.mark.devices
def test_the_barge_in_ends_the_agent_in_the_recording_where_the_speaker_fell_silent(
    call: Take[DeviceConversation],
) -> None:
    speech = samples("user-london")
    barged_in = find(speech, call.result.run.channel(0)) / RATE
    right = call.result.run.channel(1)
    from_then_on = right[round(barged_in * RATE) :][: round(1.5 * RATE)]
    assert 0.02 < audible_s(from_then_on) < (0.9 if call.starved else 0.6)
    assert rms(from_then_on[-RATE // 2 :]) < AUDIBLE


@pytest.mark.devices
def test_a_device_lost_during_a_reply_is_reported_and_the_recording_is_kept(tmp_path: Path) -> None:
    folder, monitor = tmp_path / "output", tmp_path / "monitor.raw"
    with pulseaudio() as devices, devices.record_monitor(monitor), started(folder, **_using(devices)) as process:
        SpeakerListener(monitor, process).until(heard_s=1)
        devices.kill()
        run = finished(process, folder)
    assert run.exit_code == 1
    assert run.err in [
        f"The {device} was lost: reconnect it and start again.\n" for device in ("speaker", "microphone")
    ]
    greeting, right = samples("agent-greeting"), run.channel(1)
    correlations = window_correlations(greeting[:RATE], shifted(right, find(greeting[:RATE], right)))
    assert sum(fit > 0.9 for fit in correlations) > len(correlations) / 2, (
        correlations
    )  # the device may have had an underflow in this second
    with Collector(folder / "traces") as collector:
        (root,) = collector.roots()
    assert "speaker" in str(root.error) or "microphone" in str(root.error)


# With errors


def test_a_refused_openai_key_is_reported_with_the_remedy(tmp_path: Path) -> None:
    with RealtimeServer(refuse=401) as server:
        run = demo(tmp_path, "--speak", OPENAI_API_KEY="wrong", OPENAI_BASE_URL=server.base_url)
    assert run.exit_code == 1
    assert run.err == (
        "OpenAI refused the API key (401): set OPENAI_API_KEY to a key with access to the Realtime API, "
        "or unset it to talk to the bundled model.\n"
    )


def test_a_lost_connection_is_reported_with_the_remedy_and_the_recording_is_kept(tmp_path: Path) -> None:
    script = Script(turns=[Turn(Say("Hello.", seconds=1), Drop())], speed=1)
    with RealtimeServer(script) as server:
        run = demo(tmp_path, "--speak", OPENAI_API_KEY="any", OPENAI_BASE_URL=server.base_url)
    assert run.exit_code == 1
    assert "The connection to the model was lost" in run.err
    assert "start again" in run.err
    assert audible_s(run.channel(1)) > 0.3


def test_the_trace_goes_to_langsmith_if_a_key_is_set(tmp_path: Path) -> None:
    # A collector replaces LangSmith.
    with Collector() as langsmith:
        run = demo(tmp_path, "--speak", "--seconds", "1", LANGSMITH_API_KEY="key", LANGSMITH_ENDPOINT=langsmith.url)
        (root,) = langsmith.roots()
    assert run.exit_code == 0
    assert "the trace goes to LangSmith" in run.out
    assert root.name == "realtime_session"
    assert root.status == "success"
    assert not (tmp_path / "traces").exists()


def test_a_refused_langsmith_key_is_reported_with_the_remedy_and_the_recording_is_kept(tmp_path: Path) -> None:
    with Collector(api_key="another") as langsmith:
        run = demo(tmp_path, "--speak", "--seconds", "1", LANGSMITH_API_KEY="key", LANGSMITH_ENDPOINT=langsmith.url)
    assert run.exit_code == 1
    assert run.err == (
        "LangSmith refused the API key: set LANGSMITH_API_KEY to a valid one, "
        "or unset it to keep the trace on this machine.\n"
    )
    assert "ingest" not in run.out
    assert len(list((tmp_path / "recording").glob("*.wav"))) == 1


def test_ctrl_c_ends_the_conversation_without_an_error(tmp_path: Path) -> None:
    with started(tmp_path, "--speak") as process:
        assert process.stdout is not None
        for printed in process.stdout:
            if printed.startswith("Agent:"):
                break
        process.send_signal(signal.SIGINT)
        run = finished(process, tmp_path)
    assert (run.exit_code, run.err) == (0, "")
    assert "Recording" in run.out
    with Collector(tmp_path / "traces") as collector:
        assert [root.error for root in collector.roots()] == [None]


def test_a_folder_that_cannot_be_written_is_reported_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = demo(tmp_path / "file" / "output", "--speak")
    assert run.exit_code == 1
    assert "choose another folder with --output" in run.err
