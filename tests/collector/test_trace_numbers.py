"""The numbers of traces are columns, which equal the sums of the stored runs, whichever way the runs arrived."""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from langsmith_realtime.collector import Collector, numbers
from langsmith_realtime.collector.read import filters
from langsmith_realtime.collector.rules import Batch, Operation
from langsmith_realtime.collector.storage import trace_numbers
from langsmith_realtime.collector.storage.store import Store, project_id
from tests.support.collector_requests import START, ask, child, order, root, update

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from langsmith_realtime.collector.storage.trace_numbers import Trace

LONG_AGO = "2020-01-01T00:00:00Z"
PROJECT = project_id("default")


def usage(count: int, **costs: float) -> dict[str, Any]:
    """Returns metadata with the tokens of a response."""
    tokens = {"total_tokens": 3 * count, "input_tokens": count, "output_tokens": 2 * count}
    return {"usage_metadata": {**tokens, "input_token_details": {"audio": count}, **costs}}


def started(minutes: int, run_id: str) -> dict[str, Any]:
    moment = START + timedelta(minutes=minutes)
    return {"start_time": moment.isoformat(), "dotted_order": order(moment, run_id)}


def conversation(number: int, thread: str) -> list[Operation]:
    """Returns a root run of 30 s with two responses, each created and updated, and a run without numbers."""
    call = root(
        inputs={"number": number}, tags=[f"shop-{number}"], extra={"metadata": {"thread_id": thread, "number": number}}
    )
    call |= started(number, call["id"])
    operations = [Operation("post", call["id"], call)]
    for turn in (1, 2):
        begin = START + timedelta(minutes=number, seconds=turn)
        response = child(call, run_type="llm", extra={"metadata": {"thread_id": thread, **usage(1)}})
        response |= {
            "start_time": begin.isoformat(),
            "dotted_order": f"{call['dotted_order']}.{order(begin, response['id'])}",
        }
        first = {"name": "new_token", "time": (begin + timedelta(seconds=0.25 * turn)).isoformat()}
        final = {"extra": {"metadata": {"thread_id": thread, **usage(10 * turn, total_cost=0.5)}}, "events": [first]}
        operations += [
            Operation("post", response["id"], response),
            Operation("patch", response["id"], update(response, **final)),
        ]
    event = {**child(call, seconds=60 * number + 3), "extra": {"metadata": {"thread_id": thread}}}
    error = {"error": "lost"} if number % 3 == 0 else {}
    end = update(call, end_time=(START + timedelta(minutes=number, seconds=30)).isoformat(), outputs={"n": 1}, **error)
    return [*operations, Operation("post", event["id"], event), Operation("patch", call["id"], end)]


def store_all(store: Store, operations: list[Operation]) -> None:
    for operation in operations:
        batch = Batch([operation])
        batch.check(10**7)
        store.apply(batch)


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """Nine conversations in three threads, whose operations arrived in any order."""
    with Collector(tmp_path_factory.mktemp("store")) as collector:
        operations = [each for number in range(9) for each in conversation(number, f"t{number % 3}")]
        random.Random(5).shuffle(operations)
        store_all(collector._store, operations)
        yield collector


def post(collector: Collector, path: str, **query: Any) -> dict[str, Any]:
    answer = ask("POST", f"{collector.url}/api/v2/{path}", json={"min_start_time": LONG_AGO, **query})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def found(collector: Collector, **query: Any) -> list[str]:
    items = post(collector, "threads/query", project_id=PROJECT, **query)["items"]
    return [thread["thread_id"] for thread in items]


def test_the_numbers_of_traces_equal_the_sums_of_their_runs_whichever_way_these_arrived(collector: Collector) -> None:
    traces = collector._store.traces.traces(["default"])
    assert len(traces) == 9
    for trace in traces:
        runs = collector.runs(trace.id)
        assert (trace.total_tokens, trace.prompt_tokens) == (90, 30)
        assert trace.total_tokens == numbers.tokens("total", runs)
        assert trace.total_cost == numbers.cost("total", runs) == 1.0
        assert trace.first_token == min(filter(None, map(numbers.first_token_time, runs)))
        assert (trace.latency, trace.failed) == (30, trace.error == "lost")


