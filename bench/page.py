"""Measures the local page with an hour of 120 turns, in Chromium: when it is drawn, and the cost of its frames."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from statistics import quantiles
from typing import TYPE_CHECKING, Any

import pytest

from bench.report import table
from langsmith_realtime.collector import Collector
from tests.support.browser import chromium
from tests.support.stored_conversation import an_hour

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Seconds that each kind of use is measured.
SECONDS = 5.0
#: A task of the main thread longer than this, in ms, makes the page late.
LONG_TASK_MS = 50.0
MAIN_THREAD = "CrRendererMain"
#: Events of the browser's trace by what the main thread does; each is counted without those inside it.
SCRIPTING = frozenset({"FunctionCall", "FireAnimationFrame", "EvaluateScript", "v8.compileModule", "EventDispatch"})
RENDERING = frozenset({"UpdateLayoutTree", "Layout", "PrePaint", "Paint", "Layerize", "Commit", "HitTest"})

#: Notes when the transcript and the waveform of the whole call are on the screen, in ms since the navigation began.
_WATCH = """
const look = () => {
    const page = globalThis.conversation;
    if (!page?.peaks?.ready || !document.querySelector("#transcript .line")) return requestAnimationFrame(look);
    requestAnimationFrame(() => requestAnimationFrame(() => { globalThis.drawnAt = performance.now(); }));
};
requestAnimationFrame(look);
"""
#: Notes the time of each frame while a step is done in each, for a number of ms; returns the intervals in ms.
_FRAMES = """
async ([step, ms]) => {
    const acts = {
        playing: () => {},
        zooming: (n) => conversation.score.zoom(Math.floor(n / 90) % 2 ? 1.04 : 1 / 1.04),
        moving: (n) => conversation.score.show(600 + n / 4, 660 + n / 4),
    };
    const times = [];
    await new Promise((done) => {
        const frame = (now) => {
            times.push(now);
            if (now - times[0] > ms) return done();
            acts[step](times.length);
            requestAnimationFrame(frame);
        };
        requestAnimationFrame(frame);
    });
    return times.slice(1).map((each, index) => each - times[index]);
}
"""


def main() -> None:
    """Print the tables, or why nothing was measured."""
    try:
        with Collector() as collector, chromium() as browser:
            hour = an_hour()
            hour.into(collector, sound=hour.sound(rate=24_000))
            address = collector.view_url(hour.id)
            _loaded(browser, address)  # decodes the recording, as its arrival does
            opened = [_loaded(browser, address) for _ in range(3)]
            page = opened[-1][0]
            frames = [_frames(browser, page, step) for step in ("zooming", "moving")]
            page.keyboard.press(" ")
            frames.append(_frames(browser, page, "playing"))
            events = page.evaluate("conversation.shape.events.length")
    except pytest.skip.Exception as missing:
        print(f"\nThe local page was not measured: {missing}")
        return
    print(f"\nThe local page: an hour of 120 turns, {events:,} events\n")
    opening = (
        "",
        "ms until the first text",
        "ms until the transcript and the waveform",
        "ms of scripting",
        "longest task ms",
    )
    print("\n".join(table(opening, [(f"opened, run {n}", *cells) for n, (_, *cells) in enumerate(opened, 1)])))
    moving = (
        "",
        "frames a second",
        "95 % of frames within ms",
        "ms of scripting a frame",
        "ms of rendering a frame",
        "longest task ms",
        f"tasks over {LONG_TASK_MS:.0f} ms",
    )
    print("\n" + "\n".join(table(moving, frames)))


def _loaded(browser: Browser, address: str) -> tuple[Any, ...]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.add_init_script(_WATCH)
    browser.start_tracing(page=page, categories=["devtools.timeline", "toplevel"])
    page.goto(address)
    deadline = time.monotonic() + 60
    while not (drawn := page.evaluate("globalThis.drawnAt ?? 0")) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    first = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
    script, _, longest, _ = _spent(events)
    return page, f"{first:.0f}", f"{drawn:.0f}", f"{script:.0f}", f"{longest:.0f}"


def _frames(browser: Browser, page: Page, step: str) -> tuple[str, ...]:
    browser.start_tracing(page=page, categories=["devtools.timeline", "toplevel"])
    intervals = page.evaluate(_FRAMES, [step, SECONDS * 1000])
    script, rendering, longest, long_tasks = _spent(json.loads(browser.stop_tracing())["traceEvents"])
    count = len(intervals)
    return (
        step,
        f"{count / sum(intervals) * 1000:.0f}",
        f"{quantiles(intervals, n=20)[-1]:.1f}",
        f"{script / count:.2f}",
        f"{rendering / count:.2f}",
        f"{longest:.0f}",
        f"{long_tasks}",
    )


def _spent(events: list[dict[str, Any]]) -> tuple[float, float, float, int]:
    """Return the ms of scripting and of rendering, those of the longest task, and the number of long tasks."""
    threads = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == MAIN_THREAD
    }
    spent = {"script": 0.0, "rendering": 0.0}
    tasks: list[float] = []
    for thread in threads:
        for event, own in _own_times(each for each in events if (each["pid"], each["tid"]) == thread):
            if event["name"] in SCRIPTING:
                spent["script"] += own
            elif event["name"] in RENDERING:
                spent["rendering"] += own
            elif event["name"] in ("RunTask", "ThreadControllerImpl::RunTask"):
                tasks.append(event.get("tdur", event["dur"]) / 1000)
    return spent["script"], spent["rendering"], max(tasks, default=0.0), sum(each > LONG_TASK_MS for each in tasks)


def _own_times(events: Iterator[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], float]]:
    """Yield each complete event of a thread with its ms, without those of the events inside it."""
    open_: list[tuple[Mapping[str, Any], float]] = []
    complete = sorted(
        (each for each in events if each["ph"] == "X"), key=lambda each: (each["ts"], -each.get("dur", 0))
    )
    for event in complete:
        while open_ and open_[-1][0]["ts"] + open_[-1][0].get("dur", 0) <= event["ts"]:
            yield open_.pop()
        own = event.get("tdur", event.get("dur", 0)) / 1000  # the thread's own time, where the browser notes it
        if open_:
            around, left = open_[-1]
            open_[-1] = (around, left - own)
        open_.append((event, own))
    yield from reversed(open_)


if __name__ == "__main__":
    main()
