"""What the user sees: a live picture in a terminal, plain lines elsewhere."""

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

from demo.transcript import WHO, Entry, Transcript

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import RenderableType

QUIETEST_DB = -60.0
FALL_PER_PICTURE = 0.15  # how fast a level bar falls back, as a part of its length
PICTURES_PER_SECOND = 10
STYLES = {"user": "cyan", "agent": "green"}


def screen(transcript: Transcript) -> Screen:
    """The screen that fits where the output goes."""
    return LiveScreen(transcript, Console()) if sys.stdout.isatty() else Screen(transcript)


class Screen:
    """Plain lines, each printed once. Entering and leaving it does nothing."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript

    def say(self, text: str) -> None:
        """A line about the conversation itself."""
        print(text, flush=True)

    def level(self, speaker: str, pcm: bytes) -> None:
        """How loud a side is; called from audio threads for every block."""

    def complete(self, entry: Entry) -> None:
        """A message will not change any more, except for being cut."""
        self.say(f"{WHO[entry.speaker]}: {entry.text}")

    def tool(self, name: str, arguments: str, output: str, seconds: float) -> None:
        """A tool was called and has answered."""
        self.say(f"  tool {name}({arguments}) → {output}  [{seconds * 1000:.0f} ms]")

    def latency(self, seconds: float) -> None:
        """The time from the end of the user's turn to the first sound of the answer."""
        self.say(f"  answer heard after {seconds * 1000:.0f} ms")

    def interrupted(self, heard_ms: int) -> None:
        """The user cut a reply off."""
        self.say(f"  interrupted: {heard_ms / 1000:.1f} s of the reply were heard")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


class LiveScreen(Screen):
    """Level bars, the transcript as it comes, tool calls and latencies, redrawn in place."""

    def __init__(self, transcript: Transcript, console: Console) -> None:
        super().__init__(transcript)
        self._console = console
        self._lock = threading.Lock()
        self._loudest = dict.fromkeys(STYLES, 0.0)  # since the last picture
        self._shown = dict.fromkeys(STYLES, 0.0)
        self._events: list[Text] = []
        self._latencies: list[float] = []
        self._live = Live(
            get_renderable=self._picture, console=console, refresh_per_second=PICTURES_PER_SECOND, transient=True
        )

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def level(self, speaker: str, pcm: bytes) -> None:
        level = loudness(pcm)
        with self._lock:
            self._loudest[speaker] = max(self._loudest[speaker], level)

    def complete(self, entry: Entry) -> None:
        """Nothing to do: the next picture shows it."""

    def tool(self, name: str, arguments: str, output: str, seconds: float) -> None:
        took = (f"  {seconds * 1000:.0f} ms", "dim")
        self._events.append(Text.assemble(f"  {name}({arguments}) → {output}", took, overflow="ellipsis", no_wrap=True))

    def latency(self, seconds: float) -> None:
        self._latencies.append(seconds)

    def interrupted(self, heard_ms: int) -> None:
        self._events.append(Text(f"  interrupted after {heard_ms / 1000:.1f} s", style="yellow"))

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def _picture(self) -> RenderableType:
        parts: list[Any] = [self._levels(), Panel(self._messages(), title="Conversation", border_style="dim")]
        parts += self._events[-4:]
        if self._latencies:
            last, mean = self._latencies[-1], sum(self._latencies) / len(self._latencies)
            parts.append(Text(f"  answer heard after {last * 1000:.0f} ms (mean {mean * 1000:.0f} ms)", style="dim"))
        return Group(*parts)

    def _levels(self) -> RenderableType:
        with self._lock:
            loudest, self._loudest = self._loudest, dict.fromkeys(STYLES, 0.0)
        table = Table.grid(padding=(0, 1))
        for speaker, style in STYLES.items():
            self._shown[speaker] = max(loudest[speaker], self._shown[speaker] - FALL_PER_PICTURE)
            bar = ProgressBar(total=1, completed=max(0, self._shown[speaker]), width=40, complete_style=style)
            table.add_row(Text(f"{WHO[speaker]:>6}", style=style), bar)
        return table

    def _messages(self) -> RenderableType:
        room = max(4, self._console.height - 12) // 2  # most messages take one or two lines
        return Text("\n").join(
            Text.assemble((f"{WHO[entry.speaker]}: ", STYLES[entry.speaker]), str(entry).partition(": ")[2])
            for entry in self._transcript.entries[-room:]
        )


def loudness(pcm: bytes) -> float:
    """From 0 (silence, -60 dBFS or less) to 1 (full scale): the RMS level of PCM16 audio."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    rms = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
    return max(0.0, 1 - 20 * math.log10(rms) / QUIETEST_DB) if rms else 0.0
