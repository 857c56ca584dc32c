"""A conversation that LangSmith's sampling leaves out: nothing is recorded, kept or sent.

The caller's own traced work still nests under it, so that LangSmith's client leaves that out as well.
"""

from __future__ import annotations

from langsmith_realtime import sampling
from langsmith_realtime.live import LiveConversation


class UnsampledConversation(LiveConversation):
    """It knows its place in the context, and nothing else."""

    is_sampled = False

    def _open(self) -> None:
        self._closed = True

    def server_event(self, *_: object) -> None:
        self.expect()

    def frame(self, *_: object) -> None:
        self.expect()

    def expect(self) -> None:
        if not self.family.ended:
            self._become(None)

    def close(self, error: BaseException | str | None = None) -> None:
        super().close(error)
        if not self.family.ended:
            self.family.ended = True
            self.guarded(sampling.forget, self.family.root)