def test_threads_their_statistics_and_their_traces_are_listed_with_numbers(collector: Collector) -> None:
    items = post(collector, "threads/query", project_id=PROJECT)["items"]
    thread = items[-1]
    wanted = {"thread_id": "t0", "count": 3, "num_errored_turns": 3, "total_tokens": 270, "total_cost": 3.0}
    assert {key: thread[key] for key in wanted} == wanted
    assert thread["prompt_token_details"] == {"raw": {"audio": 90}}
    assert (thread["latency_p50"], thread["thread_duration"]) == (30, 6 * 60 + 30)
    assert (thread["first_inputs"], thread["last_error"]) == ("{'number': 0}", "lost")
    stats = ask(
        "GET", f"{collector.url}/api/v2/threads/t1/stats?session_id={PROJECT}&selects=TURNS&selects=TOTAL_TOKENS"
    )
    assert stats.json() == {"turns": 3, "total_tokens": 270}
    select = ["THREAD_COUNT", "ERROR_RATE", "FIRST_TOKEN_P50", "MEDIAN_TOKENS", "PROMPT_TOKEN_DETAILS"]
    assert post(collector, "threads/stats", project_id=PROJECT, select=select) == {
        "thread_count": 3,
        "error_rate": 1 / 3,
        "first_token_p50_seconds": 1.25,
        "median_tokens": 90,
        "prompt_token_details": {"audio": 270},
    }
    (project,) = ask("GET", f"{collector.url}/sessions?include_stats=true").json()
    assert (project["run_count"], project["total_tokens"], project["first_token_p50"]) == (9, 810, 0.375)
    url = f"{collector.url}/api/v2/threads/t1/traces?project_id={PROJECT}&page_size=2&cursor=1"
    traces = ask("GET", url).json()["items"]
    assert [(each["turn_number"], each["total_tokens"]) for each in traces] == [(2, 90), (3, 90)]


def test_filters_of_threads_hold_together_whether_they_name_columns_or_not(collector: Collector) -> None:
    assert found(collector) == ["t2", "t1", "t0"]
    assert found(collector, filter='eq(thread_id, "t1")') == ["t1"]
    assert found(collector, filter="neq(error, null)") == ["t0"]
    assert found(collector, filter='and(eq(status, "SUCCESS"), gt(latency, "20s"))') == ["t2", "t1"]
    assert found(collector, trace_filter='search("number")', filter="eq(error, null)") == ["t2", "t1"]
    assert found(collector, trace_filter='eq(thread_id, "t0")', filter="eq(error, null)") == []
    assert found(collector, filter='or(eq(thread_id, "t2"), search("lost"))') == ["t2", "t0"]
    assert found(collector, tree_filter='and(eq(run_type, "llm"), eq(thread_id, "t1"))') == ["t1"]
    assert found(collector, thread_filter="and(gt(num_errored_turns, 0), gte(total_cost, 3))") == ["t0"]
    assert found(collector, thread_filter='search("lost")') == ["t0"]
    assert found(collector, max_start_time=(START + timedelta(seconds=61)).isoformat()) == ["t1", "t0"]
    assert found(collector, cursor="1", page_size=1) == ["t1"]


def test_a_run_of_a_thread_is_found_although_its_root_belongs_to_no_thread(tmp_path: Path) -> None:
    with Collector(tmp_path) as collector:
        call = root()
        run = child(call, extra={"metadata": {"thread_id": "t"}})
        store_all(collector._store, [Operation("post", each["id"], each) for each in (run, call)])
        query = {"session": [PROJECT], "filter": 'eq(thread_id, "t")'}
        (answer,) = ask("POST", f"{collector.url}/runs/query", json=query).json()["runs"]
        assert answer["id"] == run["id"]
        assert found(collector) == []


