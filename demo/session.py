"""One run of the demo: opens the devices, holds the conversation, and collects the trace and the recording."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from demo.backends import TraceStore, connected_model, trace_store
from demo.conversation import Conversation
from demo.devices.choice import choose_devices
from demo.display.library_output import LangSmithLog, langsmith_log_captured
from demo.display.run_tree import render_run_tree
from demo.display.screen import create_screen
from demo.display.transcript import Transcript
from demo.errors import incomplete_trace_message, user_message
from langsmith_realtime import Recording, SessionTracer, flush, wrap_realtime

if TYPE_CHECKING:
    from pathlib import Path

    from demo.devices.interface import Devices

#: Seconds to wait after the conversation until the trace and the recording are sent.
FLUSH_TIMEOUT_S = 30.0


class Outcome:
    """The transcript, the trace, the recording and the error of one run. Its folder is readable by its owner alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.transcript = Transcript()
        self.error: str | None = None
        self._tracer: SessionTracer | None = None
        #: What to run to look at the conversation; empty if the trace is not on this machine.
        self.view_command: list[str] = []
        self._run_tree = ""
        self._locations: list[str] = []

    @property
    def recordings(self) -> Path:
        """The folder of the recording during the conversation."""
        return self.directory / "recording"

    def prepare_directory(self) -> None:
        """Creates the folder, and removes the recording and the trace of an earlier conversation."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for earlier in [self.directory / "conversation.wav", self.directory / "trace.txt"]:
            earlier.unlink(missing_ok=True)

    def tracing_started(self, tracer: SessionTracer) -> None:
        """Stores the tracer, to find the trace and the recording after the conversation."""
        self._tracer = tracer

    def collect(self, store: TraceStore, log: LangSmithLog) -> None:
        """Flushes the trace, and writes the run tree and the recording to the folder. Blocks for up to 30 s."""
        if self._tracer is None or self._tracer.trace_id is None:
            return
        sent = flush(timeout=FLUSH_TIMEOUT_S)
        self._run_tree = render_run_tree(store.runs(self._tracer.trace_id))
        if self._run_tree:
            path = self.directory / "trace.txt"
            _write_private(path, self._run_tree + "\n")
            self._locations.append(f"Run tree: {path}")
            self.view_command = ["view", "--directory", str(self.directory / "traces"), str(self._tracer.run_id)]
            self._locations.append(f"Look and listen: langsmith-realtime {' '.join(self.view_command)}")
        if sent:
            self._locations.append(f"Trace: {store.location(self._tracer)}")
        elif self.error is None:
            self.error = incomplete_trace_message(key_refused=log.key_refused)
        for recording in sorted(self.recordings.glob(f"{self._tracer.run_id}.wav")):
            # A recording that was not sent stays in place, because a later attempt reads it from there.
            recording_path = recording.replace(self.directory / "conversation.wav") if sent else recording
            self._locations.append(f"Recording (left channel: you, right channel: the agent): {recording_path}")
        if sent and self.recordings.is_dir() and not any(self.recordings.iterdir()):
            self.recordings.rmdir()

    def summary(self) -> str:
        """Returns the text to print at the end: the run tree, the transcript, and the locations of the files."""
        sections = [self._run_tree, str(self.transcript), "\n".join(self._locations)]
        return "\n" + "\n\n".join(filter(None, sections))


async def run_session(outcome: Outcome, *, model_name: str, speak: bool, seconds: float | None) -> None:
    """Holds one conversation. An error that the user can fix ends it and is stored in `outcome.error`."""
    with ExitStack() as stack:
        log = stack.enter_context(langsmith_log_captured())
        try:
            outcome.prepare_directory()
            devices = stack.enter_context(choose_devices(speak=speak))
            store = stack.enter_context(trace_store(outcome.directory / "traces"))
            try:
                await _converse(outcome, devices, model_name, seconds, store)
            finally:
                outcome.collect(store, log)
        except Exception as error:
            outcome.error = user_message(error)
            if outcome.error is None:
                raise


async def _converse(
    outcome: Outcome, devices: Devices, model_name: str, seconds: float | None, store: TraceStore
) -> None:
    screen = create_screen(outcome.transcript)
    with connected_model() as model:
        screen.print_line(f"Talking to {model.name}; the trace goes to {store.name}.")
        if devices.notice:
            screen.print_line(devices.notice)
        screen.print_line("Press Ctrl-C to end the conversation.")
        time_limit_s = devices.time_limit_s if seconds is None else seconds
        recording = Recording(directory=outcome.recordings, keep=True)
        async with (
            model.client.realtime.connect(model=model_name) as raw,
            wrap_realtime(raw, recording=recording, tags=["demo"]) as connection,
        ):
            outcome.tracing_started(connection.langsmith)
            with screen:
                await Conversation(connection, devices, screen, outcome.transcript).run(time_limit_s)


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
