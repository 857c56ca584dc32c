"""The page in a real browser: what a person sees, hears and does."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from langsmith_realtime.cli.notebook import Shown
from langsmith_realtime.collector import Collector
from langsmith_realtime.collector.records import Attachment
from langsmith_realtime.collector.rules import Batch, Operation
from tests.support.browser import chromium
from tests.support.collector_requests import ask, update
from tests.support.stored_conversation import Conversation, an_hour, with_agents, with_three_problems
from tests.support.traced_problems import PROBLEMS as TRACED_PROBLEMS
from tests.support.traced_problems import trace_three_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page, Request

pytestmark = [pytest.mark.browser, pytest.mark.newest, pytest.mark.nocover]

SCRIPT = "<script>window.stolen=1</script><img src=x onerror='window.stolen=2'>"
#: Moments of :func:`with_three_problems`: the slow turn, the failed tool, 2 s before the cut.
PROBLEMS = [(10.0, 2), (17.3, 3), (23.0, 4)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as running:
        yield running


@pytest.fixture(scope="module")
def call(collector: Collector) -> Conversation:
    """A conversation with one slow turn, one failed tool and one interruption."""
    conversation = with_three_problems(thread="problems")
    conversation.into(collector, sound=conversation.sound())
    return conversation


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Page:
    """The tab of nearly all tests: opening the next page in it costs a third of what a new tab does."""
    return browser.new_page()


@contextmanager
def without_problems(page: Page, collector: Collector) -> Iterator[None]:
    """Nothing is logged as an error, and no request leaves the collector."""
    problems: list[str] = []
    known = (collector.url, "about:blank")
    listeners: dict[Any, Callable[[Any], None]] = {
        "pageerror": lambda error: problems.append(f"{error}"),
        "console": lambda message: problems.append(message.text) if message.type == "error" else None,
        "request": lambda sent: problems.append(sent.url) if not sent.url.startswith(known) else None,
    }
    page.set_default_timeout(10_000)
    for event, listener in listeners.items():
        page.on(event, listener)
    yield
    for event, listener in listeners.items():
        page.remove_listener(event, listener)
    assert problems == []


@pytest.fixture
def open_page(tab: Page, collector: Collector) -> Iterator[Callable[..., Page]]:
    """Opens a path of the page in the tab, which is :func:`without_problems`."""

    def opened(
        path: str, *, width: int = 1280, height: int = 900, scheme: Any = "light", motion: Any = "no-preference"
    ) -> Page:
        tab.goto("about:blank")  # an address that differs in its hash alone would not be loaded
        tab.set_viewport_size({"width": width, "height": height})
        tab.emulate_media(color_scheme=scheme, reduced_motion=motion)
        tab.goto(f"{collector.url}/view{path}")
        return tab

    with without_problems(tab, collector):
        yield opened
    tab.unroute_all()


def conversation_page(open_page: Callable[..., Page], call: Conversation, hash_: str = "", **options: Any) -> Page:
    page = open_page(f"/c/{call.id}{hash_}", **options)
    until(page, "globalThis.conversation?.peaks.ready")
    return page


def until(page: Page, condition: str, seconds: float = 10) -> None:
    """Wait for a condition in the page. Playwright's own wait would need a policy that lets the page run any text."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(20)


def position(page: Page) -> float:
    return float(page.evaluate("conversation.time"))


def at(seconds: float) -> Any:
    """Within 50 ms of the moment."""
    return pytest.approx(seconds, abs=0.05)


# --- finding what went wrong


def test_the_next_finding_key_visits_exactly_what_went_wrong(
    open_page: Callable[..., Page], call: Conversation
) -> None:
    page = conversation_page(open_page, call)
    visited = []
    for _ in range(4):
        page.keyboard.press("n")
        visited.append((round(position(page), 2), page.evaluate("conversation.turn")))
    assert visited == [*PROBLEMS, PROBLEMS[0]]
    page.keyboard.press("p")
    assert position(page) == at(23.0)


def test_the_worst_turn_is_open_at_once_and_one_click_away(open_page: Callable[..., Page], call: Conversation) -> None:
    page = conversation_page(open_page, call)
    assert "failed tool" in page.locator("#details .legend").inner_text()
    assert page.evaluate("conversation.turn") is None  # nothing is chosen while the playhead stands at the beginning
    assert page.locator(".turn.open .title").inner_text().split("\n") == ["2", "When does it arrive?", "3,060 ms"]
    page.locator(".findings button").first.click()
    assert position(page) == at(10.0)
    page.keyboard.press("w")
    assert page.evaluate("conversation.turn") == 3  # the slowest is chosen, so this is the next
    parts = page.locator(".turn.open .partlist li").all_inner_texts()
    assert [each.split("\n")[0] for each in parts][:3] == ["turn detection", "model", "redirect"]


