"""A conversation that LangSmith's sampling leaves out."""

from __future__ import annotations

from langsmith_realtime.delivery.langsmith_client import sampling
from langsmith_realtime.live.capture import LiveConversation, Posting


class UnsampledConversation(LiveConversation):
    """A conversation that LangSmith's sampling leaves out: nothing of it is recorded or sent.

    It still is the parent of the caller's traced work, so that LangSmith's client leaves that work out, too.
    """

    is_sampled = False

    #: What is left out has no inputs.
    has_inputs = False

    def _open(self, _: Posting) -> None:
        self.is_held = False
        self._closed = True

    def discard(self) -> None:
        self.close()

    def server_event(self, *_: object) -> None:
        self.begin_receive()

    def parsed_frame(self, *_: object) -> None:
        self.begin_receive()

    def begin_receive(self) -> None:
        if not self.runs.ended:
            self._set_parent(None)

    def close(self, error: BaseException | str | None = None) -> None:
        super().close(error)
        if not self.runs.ended:
            self.runs.ended = True
            self.guarded(sampling.forget, self.runs.root)