def test_a_deleted_trace_leaves_no_numbers_and_an_update_moves_a_trace_to_another_thread(tmp_path: Path) -> None:
    with Collector(tmp_path) as collector:
        call = root(extra={"metadata": {"thread_id": "t", **usage(1)}})
        moved = update(call, extra={"metadata": {"thread_id": "u", **usage(2)}})
        store_all(collector._store, [Operation("post", call["id"], call)])
        assert found(collector) == ["t"]
        store_all(collector._store, [Operation("patch", call["id"], moved)])
        assert found(collector, thread_filter="eq(total_tokens, 6)") == ["u"]
        collector._store.delete_traces([call["id"]])
        assert found(collector) == []
        for table in ("trace_numbers", "root_texts", "traces_of_threads"):
            assert collector._store._db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_numbers_that_no_column_can_hold_count_as_none(tmp_path: Path) -> None:
    with Collector(tmp_path) as collector:
        call = root(run_type="llm", events=[5, {"name": "new_token", "time": "soon"}])
        call["extra"] = {"metadata": {"thread_id": "t", "usage_metadata": {"total_tokens": 10**30, "total_cost": "1"}}}
        store_all(collector._store, [Operation("post", call["id"], call)])
        (thread,) = post(collector, "threads/query", project_id=PROJECT)["items"]
        assert (thread["total_tokens"], thread["total_cost"]) == (0, None)
        assert ask("GET", f"{collector.url}/runs/{call['id']}").json()["first_token_time"] is None


def test_a_page_of_runs_begins_where_the_one_before_ended_although_newer_runs_were_stored(tmp_path: Path) -> None:
    with Collector(tmp_path) as collector:
        calls = [root(extra={"metadata": {"thread_id": "t"}}) for _ in range(4)]
        for minute, call in enumerate(calls):
            call.update(started(minute, call["id"]))
        ids = [call["id"] for call in calls]
        store_all(collector._store, [Operation("post", call["id"], call) for call in calls[:3]])
        asked = {
            "/runs/query": {"session": [PROJECT], "limit": 2},
            "/api/v2/runs/query": {"project_ids": [PROJECT], "page_size": 2, "min_start_time": LONG_AGO},
            "/api/v2/traces/query": {"project_id": PROJECT, "page_size": 2, "min_start_time": LONG_AGO},
        }
        first = {path: ask("POST", collector.url + path, json=query).json() for path, query in asked.items()}
        store_all(collector._store, [Operation("post", calls[3]["id"], calls[3])])
        for path, query in asked.items():
            cursor = first[path]["next_cursor"] if "v2" in path else first[path]["cursors"]["next"]
            answer = ask("POST", collector.url + path, json={**query, "cursor": cursor}).json()
            (run,) = answer["items" if "v2" in path else "runs"]
            assert run.get("root_run", run)["id"] == ids[0]
            assert ask("POST", collector.url + path, json={**query, "cursor": "20"}).status_code == 422


def test_a_folder_of_an_earlier_version_has_the_same_numbers(collector: Collector, tmp_path: Path) -> None:
    wanted = collector._store.traces.traces(["default"])
    with Collector(tmp_path) as copy:
        collector._store._db.backup(copy._store._db)
        copy._store._db.executescript("DROP TABLE trace_numbers; DROP TABLE traces_of_threads; PRAGMA user_version=2")
    with Collector(tmp_path) as copy:
        opened = [trace._replace(first_tokens="") for trace in copy._store.traces.traces(["default"])]
    assert opened == [trace._replace(first_tokens="") for trace in wanted] != []


