"""A device test is repeated only if its take was wrong and the machine starved."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.support.audio import machine_stalls
from tests.support.audio.machine_stalls import Watch, best_take, watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.newest

IN_TIME, LATE = 0.005, 0.3


@pytest.fixture
def stalled(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Returns a function that sets the machine's stall in all later takes, in seconds."""

    def set_to(seconds: float) -> None:
        @contextlib.contextmanager
        def known() -> Iterator[Watch]:
            watch = Watch()
            watch.longest_s = seconds
            yield watch

        monkeypatch.setattr(machine_stalls, "watched", known)

    return set_to


def takes_in_order(*takes: float | Exception) -> Callable[[], float]:
    """Returns a function that returns or raises the takes, one after the other."""
    remaining = iter(takes)

    def hold() -> float:
        take = next(remaining)
        if isinstance(take, Exception):
            raise take
        return take

    return hold


def test_a_wrong_take_is_not_repeated_if_the_machine_kept_time(stalled: Callable[[float], None]) -> None:
    stalled(IN_TIME)
    take = best_take(takes_in_order(1.2, 0.0), float)
    assert (take.result, take.starved) == (1.2, False)
    with pytest.raises(ValueError, match="broken"):
        best_take(takes_in_order(ValueError("broken"), 0.0), float)


def test_a_right_take_is_not_repeated_if_the_machine_starved(stalled: Callable[[float], None]) -> None:
    stalled(LATE)
    assert best_take(takes_in_order(0.9, 0.0), float).result == 0.9


def test_a_wrong_take_on_a_starved_machine_is_repeated_and_the_best_take_counts(
    stalled: Callable[[float], None],
) -> None:
    stalled(LATE)
    assert best_take(takes_in_order(5.0, ValueError("broken"), 0.5), float).result == 0.5
    take = best_take(takes_in_order(5.0, 2.0, ValueError("broken")), float)
    assert (take.result, take.starved) == (2.0, True)
    with pytest.raises(ValueError, match="always"):
        best_take(takes_in_order(*[ValueError("always")] * machine_stalls.TAKES), float)


def test_watchers_measure_how_late_they_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    with watched() as watch:
        pass
    assert 0 <= watch.longest_s < 5
    monkeypatch.setattr(
        machine_stalls, "WATCH", machine_stalls.WATCH.replace("    ended =", "    time.sleep(0.1)\n    ended =")
    )
    with watched() as watch:
        pass
    assert watch.longest_s > machine_stalls.STALL_S
