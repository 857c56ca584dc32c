"""LangSmith's client reads one realtime conversation back: feedback, threads, projects, links, at every endpoint."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from langsmith import Client
from langsmith.utils import LangSmithError, LangSmithNotFoundError

from langsmith_realtime.collector import Collector
from tests.support.collector_requests import ask, child, root
from tests.support.stored_conversation import Conversation, with_three_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

# LangSmith deprecates reading by v1, but most programs still do.
pytestmark = [
    pytest.mark.filterwarnings("ignore::langsmith.utils.LangSmithWarning"),
    pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning"),
]
LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def call() -> Conversation:
    return with_three_problems()


@pytest.fixture(scope="module")
def served(call: Conversation) -> Iterator[Collector]:
    with Collector() as collector:
        call.into(collector, sound=call.sound())
        yield collector


@pytest.fixture(scope="module")
def client(served: Collector) -> Iterator[Client]:
    client = Client(api_url=served.url, api_key="local")
    yield client
    client.cleanup(timeout=5)


@pytest.mark.newest  # langsmith 0.8 does not send the None that removes a comment
def test_feedback_is_created_read_filtered_changed_and_deleted(client: Client, call: Conversation) -> None:
    helpful = client.create_feedback(run_id=call.id, key="helpful", score=1, comment="calm")
    client.create_feedback(run_id=call.id, key="fast", score=0.25, feedback_source_type="model")

    found = list(client.list_feedback(run_ids=[call.id]))
    assert [(each.key, each.score, str(each.trace_id)) for each in found] == [
        ("helpful", 1, call.id),
        ("fast", 0.25, call.id),
    ]
    project = client.read_project(project_name=call.project)
    assert {each.session_id for each in found} == {project.id}
    assert all(each.created_at and each.modified_at for each in found)
    assert [each.key for each in client.list_feedback(feedback_key=["fast"], session=[str(project.id)])] == ["fast"]
    assert [each.key for each in client.list_feedback(feedback_source_type=["model"])] == ["fast"]  # type: ignore[list-item]
    with pytest.raises(LangSmithError, match="does not filter feedback by user"):
        list(client.list_feedback(user="me"))

    client.update_feedback(helpful.id, score=0.5, comment=None)
    changed = client.read_feedback(helpful.id)
    assert (changed.score, changed.comment, changed.created_at) == (0.5, None, found[0].created_at)
    stats = client.read_run(call.id).feedback_stats or {}
    assert {key: (value["n"], value["avg"]) for key, value in stats.items()} == {"helpful": (1, 0.5), "fast": (1, 0.25)}
    for wanted, names in (("0.4", ["realtime_session"]), ("0.6", [])):
        both = f'and(eq(feedback_key, "helpful"), gt(feedback_score, {wanted}))'
        assert [run.name for run in client.list_runs(project_name=call.project, filter=both)] == names

    for each in found:
        client.delete_feedback(each.id)
    with pytest.raises(LangSmithNotFoundError, match="Feedback not found"):
        client.read_feedback(helpful.id)
    assert client.read_run(call.id).feedback_stats is None


def test_a_presigned_token_creates_its_feedback_until_it_expires(client: Client, call: Conversation) -> None:
    token = client.create_presigned_feedback_token(call.id, "thumbs")
    assert [each.id for each in client.list_presigned_feedback_tokens(call.id)] == [token.id]

    client.create_feedback_from_token(token.url, score=1)
    assert ask("GET", f"{token.url}?score=0&comment=no").status_code == 200

    (thumbs,) = client.list_feedback(run_ids=[call.id])
    assert (thumbs.key, thumbs.score, thumbs.comment) == ("thumbs", 0, "no")
    assert ask("GET", f"{token.url}?score=much").status_code == 422
    assert ask("POST", token.url, json={"score": "much"}).status_code == 422
    expired, valid = ask(
        "POST",
        f"{client.api_url}/feedback/tokens",
        json=[
            {"run_id": call.id, "feedback_key": "a", "expires_at": LONG_AGO},
            {"run_id": call.id, "feedback_key": "b"},
        ],
    ).json()
    assert ask("POST", expired["url"], json={"score": 1}).status_code == 404
    assert {str(each.id) for each in client.list_presigned_feedback_tokens(call.id)} == {str(token.id), valid["id"]}
    client.delete_feedback(thumbs.id)


def test_comparisons_of_other_types_find_nothing_and_never_fail(client: Client, call: Conversation) -> None:
    # The metadata of the conversation has strings, numbers and objects.
    for expression in ("gt(metadata_value, 1000000)", 'gt(metadata_value, "~~")', "eq(thread_id, 5)", "gt(name, 1)"):
        assert list(client.list_runs(project_name=call.project, filter=expression)) == [], expression
    slow = client.list_runs(project_name=call.project, is_root=True, filter='gt(latency, "5s")')
    assert [run.name for run in slow] == ["realtime_session"]
    wrong: list[dict[str, Any]] = [{"session": [{}]}, {"id": 5}, {"trace": [1]}, {"trace": "x", "is_root": "yes"}]
    for body in wrong:
        assert ask("POST", f"{client.api_url}/runs/query", json=body).status_code == 422


def test_tokens_of_a_conversation_and_statistics_of_its_project_are_those_of_its_responses() -> None:
    call = Conversation(
        project="counted", metadata={"total_tokens": 30, "input_tokens": 20, "output_tokens": 10}, error="broken"
    )
    call.user_says(1, 2, "Hello")
    usage = {"input_tokens": 20, "output_tokens": 10, "total_tokens": 30}
    call.agent_says(3, 5, "Hello!", usage_metadata=usage)
    with Collector() as collector:
        call.into(collector)
        client = Client(api_url=collector.url, api_key="local", auto_batch_tracing=False)
        client.create_feedback(call.id, "friendly", score=0.5)
        project_id = client.read_project(project_name="counted").id
        client.create_feedback(None, "whole", score=0.25, project_id=project_id)
        root = client.read_run(call.id)
        assert (root.total_tokens, root.prompt_tokens, root.completion_tokens) == (30, 20, 10)
        for expression, expected in (
            ("gt(total_tokens, 29)", ["model", "realtime_session"]),
            ("gt(total_tokens, 30)", []),
        ):
            found = client.list_runs(project_name="counted", filter=expression)
            assert sorted(run.name for run in found) == expected
        project = client.read_project(project_name="counted", include_stats=True)
        assert (project.run_count, project.total_tokens, project.error_rate) == (1, 30, 1.0)
        assert project.latency_p50 == timedelta(seconds=30)
        assert (project.feedback_stats or {})["friendly"]["avg"] == 0.5
        assert (project.session_feedback_stats or {})["whole"]["avg"] == 0.25
        for query, count in (({"is_root": True}, 1), ({"run_type": "llm"}, 1), ({}, 1 + len(call.runs))):
            stats = client.get_run_stats(project_names=["counted"], **query)
            assert (stats["run_count"], stats["total_tokens"], stats["total_cost"]) == (count, 30, None)


def test_a_first_page_of_runs_is_read_without_the_rest(client: Client, call: Conversation) -> None:
    pages: list[list[str]] = []
    query: dict[str, Any] = {"session": [str(client.read_project(project_name=call.project).id)], "limit": 7}
    while not pages or query["cursor"]:
        answer = ask("POST", f"{client.api_url}/runs/query", json=query).json()
        pages.append([run["dotted_order"] for run in answer["runs"]])
        query["cursor"] = answer["cursors"]["next"]

    orders = [order for page in pages for order in page]
    assert {len(page) for page in pages[:-1]} == {7}
    assert orders == sorted(orders, reverse=True)
    assert len(set(orders)) == 1 + len(call.runs)


@pytest.mark.newest  # langsmith 0.8 has no v2 client
def test_threads_projects_and_links_are_read_by_v2(client: Client, call: Conversation) -> None:
    project = str(client.read_project(project_name=call.project).id)
    api = client._get_langsmith_api_sync()

    for wanted, ids in (("gt(turn_count, 1)", []), ('and(eq(turn_count, 1), gt(thread_duration, "5s"))', ["thread-1"])):
        found = api.threads.query(project_id=project, min_start_time=LONG_AGO, thread_filter=wanted)
        assert [thread.thread_id for thread in found] == ids
    stats = api.threads.stats("thread-1", session_id=project, selects=["TURNS", "LATENCY_P50", "LAST_END_TIME"])
    assert (stats.turns, stats.latency_p50_seconds) == (1, call.seconds)
    assert stats.total_tokens is None  # not selected
    every = api.threads.aggregate_stats(
        project_id=project, select=["THREAD_COUNT", "LATENCY_P99", "ERROR_RATE"], min_start_time=LONG_AGO
    )
    assert (every.thread_count, every.latency_p99_seconds, every.error_rate) == (1, call.seconds, 0)

    assert [each.name for each in api.sessions.list_v2(name_contains="parcel", page_size=1)] == [call.project]
    assert api.sessions.retrieve_v2(project).type == "PROJECT"
    page = f"{client.api_url}/view/c/{call.id}"
    assert api.runs.get_url(call.id, project_id=project, trace_id=call.id).url == page
    event = call.runs[0]["id"]
    assert api.runs.get_url(event, project_id=project, trace_id=call.id).url == f"{page}#run={event}"
    link = client.get_run_url(run=client.read_run(call.id)).replace("http://localhost", str(client.api_url))
    assert ask("GET", link).headers["location"] == f"/view/c/{call.id}"


@pytest.mark.newest
def test_a_client_does_not_repeat_what_is_not_served(served: Collector, client: Client, call: Conversation) -> None:
    from langsmith import APIStatusError  # noqa: PLC0415 - langsmith 0.8 has no such class

    with pytest.raises(APIStatusError, match="does not serve POST"):
        client._get_langsmith_api_sync().runs.share.create(call.id, session_id=call.id, trace_id=call.id)

    assert [request.status for request in served.requests if request.path.endswith(f"{call.id}/share")] == [501]


@pytest.mark.newest
@pytest.mark.parametrize("suffix", ["", "/api", "/api/v1"])
def test_every_form_of_the_endpoint_is_served(served: Collector, call: Conversation, suffix: str) -> None:
    client = Client(api_url=served.url + suffix, api_key="local")

    assert client.info.version
    run = client.read_run(call.id)
    assert run.attachments["conversation"]["reader"].read() == call.sound()
    project = str(client.read_project(project_name=call.project).id)
    threads = client._get_langsmith_api_sync().threads.query(project_id=project, min_start_time=LONG_AGO)
    assert [thread.thread_id for thread in threads] == ["thread-1"]
    token = client.create_presigned_feedback_token(call.id, "thumbs")
    client.create_feedback_from_token(token.url, score=1)
    (feedback,) = client.list_feedback(run_ids=[call.id])
    client.delete_feedback(feedback.id)
    client.cleanup(timeout=5)


def test_the_paths_of_older_clients_are_served(served: Collector, call: Conversation) -> None:
    project = ask("GET", f"{served.url}/v1/sessions").json()[0]["id"]
    query = {"project_id": project, "min_start_time": LONG_AGO}

    for path in ("/v2", "/api/v2"):
        answer = ask("POST", f"{served.url}{path}/threads/query", json=query)
        assert [thread["thread_id"] for thread in answer.json()["items"]] == ["thread-1"]
        url = ask("GET", f"{served.url}{path}/runs/{call.id}/url?project_id={project}").json()["url"]
        assert url == f"{served.url}/view/c/{call.id}"


def test_a_request_with_a_wrong_value_is_refused_and_never_fails(served: Collector, call: Conversation) -> None:
    dataset = ask("POST", f"{served.url}/datasets", json={"name": "d"}).json()["id"]
    fields = {"dataset_id": dataset, "inputs": {}}
    example = ask("POST", f"{served.url}/examples", json=fields).json()["id"]
    feedback: dict[str, Any] = {"id": call.id, "run_id": call.id, "key": "k"}
    wrong: list[tuple[str, str, object]] = [
        ("POST", "/feedback", {**feedback, "score": "much"}),
        ("POST", "/feedback", {**feedback, "run_id": "x"}),
        ("POST", "/feedback/tokens", [5]),
        ("POST", "/feedback/tokens", {"run_id": call.id, "feedback_key": "k", "expires_in": 5}),
        ("POST", "/feedback/tokens", {"run_id": call.id, "feedback_key": 5}),
        ("POST", "/sessions", {}),
        ("POST", "/sessions", {"name": "x", "extra": []}),
        ("POST", "/sessions", {"name": "x", "extra": {"metadata": 5}}),
        ("GET", "/sessions?metadata=[]", None),
        ("POST", "/datasets", {"name": 5}),
        ("GET", "/datasets?metadata={", None),
        ("POST", "/examples", [fields]),
        ("POST", "/examples", {**fields, "outputs": 5}),
        ("POST", "/examples", {**fields, "split": 5}),
        ("POST", "/examples", {**fields, "metadata": {"dataset_split": 5}}),
        ("POST", "/examples", {**fields, "use_source_run_attachments": ["conversation"]}),
        ("POST", "/examples", {**fields, "source_run_id": call.id, "use_source_run_attachments": 5}),
        ("POST", "/examples/bulk", fields),
        ("POST", "/examples/bulk", [5]),
        ("PATCH", f"/examples/{example}", []),
        ("PATCH", f"/examples/{example}", {"attachments_operations": {"rename": {"a": "../../a"}}}),
        ("PATCH", f"/examples/{example}", {"attachments_operations": 5}),
        ("PATCH", f"/examples/{example}", {"attachments_operations": {"rename": 5}}),
        ("POST", "/api/v2/threads/query", {}),
        ("POST", "/api/v2/threads/stats", {"project_id": dataset}),
        ("GET", f"/api/v2/threads/t/stats?session_id={dataset}", None),
        ("POST", "/runs/query", {"trace": call.id, "cursor": "-1"}),
        ("POST", "/runs/query", {"trace": call.id, "limit": 0}),
        ("GET", f"/examples?offset={10**20}", None),
    ]
    for method, path, content in wrong:
        answer = ask(method, served.url + path, json=content)
        assert (answer.status_code, bool(answer.json()["detail"])) == (422, True), (path, content)
    for kind in ("datasets", "examples", "feedback", "sessions"):
        assert ask("GET", f"{served.url}/{kind}/{call.id}").status_code == 404
    missing = {**fields, "source_run_id": dataset}
    assert ask("POST", f"{served.url}/examples", json=missing).status_code == 404
    stride = {"project_id": dataset, "select": ["THREAD_COUNT"], "stride": {"days": 1}}
    assert ask("POST", f"{served.url}/api/v2/threads/stats", json=stride).status_code == 501
    assert ask("GET", f"{served.url}/sessions?filter=x").status_code == 501
    searched = {"trace": call.id, "query": "tuesday"}
    assert ask("POST", f"{served.url}/runs/query", json=searched).status_code == 501


def test_the_client_reads_a_thread_whose_name_is_no_ascii_and_the_link_of_its_project() -> None:
    with Collector() as collector:
        call = with_three_problems(thread='thréad "💬" /1', project="Gespräche & mehr")
        call.into(collector)
        client = Client(api_url=collector.url, api_key="local")
        (run,) = client.read_thread(thread_id=call.thread, project_name=call.project)
        assert str(run.id) == call.id
        (run,) = client.list_runs(project_name=call.project, filter=f'eq(id, "{call.id.upper()}")')
        link = str(client.read_project(project_name=call.project).url).replace("http://localhost", collector.url)
        assert ask("GET", link).headers["location"] == "/view/?project=Gespr%C3%A4che%20%26%20mehr"
        client.cleanup(timeout=5)


def test_texts_and_numbers_that_no_column_can_hold_are_stored_and_read(served: Collector) -> None:
    odd = {"ls_integration": "langsmith-realtime", "total_tokens": {}, "voice_to_voice_p50_ms": [], "turns": 10**30}
    run = root(name="\ud800", extra={"metadata": {**odd, "thread_id": "\ud83d", "model": 5}}, session_name="odd")
    response = child(run, run_type="llm", session_name="odd")
    response["extra"] = {"metadata": {"response_id": "r", "voice_to_voice_ms": "slow", "heard_from_s": {}}}
    for each in ({**run, "end_time": run["start_time"]}, response):
        answer = ask("POST", f"{served.url}/runs", content=json.dumps(each))
        assert answer.status_code == 202, answer.text
    assert ask("GET", f"{served.url}/runs/{run['id']}").json()["name"] == "\ufffd"
    (row,) = ask("GET", f"{served.url}/view/api/conversations?project=odd").json()["conversations"]
    assert (row["turns"], row["model"], row["thread"]["id"]) == (0, None, "\ufffd")
    escaped = json.dumps({**root(), "name": "pair \U0001f4ac, backslash \\ud800"})
    assert ask("POST", f"{served.url}/runs", content=escaped).status_code == 202
    stored = ask("GET", f"{served.url}/runs/{json.loads(escaped)['id']}").json()
    assert stored["name"] == "pair \U0001f4ac, backslash \\ud800"


def test_a_request_that_is_not_served_gets_501_with_a_sentence(served: Collector, client: Client) -> None:
    with pytest.raises(LangSmithError, match="The collector does not serve GET /annotation-queues"):
        list(client.list_annotation_queues())
    for method, path in (("POST", "/runs/group"), ("PUT", "/api/v1/runs/1/share"), ("GET", "/api/v2/charts")):
        answer = ask(method, served.url + path)
        assert (answer.status_code, answer.json()["detail"].partition(".")[0]) == (
            501,
            f"The collector does not serve {method} {path}",
        )


def test_projects_are_created_changed_and_deleted(client: Client) -> None:
    made = client.create_project("empty", description="nothing yet", metadata={"team": "voice"})
    with pytest.raises(LangSmithError, match="exists already"):
        client.create_project("empty")
    assert client.create_project("empty", upsert=True).id == made.id
    assert [each.name for each in client.list_projects(name="empty", metadata={"team": "voice"})] == ["empty"]
    assert list(client.list_projects(metadata={"team": "text"})) == []

    client.update_project(made.id, description="still nothing")
    assert client.read_project(project_id=str(made.id)).description == "still nothing"
    with pytest.raises(LangSmithError, match="does not rename projects"):
        client.update_project(made.id, name="full")
    client.delete_project(project_name="empty")
    assert not client.has_project("empty")