def test_the_findings_lead_to_the_moments_and_the_details_follow(
    open_page: Callable[..., Page], call: Conversation
) -> None:
    page = conversation_page(open_page, call)
    text = page.locator(".findings").inner_text()
    assert text == (
        "Slowest answer 3,060 ms in turn 2, 2,300 ms of it find_route. "
        "Interrupted in turn 4 at 0:25.0: 2.1 s of that answer never heard. Tool error in turn 3: redirect."
    )
    page.get_by_role("button", name="Tool error in turn 3: redirect").click()
    assert position(page) == at(17.3)
    page.locator(".event.failed pre").filter(has_text="no such city 'Utrek'").wait_for()
    panel, title, arguments = (
        page.locator(each).bounding_box() for each in ("#tab-events", ".event.failed.open .name", ".event.failed pre")
    )
    assert panel is not None
    assert title is not None
    assert arguments is not None
    assert panel["y"] <= title["y"]
    assert arguments["y"] + 100 < panel["y"] + panel["height"]
    page.get_by_role("button", name="Interrupted in turn 4 at 0:25.0").click()
    assert position(page) == at(23.0)
    assert page.locator(".turn.open .title span").first.text_content() == "4"
    assert page.locator('#details [aria-selected="true"]').inner_text().startswith("Turns")
    assert page.locator(".event.open").count() == 0
    page.evaluate(
        """() => {
            conversation.seek(24.3, { turn: 4 });
            globalThis.frames_ = [];
            const look = () => requestAnimationFrame(() => {
                frames_.push([conversation.time, conversation.turn]);
                look();
            });
            look();
        }"""
    )
    page.keyboard.press(" ")
    until(page, "conversation.time > 25.1 && conversation.turn === 5")
    # The user begins at 24.5, and the answer is cut off at 25: its turn stays chosen until then.
    assert {turn for t, turn in page.evaluate("frames_") if 24.55 < t < 24.95} <= {4}
    assert re.fullmatch(r"0:2\d", page.locator("#copy-at").inner_text())  # once a second, while it plays
    page.get_by_role("tab", name="Events").click()
    until(page, "document.querySelector('details.group[open]')?.dataset.turn === '5'")
    page.keyboard.press(" ")
    page.get_by_role("tab", name="Session").click()
    page.mouse.move(page.evaluate("conversation.score.x(24)"), page.locator("#score").bounding_box()["y"] + 150)  # type: ignore[index]
    title_ = page.locator("#score").get_attribute("title")
    assert title_ == "It costs six euros · not heard: and fifty cents, tax included."


def test_of_a_traced_conversation_the_worst_turn_is_one_click_away_and_the_key_visits_its_three_problems(
    open_page: Callable[..., Page], collector: Collector, tmp_path: Path
) -> None:
    trace_three_problems(collector, tmp_path, project="traced")
    page = open_page("/?project=traced")
    page.locator("tr.call").click()
    until(page, "globalThis.conversation?.peaks.ready")
    # What is not painted yet has no inner text.
    assert page.locator(".turn.open .title").text_content() == "2When does it arrive?2,800 ms"
    visited = []
    for _ in range(4):
        page.locator("#next-finding").click()
        visited.append((round(position(page), 1), page.evaluate("conversation.turn")))
    assert visited == [*TRACED_PROBLEMS, TRACED_PROBLEMS[0]]
    page.get_by_role("button", name="2,800 ms in turn 2").click()
    assert position(page) == at(7.0)
    page.get_by_role("tab", name="Session").click()
    missing = page.locator("#tab-session dl").first.inner_text()
    assert missing.split("\n") == ["Not in the estimated cost, for lack of a price", "a model without a name"]


# --- hearing and reading


def test_it_plays_from_the_linked_moment_and_the_transcript_follows_until_it_is_scrolled(
    open_page: Callable[..., Page], collector: Collector, call: Conversation
) -> None:
    page = open_page("/")
    held: list[Any] = []
    waits = True
    page.route("**/attachments/**", lambda route: held.append(route) if waits else route.continue_())
    page.goto(f"{collector.url}/view/c/{call.id}#t=8.9&turn=2")
    until(page, "globalThis.conversation?.shape")
    assert position(page) == at(8.9)
    page.keyboard.press(" ")  # before the sound is there
    assert page.locator("#transport .play").get_attribute("aria-label") == "Pause"
    until(page, "conversation.player.playing")
    assert held
    waits = False
    for each in held:
        each.continue_()
    until(page, "conversation.player.audio.readyState > 2")
    assert position(page) >= 8.9
    until(page, "conversation.time > 9.3 && conversation.player.playing")
    page.locator('.line[aria-current="true"]', has_text="When does it arrive?").wait_for()
    page.locator("#transcript").hover()
    page.mouse.wheel(0, 60)
    until(page, "conversation.follow === false")
    page.get_by_role("button", name="Follow").click()
    page.keyboard.press(" ")
    until(page, "!conversation.player.playing")
    stopped = position(page)
    time.sleep(0.2)
    assert position(page) == at(stopped)
    assert stopped > 9.3


