"""A running conversation in a real browser: it grows, with its waveform, and nothing that stays is built anew."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from langsmith_realtime import SessionTracer
from langsmith_realtime.collector import Collector
from langsmith_realtime.collector.page.changes import IDLE_S
from langsmith_realtime.collector.rules import Batch, Operation
from langsmith_realtime.journal.state_directory import state_directory
from tests.support.browser import chromium
from tests.support.conversations import tracing_to
from tests.support.stored_conversation import Conversation, with_three_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page, Request

pytestmark = [pytest.mark.browser, pytest.mark.newest, pytest.mark.nocover]

SCRIPT = "<script>window.stolen=1</script><img src=x onerror='window.stolen=2'>"
RATE = 24_000
#: How long a tab waits for what was stored, in seconds: less than until a stream looks again without a change.
TIMEOUT_S = 10.0
assert TIMEOUT_S < IDLE_S


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def tabs(browser: Browser) -> list[Page]:
    """The tabs of all tests: opening the next page in a tab costs a third of what a new one does."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    return [context.new_page() for _ in range(2)]


@pytest.fixture
def open_page(tabs: list[Page]) -> Iterator[Callable[[str], Page]]:
    """Opens an address in the next tab. Afterwards, no error was logged, but that a collector has stopped."""
    problems: list[str] = []

    def note(text: str) -> None:
        if "net::ERR_CONNECTION" not in text and "net::ERR_INCOMPLETE" not in text:
            problems.append(text)

    listeners: dict[Any, Callable[[Any], None]] = {
        "pageerror": lambda error: problems.append(f"{error}"),
        "console": lambda message: note(message.text) if message.type == "error" else None,
    }
    unused = iter(tabs)
    for tab in tabs:
        tab.set_default_timeout(TIMEOUT_S * 1000)
        for event, listener in listeners.items():
            tab.on(event, listener)

    def opened(address: str) -> Page:
        page = next(unused)
        page.goto(address)
        return page

    yield opened
    for tab in tabs:
        tab.goto("about:blank")
        for event, listener in listeners.items():
            tab.remove_listener(event, listener)
    assert problems == []


