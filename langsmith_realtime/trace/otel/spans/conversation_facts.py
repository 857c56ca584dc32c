"""What every span of a conversation says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langsmith_realtime.core.protocol.events import text
from langsmith_realtime.options.tracing import Options


@dataclass(slots=True)
class ConversationFacts:
    """What every span of a conversation says, and what the caller's threads have learned."""

    thread_id: str
    has_given_thread: bool
    provider: str
    model: str | None
    agent_name: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    #: ``server.address`` and ``server.port``, as far as they are known.
    server: dict[str, Any] = field(default_factory=dict)
    #: The server's id of the session, once it has told it.
    session_id: str | None = None

    def of_start(self) -> dict[str, Any]:
        """The facts that are known when a span starts."""
        return {
            "thread_id": self.thread_id,
            "thread_id_200": self.thread_id.encode("ascii", "replace").decode()[:200],
            "provider": self.provider,
        }


def facts_of(
    options: Options, *, thread_id: str, has_given_thread: bool, tags: tuple[str, ...], metadata: Mapping[str, Any]
) -> ConversationFacts:
    """What every span of a conversation says."""
    given = str(metadata.get("ls_provider") or "openai")
    return ConversationFacts(
        thread_id,
        has_given_thread,
        "azure.ai.openai" if given.startswith("azure") else given,
        options.model,
        agent_name=text(metadata.get("agent_name")),
        metadata=metadata,
        tags=tags,
    )