def test_unheard_words_are_struck_through_and_said_to_screen_readers(
    open_page: Callable[..., Page], call: Conversation
) -> None:
    page = conversation_page(open_page, call)
    line = page.locator(".line.agent", has_text="It costs six euros")
    assert line.locator("s").text_content() == "not heard: and fifty cents, tax included."
    assert "cut off after" in line.locator(".pill").inner_text()
    page.set_viewport_size({"width": 1280, "height": 680})
    page.get_by_role("button", name="Interrupted in turn 4").click()
    until(page, "document.querySelector('.line.agent s').getBoundingClientRect().top > 470")  # below the transport
    until(page, "document.querySelector('.line.agent s').getBoundingClientRect().bottom < 680")
    assert page.evaluate("document.querySelector('#transcript').getBoundingClientRect().bottom") <= 680
    edges = "([document.querySelector('#details .legend'), document.querySelector('.turn.open .title')])"
    until(page, f"{edges}[0].getBoundingClientRect().bottom <= {edges}[1].getBoundingClientRect().top + 1", 3)


def test_a_line_a_word_an_event_and_the_score_lead_to_their_moments(
    open_page: Callable[..., Page], call: Conversation
) -> None:
    page = conversation_page(open_page, call)
    page.get_by_role("button", name="Play from 0:16.0").click()
    until(page, "conversation.player.playing")
    page.keyboard.press(" ")
    assert 16.0 <= position(page) < 18
    words = page.locator(".line.user p", has_text="Where is my parcel?")
    words.click(position={"x": 2, "y": 8})
    until(page, "conversation.time < 4")
    page.keyboard.press(" ")
    assert 3.0 <= position(page) < 4
    x = page.evaluate("conversation.score.x(21.5)")
    page.locator("#score").click(position={"x": x, "y": 60})
    assert position(page) == at(21.5)
    page.keyboard.press("e")
    event = page.locator(".event", has_text="transcription.completed").first
    event.locator("button").click()
    assert position(page) == at(22.5)
    event.locator("pre", has_text="And what does it cost?").wait_for()
    page.locator(".line.tool .run", has_text="find_route").click()
    assert position(page) == at(10.4)
    page.locator(".event.tool pre", has_text="Paris").wait_for()


def test_one_side_alone_is_silent_on_the_other(open_page: Callable[..., Page], call: Conversation) -> None:
    page = conversation_page(open_page, call)
    page.keyboard.press("1")
    page.keyboard.press(" ")
    until(page, "conversation.player.playing")
    assert page.evaluate("conversation.player.gains.map((gain) => gain.gain.value)") == [1, 0]
    page.get_by_role("button", name="Agent", exact=True).click()
    assert page.evaluate("conversation.player.gains.map((gain) => gain.gain.value)") == [0, 1]


def test_keys_move_zoom_and_copy_a_link_to_the_moment(open_page: Callable[..., Page], call: Conversation) -> None:
    page = conversation_page(open_page, call)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for key, expected in (("ArrowRight", 5), ("Shift+ArrowRight", 5.5), ("ArrowLeft", 0.5), ("End", 40), ("Home", 0)):
        page.keyboard.press(key)
        assert position(page) == at(expected)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    assert page.evaluate("conversation.turn") == 2
    page.keyboard.press("z")
    assert page.evaluate("conversation.score.to - conversation.score.from") < 10
    page.keyboard.press("0")
    assert page.evaluate("conversation.score.showsAll")
    page.keyboard.press(">")
    assert page.evaluate("conversation.player.audio.playbackRate") == 1.25
    page.keyboard.press("c")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.endswith("#t=9.0&turn=2")
    page.keyboard.press("?")
    assert page.locator("dialog[open]").is_visible()
    page.goto("about:blank")
    page.goto(link)
    until(page, "globalThis.conversation?.shape")
    assert (position(page), page.evaluate("conversation.turn")) == (at(9.0), 2)


def test_agents_guardrails_and_words_of_any_script_are_shown_as_they_were(
    open_page: Callable[..., Page], collector: Collector
) -> None:
    call = with_agents(project="a project with a very long name " * 6, thread="agents")
    call.into(collector, sound=call.sound())
    page = conversation_page(open_page, call)
    speakers = page.locator(".line:not(.wait) > b").all_text_contents()
    assert speakers[:5] == ["Front desk", "User", "Tool", "SDK", "Billing"]
    cut = page.locator(".line.agent", has_text="Your card number")
    assert cut.locator("s").text_content() == "not heard: Your card number is four one."
    assert cut.locator("p").text_content().startswith("🎉🎉🎉 Done. stopped by no_card_numbers after 2.4 s")  # type: ignore[union-attr]
    failed = page.locator(".line.tool", has_text="refund").locator(".run")
    inside = (
        "([...run.querySelectorAll('span')].at(-2).getBoundingClientRect().right <= run.getBoundingClientRect().right)"
    )
    assert failed.evaluate(f"(run) => {inside}"), "the error can be read beside a long argument"
    assert failed.text_content().endswith("→ approved after 2,300 ms → TimeoutError2,500 ms")  # type: ignore[union-attr]
    arabic = page.locator(".line.user p").first
    assert arabic.evaluate("(p) => getComputedStyle(p).direction") == "rtl"
    assert page.locator(".bar .side").evaluate("(side) => side.getBoundingClientRect().right <= innerWidth")
    visited = []
    for _ in range(3):
        page.keyboard.press("n")
        visited.append(round(position(page), 1))
    assert visited == [10.0, 10.4, 14.2], "the slow answer, the failed tool, the guardrail"