def until(page: Page, condition: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


def send(collector: Collector, runs: list[dict[str, Any]]) -> None:
    batch = Batch([Operation("post", run["id"], run) for run in runs])
    batch.check(1_000_000)
    collector._store.apply(batch)


def tone(seconds: float) -> bytes:
    samples = 9000 * np.sin(np.arange(round(seconds * RATE)) * 0.1)
    return bytes(samples.astype("<i2").data)


def set_hidden(page: Page, value: bool) -> None:
    """Make the page believe that its tab is hidden or seen: a browser without a window shows all tabs."""
    page.evaluate(
        "(value) => { Object.defineProperty(document, 'hidden', { value, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }",
        value,
    )


def test_a_call_that_is_traced_on_this_machine_grows_with_its_waveform_until_it_can_be_heard(
    open_page: Callable[[str], Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collector(state=state_directory()) as collector, tracing_to(collector, monkeypatch):
        with SessionTracer() as tracer:
            collector.wait_for(lambda runs: runs)
            page = open_page(collector.view_url(str(tracer.trace_id)))
            page.locator(".bar .dot").wait_for()
            page.locator("#transcript", has_text="Nothing was said yet.").wait_for()
            assert page.locator(".lanes .user small").inner_text() == "from events"
            tracer.server_event({"type": "input_audio_buffer.speech_started", "item_id": "i"})
            deadline = time.monotonic() + 20
            while not page.evaluate("conversation.peaks.seconds > 1"):  # the tracing writes every two seconds
                assert time.monotonic() < deadline
                tracer.record_user_audio(tone(0.1))
                page.wait_for_timeout(100)
            assert page.evaluate("conversation.shape.recording.state") == "growing"
            assert page.locator(".lanes .user small").count() == 0
            assert page.evaluate("conversation.peaks.levels[10].some((value) => value > 50)")
            assert page.evaluate("conversation.shape.duration_s >= conversation.peaks.seconds")
            reason = page.locator("#transport .reason").inner_text()
            assert reason == "The sound can be heard when the conversation has ended."
            said = {"type": "conversation.item.input_audio_transcription.completed", "item_id": "i"}
            tracer.server_event({**said, "transcript": SCRIPT})
            page.locator(".line.user p", has_text=SCRIPT).wait_for()
        until(page, "conversation.player.canPlay && !conversation.shape.live")
        until(page, "conversation.peaks.ready && conversation.peaks.seconds === 0")
        assert page.evaluate("conversation.peaks.levels[10].some((value) => value > 50)")
        assert page.get_by_role("button", name="Play", exact=True).is_enabled()
        assert page.evaluate("window.stolen ?? null") is None
        assert page.locator("main img, main script").count() == 0


def test_what_stays_is_not_built_anew_and_the_end_is_followed(open_page: Callable[[str], Page]) -> None:
    call = with_three_problems(start=datetime.now(UTC) - timedelta(seconds=30))
    first, second, third = call.runs[:-6], call.runs[-6:-3], call.runs[-3:]
    for run in second:
        if "transcription.completed" in run["name"]:
            run["inputs"]["event"]["transcript"] = SCRIPT
    call.runs = first
    with Collector() as collector:
        call.into(collector, ended=False)
        page = open_page(collector.view_url())
        page.locator("tr.call").wait_for()
        row = page.locator("td.words a").element_handle()
        assert row is not None
        row.focus()
        tab = open_page(collector.view_url(call.id))
        tab.locator(".line", has_text="And what does it cost?").wait_for()
        assert tab.locator("#transport .reason").inner_text() == "The sound comes when the conversation has ended."
        tab.locator("#transcript").evaluate("(element) => { window.kept = element.querySelector('.line.user'); }")
        tab.locator(".line.tool .run", has_text="find_route").click()
        tab.locator(".event.tool pre", has_text="Paris").wait_for()
        tab.evaluate("window.payload = document.querySelector('.event.tool pre')")
        requests: list[str] = []

        def note(sent: Request) -> None:
            requests.append(sent.url)

        tab.on("request", note)
        tab.get_by_role("button", name="Follow").click()
        tab.get_by_role("button", name="Follow").click()
        until(tab, "conversation.follow")
        tab.locator(".event.tool .rowbutton").first.focus()
        send(collector, second)
        tab.locator(".line.user p", has_text=SCRIPT).wait_for()  # times out before the stream looks without a change
        send(collector, third)
        tab.locator(".line.agent", has_text="You are welcome.").wait_for()
        until(tab, "conversation.time === conversation.shape.duration_s")
        assert tab.evaluate("window.kept.isConnected && window.payload.isConnected")
        assert tab.evaluate("document.activeElement.className") == "rowbutton"
        tab.remove_listener("request", note)
        assert requests == [], "everything came over the stream"
        assert tab.evaluate("window.stolen ?? null") is None
        until(page, "document.querySelector('td.turns').textContent === '5'")
        assert page.evaluate("document.activeElement.tagName") == "A"
        tab.mouse.move(300, 700)
        tab.mouse.wheel(0, -200)
        until(tab, "conversation.follow === false")
        at = tab.evaluate("conversation.time")
        call.runs = []
        call.user_says(31, 32, "One more thing.")
        send(collector, call.runs)
        tab.locator(".line", has_text="One more thing.").wait_for()
        assert tab.evaluate("conversation.time") == at


def test_tabs_that_nobody_sees_hold_no_connection_and_catch_up_when_they_are_seen(
    open_page: Callable[[str], Page],
) -> None:
    call = Conversation(start=datetime.now(UTC) - timedelta(seconds=30))
    call.user_says(1, 2, "Hello?")
    with Collector() as collector:
        call.into(collector, ended=False)
        tabs = []
        for _ in range(2):
            tabs.append(open_page(collector.view_url(call.id)))
            tabs[-1].locator(".line", has_text="Hello?").wait_for()
            set_hidden(tabs[-1], True)
        deadline = time.monotonic() + 10
        while collector._page_changes.stream_count:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        call.runs = []
        call.user_says(4, 5, "Is anybody there?")
        send(collector, call.runs)
        assert tabs[0].locator(".line").count() == 2  # the words, and that an answer is waited for
        set_hidden(tabs[0], False)
        tabs[0].locator(".line", has_text="Is anybody there?").wait_for()


def test_a_collector_that_comes_back_is_found_again(open_page: Callable[[str], Page], tmp_path: Any) -> None:
    call = with_three_problems(start=datetime.now(UTC) - timedelta(seconds=30))
    later = call.runs[-6:]
    del call.runs[-6:]
    with Collector(tmp_path) as collector:
        call.into(collector, ended=False)
        page = open_page(collector.view_url(call.id))
        page.locator(".line", has_text="And what does it cost?").wait_for()
        port = int(collector.url.rpartition(":")[2])
    page.locator("#strip", has_text="does not answer since").wait_for()
    with Collector(tmp_path, port=port) as collector:
        until(page, "document.getElementById('strip').hidden")
        send(collector, later)
        page.locator(".line", has_text="Six is fine, thank you.").wait_for()
        page.goto("about:blank")


def test_an_open_conversation_that_is_deleted_says_so_and_leaves_the_list(
    browser: Browser, open_page: Callable[[str], Page]
) -> None:
    call = with_three_problems()
    with Collector() as collector:
        call.into(collector)
        page = open_page(collector.view_url())
        page.locator("tr.call").wait_for()
        tab = browser.new_page()  # it logs that the conversation is not found any more
        tab.goto(collector.view_url(call.id))
        tab.locator(".line", has_text="And what does it cost?").wait_for()
        collector._store.delete_traces([call.id])
        page.locator("h2", has_text="No conversations yet").wait_for()
        tab.locator("#strip", has_text="This conversation is not in the store").wait_for()
        assert tab.locator(".line", has_text="And what does it cost?").count() == 1
        tab.close()
