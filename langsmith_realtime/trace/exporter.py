"""The seam between what a conversation is known to be and where it is shown: what an exporter gets, and when."""

from __future__ import annotations

from typing import Protocol

from langsmith_realtime.core.conversation.run_data import ConversationEnd, RunData
from langsmith_realtime.core.protocol.inputs import Annotated
from langsmith_realtime.recording.finishing import FinishedRecording


class Exporter(Protocol):
    """Shows one conversation somewhere. Several may be active; none changes what another one sends.

    Every method is called on the worker's thread, except the last one, :meth:`closed` or :meth:`discarded`, which may
    come from a thread that finishes the recording. An exception costs only the call.
    """

    def opened(self) -> None:
        """The conversation began."""

    def emit(self, data: RunData) -> None:
        """A run is complete. A kind of run data that the exporter does not know is to be ignored."""

    def annotated(self, annotation: Annotated) -> None:
        """The application added metadata, tags or outputs to the conversation."""

    def closed(self, end: ConversationEnd, recorded: FinishedRecording) -> None:
        """The conversation ended, and its recording is finished."""

    def discarded(self) -> None:
        """The conversation ended, and the rule ``keep=`` does not keep it."""