def test_long_names_and_thirty_tools_leave_room_for_errors_and_times(
    open_page: Callable[..., Page], collector: Collector
) -> None:
    call = Conversation(seconds=30.0, thread="tools")
    call.user_says(1, 3, "Check everything, please.")
    for number in range(30):
        error = None if number % 5 else "TimeoutError: no answer in 5 s"
        call.run(3.6 + number / 3, "z" * 70, "tool", 4.2 + number / 3, inputs={"text": "lorem " * 30}, error=error)
    call.agent_says(16.0, 20.0, "Most of it works.")
    call.into(collector, sound=call.sound())
    for width in (1280, 390):
        page = conversation_page(open_page, call, width=width, height=844)
        shown = page.locator(".line.failed .arguments + .cut").first
        assert shown.evaluate("(error) => error.scrollHeight <= error.clientHeight && error.clientWidth > 200"), width
        run = page.locator(".line.failed .run").first
        end = "(each) => each.offsetLeft + each.offsetWidth"
        assert run.evaluate(f"(run) => Math.max(...[...run.children].map({end})) <= ({end})(run)"), width
        if width < 860:
            page.get_by_role("tab", name="Turns").click()
        parts = page.locator(".partlist").first
        assert parts.evaluate("(list) => list.scrollWidth <= list.clientWidth"), width
        sideways = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not sideways, width


def test_captions_of_arabic_and_hebrew_are_drawn_from_the_right(
    open_page: Callable[..., Page], call: Conversation
) -> None:
    page = conversation_page(open_page, call)
    words = ["… 12 مرحبا", "שלום abc", "hello שלום", "你好", "123", ""]
    found = page.evaluate("async (words) => words.map((await import('/view/static/format.js')).isRightToLeft)", words)
    assert found == [True, True, False, False, False, False]


# --- the list


def test_the_list_is_searched_filtered_and_sorted_and_its_address_can_be_sent(
    open_page: Callable[..., Page], collector: Collector, call: Conversation
) -> None:
    start = datetime(2026, 11, 27, tzinfo=UTC)
    quiet = Conversation(thread="quiet", project="home-voice", tags=("night",), start=start)
    quiet.user_says(1, 2, "今天天气怎么样")
    quiet.agent_says(2.5, 4, "It is sunny.")
    quiet.into(collector)
    page = open_page("/?project=home-voice")
    page.locator("tr.call").wait_for()
    assert page.locator("tr.call").count() == 1
    assert page.locator("tr.call small").first.inner_text() == "no recording"
    page.locator("#tag").select_option("night")
    until(page, "document.querySelectorAll('tr.call').length === 1")
    assert page.url.endswith("?project=home-voice&tag=night")
    page.locator("#tag").select_option("")
    assert page.locator("#model option").all_inner_texts() == ["All models", "gpt-realtime"]
    page.locator("#project").select_option("")
    until(page, "document.querySelectorAll('tr.call').length > 1")
    page.get_by_role("button", name="with errors").click()
    page.locator("tr.call", has_text="今天").wait_for(state="detached")
    assert "only=errors" in page.url
    page.get_by_role("button", name="with errors").click()
    page.locator("tr.call", has_text="今天").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("天气怎")
    until(
        page,
        "[...document.querySelectorAll('tr.call')].map((row) => row.textContent.includes('今天')).join() === 'true'",
    )
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(rf"/view/c/{quiet.id}"))
    page.go_back()
    page.locator("#q").fill("words that nobody said")
    page.locator(".empty", has_text="No conversation in which").wait_for()
    page.get_by_role("button", name="Show all").click()
    until(page, "document.querySelectorAll('tr.call').length > 1")
    page.get_by_role("button", name="p95").click()
    until(page, "document.querySelector('th[aria-sort=descending]')?.textContent.includes('p95')")
    assert "sort=-p95" in page.url
    page.goto(f"{collector.url}/view/thread/problems?q=SIX+fifty")
    page.locator("tr.call mark").nth(1).wait_for()
    assert page.locator("tr.call mark").all_inner_texts() == ["six", "fifty"]
    assert page.locator("td.words a").inner_text() == "It costs six euros and fifty cents, tax included."
    page.locator("td.words a").click()
    page.wait_for_url(re.compile(r"#t=22\.9&turn=4$"))
    page.locator('.line[aria-current="true"]', has_text="It costs six euros").wait_for()


