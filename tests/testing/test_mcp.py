"""MCP servers: the scripted server lists their tools and calls them."""

from __future__ import annotations

from typing import Any

import pytest

from langsmith_realtime.testing import Call, Event, McpCall, McpServer, RealtimeServer, Say, Script, Turn
from tests.support.conversations import sync_client
from tests.support.scripted_session import Talk, error_of, types

SEARCH = {"name": "search", "description": "Finds pages.", "input_schema": {"type": "object"}}
DOCS = McpServer("docs", [SEARCH], seconds=0.5)
UPDATE = {"type": "realtime", "tools": [{"type": "mcp", "server_label": "docs", "server_url": "https://mcp.example"}]}
HTTP_ERROR = {"type": "http_error", "code": 502, "message": "Bad gateway."}


def talk_with(*steps: Say | Call | McpCall, **options: Any) -> Talk:
    """Return a session after a response with these steps."""
    talk = Talk(Script([Turn(*steps)], rate_limits=False, **options))
    talk.send("response.create")
    talk.wait()
    return talk


def mcp_event_types(talk: Talk) -> list[str]:
    """Return the types of the events of the only MCP call and of ``response.done``."""
    (added,) = (e for e in talk.of("response.output_item.added") if e["item"]["type"] == "mcp_call")
    item_id = added["item"]["id"]

    def concerns(event: Event) -> bool:
        return item_id in (event.get("item_id"), event.get("item", {}).get("id")) or event["type"] == "response.done"

    return types([event for event in talk.events if concerns(event)])


START_OF_CALL = [
    "response.output_item.added",
    "conversation.item.added",
    "response.mcp_call_arguments.delta",
    "response.mcp_call_arguments.done",
    "response.mcp_call.in_progress",
]
END_OF_CALL = ["conversation.item.done", "response.output_item.done"]


def test_the_tools_of_a_server_are_listed_when_the_session_names_it() -> None:
    talk = Talk(Script(mcp_servers=[DOCS]))
    updated, added, working = talk.send("session.update", session=UPDATE)
    assert types([updated, added, working]) == [
        "session.updated",
        "conversation.item.added",
        "mcp_list_tools.in_progress",
    ]
    assert added["item"]["id"] == working["item_id"]
    assert added["item"]["tools"] == []
    completed, done = talk.wait()
    assert (completed["type"], completed["item_id"]) == ("mcp_list_tools.completed", working["item_id"])
    assert talk.time_of("mcp_list_tools.completed") == 0.5
    assert done["type"] == "conversation.item.done"
    assert done["item"] == {
        "id": working["item_id"],
        "type": "mcp_list_tools",
        "server_label": "docs",
        "tools": [SEARCH],
    }


def test_the_tools_of_a_server_are_listed_once_and_other_tools_are_not() -> None:
    talk = Talk(Script(mcp_servers=[DOCS], session={"tools": UPDATE["tools"]}))
    assert types(talk.events) == ["session.created", "conversation.item.added", "mcp_list_tools.in_progress"]
    tools: list[Any] = [*UPDATE["tools"], {"type": "function", "name": "f"}, {"type": "mcp"}, "nonsense"]
    for given in (tools, "nonsense", None):
        assert types(talk.send("session.update", session={"type": "realtime", "tools": given})) == ["session.updated"]


@pytest.mark.parametrize("servers", [[], [McpServer("docs", [SEARCH], fails=True)]])
def test_listing_fails_for_a_server_that_fails_or_is_unknown(servers: list[McpServer]) -> None:
    talk = Talk(Script(mcp_servers=servers))
    talk.send("session.update", session=UPDATE)
    failed, done = talk.wait()
    assert types([failed, done]) == ["mcp_list_tools.failed", "conversation.item.done"]
    assert done["item"]["tools"] == []


