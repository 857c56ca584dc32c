"""The agents, guardrails and approvals of a session, which the protocol knows nothing about.

An agent's instructions and tools are in the settings that the session sends to its model. A handoff is a function call
whose tool names the next agent. The application sets an agent with ``update_agent``. These names are public. The SDK
says the name of the first agent, the finding of a guardrail and the wait for an approval only in the session's events,
and these can only be seen without iterating where they enter the session's queue, a private attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agents import Handoff
from agents.realtime import RealtimeAgent

from langsmith_realtime.adapters.agents.tool_calls import Call, ToolCalls
from langsmith_realtime.adapters.agents.tool_guardrails import ToolGuardrails
from langsmith_realtime.core.conversation.agents import GUARDRAIL_MESSAGE
from langsmith_realtime.core.payloads.errors import Failure, describe_error
from langsmith_realtime.core.payloads.json_values import json_copy
from langsmith_realtime.core.protocol.events import mapping, sequence, text
from langsmith_realtime.core.protocol.inputs import AgentChanged, ApprovalAsked, GuardrailTripped, Ref
from langsmith_realtime.live.capture import LiveConversation


class Agents:
    """Tells a conversation which agents lead it, which guardrails stop them, and which calls wait for an approval.

    Args:
        calls: the function calls of the session.
    """

    def __init__(self, calls: ToolCalls) -> None:
        self._calls = calls
        self._tool_guardrails = ToolGuardrails()
        #: Whether the session's own events are seen.
        self.sees_events = False
        self._agent: str | None = None
        self._settings: dict[str, Any] = {}  # those that the session sent last
        self._response_id: str | None = None
        self._handed_over: str | None = None  # id of the latest call that was a handoff
        self._awaited_messages = 0  # user messages that the SDK still sends about guardrails
        self._exception: object = None  # of the call that failed first

    def response_created(self, response_id: str | None) -> None:
        """A response began."""
        self._response_id = response_id

    def detach(self) -> None:
        """Leave the guardrails of the session's tools as they were."""
        self._tool_guardrails.remove()

    # Public names

    def connecting(self, settings: object) -> None:
        """The session connects, with these settings of its first agent."""
        self._take_settings(mapping(settings))

    def settings_sent(self, live: LiveConversation, settings: object) -> None:
        """The session sends settings: those of the next agent, if it carries out a handoff."""
        self._take_settings(mapping(settings))
        call = self._calls.current
        if call is not None and call.next_agent is not None and call.id != self._handed_over:
            self._handed_over = call.id
            self._change(live, call.next_agent, handoff=call)

    def next_agent(self, tool: str) -> str | None:
        """Name of the agent that a tool hands the conversation over to; None if the tool is none of a handoff."""
        return _handoffs(self._settings).get(tool)

    def updated(self, live: LiveConversation, agent: Any) -> None:
        """The application has set an agent."""
        if agent.name != self._agent:
            self._change(live, agent.name)

    def message_sent(self, live: LiveConversation, message: object) -> None:
        """The session sends a message of the user's; after a guardrail tripped, the SDK writes it itself."""
        if self.sees_events or not isinstance(message, str) or not message.startswith(GUARDRAIL_MESSAGE):
            return
        names = message.removeprefix(GUARDRAIL_MESSAGE).split(", ")
        self._tripped(live, [{"name": name} for name in names])

    def has_written(self, line: str) -> bool:
        """Whether the SDK wrote a user message, because a guardrail tripped. There is one message for each trip."""
        if not self._awaited_messages or not line.startswith(GUARDRAIL_MESSAGE):
            return False
        self._awaited_messages -= 1
        return True

    # The session's events

    def take(self, live: LiveConversation, event: Any, exception: object = None) -> None:
        """Take an event of the session. ``exception`` is what its iteration will raise, the first one for good."""
        kind = getattr(event, "type", None)
        if kind == "agent_start":
            self._started(live, event.agent)
        elif kind == "error":
            message = text(mapping(event.error).get("message")) or ""
            if message.startswith("Tool call task failed"):
                # The session keeps its first exception, which is not that of a call that fails later.
                is_new = isinstance(exception, Exception) and exception is not self._exception
                self._exception = exception
                error = describe_error(exception) if is_new and isinstance(exception, Exception) else None
                if error is not None or not self._calls.current_has_failed:
                    self._calls.failed(live, error or Failure(message, "the tool raised"))
        elif kind == "guardrail_tripped":
            self._tripped(live, [_guardrail(result) for result in event.guardrail_results], str(event.message))
        elif kind == "tool_approval_required":
            call_id, name, agent = event.call_id, event.tool.name, event.agent.name
            live.told_as_run(lambda t, run: ApprovalAsked(call_id, t, run, name, agent), call_id)

    def _started(self, live: LiveConversation, agent: Any) -> None:
        """An agent makes the latest response."""
        if agent.name == self._agent:
            return
        if not self._settings:  # they were sent before the tracing began
            instructions = agent.instructions if isinstance(agent.instructions, str) else None  # it may be a function
            self._take_settings({"instructions": instructions, "tools": agent.tools, "handoffs": agent.handoffs})
        self._change(live, agent.name, response_id=self._response_id)

    # Inputs

    def _take_settings(self, settings: Mapping[str, Any]) -> None:
        self._settings.update(settings)
        self._tool_guardrails.watch(sequence(settings.get("tools")))

    def _change(
        self, live: LiveConversation, agent: str, *, response_id: str | None = None, handoff: Call | None = None
    ) -> None:
        previous, self._agent = self._agent, agent
        instructions, tools = text(self._settings.get("instructions")) or None, _tool_names(self._settings)

        call_id = None if handoff is None else handoff.id

        def changed(t: float, run: Ref) -> AgentChanged:
            return AgentChanged(agent, t, run, previous, response_id, handoff is not None, instructions, tools, call_id)

        live.told_as_run(changed, call_id or response_id)

    def _tripped(self, live: LiveConversation, guardrails: list[dict[str, Any]], checked: str = "") -> None:
        self._awaited_messages += 1
        response_id = self._response_id
        live.told_as_run(lambda t, run: GuardrailTripped(t, run, response_id, guardrails, checked), response_id)


def _handoffs(settings: Mapping[str, Any]) -> dict[str, str]:
    """The names of the agents that a session may hand the conversation over to, by the names of the tools."""
    handoffs = (
        (Handoff.default_tool_name(each), each.name)  # of an agent, whose settings were not seen
        if isinstance(each, RealtimeAgent)
        else (getattr(each, "tool_name", None), getattr(each, "agent_name", None))
        for each in settings.get("handoffs") or ()
    )
    return {tool: agent for tool, agent in handoffs if isinstance(tool, str) and isinstance(agent, str)}


def _tool_names(settings: Mapping[str, Any]) -> list[str]:
    """The names of an agent's tools, and of those that hand the conversation over."""
    names = (getattr(tool, "name", None) for tool in settings.get("tools") or ())
    return [name for name in names if isinstance(name, str)] + list(_handoffs(settings))


def _guardrail(result: Any) -> dict[str, Any]:
    """A guardrail's name, the agent that it checked, and what it found. Nothing else of the SDK's objects."""
    found: dict[str, Any] = json_copy({"info": result.output.output_info})
    return {"name": result.guardrail.get_name(), "agent": result.agent.name, **found}
