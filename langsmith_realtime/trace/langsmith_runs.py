"""The exporter to LangSmith: one operation for each run, two for the root.

Leaves runs out when the trace is too large, takes the verdicts of its operations and reports them to the ledger, and
keeps the number of missing runs on the root up to date until the root's update is sent. The sender's threads call
:meth:`LangSmithRuns.settled`, :meth:`LangSmithRuns.leave_out` and :meth:`LangSmithRuns.replacement`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langsmith_realtime.core.conversation.run_data import (
    AgentStep,
    ChildRun,
    ConversationEnd,
    EventRun,
    ModelRun,
    RunData,
    SpeechRun,
    ToolRun,
    TurnRun,
)
from langsmith_realtime.core.payloads.scrubbing import scrub
from langsmith_realtime.core.protocol.inputs import Annotated, Ref
from langsmith_realtime.delivery.feedback import Feedback
from langsmith_realtime.delivery.operations import (
    FEEDBACK,
    ROOT_CREATE,
    ROOT_UPDATE,
    Ledger,
    MissingReason,
    Operation,
    Verdict,
)
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.delivery.tail_sampling import OperationSink
from langsmith_realtime.recording.finishing import FinishedRecording
from langsmith_realtime.trace.privacy import Privacy
from langsmith_realtime.trace.run_builder import RunBuilder, fit_payload
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns, ParentRun
from langsmith_realtime.trace.run_trees.run_limits import Priority, RunBudget, priority_of


class LangSmithRuns:
    """Sends the runs of one conversation, and owns their operations.

    Args:
        conversation_runs: the root run, and what the conversation's runs share.
        sink: takes the operations.
        feedback: sends feedback scores.
        privacy: masks what the runs show.
    """

    def __init__(
        self,
        conversation_runs: ConversationRuns,
        sink: OperationSink,
        feedback: Sender,
        privacy: Privacy | None = None,
    ) -> None:
        self._root = conversation_runs.root
        self._budget = RunBudget(conversation_runs.limits)
        self._builder = RunBuilder(conversation_runs, privacy or Privacy())
        self._sink = sink
        self._feedback_sender = feedback
        #: Gets the verdict of each operation; an operation that has a verdict there already is not sent again.
        self.ledger: Ledger | None = None
        self._latest_left_out: ParentRun | None = None  # the caller's next work may stand below it
        # The root's update, its metadata without the recording's, the recording, and the feedback that follows.
        self._root_update: ParentRun | None = None
        self._root_metadata: dict[str, Any] = {}
        self._recorded = FinishedRecording()
        self._feedback: Feedback | None = None

    @property
    def trace_id(self) -> str:
        return str(self._root.trace_id)

    # The exporter

    def opened(self) -> None:
        """Post the root, so that the conversation is visible from its start."""
        self._put(Operation(self._builder.root(), ROOT_CREATE))

    def emit(self, data: RunData) -> None:
        """Send the run of some run data, unless the trace has too many runs.

        Utterances and the steps of agents have no runs of their own.
        """
        if isinstance(data, (SpeechRun, AgentStep)):
            return
        if isinstance(data, ChildRun):
            self._budget.add_child()
            if data.parent is not None:
                self._need(data.parent)
            return
        if isinstance(data, (ModelRun, ToolRun)):
            self._need(data.parent)
        run, priority = self._builder.run(data), _priority(data)
        if self._budget.admits(run.id, run.name, priority):
            is_dispensable = priority is Priority.LOW
            self._put(Operation(run, str(run.id), size=fit_payload(run), is_dispensable=is_dispensable))
        else:
            self._latest_left_out = run

    def annotated(self, annotation: Annotated) -> None:
        """Add to the root's update what the application added to the conversation."""
        self._builder.annotate(annotation)

    def closed(self, end: ConversationEnd, recorded: FinishedRecording) -> None:
        """Send the root's update, and feedback scores after it."""
        metadata, scores = end.metadata, end.scores
        if scores and self._root.replicas:
            # Each replica has a run of its own, whose id only LangSmith's client knows.
            metadata, scores = {**metadata, "feedback_skipped": "replicas"}, {}
        run = self._root_update = self._builder.ended_root(end, metadata)
        self._root_metadata = run.extra["metadata"]
        size = fit_payload(run)
        if scores and self._is_unsettled(FEEDBACK):
            self._feedback = Feedback(self._builder.root(), FEEDBACK, owner=self, scores=scores)
        if self._is_unsettled(ROOT_UPDATE):
            self._sink.put(self._update_operation(recorded, size))
        else:
            self._send_feedback()

    def discarded(self) -> None:
        """Remove the journal of a conversation that ``keep=`` does not keep."""
        if self.ledger is not None:
            self.ledger.discard()

    # The owner of the operations

    def settled(self, verdicts: Sequence[tuple[Operation, Verdict]]) -> None:
        """Tell the ledger the verdicts; count refused runs; the root's update ends the recording."""
        for operation, verdict in verdicts:
            is_abandoned = verdict is Verdict.ABANDONED and self.ledger is not None  # a later recovery sends it
            if operation.name == ROOT_UPDATE and not is_abandoned:
                self._send_feedback()
                if self._recorded.done is not None:
                    self._recorded.done(verdict is Verdict.DELIVERED)
            elif operation.name not in (ROOT_CREATE, ROOT_UPDATE, FEEDBACK) and verdict is Verdict.REFUSED:
                self._budget.note_refused()
                self._update_missing()
            if self.ledger is None:
                continue
            if is_abandoned:
                self.ledger.give_up(operation.name)
            else:
                self.ledger.settle(operation.name, refused=verdict is not Verdict.DELIVERED)
        if self.ledger is not None:
            self.ledger.flush()

    def leave_out(self, operation: Operation, reason: MissingReason) -> bool:
        """Leave an event's run out, unless it has children."""
        if not self._budget.leave_out(operation.run.id, operation.run.name, reason):
            return False
        self._update_missing()
        if self.ledger is not None:
            if reason is MissingReason.LIMIT:
                self.ledger.settle(operation.name, refused=True)
            else:
                self.ledger.give_up(operation.name)  # a later recovery sends it
        return True

    def replacement(self, operation: Operation, status: int) -> Operation | None:
        """The root's update with a smaller recording, or without one."""
        make_smaller = self._recorded.refused
        return None if make_smaller is None else self._update_operation(make_smaller(status), operation.size)

    # Details

    def _need(self, parent: Ref) -> None:
        """A run has a child: send the run if it was left out; without its payload if others were left out since."""
        run_id = self._builder.id_of(parent)
        name = self._budget.bring_back(run_id)
        if name is None:
            return
        latest = self._latest_left_out
        run = latest if latest is not None and latest.id == run_id else self._builder.bare_event(parent, name)
        self._put(Operation(run, str(run_id), size=fit_payload(run)), again=True)

    def _update_operation(self, recorded: FinishedRecording, size: int) -> Operation:
        run = self._root_update
        assert run is not None
        self._recorded = recorded
        has_recording = recorded.attachment is not None or "recording_url" in recorded.metadata
        start = self._builder.recording_start() if has_recording else {}
        run.extra = {"metadata": {**self._root_metadata, **scrub(recorded.metadata), **start}}
        self._update_missing()
        attachments = {} if recorded.attachment is None else {"conversation": recorded.attachment}
        return Operation(run, ROOT_UPDATE, update=True, attachments=attachments, size=size, owner=self)

    def _send_feedback(self) -> None:
        feedback, self._feedback = self._feedback, None
        if feedback is not None:
            self._feedback_sender.put(feedback)

    def _put(self, operation: Operation, *, again: bool = False) -> None:
        if self._is_unsettled(operation.name, again=again):
            operation.owner = self
            self._sink.put(operation)

    def _is_unsettled(self, name: str, *, again: bool = False) -> bool:
        return self.ledger is None or self.ledger.expect(name, again=again)

    def _update_missing(self) -> None:
        """Write the numbers of missing runs onto the root's update, which may still wait to be sent."""
        if self._root_update is not None:
            self._root_update.extra["metadata"].update(self._budget.missing())


def _priority(data: EventRun | ModelRun | ToolRun | TurnRun) -> Priority:
    if isinstance(data, EventRun):
        return priority_of(data.name, failed=data.error is not None)
    return Priority.HIGH
