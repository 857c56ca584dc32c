"""Sends a conversation's runs to LangSmith: one operation for each run, two for the root.

Leaves runs out when the trace is too large, reports verdicts to the journal, and writes the numbers of missing runs
into the root's update. The session's thread sends runs; a thread of the caller's may send a left-out event, and another
thread may send the root's update. The callbacks of operations mostly run on sender threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from langsmith_realtime.core.conversation.run_data import EventRun, RunData
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.payloads.json_values import json_frame
from langsmith_realtime.core.payloads.scrubbing import scrub
from langsmith_realtime.delivery.feedback import Feedback
from langsmith_realtime.delivery.operations import FEEDBACK, ROOT_CREATE, ROOT_UPDATE, MissingReason, Operation
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.delivery.tail_sampling import OperationSink
from langsmith_realtime.journal.file import Journal
from langsmith_realtime.recording.finishing import FinishedRecording
from langsmith_realtime.trace.privacy import Privacy
from langsmith_realtime.trace.run_builder import RunBuilder, fit_payload
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns, ParentRun
from langsmith_realtime.trace.run_trees.run_limits import Priority, priority_of

Op = TypeVar("Op", bound=Operation)


class LangSmithRuns:
    """Sends the runs of one conversation.

    Args:
        conversation_runs: what the conversation's runs share.
        sink: takes the operations, but not the feedback.
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
        self._run_budget = conversation_runs.run_budget
        self._builder = RunBuilder(conversation_runs, privacy or Privacy())
        self._sink = sink
        self._feedback = feedback
        #: Gets the verdict of each operation; an operation that has a verdict there already is not sent again.
        self.journal: Journal | None = None
        conversation_runs.send_left_out_event = self.send_left_out_event
        self._root_update: ParentRun | None = None

    @property
    def trace_id(self) -> str:
        return str(self._root.trace_id)

    def open(self) -> None:
        """Post the root, so that the conversation is visible from its start."""
        self._put(Operation(self._builder.root()), ROOT_CREATE)

    def emit(self, data: RunData) -> None:
        """Send the run of some run data, unless the trace has too many runs for one of its priority.

        Nothing is sent for a tool call that a run of the caller's carries out.
        """
        run = self._builder.run(data)
        if run is None:
            return
        priority = _priority(data)
        if self._run_budget.admits(run.id, priority):
            leave_out = self._leave_out(run) if priority is Priority.LOW else None
            operation = Operation(run, size=fit_payload(run), leave_out=leave_out, on_verdict=self._note_verdict)
            self._put(operation, str(run.id))

    def send_left_out_event(self, event: ParentRun) -> None:
        """Send the run of a left-out event, without the event's payload, because the run has a child now.

        Does nothing if the trace is full or the run was sent already.
        """
        if self._run_budget.readmit(event.id):
            run = self._builder.bare_event(event)
            self._put(Operation(run, on_verdict=self._note_verdict), str(run.id))

    def malformed(self, ref: ParentRun, reason: str, frame: object) -> None:
        """Send the run ``malformed_frame`` of a frame that is not an event; the run's error is ``reason``."""
        self.emit(EventRun(ref, "malformed_frame", {"frame": json_frame(frame)}, error=Failure(reason)))

    def close(
        self,
        t: float,
        *,
        inputs: dict[str, Any],
        messages: list[dict[str, Any]],
        metadata: dict[str, Any],
        error: str | None,
        recorded: FinishedRecording,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        """Send the root's update and, after its verdict, the feedback scores; with replicas, no scores.

        Args:
            t: when the conversation ended, in seconds since it opened.
            inputs: the session's configuration.
            messages: the transcript, as chat messages.
            metadata: the root's metadata that is known only at the end.
            error: why the conversation failed, if it did.
            recorded: the recording to attach.
            scores: feedback scores, by the name of the metric.
        """
        if scores and self._root.replicas:
            # Each replica has a run of its own, whose id only LangSmith's client knows.
            metadata, scores = {**metadata, "feedback_skipped": "replicas"}, None
        run = self._builder.ended_root(t, inputs=inputs, messages=messages, metadata=metadata, error=error)
        self._root_update = run
        size = fit_payload(run)
        feedback: Feedback | None = None
        if scores and self._is_unsettled(FEEDBACK):
            feedback = self._journaled(Feedback(self._builder.root(), scores=scores), FEEDBACK)

        def send_feedback() -> None:
            if feedback is not None:
                self._feedback.put(feedback)

        if self._is_unsettled(ROOT_UPDATE):
            self._sink.put(self._update_operation(run, recorded, size, send_feedback))
        else:
            send_feedback()

    def _update_operation(
        self, run: ParentRun, recorded: FinishedRecording, size: int, send_feedback: Callable[[], None]
    ) -> Operation:
        """The root's update with the recording attached.

        If LangSmith refuses the attachment, an update with a smaller one, or none, takes its place.
        """
        metadata, make_smaller = run.extra["metadata"], recorded.refused
        run.extra = {"metadata": {**metadata, **scrub(recorded.metadata)}}
        self._update_missing()

        def on_verdict(delivered: bool) -> None:
            send_feedback()
            if recorded.done is not None:
                recorded.done(delivered)

        def make_replacement(status: int) -> Operation:
            assert make_smaller is not None
            run.extra = {"metadata": metadata}
            return self._update_operation(run, make_smaller(status), size, send_feedback)

        operation = Operation(
            run,
            update=True,
            attachments={} if recorded.attachment is None else {"conversation": recorded.attachment},
            size=size,
            on_verdict=on_verdict,
            on_abandoned=lambda: on_verdict(False),
            make_replacement=None if make_smaller is None else make_replacement,
        )
        return self._journaled(operation, ROOT_UPDATE)

    def _put(self, operation: Operation, name: str) -> None:
        if self._is_unsettled(name):
            self._sink.put(self._journaled(operation, name))

    def _is_unsettled(self, name: str) -> bool:
        return self.journal is None or self.journal.expect(name)

    def _journaled(self, operation: Op, name: str) -> Op:
        """The same operation, changed so that the journal gets its verdict after the operation's own callback."""
        journal = self.journal
        if journal is None:
            return operation
        own_callback = operation.on_verdict

        def on_verdict(delivered: bool) -> None:
            if own_callback is not None:
                own_callback(delivered)
            journal.settle(name, refused=not delivered)

        own_leave_out = operation.leave_out

        def leave_out(reason: MissingReason) -> bool:
            if own_leave_out is None or not own_leave_out(reason):
                return False
            if reason is MissingReason.LIMIT:
                journal.settle(name, refused=True)
            else:
                journal.give_up(name)  # a later recovery sends it
            return True

        operation.on_verdict, operation.on_batch_verdict = on_verdict, journal.flush
        operation.on_abandoned = lambda: journal.give_up(name)  # a later recovery sends it
        operation.leave_out = None if own_leave_out is None else leave_out
        return operation

    def _note_verdict(self, delivered: bool) -> None:
        """Count the run as missing if LangSmith refused it for good."""
        if not delivered:
            self._run_budget.note_refused()
            self._update_missing()

    def _update_missing(self) -> None:
        """Write the numbers of missing runs onto the root's update, which may still wait to be sent."""
        if self._root_update is not None:
            self._root_update.extra["metadata"].update(self._run_budget.missing())

    def discard(self) -> None:
        """Remove the journal of a conversation that ``keep=`` does not keep."""
        if self.journal is not None:
            self.journal.discard()

    def _leave_out(self, run: ParentRun) -> Callable[[MissingReason], bool]:
        budget, run_id = self._run_budget, run.id

        def leave_out(reason: MissingReason) -> bool:
            if not budget.leave_out(run_id, reason):
                return False
            self._update_missing()
            return True

        return leave_out


def _priority(data: RunData) -> Priority:
    if isinstance(data, EventRun):
        return priority_of(data.name, failed=data.error is not None)
    return Priority.HIGH
