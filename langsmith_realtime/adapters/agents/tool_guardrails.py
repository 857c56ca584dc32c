"""The guardrails of a session's tools, of which the SDK tells nothing but the text that they give the model.

A guardrail is an object of the application's, and may belong to tools of several sessions at once. So its public method
``run`` is tapped once for all sessions, and the tap finds the session by the call that its context carries out.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from langsmith_realtime.adapters.agents.taps import Taps
from langsmith_realtime.adapters.agents.tool_calls import Call, current_call
from langsmith_realtime.core.payloads.errors import describe_error
from langsmith_realtime.core.payloads.json_values import json_copy
from langsmith_realtime.core.protocol.events import mapping
from langsmith_realtime.core.protocol.inputs import GuardrailTripped
from langsmith_realtime.live.capture import LiveConversation

#: Attributes of a tool with its guardrails, which older versions of the SDK lack.
_OF_INPUT, _OF_OUTPUT = "tool_input_guardrails", "tool_output_guardrails"

_lock = threading.Lock()
#: The guardrails that are tapped, by ``id()``: how many sessions watch each of them, and its tap.
_tapped: dict[int, tuple[int, Taps]] = {}


class ToolGuardrails:
    """Tells conversations what the guardrails of a session's tools find, from :meth:`watch` to :meth:`remove`."""

    def __init__(self) -> None:
        self._watched: dict[int, Any] = {}  # by id()

    def watch(self, tools: Iterable[Any]) -> None:
        """Watch the guardrails of these tools, too."""
        for tool in tools:
            for side in (_OF_INPUT, _OF_OUTPUT):
                guardrails = getattr(tool, side, None)
                for guardrail in guardrails if isinstance(guardrails, list | tuple) else ():
                    if id(guardrail) not in self._watched:
                        self._watched[id(guardrail)] = guardrail
                        _tap(guardrail)

    def remove(self) -> None:
        """Watch no guardrail any more."""
        for key in self._watched:
            _untap(key)
        self._watched = {}


def _tap(guardrail: Any) -> None:
    async def run(original: Callable[..., Awaitable[Any]], data: Any, *rest: Any, **more: Any) -> Any:
        call = current_call()
        try:
            result = await original(data, *rest, **more)
        except Exception as error:
            if call is not None:
                call.live.guarded(call.calls.failed, call.live, describe_error(error))
            raise
        if call is not None:
            call.live.guarded(_tell, call.live, call, guardrail, data, result)
        return result

    with _lock:
        count, taps = _tapped.get(id(guardrail), (0, Taps()))
        if not count:
            taps.set(guardrail, "run", run)
        _tapped[id(guardrail)] = count + 1, taps


def _untap(key: int) -> None:
    with _lock:
        count, taps = _tapped.pop(key)
        if count > 1:
            _tapped[key] = count - 1, taps
        else:
            taps.remove()


def _tell(live: LiveConversation, call: Call, guardrail: Any, data: Any, result: Any) -> None:
    behavior = mapping(result.behavior).get("type")
    if behavior == "allow":
        return
    found: dict[str, Any] = json_copy({"info": result.output_info})
    facts = {"name": guardrail.get_name(), "agent": data.agent.name, "tool": data.context.tool_name}
    output = getattr(data, "output", None)  # that of the tool, which the model does not see
    checked = output if isinstance(output, str | None) else json.dumps(json_copy(output), ensure_ascii=False)
    told = [{**facts, "behavior": behavior, **found}]
    live.told_as_run(lambda t, run: GuardrailTripped(t, run, None, told, checked or "", call.id), call.id)
