"""A conversation as one HTML file without script and without requests, to hand on."""

from __future__ import annotations

import base64
import html
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from langsmith_realtime.collector.page.exports import NAMES, split_heard
from langsmith_realtime.collector.page.findings import clock, latency
from langsmith_realtime.collector.page.sound import peaks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_STYLE: Final = (Path(__file__).parent / "static" / "file.css").read_text(encoding="utf-8")


#: Longest arguments, and longest result, of a tool, in characters.
_LONGEST: Final = 300
#: The pattern of a gap in the recording; it stands once in the file.
_HATCH: Final = (
    '<svg width="0" height="0" style="position:absolute"><pattern id="hatch" width="7" height="7"'
    ' patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><path d="M0 0V7" class="hatch"/></pattern></svg>'
)


def page(shape: Mapping[str, Any], *, recording: Path | None, sound: bytes | None) -> str:
    """Return one HTML file without script and without requests: findings, numbers, score, transcript, turns.

    Args:
        shape: The conversation.
        recording: The decoded recording, for the waveforms; None without one.
        sound: The recording as Ogg Opus, to be played by the file itself; None leaves it out.
    """
    when = _day(shape)
    media = ""
    if sound is not None:
        data = base64.b64encode(sound).decode()
        media = f'<audio controls preload="metadata" src="data:audio/ogg;base64,{data}"></audio>'
    thread = shape["thread"]
    about = [clock(shape["duration_s"], tenths=False), shape["project"], shape["numbers"].get("model")]
    about += [f"thread {thread['id']}, {thread['index']} of {thread['count']}"] if thread else []
    body = [
        f"<header><h1>{_e(when)}</h1><p>{_e(' · '.join(str(each) for each in about if each))}</p></header>",
        "<main>",
        f'<p class="findings">{" ".join(_sentence(each) for each in shape["findings"])}</p>',
        f'<p class="numbers">{_numbers(shape["numbers"])}</p>',
        media,
        score(shape, None if recording is None else peaks(recording, 10)),
        _legend(shape),
        '<section class="lines" aria-label="Transcript">',
        *_transcript(shape),
        "</section>",
        "<h2>Turns, the slowest first</h2>",
        *_turn_table(shape),
        "</main>",
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'; media-src data:"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">'
        f"<title>{_e(when)}</title><style>{_STYLE}</style><body>{''.join(body)}</body></html>"
    )