def test_a_thread_shows_its_conversations_in_order(open_page: Callable[..., Page], collector: Collector) -> None:
    for hour, words in ((9, "Second"), (8, "First")):
        each = Conversation(thread="a/b", start=datetime(2026, 11, 26, hour, tzinfo=UTC))
        each.user_says(1, 2, words)
        each.into(collector)
    page = open_page("/")
    page.locator("#thread").select_option("a/b")
    page.locator("tr.call").nth(1).wait_for()
    assert page.locator("td.words a").all_inner_texts() == ["First", "Second"]
    assert "later" in page.locator("tr.gap").inner_text()
    page.locator("td.words a").first.click()
    page.get_by_role("link", name="Next conversation").click()
    page.locator(".line p", has_text="Second").wait_for()


def test_threads_are_a_table_that_is_sorted_filtered_and_opened_by_keys(
    open_page: Callable[..., Page], collector: Collector, call: Conversation
) -> None:
    for hour, words in ((7, "How long are you open?"), (6, "What is the time?")):
        each = Conversation(thread="c/d", project="clock", start=datetime(2026, 11, 26, hour, tzinfo=UTC))
        each.user_says(1, 2, words)
        each.agent_says(2.5, 4, "It is late.")
        each.into(collector)
    page = open_page("/?project=clock")
    page.get_by_role("link", name="1 thread").click()
    page.wait_for_url("**/view/threads?project=clock")
    page.locator("tr.call").wait_for()
    assert page.title() == "Threads"
    cells = "td.thread, td.words a, td.calls, td.turns, td.p95, td.cut"
    assert page.locator("tr.call").locator(cells).all_inner_texts() == [
        *("c/d", "How long are you open?"),
        *("2", "2", "560", "·"),
    ]
    page.locator("#project").select_option("")
    page.locator("tr.call", has_text="problems").wait_for()
    page.get_by_role("button", name="Thread").click()
    page.locator("th[aria-sort] button", has_text="Thread").wait_for()
    names = "[...document.querySelectorAll('tr.call td.thread')].map((cell) => cell.textContent)"
    until(page, f"{names}.length > 1 && {names}.every((name, at, all) => !at || all[at - 1] >= name)")
    page.get_by_role("button", name="with an interruption").click()
    page.locator("tr.call", has_text="c/d").wait_for(state="detached")
    page.goto(f"{collector.url}/view/threads?q=time")
    page.locator("tr.call").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/view/thread/c%2Fd?q=time")
    page.locator("tr.call").wait_for()
    assert page.locator("td.words a").all_inner_texts() == ["What is the time?"]


def test_an_empty_store_says_how_to_fill_it_and_fills_itself(browser: Browser) -> None:
    with Collector() as empty:
        page = browser.new_page()
        page.goto(empty.view_url())
        page.locator("pre", has_text=f"LANGSMITH_ENDPOINT={empty.url}").wait_for()
        call = with_three_problems()
        call.into(empty)
        page.locator("tr.call").wait_for(timeout=3000)
        page.close()


def test_an_hour_is_open_at_the_linked_moment_and_only_what_is_visible_is_fetched(
    open_page: Callable[..., Page], collector: Collector
) -> None:
    hour = an_hour(thread="hour")
    hour.into(collector, sound=hour.sound("FLAC", 4000, subtype="PCM_16"), mime_type="audio/flac")
    page = open_page("/")
    ranges: list[str] = []

    def note(sent: Request) -> None:
        if "/peaks/" in sent.url:
            ranges.append(sent.headers.get("range", "all"))

    page.on("request", note)
    page.goto(f"{collector.url}/view/c/{hour.id}#t=2584.5")
    until(page, "globalThis.conversation?.peaks.ready", 30)
    assert (position(page), page.evaluate("conversation.turn")) == (at(2584.5), 87)
    page.locator('.line[aria-current="true"]', has_text="Question 87").wait_for()
    assert page.evaluate("conversation.score.to - conversation.score.from") == 60
    until(page, "conversation.peaks.tiles.size > 0 && [...conversation.peaks.tiles.values()].every(Boolean)")
    assert ranges.count("all") == 1
    assert len(ranges) <= 3
    visited = []
    for _ in range(3):
        page.keyboard.press("w")
        visited.append(page.evaluate("conversation.turn"))
    assert visited == [7, 27, 47]
    page.keyboard.press("n")
    assert page.evaluate("conversation.turn") == 52  # interrupted
    page.remove_listener("request", note)


# --- a running conversation, and states


def test_a_running_conversation_appears_grows_and_gets_its_waveform(
    open_page: Callable[..., Page], collector: Collector
) -> None:
    call = with_three_problems(start=datetime.now(UTC) - timedelta(seconds=30), thread="running")
    later = call.runs[-6:]
    del call.runs[-6:]
    call.into(collector, ended=False)
    page = open_page(f"/c/{call.id}")
    page.locator(".bar .dot").wait_for()
    assert page.locator(".line", has_text="Six is fine").count() == 0
    assert page.locator("#transport .reason").inner_text() == "The sound comes when the conversation has ended."
    assert page.get_by_role("button", name="Play", exact=True).is_disabled()
    batch = Batch([Operation("post", run["id"], run) for run in later])
    batch.check(1_000_000)
    collector._store.apply(batch)
    page.locator(".line", has_text="Six is fine, thank you.").wait_for()
    root = call.root(ended=True)
    call.runs = []
    path = collector._store.incoming / "incoming-late"
    path.write_bytes(call.sound())
    ended = Operation("patch", call.id, update(root, **{key: root[key] for key in ("end_time", "outputs", "extra")}))
    ended.attachments["conversation"] = Attachment("audio/wav", path)
    batch = Batch([ended])
    batch.check(1_000_000)
    collector._store.apply(batch)
    until(page, "conversation.peaks.ready && !conversation.shape.live && conversation.player.canPlay")
    assert page.locator(".bar .dot").count() == 0
    assert page.get_by_role("button", name="Play", exact=True).is_enabled()


