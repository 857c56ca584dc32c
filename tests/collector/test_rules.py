"""The rules that concern one run alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from langsmith_realtime.collector import Attachment, rules
from langsmith_realtime.collector.rules import Operation, Refused, check
from tests.support.collector_requests import START, child, order, root, update


def refusal(fields: dict[str, Any], kind: Any = "post") -> Refused:
    with pytest.raises(Refused) as caught:
        check(Operation(kind, fields["id"], fields))
    return caught.value


def test_a_root_and_its_child_are_accepted() -> None:
    parent = root()

    assert check(Operation("post", parent["id"], parent)) == []
    assert check(Operation("post", (run := child(parent))["id"], run)) == []


def test_a_child_may_start_together_with_its_parent() -> None:
    run = child(root(), seconds=0)

    assert check(Operation("post", run["id"], run)) == []


def test_ids_are_changed_to_lower_case() -> None:
    parent = root()
    run = child(parent)
    loud = {**run, "id": run["id"].upper(), "parent_run_id": parent["id"].upper()}

    check(operation := Operation("post", loud["id"], loud))

    assert (operation.id, operation.fields["id"], operation.fields["parent_run_id"]) == (
        run["id"],
        run["id"],
        parent["id"],
    )


@pytest.mark.parametrize(
    "stamp",
    [
        "20260314T150926535Z",  # milliseconds
        "20260314T150926535897000Z",  # nanoseconds
        "2026-03-14T15:09:26.535897Z",
        "20261314T150926535897Z",  # a thirteenth month
        "",
    ],
)
def test_a_timestamp_has_exactly_six_fraction_digits(stamp: str) -> None:
    run = root()
    run["dotted_order"] = f"{stamp}{run['id']}"

    refused = refusal(run)

    assert (refused.rule, refused.status) == ("timestamp", 400)
    assert "Bad request: invalid 'dotted_order': invalid timestamp in dotted_order" in refused.message
    assert "at index 0" in refused.message


def test_a_segment_ends_in_a_run_id() -> None:
    assert refusal(root(dotted_order=order(START, "no-id"))).rule == "timestamp"


def test_the_last_segment_has_the_id_of_the_run() -> None:
    other = str(uuid4())

    assert refusal(root(dotted_order=order(START, other), trace_id=other)).rule == "dotted-order"


def test_the_first_segment_has_the_trace_id() -> None:
    refused = refusal(root(trace_id=str(uuid4())))

    assert (refused.rule, refused.status) == ("trace-id", 400)
    assert "does not match first part" in refused.message


def test_a_root_has_a_single_segment() -> None:
    refused = refusal(child(root(), parent_run_id=None))

    assert (refused.rule, refused.status) == ("dotted-order", 400)
    assert "must contain a single part for root runs" in refused.message


def test_a_child_has_at_least_two_segments() -> None:
    refused = refusal(root(parent_run_id=str(uuid4())))

    assert (refused.rule, refused.status) == ("dotted-order", 400)
    assert "must contain at least two parts for child runs" in refused.message


def test_the_last_but_one_segment_has_the_id_of_the_parent() -> None:
    assert refusal(child(root(), parent_run_id=str(uuid4()))).rule == "dotted-order"


def test_a_child_does_not_start_before_its_parent() -> None:
    refused = refusal(child(root(), seconds=-0.001))

    assert (refused.rule, refused.status) == ("time-order", 400)
    assert "earlier than parent timestamp" in refused.message


@pytest.mark.parametrize("key", ["id", "trace_id", "parent_run_id"])
@pytest.mark.parametrize("value", ["", "session-1", 7])
def test_an_id_that_is_not_a_uuid_is_refused(key: str, value: object) -> None:
    refused = refusal({**child(root()), key: value})

    assert (refused.rule, refused.status) == ("id", 422)


def test_the_id_field_must_equal_the_id_of_the_operation() -> None:
    with pytest.raises(Refused, match=r"id must be .*, got "):
        check(Operation("post", str(uuid4()), root()))


@pytest.mark.parametrize("run_type", ["agent", "", None, ["llm"]])
def test_an_unknown_run_type_is_refused(run_type: object) -> None:
    assert refusal(root(run_type=run_type)).rule == "run-type"


@pytest.mark.parametrize("run_type", sorted(rules.RUN_TYPES))
def test_each_of_the_seven_run_types_is_accepted(run_type: str) -> None:
    run = root(run_type=run_type)

    assert check(Operation("post", run["id"], run)) == []


@pytest.mark.parametrize("name", ["", None, "x" * 129, 5])
def test_a_name_has_up_to_128_characters(name: object) -> None:
    refused = refusal(root(name=name))

    assert (refused.rule, refused.status) == ("name", 422)


def test_an_update_may_lack_name_and_run_type_but_not_break_their_rules() -> None:
    run = root()

    assert check(Operation("patch", run["id"], update(run, outputs={}))) == []
    assert refusal(update(run, name="x" * 129), "patch").rule == "name"
    assert refusal(update(run, run_type="agent"), "patch").rule == "run-type"


@pytest.mark.parametrize(
    "field",
    [
        {"inputs": []},
        {"outputs": "text"},
        {"extra": []},
        {"events": {}},
        {"tags": "one"},
        {"error": {}},
        {"session_name": 5},
        {"start_time": "yesterday"},
        {"start_time": 10**30},
        {"end_time": True},
        {"trace_id": None},
        {"dotted_order": None},
    ],
    ids=str,
)
def test_a_field_of_the_wrong_type_is_refused(field: dict[str, Any]) -> None:
    refused = refusal(root(**field))

    assert (refused.rule, refused.status) == ("field", 422)


@pytest.mark.parametrize(
    "sent",
    [
        "2026-03-14T15:09:26.535897Z",
        "2026-03-14T15:09:26.535897",
        "2026-03-14T16:09:26.535897+01:00",
        START.timestamp() * 1000,
    ],
)
def test_every_spelling_of_a_time_by_clients_is_parsed(sent: object) -> None:
    assert abs(rules.time(sent, "start_time") - START) < timedelta(milliseconds=1)


def test_a_run_without_start_time_starts_at_its_timestamp() -> None:
    assert rules.start_time(child(root(), seconds=2, start_time=None)) == START + timedelta(seconds=2)


def test_the_dotted_order_of_a_root_is_computed_from_its_start_time() -> None:
    assert rules.root_order("id", START) == "20260314T150926535897Zid"


def uuid7(milliseconds: int) -> str:
    return str(UUID(int=milliseconds << 80 | 0x7 << 76 | 0b10 << 62 | 5))


def with_uuid7(milliseconds_off: int) -> dict[str, Any]:
    run_id = uuid7(int(START.timestamp() * 1000) + milliseconds_off)
    return root(id=run_id, trace_id=run_id, dotted_order=order(START, run_id))


@pytest.mark.parametrize("milliseconds_off", [-1, 0, 1])
def test_a_uuid7_with_the_start_time_is_accepted(milliseconds_off: int) -> None:
    run = with_uuid7(milliseconds_off)

    assert check(Operation("post", run["id"], run)) == []


def test_a_uuid7_of_another_time_is_a_violation() -> None:
    run = with_uuid7(2)

    (violation,) = check(Operation("post", run["id"], run))

    assert (violation.rule, violation.run_id, violation.status) == ("uuid7-time", run["id"], 202)
    assert "2 ms off" in violation.message
    assert check(Operation("patch", run["id"], run)) == []


@pytest.mark.parametrize("name", ["conversation.wav", "a b", "ü", "", "x" * 65, "../up"])
def test_an_attachment_with_an_invalid_name_is_dropped_as_a_violation(name: str) -> None:
    run = root()
    attachments = {name: Attachment("audio/wav", Path("x")), "conversation": Attachment("audio/wav", Path("y"))}

    (violation,) = check(operation := Operation("post", run["id"], run, attachments))

    assert (violation.rule, violation.run_id, violation.status) == ("attachment-name", run["id"], 202)
    assert list(operation.attachments) == ["conversation"]