def score(shape: Mapping[str, Any], points: np.ndarray[Any, Any] | None, width: int = 1100) -> str:
    """Return the two lanes and what was waited for as inline SVG, in lines of two minutes."""
    span = max(shape["duration_s"], 1.0)
    per_row = span if span <= 150 else 120.0
    rows = []
    for number in range(int(-(-span // per_row))):
        since = number * per_row
        rows.append(_score_row(shape, points, since, per_row, width))
    about = 'tabindex="0" role="img" aria-label="Waveforms of the user and the agent"'
    return f'<div class="score" {about}>{_HATCH if shape["recording"]["gaps"] else ""}{"".join(rows)}</div>'


def _legend(shape: Mapping[str, Any]) -> str:
    kinds = [("detection", "turn detection"), ("model", "model"), ("tool", "tool"), ("playback", "playback")]
    if any(part.get("error") for turn in shape["turns"] for part in turn["parts"]):
        kinds.append(("bad", "failed tool"))
    square = '<svg width="8" height="8" aria-hidden="true"><rect class="p-{}" width="8" height="8"/></svg>'
    squares = " ".join(f"<span>{square.format(kind)}{name}</span>" for kind, name in kinds)
    return f'<p class="legend">The user above, the agent below, and between them what was waited for: {squares}</p>'


def _score_row(
    shape: Mapping[str, Any], points: np.ndarray[Any, Any] | None, since: float, length: float, width: int
) -> str:
    def x(t: float) -> float:
        return round((t - since) * width / length, 1)

    def visible(begin: float, end: float) -> bool:
        return begin < since + length and end > since

    shown = [f'<rect class="spine" x="0" y="60" width="{width}" height="24"/>']
    if points is not None:
        first, last = int(since * 10), int((since + length) * 10)
        some = points[first:last].astype(float) / 255
        for column, sign, kinds in ((0, -1, ("user", "user")), (2, 1, ("agent", "agent"))):
            base = 60 if sign < 0 else 84
            for offset, kind in ((0, f"{kinds[0]}-soft"), (1, kinds[1])):
                heights = np.minimum(52, 56 * some[:, column + offset] ** 0.62)
                path = "".join(
                    f"M{x(since + index / 10)} {base}v{sign * height:.1f}"
                    for index, height in enumerate(heights)
                    if height > 1
                )
                shown.append(f'<path class="{kind}" d="{path}" stroke-width="{max(1.0, width / length / 10):.1f}"/>')
    for gap in shape["recording"]["gaps"]:
        if visible(gap["from"], gap["to"]):
            left, right = max(0.0, x(gap["from"])), min(float(width), x(gap["to"]))
            y = 4 if gap["side"] == "user" else 84
            about = f"<title>{gap['side']}, {gap['why']} from {clock(gap['from'])} to {clock(gap['to'])}</title>"
            wide = max(1.0, right - left)
            shown.append(f'<rect class="gap" x="{left}" y="{y}" width="{wide:.1f}" height="56">{about}</rect>')
            word = next((each for each in (gap["why"], gap["why"].split()[-1]) if 6 * len(each) < wide), None)
            if word is not None:
                shown.append(f'<text class="gap" x="{left + 4}" y="{y + 31}">{word}</text>')
    if points is None:
        for side, y in (("user", 30), ("agent", 84)):
            for begin, end in shape["activity"][side]:
                if visible(begin, end):
                    place = f'x="{x(begin)}" y="{y}" width="{max(1, x(end) - x(begin))}"'
                    shown.append(f'<rect class="{side}-flat" {place} height="30"/>')
    for turn in shape["turns"]:
        for part in turn["parts"]:
            if visible(part["from"], part["to"]):
                kind = "bad" if part.get("error") else part["kind"]
                wide = max(0.6, x(part["to"]) - x(part["from"]))
                shown.append(f'<rect class="p-{kind}" x="{x(part["from"])}" y="66" width="{wide:.1f}" height="12"/>')
        ms = latency(turn)
        if ms is not None and turn["heard_from"] is not None and visible(turn["heard_from"], turn["heard_from"]):
            slow = " slow" if "slow" in turn["problems"] else ""
            shown.append(f'<text class="ms{slow}" x="{x(turn["heard_from"]) + 4}" y="76">{ms:,} ms</text>')
        if turn["cut_at"] is not None and visible(turn["cut_at"], turn["cut_at"]):
            shown.append(f'<path class="cut" d="M{x(turn["cut_at"])} 8V136"/>')
    step = next(each for each in (1, 2, 5, 10, 30, 60) if each * width / length >= 60)
    shown += [
        f'<text class="at" x="{x(mark)}" y="152">{clock(mark, tenths=False)}</text>'
        for mark in range(int(since), int(since + length) + 1, step)
    ]
    return f'<svg viewBox="0 0 {width} 156">{"".join(shown)}</svg>'


def _transcript(shape: Mapping[str, Any]) -> Iterator[str]:
    turns = {turn["n"]: turn for turn in shape["turns"]}
    shown: set[int] = set()
    for line in shape["lines"]:
        if line["who"] in ("agent", "tool") and line["turn"] not in shown:
            shown.add(line["turn"])
            turn = turns.get(line["turn"])
            if turn is not None and latency(turn) is not None:
                yield _waiting(turn)
        at = f"<time>{clock(line['from'])}</time>"
        if line["who"] == "tool":
            result = line.get("error") or line.get("result") or ""
            if line.get("approval"):
                waited = "" if line.get("approval_wait_ms") is None else f" after {_ms(line['approval_wait_ms'])}"
                result = f"{line['approval']}{waited} → {result}"
            kind = " bad" if line.get("error") else ""
            yield (
                f'<div class="tool{kind}"><b>Tool</b>{at}<p><code><strong>{_e(line["name"])}</strong> '
                f"{_e(_short(line['arguments']))} → {_e(_short(result))} {_ms(line.get('ms'))}</code></p></div>"
            )
            continue
        if line["who"] == "step":
            yield f'<div class="step"><b>SDK</b>{at}<p>{_e(line["text"])}</p></div>'
            continue
        heard, unheard = split_heard(line)
        text = _e(heard) if line["text"] is not None else "<i>Hidden, or not transcribed</i>"
        if line.get("interrupted"):
            by = f"stopped by {_e(', '.join(line['guardrails']))}" if line.get("guardrails") else "cut off"
            text += f" <mark>{by} after {(line.get('heard_ms') or 0) / 1000:.1f} s</mark> "
        text += ' <mark class="silent">made silent</mark> ' if line.get("silenced") else ""
        text += f"<s>{_e(unheard)}</s>" if unheard else ""
        name = _e(line.get("agent") or NAMES[line["who"]]) + (", typed" if line.get("typed") else "")
        yield f'<div class="{line["who"]}"><b>{name}</b>{at}<p dir="auto">{text}</p></div>'


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _waiting(turn: Mapping[str, Any]) -> str:
    bars, at = [], 0.0
    for part in turn["parts"]:
        wide = (part["to"] - part["from"]) * 110
        kind = "bad" if part.get("error") else part["kind"]
        bars.append(f'<rect class="p-{kind}" x="{at:.1f}" width="{wide:.1f}" height="7"/>')
        at += wide
    slow = ' class="slow"' if "slow" in turn["problems"] else ""
    first = turn["latency_to_first_audio_ms"]
    told = f" <small>first audio {first:,} ms</small>" if first is not None else ""
    svg = f'<svg width="{min(at, 440):.0f}" height="7">{"".join(bars)}</svg>'
    number = f"<b>turn {turn['n']}</b><time></time>"
    return f'<div class="wait">{number}<p>{svg} <strong{slow}>{latency(turn):,} ms</strong>{told}</p></div>'


def _turn_table(shape: Mapping[str, Any]) -> Iterator[str]:
    yield "<table><tr><th>Turn<th>User<th>Voice to voice<th>First audio<th>Parts"
    answered = [turn for turn in shape["turns"] if latency(turn) is not None]
    for turn in sorted(answered, key=lambda each: -(latency(each) or 0)):
        names = {"detection": "turn detection"}
        parts = ", ".join(
            f"{part.get('name') or names.get(part['kind'], part['kind'])}"
            f" {round((part['to'] - part['from']) * 1000):,} ms"
            for part in turn["parts"]
        )
        cells = (
            turn["n"],
            turn["say"] or "–",
            _ms(turn["voice_to_voice_ms"]),
            _ms(turn["latency_to_first_audio_ms"]),
            parts,
        )
        yield "<tr>" + "".join(f"<td>{_e(str(cell))}" for cell in cells)
    yield "</table>"


def _sentence(pieces: Iterable[Mapping[str, Any]]) -> str:
    return "".join(
        f'<span class="{piece.get("tone", "")}{" strong" * bool(piece.get("strong"))}">{_e(piece["text"])}</span>'
        for piece in pieces
    )


def _numbers(numbers: Mapping[str, Any]) -> str:
    shown = []
    for name, key in (("Voice to voice", "voice_to_voice"), ("Latency to first audio", "latency_to_first_audio")):
        if f"{key}_p50_ms" in numbers:
            shown.append(f"{name} p50 {_ms(numbers[f'{key}_p50_ms'])}, p95 {_ms(numbers.get(f'{key}_p95_ms'))}")
    if "heard_share" in numbers:
        shown.append(f"Heard {numbers['heard_share'] * 100:.0f} %")
    if "estimated_cost_usd" in numbers:
        shown.append(f"Estimated cost ${numbers['estimated_cost_usd']:.3f}")
    return " · ".join(map(_e, shown))


def _day(shape: Mapping[str, Any]) -> str:
    return f"{datetime.fromtimestamp(shape['start'], UTC):%a %d %b %Y %H:%M:%S} UTC"


def _ms(value: Any) -> str:
    return "–" if value is None else f"{value:,} ms"


def _e(text: object) -> str:
    return html.escape(str(text))