@pytest.mark.parametrize(
    ("metadata", "sound", "text"),
    [
        ({}, None, "Nothing was recorded."),
        ({"recording_error": "disk full"}, None, "The recording is missing: disk full."),
        ({}, b"no sound", "cannot be decoded"),
    ],
)
def test_without_sound_the_page_says_why_and_draws_no_waveform(
    open_page: Callable[..., Page], collector: Collector, metadata: dict[str, Any], sound: bytes | None, text: str
) -> None:
    silent = with_three_problems(metadata=metadata, thread="silent")
    silent.into(collector, sound=sound)
    page = open_page(f"/c/{silent.id}")
    page.locator("#transport .reason", has_text=text).wait_for()
    assert page.locator(".lanes .user small").inner_text() == "from events"
    assert page.get_by_role("button", name="Play", exact=True).is_disabled()
    page.keyboard.press("n")
    assert position(page) == at(10.0)


def test_hidden_words_and_sides_are_said_where_they_are(open_page: Callable[..., Page], collector: Collector) -> None:
    hidden = Conversation(metadata={"recording_hidden": ["user"]}, thread="hidden")
    hidden.event(1.0, "input_audio_buffer.speech_started", item_id="i")
    hidden.event(2.0, "input_audio_buffer.speech_stopped", item_id="i")
    hidden.into(collector, sound=hidden.sound())
    page = conversation_page(open_page, hidden)
    assert page.locator(".line.user p").inner_text() == "Hidden"
    assert page.locator(".lanes .user small").inner_text() == "hidden"
    assert "The sound of the user is hidden." in page.locator(".findings").inner_text()


def test_what_was_made_silent_is_marked_on_the_waveform_and_said_beside_the_words(
    open_page: Callable[..., Page], collector: Collector
) -> None:
    parts = [("user", 8.8, 10.3), ("agent", 31.0, 35.0)]
    silenced = [{"side": side, "from_s": since, "to_s": until} for side, since, until in parts]
    call = with_three_problems(metadata={"recording_silenced": silenced}, thread="silenced")
    call.into(collector, sound=call.sound())
    page = conversation_page(open_page, call)
    colours = """([from, to]) => {
        const { score } = conversation;
        const [x, y] = [score.x(from), score.rows.agent + 8].map((each) => Math.round(each * devicePixelRatio));
        const wide = Math.round((score.x(to) - score.x(from)) * devicePixelRatio);
        const canvas = score.element.querySelector("canvas");
        const { data } = canvas.getContext("2d").getImageData(x, y, wide, 12);
        return new Set(new Uint32Array(data.buffer)).size;
    }"""
    assert page.evaluate(colours, [31.2, 34.8]) > 1, "hatched"
    assert page.evaluate(colours, [35.3, 38.9]) == 1, "empty"
    assert page.locator(".pill.silenced").all_inner_texts() == ["made silent"]
    assert page.locator(".line.user", has_text="When does it arrive?").locator(".silenced").count() == 1
    box = page.locator("#score").bounding_box()
    assert box is not None
    page.mouse.move(
        page.evaluate("conversation.score.x(33)"), box["y"] + page.evaluate("conversation.score.rows.agent + 9")
    )
    title = page.locator("#score").get_attribute("title")
    assert title == "You are welcome. · made silent from 0:31.0 to 0:35.0"
    page.locator(".findings button", has_text="at 0:08.8").click()
    assert position(page) == at(8.8)
    page.get_by_role("tab", name="Session").click()
    assert "user 0:08.8 to 0:10.3, agent 0:31.0 to 0:35.0" in page.locator("#tab-session").inner_text()


def test_of_another_protocol_the_page_does_not_say_that_nothing_was_said(
    open_page: Callable[..., Page], collector: Collector
) -> None:
    call = Conversation(metadata={"protocol_not_traced": "GPT-Live"}, error="protocol not traced: GPT-Live")
    call.event(1.0, "session.created")
    call.into(collector)
    page = open_page(f"/c/{call.id}")
    page.locator("#transcript .note", has_text="What was said is not known: GPT-Live is not traced").wait_for()
    assert (
        page.locator(".findings").inner_text()
        == "Ended abnormally: protocol not traced: GPT-Live. Nothing was recorded."
    )
    assert "No turns" in page.locator("#tab-turns").inner_text()


