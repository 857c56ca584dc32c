"""Reads what the page needs from the payloads of events and the outputs of runs. Pure; any value may be wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from langsmith_realtime.collector.records import StoredRun

_HIDDEN_WORDS: Final = frozenset({"[audio, not transcribed]", "[audio, transcription failed]"})


def step_text(kind: str, event: dict[str, Any]) -> str | None:
    """Return what an event of the OpenAI Agents SDK says, as a sentence; None for every other event."""
    agent = known_text(event.get("agent")) or "another agent"
    if kind == "handoff":
        return f"{known_text(event.get('previous_agent')) or 'The agent'} hands over to {agent}"
    if kind == "agent_changed":  # the first agent is named by what it says
        return f"The application sets {agent}" if event.get("previous_agent") else None
    if kind == "guardrail_tripped":
        found = event.get("guardrails") if isinstance(event.get("guardrails"), list) else []
        tripped = names([each.get("name") for each in found or [] if isinstance(each, dict)])
        return f"Guardrail {', '.join(tripped) or 'without a name'} tripped"
    if kind == "tool_approval_required":
        return f"{known_text(event.get('name')) or 'A tool'} waits for an approval"
    return None


def answer_of(run: StoredRun | None) -> dict[str, Any]:
    """Return the message of a ``model`` run; empty if it has none."""
    choices = (run.outputs or {}).get("choices") if run is not None else None
    message = (
        choices[0].get("message") if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
    )
    return message if isinstance(message, dict) else {}


def result_text(outputs: dict[str, Any] | None) -> str | None:
    """Return what a tool answered, as text; None without an answer."""
    if not outputs:
        return None
    result = outputs["output"] if set(outputs) == {"output"} else outputs
    if outputs.get("role") == "tool":
        result = outputs.get("content", outputs)
    return result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)


def item_id_of(event: dict[str, Any]) -> str | None:
    """Return the id of the item that an event is about; None without one."""
    item = event.get("item")
    found = event.get("item_id") or (item.get("id") if isinstance(item, dict) else None)
    return found if isinstance(found, str) else None


def response_id_of(event: dict[str, Any]) -> str | None:
    """Return the id of the response that an event is about; None without one."""
    response = event.get("response")
    found = event.get("response_id") or (response.get("id") if isinstance(response, dict) else None)
    return found if isinstance(found, str) else None


def known_text(value: object) -> str | None:
    """Return a text; None for another value, and for words that stand for what is hidden or was not transcribed."""
    return value if isinstance(value, str) and value not in _HIDDEN_WORDS else None


def names(value: object) -> list[str]:
    """Return the texts of a list; none if the value is no list."""
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
