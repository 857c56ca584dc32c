"""What an SDK says of a conversation beside the protocol's events: its agents, guardrails and approvals.

Pure. An SDK's agent is a name with instructions and tools; one of them makes each response. Times are seconds since the
conversation opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langsmith_realtime.core.conversation.run_data import AgentStep, EventRun, RunData
from langsmith_realtime.core.protocol.events import text
from langsmith_realtime.core.protocol.inputs import AgentChanged, ApprovalAnswered, ApprovalAsked, GuardrailTripped
from langsmith_realtime.core.protocol.items import Item

#: How the user message begins that the OpenAI Agents SDK sends after a guardrail tripped.
GUARDRAIL_MESSAGE = "guardrail triggered: "


@dataclass(slots=True, eq=False)
class _Approval:
    asked: ApprovalAsked
    answered: float | None = None
    approved: bool | None = None

    def step(self, end: float) -> AgentStep:
        """The wait until ``end``."""
        asked = self.asked
        return AgentStep(
            "approval", asked.name, asked.t, end, asked.agent, call_id=asked.call_id, approved=self.approved
        )


class Agents:
    """The agents of one conversation, what their guardrails stopped, and the approvals that their calls waited for."""

    def __init__(self) -> None:
        self._current: str | None = None
        self._names: dict[str, None] = {}  # an ordered set
        self._instructions: dict[str, str] = {}  # by agent; the latest change stands last
        self._handoffs = 0
        self._by_response: dict[str, str] = {}
        self._guardrails: dict[str, list[str]] = {}  # the names of those that stopped a response
        self._call_guardrails: dict[str, list[str]] = {}  # the names of those of a tool that stopped a call
        self._trips = 0
        self._awaited_messages = 0  # user messages that the SDK still sends about guardrails
        self._approvals: dict[str, _Approval] = {}  # by call id

    # What the SDK says

    def changed(self, given: AgentChanged) -> list[RunData]:
        """Another agent took over; return the run that shows it, with its instructions and tools, and its step."""
        self._current = given.agent
        self._names[given.agent] = None
        self._instructions.pop(given.agent, None)
        if given.instructions is not None:
            self._instructions[given.agent] = given.instructions
        self._handoffs += given.handoff
        if given.response_id is not None:
            self._by_response[given.response_id] = given.agent
        name = "handoff" if given.handoff else "agent_changed"
        facts = {"previous_agent": given.previous_agent, "instructions": given.instructions}
        known = {key: value for key, value in facts.items() if value is not None}
        run = EventRun(given.run, name, {"type": name, "agent": given.agent, **known, "tools": list(given.tools)})
        if not given.handoff:
            return [run]
        step = AgentStep("handoff", given.agent, given.t, given.t, given.previous_agent, call_id=given.call_id)
        return [run, step]

    def tripped(self, given: GuardrailTripped) -> list[RunData]:
        """Guardrails stopped a response or a call.

        Returns:
            The run that shows what they found, and a step for each of them.
        """
        self._trips += 1
        self._awaited_messages += given.call_id is None
        names = [str(each.get("name")) for each in given.guardrails]
        if given.call_id is not None:
            self._call_guardrails.setdefault(given.call_id, []).extend(names)
        elif given.response_id is not None:
            self._guardrails.setdefault(given.response_id, []).extend(names)
        steps = [
            AgentStep(
                "guardrail",
                text(each.get("name")),
                given.t,
                given.t,
                text(each.get("agent")),
                response_id=given.response_id,
                call_id=given.call_id,
                found={"info": each.get("info"), "message": given.message},
            )
            for each in given.guardrails
        ]
        return [EventRun(given.run, "guardrail_tripped", guardrail_payload(given)), *steps]

    def asked(self, given: ApprovalAsked) -> EventRun:
        """A call waits for an approval; return the run that shows it."""
        self._approvals.setdefault(given.call_id, _Approval(given))
        payload = {"type": "tool_approval_required", "call_id": given.call_id}
        names = {key: value for key, value in (("name", given.name), ("agent", given.agent)) if value is not None}
        return EventRun(given.run, "tool_approval_required", {**payload, **names})

    def answered(self, given: ApprovalAnswered) -> list[RunData]:
        """The application approved or rejected a call; return the wait's step. Only the first answer counts."""
        approval = self._approvals.get(given.call_id)
        if approval is None or approval.answered is not None:
            return []
        approval.answered, approval.approved = given.t, given.approved
        return [approval.step(given.t)]

    def close(self, t: float) -> list[RunData]:
        """The conversation ended; return the steps of approvals without an answer."""
        return [each.step(t) for each in self._approvals.values() if each.answered is None]

    # What events mean by it

    def response_created(self, response_id: str, instructions: str = "") -> None:
        """A response began: the current agent makes it, or the one before whose instructions the server still has.

        The SDK tells of an agent when it sends that agent's instructions. The server may have begun a response before
        it got them.

        Args:
            response_id: the response.
            instructions: those that the server reported last.
        """
        if self._current is None:
            return
        agent = self._current
        if self._instructions.get(agent, instructions) != instructions:
            agent = next(
                (each for each in reversed(self._instructions) if self._instructions[each] == instructions), agent
            )
        self._by_response.setdefault(response_id, agent)

    def marks(self, item: Item) -> bool:
        """Whether the SDK sent an item to tell the model that a guardrail tripped, in the user's name."""
        if item.from_guardrail or not self._awaited_messages or item.role != "user":
            return False
        texts = [part.text_so_far or "" for part in item.parts.values()]
        if not any(each.startswith(GUARDRAIL_MESSAGE) for each in texts):
            return False
        self._awaited_messages -= 1
        return True

    def stopped(self, response_id: str | None) -> bool:
        """Whether a guardrail stopped the response."""
        return response_id in self._guardrails

    # Outputs

    def agent_of(self, response_id: str | None) -> dict[str, str]:
        """The agent that made a response, under the key ``agent``; empty if no SDK told one."""
        agent = None if response_id is None else self._by_response.get(response_id)
        return {} if agent is None else {"agent": agent}

    def response_metadata(self, response_id: str) -> dict[str, Any]:
        """The metadata of a response's ``model`` run: its agent, and the guardrails that stopped it."""
        metadata: dict[str, Any] = {**self.agent_of(response_id)}
        if response_id in self._guardrails:
            metadata["guardrails"] = self._guardrails[response_id]
        return metadata

    def call_metadata(self, call_id: str) -> dict[str, Any]:
        """The metadata of a call's ``tool`` run.

        How its approval was answered, and how long it waited, in ms; and the guardrails of its tool that stopped it.
        """
        names = self._call_guardrails.get(call_id)
        guardrails: dict[str, Any] = {} if names is None else {"guardrails": names}
        approval = self._approvals.get(call_id)
        if approval is None:
            return guardrails
        if approval.answered is None:
            return {**guardrails, "approval": "unanswered"}
        wait_ms = round((approval.answered - approval.asked.t) * 1000)
        return {**guardrails, "approval": "approved" if approval.approved else "rejected", "approval_wait_ms": wait_ms}

    def numbers(self) -> dict[str, Any]:
        """The root's metadata: the agents in order of appearance, and how often guardrails and handoffs happened."""
        counts = {"handoffs": self._handoffs, "guardrails_tripped": self._trips, "approvals": len(self._approvals)}
        agents: dict[str, Any] = {"agents": list(self._names)} if self._names else {}
        return agents | {name: count for name, count in counts.items() if count}


def guardrail_payload(given: GuardrailTripped) -> dict[str, Any]:
    """The payload of the run of tripped guardrails."""
    guardrails = [dict(each) for each in given.guardrails]
    return {
        "type": "guardrail_tripped",
        **({"response_id": given.response_id} if given.call_id is None else {"call_id": given.call_id}),
        "guardrails": guardrails,
        "message": given.message,
    }
