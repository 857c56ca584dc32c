"""One run of the demo, from opening the devices to what is left behind."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from demo.agent import Conversation
from demo.backends import Traces, model, traces
from demo.choice import choose
from demo.errors import sentence, unsent
from demo.quiet import Reports, langsmith_silenced
from demo.screen import screen
from demo.transcript import Transcript
from demo.tree import draw
from langsmith_realtime import Recording, SessionTracer, flush, wrap_realtime

if TYPE_CHECKING:
    from pathlib import Path

    from demo.devices import Devices

SENT_WITHIN_S = 30.0


class Outcome:
    """What a run leaves behind: the transcript, the trace and the recording, in a folder of its owner's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.transcript = Transcript()
        self.error: str | None = None
        self._tracer: SessionTracer | None = None
        self._tree = ""
        self._places: list[str] = []

    @property
    def recordings(self) -> Path:
        """Where the conversation is recorded while it goes on."""
        return self.directory / "recording"

    def begin(self) -> None:
        """Makes the folder and removes what an earlier conversation left in it."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left_over in [self.directory / "conversation.wav", self.directory / "trace.txt"]:
            left_over.unlink(missing_ok=True)

    def traced_by(self, tracer: SessionTracer) -> None:
        """The conversation has begun."""
        self._tracer = tracer

    def collect(self, store: Traces, reports: Reports) -> None:
        """Waits until everything was sent, and gathers what there is. Blocks, after the conversation."""
        if self._tracer is None or self._tracer.trace_id is None:
            return
        sent = flush(timeout=SENT_WITHIN_S)
        self._tree = draw(store.runs(self._tracer.trace_id))
        if self._tree:
            _write_private(self.directory / "trace.txt", self._tree + "\n")
        if sent:
            self._places.append(f"Trace: {store.place(self._tracer)}")
        elif self.error is None:
            self.error = unsent(key_refused=reports.key_refused)
        for recorded in sorted(self.recordings.glob(f"{self._tracer.run_id}.wav")):
            # While it may still be sent, it has to stay where it is.
            kept = recorded.replace(self.directory / "conversation.wav") if sent else recorded
            self._places.append(f"Recording (left you, right the agent): {kept}")
        if sent and self.recordings.is_dir() and not any(self.recordings.iterdir()):
            self.recordings.rmdir()

    def summary(self) -> str:
        """What to tell the user at the end."""
        parts = [self._tree, str(self.transcript), "\n".join(self._places)]
        return "\n" + "\n\n".join(filter(None, parts))


async def talk(outcome: Outcome, *, model_name: str, speak: bool, seconds: float | None) -> None:
    """Holds one conversation. What goes wrong outside the demo ends it, told in `outcome.error`."""
    with ExitStack() as stack:
        reports = stack.enter_context(langsmith_silenced())
        try:
            outcome.begin()
            devices = stack.enter_context(choose(speak=speak))
            store = stack.enter_context(traces(outcome.directory / "traces"))
            try:
                await _converse(outcome, devices, model_name, seconds, store)
            finally:
                outcome.collect(store, reports)
        except Exception as error:
            outcome.error = sentence(error)
            if outcome.error is None:
                raise


async def _converse(outcome: Outcome, devices: Devices, model_name: str, seconds: float | None, store: Traces) -> None:
    display = screen(outcome.transcript)
    with model() as other:
        display.say(f"Talking to {other.name}; the trace goes to {store.name}.")
        if devices.notice:
            display.say(devices.notice)
        display.say("Ctrl-C ends the conversation.")
        longest = devices.longest_s if seconds is None else seconds
        recording = Recording(directory=outcome.recordings, keep=True)
        async with (
            other.client.realtime.connect(model=model_name) as raw,
            wrap_realtime(raw, recording=recording, tags=["demo"]) as connection,
        ):
            outcome.traced_by(connection.langsmith)
            with display:
                await Conversation(connection, devices, display, outcome.transcript).run(longest)


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
