"""The output during a conversation: redrawn in place in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from demo.display.transcript import SPEAKER_NAMES, Message, Transcript

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import RenderableType

#: dBFS at which a level bar is empty.
QUIETEST_DB = -60.0
REFRESHES_PER_SECOND = 10
#: How far a level bar falls at each refresh, as a fraction of its length.
LEVEL_FALL = 0.15
STYLES = {"user": "cyan", "agent": "green"}


def create_screen(transcript: Transcript) -> Screen:
    """Returns a `LiveScreen` if the output is a terminal, else a `Screen`."""
    return LiveScreen(transcript, Console()) if sys.stdout.isatty() else Screen(transcript)


class Screen:
    """Prints plain lines. Entering and leaving its context does nothing."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript

    def print_line(self, text: str) -> None:
        """Prints a line that stays on the screen."""
        print(text, flush=True)

    def show_level(self, speaker: str, pcm: bytes) -> None:
        """Shows the level of one side, from a block of its PCM16 audio. Called by the devices' threads."""

    def message_completed(self, message: Message) -> None:
        """Shows a message whose text is complete."""
        self.print_line(f"{SPEAKER_NAMES[message.speaker]}: {message.text}")

    def tool_answered(self, name: str, arguments: str, output: str, seconds: float) -> None:
        """Shows a tool call with its output and duration."""
        self.print_line(f"  tool {name}({arguments}) → {output}  [{seconds * 1000:.0f} ms]")

    def reply_started(self, seconds: float) -> None:
        """Shows the time from `input_audio_buffer.speech_stopped` to the first frame of the reply played."""
        self.print_line(f"  reply played {seconds * 1000:.0f} ms after the end of your turn")

    def reply_interrupted(self, played_ms: int) -> None:
        """Shows that a barge-in cut the reply."""
        self.print_line(f"  interrupted after {played_ms / 1000:.1f} s of the reply")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class LiveScreen(Screen):
    """Redraws level bars, the transcript, tool calls and latencies in place."""

    def __init__(self, transcript: Transcript, console: Console) -> None:
        super().__init__(transcript)
        self._console = console
        self._lock = threading.Lock()
        self._highest_levels = dict.fromkeys(STYLES, 0.0)  # since the last refresh
        self._shown_levels = dict.fromkeys(STYLES, 0.0)
        self._notes: list[Text] = []
        self._latencies: list[float] = []
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=REFRESHES_PER_SECOND, transient=True
        )

    def print_line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def show_level(self, speaker: str, pcm: bytes) -> None:
        level = audio_level(pcm)
        with self._lock:
            self._highest_levels[speaker] = max(self._highest_levels[speaker], level)

    def message_completed(self, message: Message) -> None:
        """Does nothing: the next refresh shows the message."""

    def tool_answered(self, name: str, arguments: str, output: str, seconds: float) -> None:
        duration = (f"  {seconds * 1000:.0f} ms", "dim")
        call = f"  {name}({arguments}) → {output}"
        self._notes.append(Text.assemble(call, duration, overflow="ellipsis", no_wrap=True))

    def reply_started(self, seconds: float) -> None:
        self._latencies.append(seconds)

    def reply_interrupted(self, played_ms: int) -> None:
        self._notes.append(Text(f"  interrupted after {played_ms / 1000:.1f} s of the reply", style="yellow"))

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        rows: list[Any] = [
            self._render_levels(),
            Panel(self._render_messages(), title="Conversation", border_style="dim"),
        ]
        rows += self._notes[-4:]
        if self._latencies:
            last, mean = self._latencies[-1], sum(self._latencies) / len(self._latencies)
            text = f"  reply played {last * 1000:.0f} ms after the end of your turn (mean {mean * 1000:.0f} ms)"
            rows.append(Text(text, style="dim"))
        return Group(*rows)

    def _render_levels(self) -> RenderableType:
        with self._lock:
            highest, self._highest_levels = self._highest_levels, dict.fromkeys(STYLES, 0.0)
        table = Table.grid(padding=(0, 1))
        for speaker, style in STYLES.items():
            self._shown_levels[speaker] = max(highest[speaker], self._shown_levels[speaker] - LEVEL_FALL)
            bar = ProgressBar(total=1, completed=max(0, self._shown_levels[speaker]), width=40, complete_style=style)
            table.add_row(Text(f"{SPEAKER_NAMES[speaker]:>6}", style=style), bar)
        return table

    def _render_messages(self) -> RenderableType:
        count = max(4, self._console.height - 12) // 2  # most messages take one or two lines
        return Text("\n").join(
            Text.assemble(
                (f"{SPEAKER_NAMES[message.speaker]}: ", STYLES[message.speaker]), str(message).partition(": ")[2]
            )
            for message in self._transcript.messages[-count:]
        )


def audio_level(pcm: bytes) -> float:
    """Returns the RMS level of PCM16 audio, from 0 (silence, or at most -60 dBFS) to 1 (full scale)."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    rms = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
    return max(0.0, 1 - 20 * math.log10(rms) / QUIETEST_DB) if rms else 0.0