def test_a_conversation_that_is_not_stored_says_so(browser: Browser, collector: Collector) -> None:
    page = browser.new_page()
    page.goto(f"{collector.url}/view/c/unknown")
    page.locator("h1", has_text="not in the store").wait_for()
    page.locator(".note p", has_text="conversations that langsmith_realtime traced").wait_for()
    page.get_by_role("link", name="All conversations").click()
    page.locator("table").wait_for()
    page.close()


def test_while_the_collector_is_gone_what_is_loaded_stays_usable(browser: Browser) -> None:
    with Collector() as leaving:
        call = with_three_problems()
        call.into(leaving)
        page = browser.new_page()
        page.goto(leaving.view_url(call.id))
        until(page, "conversation.shape")
    page.locator("#strip", has_text="does not answer since").wait_for(timeout=10_000)
    page.keyboard.press("n")
    assert position(page) == at(10.0)
    page.close()


# --- safe, and for everybody


def test_what_anybody_says_or_sends_stays_text(open_page: Callable[..., Page], collector: Collector) -> None:
    call = Conversation(
        thread=SCRIPT,
        project=SCRIPT,
        tags=(SCRIPT,),
        error=SCRIPT,
        metadata={"model": SCRIPT, "recording_error": SCRIPT, SCRIPT: SCRIPT},
    )
    call.user_says(1, 2, SCRIPT)
    call.agent_says(2.5, 4, SCRIPT, tool=(SCRIPT[:120], 2.2, 2.4, SCRIPT), heard=SCRIPT[:10])
    call.event(5, SCRIPT, error=SCRIPT)
    call.into(collector)
    page = open_page("/?q=stolen")
    page.locator("td.words a", has_text=SCRIPT).wait_for()
    assert page.locator("td.words mark").first.inner_text() == "stolen"
    page.goto(f"{collector.url}/view/c/{call.id}")
    page.locator(".line.user p", has_text=SCRIPT).wait_for()
    page.get_by_role("tab", name="Events").click()
    for group in page.locator("details.group").all():
        group.locator("summary").click()
    page.locator(".event.tool .rowbutton").first.click()
    page.locator(".event pre").first.wait_for()
    page.get_by_role("tab", name="Session").click()
    page.goto(f"{collector.url}/view/thread/{SCRIPT.replace('/', '%2F')}")
    page.locator("h1").wait_for()
    assert page.evaluate("window.stolen ?? null") is None
    assert page.locator("main img, main script").count() == 0


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (1280, "light"),
        (390, "dark"),
        pytest.param(1280, "dark", marks=pytest.mark.soak),
        pytest.param(390, "light", marks=pytest.mark.soak),
    ],
)
def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    browser: Browser,
    open_page: Callable[..., Page],
    collector: Collector,
    call: Conversation,
    tmp_path: Path,
    width: int,
    scheme: Any,
) -> None:
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - as the browser's

    handed_on = ask("GET", f"{collector.url}/view/api/conversations/{call.id}/download.html?sound=1")
    (tmp_path / "call.html").write_bytes(handed_on.content)
    options: dict[str, Any] = {"width": width, "height": 844, "scheme": scheme, "motion": "reduce"}
    found: list[str] = []

    def look(page: Page, where: str) -> None:
        violations = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        nodes = [(each["id"], node) for each in violations for node in each["nodes"]]
        found.extend(f"{where}: {rule} {node['target']} {node['failureSummary'][:300]}" for rule, node in nodes)
        sideways = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not sideways, where

    for path in ("/", "/thread/problems", "/threads"):
        page = open_page(path, **options)
        page.locator("tr.call").first.wait_for()
        look(page, path)
    page = conversation_page(open_page, call, **options)
    for name in ["Turns", "Events", "Session"] + (["Transcript"] if width < 860 else []):
        page.get_by_role("tab", name=name).click()
        if name == "Events":
            page.locator("summary").first.click()
        look(page, name)
    file = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    file.goto((tmp_path / "call.html").as_uri())
    look(file, "HTML file")
    file.close()
    assert found == []


def test_the_keyboard_alone_reaches_everything(open_page: Callable[..., Page], call: Conversation) -> None:
    page = conversation_page(open_page, call)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.evaluate(
        """() => {
            globalThis.reached = new Set();
            addEventListener("focusin", ({ target }) => reached.add(target.id || target.getAttribute("aria-label")));
        }"""
    )
    wanted = {"copy", "download", "score", "Play", "next-finding", "Follow", "transcript", "for-turns"}
    presses = 0
    while wanted - set(page.evaluate("[...reached]")):
        presses += 10
        assert presses <= 120, wanted
        for _ in range(10):
            page.keyboard.press("Tab")
    page.locator("#score").focus()
    assert page.locator("#score").get_attribute("aria-valuetext") == "0.0 s, turn 0"
    page.keyboard.press("ArrowRight")
    assert page.locator("#score").get_attribute("aria-valuetext") == "5.0 s, turn 1"


