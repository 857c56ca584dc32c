"""Lists the tools of MCP servers that a session names.

The fields of the events are those of the Realtime API's reference. No session with MCP was recorded; the order of the
events is that of the API's MCP guide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langsmith_realtime.testing.script.script import Event, McpServer
from langsmith_realtime.testing.state.conversation import Entry
from langsmith_realtime.testing.state.scheduler import Process
from langsmith_realtime.testing.state.shared import SharedState


class McpServers:
    """The MCP servers of one session. The server lists the tools of each once, when the session first names it."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self._servers = {server.label: server for server in shared.script.mcp_servers}
        self._listed_labels: set[str] = set()

    def configure(self, tools: object) -> None:
        """Start listing the tools of MCP servers that the session's `tools` name for the first time."""
        for tool in tools if isinstance(tools, Sequence) else ():
            label = tool.get("server_label") if isinstance(tool, dict) and tool.get("type") == "mcp" else None
            if isinstance(label, str) and label not in self._listed_labels:
                self._listed_labels.add(label)
                server = self._servers.get(label, McpServer(label, fails=True))
                self._shared.scheduler.start(self._list(server))

    def _list(self, server: McpServer) -> Process:
        scheduler = self._shared.scheduler
        tools: list[Any] = []
        item_id = self._shared.ids.new("mcpl")
        item: Event = {"id": item_id, "type": "mcp_list_tools", "server_label": server.label, "tools": tools}
        previous_item_id = self._shared.conversation.add(Entry(item))
        scheduler.send("conversation.item.added", previous_item_id=previous_item_id, item=item)
        scheduler.send("mcp_list_tools.in_progress", item_id=item_id)
        yield server.seconds
        if server.fails:
            scheduler.send("mcp_list_tools.failed", item_id=item_id)
        else:
            tools += server.tools
            scheduler.send("mcp_list_tools.completed", item_id=item_id)
        scheduler.send("conversation.item.done", previous_item_id=previous_item_id, item=item)
