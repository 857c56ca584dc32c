"""A child's stored ``dotted_order`` begins with the stored ``dotted_order`` of its parent."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from langsmith_realtime.collector import Collector
from tests.support.collector_requests import START, ask, child, create, order, part, root, send, update


def moved(run: dict[str, Any]) -> dict[str, Any]:
    """The run with another time in the segment of its root, as if the root had started a second earlier."""
    first, _, others = run["dotted_order"].partition(".")
    earlier = order(START - timedelta(seconds=1), first[-36:])
    return {**run, "dotted_order": f"{earlier}.{others}" if others else earlier}


def wrong_places(collector: Collector) -> list[tuple[str | None, int]]:
    assert {violation.rule for violation in collector.violations} <= {"parent-order"}
    return [(violation.run_id, violation.status) for violation in collector.violations]


def family() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    session = root()
    turn = child(session)
    return session, turn, child(turn, seconds=2)


@pytest.mark.parametrize("youngest_first", [False, True])
def test_a_right_tree_is_no_violation_in_any_order_of_arrival(collector: Collector, youngest_first: bool) -> None:
    runs = list(family())

    for run in reversed(runs) if youngest_first else runs:
        create(collector, run)
    for run in runs:
        assert send(collector, part(f"patch.{run['id']}", update(run, outputs={}))).status_code == 202

    assert wrong_places(collector) == []


def test_a_child_with_another_time_of_its_parent_is_in_the_wrong_place(collector: Collector) -> None:
    session = root()
    turn = moved(child(session))
    create(collector, session)

    create(collector, turn)

    assert wrong_places(collector) == [(turn["id"], 202)]
    (violation,) = collector.violations
    assert f"LangSmith shows run {turn['id']} in the wrong place" in violation.message
    assert turn["dotted_order"] in violation.message
    assert f"{session['dotted_order']}, the dotted_order of its parent; begin a child's" in violation.message
    assert len(collector.runs()) == 2


def test_a_child_whose_parent_is_elsewhere_in_the_trace_is_in_the_wrong_place(collector: Collector) -> None:
    session, turn, event = family()
    ending = order(START + timedelta(seconds=2), event["id"])
    event["dotted_order"] = (
        f"{session['dotted_order']}.{order(START, root()['id'])}.{turn['dotted_order'][-58:]}.{ending}"
    )
    create(collector, session, turn)

    create(collector, event)

    assert wrong_places(collector) == [(event["id"], 202)]


def test_a_parent_that_arrives_later_shows_which_children_are_in_the_wrong_place(collector: Collector) -> None:
    session = root()
    right, wrong, also_wrong = child(session), moved(child(session, seconds=2)), moved(child(session, seconds=3))
    create(collector, right, wrong, also_wrong)
    assert wrong_places(collector) == []

    create(collector, session)

    assert wrong_places(collector) == [(wrong["id"], 202), (also_wrong["id"], 202)]


@pytest.mark.parametrize("child_first", [False, True])
def test_a_parent_and_its_child_in_one_request_are_compared(collector: Collector, child_first: bool) -> None:
    session = root()
    turn = moved(child(session))

    create(collector, *([turn, session] if child_first else [session, turn]))

    assert wrong_places(collector) == [(turn["id"], 202)]


def test_a_child_of_a_missing_parent_is_no_violation(collector: Collector) -> None:
    session, turn, event = family()

    create(collector, session, event)
    create(collector, moved(child(turn)))

    assert wrong_places(collector) == []


def test_an_update_that_arrives_before_its_create_is_compared(collector: Collector) -> None:
    session = root()
    turn = moved(child(session))

    for run in (turn, session):
        assert send(collector, part(f"patch.{run['id']}", update(run))).status_code == 202

    assert wrong_places(collector) == [(turn["id"], 202)]


def test_an_update_that_repeats_a_wrong_place_is_not_reported_again(collector: Collector) -> None:
    session = root()
    turn = moved(child(session))
    create(collector, session, turn)

    for run in (session, turn):
        assert send(collector, part(f"patch.{run['id']}", update(run))).status_code == 202

    assert wrong_places(collector) == [(turn["id"], 202)]


def test_an_update_may_move_a_child_to_the_wrong_place(collector: Collector) -> None:
    session, turn, event = family()
    create(collector, session, turn, event)

    assert send(collector, part(f"patch.{event['id']}", update(moved(event)))).status_code == 202

    assert wrong_places(collector) == [(event["id"], 202)]


def test_an_update_may_move_a_parent_away_from_its_children(collector: Collector) -> None:
    session, turn, event = family()
    create(collector, session, turn, event)

    assert send(collector, part(f"patch.{session['id']}", update(moved(session)))).status_code == 202

    assert wrong_places(collector) == [(turn["id"], 202)]


def test_an_update_may_move_a_child_to_its_right_place(collector: Collector) -> None:
    session = root()
    turn = child(session)
    create(collector, moved(turn))
    send(collector, part(f"patch.{turn['id']}", update(turn)))

    create(collector, session)

    assert wrong_places(collector) == []


def test_requests_of_one_run_are_compared(collector: Collector) -> None:
    session = root()
    turn = moved(child(session))

    for run in (session, turn):
        assert ask("POST", f"{collector.url}/runs", json=run).status_code == 202
    assert ask("PATCH", f"{collector.url}/runs/{turn['id']}", json={"outputs": {}}).status_code == 202

    assert wrong_places(collector) == [(turn["id"], 202)]


def test_a_json_batch_is_compared(collector: Collector) -> None:
    session = root()
    turn = moved(child(session))

    assert ask("POST", f"{collector.url}/runs/batch", json={"post": [turn, session]}).status_code == 202

    assert wrong_places(collector) == [(turn["id"], 202)]


def test_ids_in_upper_case_are_the_same_place(collector: Collector) -> None:
    session = root()
    turn = child(session)
    loud = session["id"].upper()
    create(collector, {**session, "dotted_order": order(START, loud)}, turn)
    late = child({**session, "dotted_order": order(START, loud)})
    create(collector, late)

    assert wrong_places(collector) == []


def test_a_refused_request_reports_no_wrong_place(collector: Collector) -> None:
    session = root()
    create(collector, session)
    turn = moved(child(session))

    answer = send(collector, part(f"post.{turn['id']}", turn), part(f"post.{session['id']}", session))

    assert answer.status_code == 409
    assert [violation.rule for violation in collector.violations] == ["conflict"]


def test_runs_of_an_earlier_collector_in_the_same_directory_are_compared(tmp_path: Path) -> None:
    session = root()
    turn = moved(child(session))
    with Collector(tmp_path) as first:
        create(first, turn)

    with Collector(tmp_path) as second:
        create(second, session)

    assert wrong_places(second) == [(turn["id"], 202)]