def test_threads_and_statistics_are_answered_without_a_look_at_stored_runs(
    collector: Collector, tmp_path: Path
) -> None:
    with Collector(tmp_path) as copy:
        collector._store._db.backup(copy._store._db)
        copy._store._db.execute("UPDATE runs SET created = 'no JSON', updated = NULL")

        assert found(copy, thread_filter="gt(turn_count, 2)") == ["t2", "t1", "t0"]
        assert found(copy, filter='and(eq(thread_id, "t0"), neq(error, null))') == ["t0"]
        assert post(copy, "threads/stats", project_id=PROJECT, select=["TRACE_COUNT"]) == {"trace_count": 9}
        assert ask("GET", f"{copy.url}/sessions/{PROJECT}?include_stats=true").json()["run_count"] == 9
        assert (
            found(copy, filter='has(tags, "shop-4")')
            == found(copy, filter="has(metadata, '{\"number\": 4}')")
            == ["t1"]
        )
        assert found(copy, trace_filter='search("{\\"number\\": 5}")') == ["t2"]


def test_a_slow_query_delays_no_other_request(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> list[Trace]:
        asked.set()
        assert answered.wait(10)
        return []

    monkeypatch.setattr(collector._store.traces, "traces", slow)
    with ThreadPoolExecutor() as pool:
        slow_answer = pool.submit(post, collector, "threads/query", project_id=PROJECT, filter="eq(error, null)")
        assert asked.wait(10)
        assert ask("GET", f"{collector.url}/info").status_code == 200
        assert not slow_answer.done()
        answered.set()
        assert slow_answer.result(10)["items"] == []


def test_root_runs_are_found_by_columns_page_by_page(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace_numbers, "_PAGE", 2)
    with Collector(tmp_path) as copy:
        collector._store._db.backup(copy._store._db)
        ids = [call.id for call in collector.roots()]
        broken = "UPDATE runs SET created = 'no JSON', updated = NULL WHERE instr(dotted_order, '.') > 0 OR id = ?"
        copy._store._db.execute(broken, (ids[4],))

        def roots(filter_: str, **query: Any) -> list[str]:
            query = {"session": [PROJECT], "is_root": True, "filter": filter_, **query}
            answer = ask("POST", f"{copy.url}/runs/query", json=query).json()
            return [run["id"] for run in answer["runs"]]

        assert roots('has(tags, "shop-7")') == [ids[7]]
        assert roots('and(eq(metadata_key, "number"), gte(metadata_value, 5))') == ids[:4:-1]
        assert roots('not(eq(tags, ["shop-4"]))', order="asc") == ids[:4] + ids[5:]
        later = (START + timedelta(minutes=1)).isoformat()
        assert roots('and(neq(error, null), search("lost"))', start_time=later) == [ids[6], ids[3]]
        assert roots('eq(name, "session")', cursor=collector.roots()[3].dotted_order) == ids[2::-1]


@pytest.mark.parametrize(
    ("expression", "numbers_found"),
    [
        ('and(eq(metadata_key, "number"), eq(metadata_value, 3))', [3]),
        ('and(eq(metadata_key, "thread_id"), eq(metadata_value, 3))', []),
        ('and(eq(metadata_key, "absent"), neq(metadata_value, 3))', []),
        ('and(not(eq(metadata_key, "number")), eq(metadata_value, 3))', []),
        ('and(in(metadata_key, ["number", "x"]), lt(metadata_value, 2))', [0, 1]),
        ('and(eq(run_type, "chain"), exists(metadata, "number"), like(name, "s%"), search("NUMBER\\": 8"))', [8]),
    ],
)
def test_filters_find_the_same_roots_in_columns_as_in_runs(
    collector: Collector, expression: str, numbers_found: list[int]
) -> None:
    of_runs, of_traces = filters.parse(expression), filters.parse_trace_filter(expression)
    assert of_traces is not None
    in_runs = [run.metadata["number"] for run in collector.roots() if of_runs(run)]
    in_columns = [
        json.loads(trace.metadata)["number"]
        for trace in collector._store.traces.traces(["default"], texts=["metadata", *of_traces.texts])
        if of_traces(trace)
    ]
    assert in_runs == in_columns == numbers_found