def test_a_call_streams_its_arguments_and_has_its_output() -> None:
    talk = talk_with(McpCall("search", {"q": "vad"}, output="3 pages", server_label="docs", seconds=2))
    assert mcp_event_types(talk) == [*START_OF_CALL, "response.mcp_call.completed", *END_OF_CALL, "response.done"]
    arguments = "".join(event["delta"] for event in talk.of("response.mcp_call_arguments.delta"))
    assert arguments == talk.one("response.mcp_call_arguments.done")["arguments"] == '{"q": "vad"}'
    assert talk.time_of("response.mcp_call.completed") == talk.time_of("response.mcp_call.in_progress") + 2
    (item,) = talk.one("response.done")["response"]["output"]
    assert item.pop("id").startswith("mcp_")
    assert item == {
        "type": "mcp_call",
        "server_label": "docs",
        "name": "search",
        "arguments": '{"q": "vad"}',
        "approval_request_id": None,
        "output": "3 pages",
        "error": None,
    }


def test_a_call_can_fail() -> None:
    talk = talk_with(McpCall("search", error=HTTP_ERROR))
    assert mcp_event_types(talk) == [*START_OF_CALL, "response.mcp_call.failed", *END_OF_CALL, "response.done"]
    (item,) = talk.one("response.done")["response"]["output"]
    assert (item["output"], item["error"]) == (None, HTTP_ERROR)


def test_a_call_can_take_longer_than_its_response() -> None:
    talk = talk_with(McpCall("search", output="late", outlives_response=True, seconds=1), Say("Let me look."))
    assert mcp_event_types(talk) == [*START_OF_CALL, "response.done", "response.mcp_call.completed", *END_OF_CALL]
    assert talk.time_of("response.mcp_call.completed") == talk.time_of("response.done") + 1
    assert talk.one("response.done")["response"]["output"][0]["output"] is None
    assert talk.of("response.output_item.done")[-1]["item"]["output"] == "late"


def test_a_cancelled_call_has_no_output() -> None:
    talk = Talk(Script([Turn(McpCall("search", output="never", seconds=5))], rate_limits=False))
    talk.send("response.create")
    talk.wait(2)
    talk.send("response.cancel")
    talk.wait()
    assert mcp_event_types(talk) == [*START_OF_CALL, *END_OF_CALL, "response.done"]
    assert talk.one("response.done")["response"]["output"][0]["output"] is None


def test_many_items_of_every_kind_share_one_response() -> None:
    steps = (Say("One."), Call("a"), McpCall("b", output="x"), Say("Two."), Call("c"), McpCall("d", error=HTTP_ERROR))
    for overlap in (True, False):
        talk = talk_with(*steps, overlap_items=overlap)
        output = talk.one("response.done")["response"]["output"]
        kinds = ["message", "function_call", "mcp_call"]
        assert [item["type"] for item in output] == [*kinds, *kinds]
        assert [event["output_index"] for event in talk.of("response.output_item.added")] == list(range(6))
        assert sorted(event["output_index"] for event in talk.of("response.output_item.done")) == list(range(6))
        chain = [event["item"]["id"] for event in talk.of("conversation.item.added")]
        assert [event["previous_item_id"] for event in talk.of("conversation.item.added")] == [None, *chain[:-1]]


def test_a_client_may_create_an_approval() -> None:
    talk = Talk(Script())
    approval: Any = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    assert types(talk.send("conversation.item.create", item=approval)) == [
        "conversation.item.added",
        "conversation.item.done",
    ]
    error = error_of(talk.send("conversation.item.create", item={**approval, "approve": "yes"}))
    assert (error["code"], error["param"]) == ("invalid_type", "item.approve")


def test_the_real_client_receives_every_event_of_a_call() -> None:
    script = Script([Turn(McpCall("search", output="3 pages"))], mcp_servers=[DOCS], session={"tools": UPDATE["tools"]})
    seen: list[str] = []
    with (
        RealtimeServer(script, strict=True) as server,
        sync_client(server) as client,
        client.realtime.connect(model="gpt-realtime") as connection,
    ):
        for event in connection:
            seen.append(event.type)
            if event.type == "mcp_list_tools.completed":
                connection.response.create()
            elif event.type == "response.done":
                break
    assert [kind for kind in seen if "mcp" in kind and not kind.endswith(".delta")] == [
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        *START_OF_CALL[3:],
        "response.mcp_call.completed",
    ]