def test_no_key_and_no_button_loses_the_focus(open_page: Callable[..., Page], call: Conversation) -> None:
    page = conversation_page(open_page, call)
    focused = "document.activeElement.id || document.activeElement.textContent"
    page.locator("#download").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "CaptionsWebVTT"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == "One page with its soundHTML, Opus"
    assert position(page) == 0, "the arrows do not move through the turns"
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == "download"
    assert not page.locator("#menu").is_visible()
    page.locator(".actions button", has_text="7 events").focus()
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == "Turn 27 eventsWhen does it arrive?"
    page.keyboard.press("n")
    page.get_by_role("tab", name="Turns").click()
    page.keyboard.press("n")
    page.locator(".turn.open .measure button").focus()
    page.keyboard.press("Enter")
    assert "ValueError" in page.evaluate(focused)


def test_a_definition_is_read_whole_wherever_its_word_stands(
    open_page: Callable[..., Page], call: Conversation
) -> None:
    for width, height in ((1280, 620), (390, 844)):
        page = conversation_page(open_page, call, width=width, height=height, motion="reduce")
        if width < 860:
            page.get_by_role("tab", name="Turns").click()
        for word in page.locator(".def:visible").all():
            word.focus()
            whole = word.locator(".tip").evaluate(
                """(tip) => {
                    const { left, right, top, bottom } = tip.getBoundingClientRect();
                    const inside = left >= 0 && right <= innerWidth && top >= 0 && bottom <= innerHeight;
                    return inside && tip.contains(document.elementFromPoint((left + right) / 2, bottom - 4));
                }"""
            )
            assert whole, (width, word.text_content())
        page.keyboard.press("Escape")
        assert page.locator(":popover-open").count() == 0


def test_on_a_telephone_the_tabs_show_one_pane_at_a_time(
    browser: Browser, collector: Collector, call: Conversation
) -> None:
    page = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True)
    with without_problems(page, collector):
        page.goto(collector.view_url(call.id))
        until(page, "globalThis.conversation?.peaks.ready")
        look_at_each_pane(page)
    page.close()


def look_at_each_pane(page: Page) -> None:
    assert page.locator("#transcript").is_visible()
    page.get_by_role("tab", name="Turns").click()
    assert not page.locator("#transcript").is_visible()
    assert page.locator(".turn").first.is_visible()
    page.locator(".actions button", has_text="7 events").click()
    tops = """() => [document.querySelector("details.group[open]"), document.querySelector("#narrow-tabs")]
        .map((each) => Math.round(each.getBoundingClientRect().y))"""
    group, tabs = page.evaluate(tops)
    assert tabs + 40 <= group < 600, "the events of the turn begin below what sticks to the top"
    box = page.locator("#score").bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + page.evaluate("conversation.score.x(30)"), box["y"] + 60)
    until(page, "Math.abs(conversation.time - 30) < 0.1")


def test_a_browser_reads_the_captions_with_their_speakers(open_page: Callable[..., Page], call: Conversation) -> None:
    page = conversation_page(open_page, call)
    cues = page.evaluate(
        """(url) => new Promise((done) => {
            const track = Object.assign(document.createElement("track"), { src: url, default: true });
            track.addEventListener("load", () =>
                done([...track.track.cues].map((cue) => [cue.startTime, cue.endTime, cue.getCueAsHTML().textContent])));
            const video = document.createElement("video");
            video.append(track);
            document.body.append(video);
            track.track.mode = "hidden";
        })""",
        f"/view/api/conversations/{call.id}/download.vtt",
    )
    assert len(cues) == 11
    assert cues[:2] == [[0.26, 2.0, "Hello! This is the parcel desk."], [3.0, 4.5, "Where is my parcel?"]]
    assert cues[8] == [22.86, 25.0, "It costs six euros and fifty cents, tax included."]


def test_everything_in_the_menu_downloads_and_the_html_file_plays_from_disk_and_in_a_notebook(
    browser: Browser, open_page: Callable[..., Page], call: Conversation, tmp_path: Path
) -> None:
    page = conversation_page(open_page, call)
    for form in ("audio", "vtt", "srt", "json", "jsonl", "html", "html?sound=1"):
        if not page.locator("#menu a").first.is_visible():
            page.get_by_role("button", name="Download").click()
        with page.expect_download() as downloading:
            page.locator(f'#menu a[href$="download.{form}"]').click()
        assert downloading.value.path().stat().st_size > 100, form
    file = tmp_path / "call.html"
    downloading.value.save_as(file)
    errors: list[str] = []
    mail = browser.new_page()
    mail.on("console", lambda message: errors.append(message.text))
    mail.goto(file.as_uri())
    until(mail, "document.querySelector('audio').duration > 39")
    assert mail.locator(".agent s").inner_text() == " and fifty cents, tax included.".strip()
    assert mail.locator("path.user").count() == 1
    mail.set_content(Shown(file.read_text())._repr_html_())
    cell = mail.frame_locator("iframe")
    cell.locator(".agent s", has_text="and fifty cents").wait_for()
    assert cell.locator("audio").evaluate("(audio) => audio.controls && audio.currentSrc.length > 1000")
    assert errors == []
    mail.close()
