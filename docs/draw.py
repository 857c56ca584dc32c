"""Draws ``docs/trace.svg`` from the output folder of ``make demo``: ``python docs/draw.py [FOLDER]``."""

from __future__ import annotations

import sys
from html import escape
from pathlib import Path

import numpy as np
import soundfile

#: Sizes in pixels: the picture, a line of text, a channel's waveform, the margin.
WIDTH, LINE, WAVEFORM, MARGIN = 860, 18, 56, 24
COLOURS = {"chain": "#8b949e", "llm": "#d2a8ff", "tool": "#7ee787", "error": "#ffa657"}

#: Parts of the names of the runs that are shown, and the mark of a nested run.
RUN_NAMES = (
    "speech_started",
    "speech_stopped",
    "transcription",
    "response.created",
    "response.done",
    "truncated",
    "│",
)


def shorten_tree(lines: list[str]) -> list[str]:
    """Keeps the root and the turn of the barge-in, and replaces each group of other lines by an ellipsis."""
    begin = next(i for i, line in enumerate(lines) if "lookup_weather" in line) - 1
    end = next(i for i, line in enumerate(lines) if i > begin + 2 and "lookup_weather" in line)
    shortened = [lines[0]]
    for i, line in enumerate(lines[1:], 1):
        if begin <= i <= end and any(name in line for name in RUN_NAMES):
            shortened.append(line)
        elif shortened[-1] != "├─ …":
            shortened.append("├─ …")
    return [*shortened[:-1], "└─ …"]


def colour(line: str) -> str:
    if "error" in line or "interrupted" in line:
        return COLOURS["error"]
    return next((COLOURS[kind] for kind in ("llm", "tool") if f"· {kind}" in line), COLOURS["chain"])


def waveform(samples: np.ndarray, top: float, fill: str) -> str:
    """Returns the SVG outline of one channel. `top` is in pixels."""
    columns = WIDTH - 2 * MARGIN
    peaks = np.array([np.abs(piece).max(initial=0) for piece in np.array_split(samples, columns)])
    heights = peaks / max(peaks.max(), 1e-9) * WAVEFORM / 2
    middle = top + WAVEFORM / 2
    upper = [f"{MARGIN + x},{middle - height:.1f}" for x, height in enumerate(heights)]
    lower = [f"{MARGIN + x},{middle + height:.1f}" for x, height in reversed(list(enumerate(heights)))]
    return f'<polygon points="{" ".join(upper + lower)}" fill="{fill}"/>'


def draw(folder: Path) -> str:
    """Returns the SVG of the run tree above the recording. `folder` holds ``trace.txt`` and ``conversation.wav``."""
    lines = shorten_tree((folder / "trace.txt").read_text("utf-8").splitlines())
    samples, rate = soundfile.read(folder / "conversation.wav")
    texts = [
        f'<text x="{MARGIN}" y="{MARGIN + 14 + i * LINE}" fill="{colour(line)}">{text}</text>'
        for i, (line, text) in enumerate((line, escape(line).replace("  ", "&#160; ")) for line in lines)
    ]
    top = MARGIN + len(lines) * LINE + 20
    labels = [
        f'<text x="{MARGIN}" y="{top + offset}" fill="#c9d1d9">{text}</text>'
        for text, offset in (
            ("conversation.wav   left: user", 0),
            (f"right: agent, as heard   ({len(samples) / rate:.0f} s)", WAVEFORM + 26),
        )
    ]
    waveforms = [waveform(samples[:, 0], top + 4, "#58a6ff"), waveform(samples[:, 1], top + WAVEFORM + 30, "#7ee787")]
    height = top + 2 * WAVEFORM + 30 + MARGIN
    start_tag = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13" role="img" '
        'aria-label="A trace of a conversation with a barge-in, and its stereo recording">'
    )
    return "\n".join(
        [
            start_tag,
            f'<rect width="{WIDTH}" height="{height}" rx="10" fill="#0d1117"/>',
            *texts,
            *labels,
            *waveforms,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    source = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-output")
    (Path(__file__).parent / "trace.svg").write_text(draw(source), "utf-8")
