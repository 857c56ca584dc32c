"""What happened → run trees of LangSmith, handed to the sender; one operation for every run but the root.

Used by the worker alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from langsmith_realtime.core.conversation.run_data import EventRun, ModelRun, RunData, ToolRun
from langsmith_realtime.core.payloads.errors import Failure
from langsmith_realtime.core.payloads.json_values import cut_text, cut_to_size, json_frame, without_surrogates
from langsmith_realtime.core.payloads.scrubbing import scrub
from langsmith_realtime.delivery.feedback import Feedback
from langsmith_realtime.delivery.operations import FEEDBACK, LEFT_OUT, ROOT_CREATE, ROOT_UPDATE, Operation, Shortage
from langsmith_realtime.delivery.sender import Sender
from langsmith_realtime.delivery.tail_sampling import Target
from langsmith_realtime.journal.file import Journal
from langsmith_realtime.recording.recorder import Recorded
from langsmith_realtime.trace import redaction
from langsmith_realtime.trace.privacy import Privacy
from langsmith_realtime.trace.run_trees.nesting import ConversationRuns, ParentRun, derive
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, time_of, uuid7
from langsmith_realtime.trace.run_trees.run_limits import Weight, weight_of

Op = TypeVar("Op", bound=Operation)

#: LangSmith refuses longer names.
NAME_LENGTH = 128
#: Bytes of JSON for a run's inputs, its outputs and its metadata. LangSmith refuses a run of 20 MB in all.
PAYLOAD_BYTES, METADATA_BYTES = 8_000_000, 1_000_000
#: Characters.
ERROR_LENGTH = 100_000


class LangSmithRuns:
    """Makes the runs of one conversation."""

    def __init__(
        self, family: ConversationRuns, sender: Target, feedback: Sender, privacy: Privacy | None = None
    ) -> None:
        self._family = family
        self._root = family.root
        self._start = microseconds_of(family.root.start_time)
        self._sender = sender
        self._feedback = feedback
        #: Where what is sent is settled, if anywhere; what is settled there already is not sent.
        self.journal: Journal | None = None
        self._privacy = privacy or Privacy()
        family.bring_back = self.bring_back
        self._ended: ParentRun | None = None  # with what is said of it in the end

    @property
    def trace_id(self) -> str:
        return str(self._root.trace_id)

    def open(self) -> None:
        """Post the root: the conversation is visible from now on."""
        self._put(Operation(self._root_as_it_is()), ROOT_CREATE)

    def emit(self, happening: RunData) -> None:
        """Send the run of something that happened."""
        self._privacy.take_left_out()  # of what is no run
        run = self._run(happening)
        if run is None:
            return
        if self._privacy.take_left_out():
            run.extra["metadata"][LEFT_OUT] = True
        weight = _weight(happening)
        if self._family.census.admits(run.id, weight):
            spare = self._spare(run) if weight is Weight.STRUCTURE else None
            self._put(Operation(run, size=_fit(run), spare=spare, done=self._answered), str(run.id))

    def bring_back(self, event: ParentRun) -> None:
        """Send the run of an event that was left out, without what it said: something hangs below it."""
        if self._family.census.bring_back(event.id):
            run = derive(self._root, _name(event.name), "chain", event.start_time, event.id)
            run.inputs, run.end_time = {"event": {"type": run.name}}, run.start_time
            run.extra["metadata"][LEFT_OUT] = True
            self._put(Operation(run, done=self._answered), str(run.id))

    def malformed(self, ref: ParentRun, reason: str, frame: object) -> None:
        """Send the run of a frame that is no event."""
        self.emit(EventRun(ref, "malformed_frame", {"frame": json_frame(frame)}, error=Failure(reason)))

    def close(
        self,
        t: float,
        *,
        inputs: dict[str, Any],
        messages: list[dict[str, Any]],
        metadata: dict[str, Any],
        error: str | None,
        recorded: Recorded,
        scores: Mapping[str, float] | None = None,
    ) -> None:
        """Send the root's one update, with everything that is known only now, and then its feedback scores."""
        if scores and self._root.replicas:
            # Each replica has a run of its own, whose id only LangSmith's client knows.
            metadata, scores = {**metadata, "feedback_skipped": "replicas"}, None
        self._privacy.take_left_out()  # of what is no run
        run = self._root_as_it_is()
        run.end_time = max(self._time(t), run.start_time)
        run.inputs = self._privacy.shown(inputs, redaction.of_set_up)
        run.outputs = self._privacy.shown({"messages": messages}, redaction.of_talk)
        run.error = self._message(error)
        run.extra = {"metadata": {**self._root.extra["metadata"], **scrub(metadata)}}
        if self._privacy.take_left_out():
            run.extra["metadata"][LEFT_OUT] = True
        self._ended = run
        size = _fit(run)
        scored: Feedback | None = None

        if scores and self._is_due(FEEDBACK):
            scored = self._settling(Feedback(self._root_as_it_is(), scores=scores), FEEDBACK)

        def sent() -> None:
            if scored is not None:
                self._feedback.put(scored)

        if self._is_due(ROOT_UPDATE):
            self._sender.put(self._closing(run, recorded, size, sent))
        else:
            sent()

    def _closing(self, run: ParentRun, recorded: Recorded, size: int, sent: Callable[[], None]) -> Operation:
        """The root's update with what became of the recording; refused, it can still be another one."""
        said, refused = run.extra["metadata"], recorded.refused
        run.extra = {"metadata": {**said, **scrub(recorded.metadata)}}
        self._tell_lacks()

        def done(delivered: bool) -> None:
            sent()
            if recorded.done is not None:
                recorded.done(delivered)

        def instead(status: int) -> Operation:
            assert refused is not None
            run.extra = {"metadata": said}
            return self._closing(run, refused(status), size, sent)

        operation = Operation(
            run,
            update=True,
            attachments={} if recorded.attachment is None else {"conversation": recorded.attachment},
            size=size,
            done=done,
            left=lambda: done(False),
            refused=None if refused is None else instead,
        )
        return self._settling(operation, ROOT_UPDATE)

    def _put(self, operation: Operation, name: str) -> None:
        if self._is_due(name):
            self._sender.put(self._settling(operation, name))

    def _is_due(self, name: str) -> bool:
        return self.journal is None or self.journal.expect(name)

    def _settling(self, operation: Op, name: str) -> Op:
        """The operation, whose verdict the journal hears, after whoever else does."""
        journal = self.journal
        if journal is None:
            return operation
        heard = operation.done

        def done(delivered: bool) -> None:
            if heard is not None:
                heard(delivered)
            journal.settle(name, refused=not delivered)

        spare = operation.spare

        def left_out(why: Shortage) -> bool:
            if spare is None or not spare(why):
                return False
            if why is Shortage.LIMIT:
                journal.settle(name, refused=True)
            else:
                journal.give_up(name)
            return True

        # What is left, or dropped, is in the journal, for a later recovery.
        operation.done, operation.noted, operation.left = done, journal.flush, lambda: journal.give_up(name)
        operation.spare = None if spare is None else left_out
        return operation

    def _answered(self, delivered: bool) -> None:
        """The server has one of the runs below the root, or refused it for good."""
        if not delivered:
            self._family.census.refused()
            self._tell_lacks()

    def _tell_lacks(self) -> None:
        """The root's update may wait still: it says what the trace lacks."""
        if self._ended is not None:
            self._ended.extra["metadata"].update(self._family.census.lacks())

    def discard(self) -> None:
        """Nobody wants the conversation."""
        if self.journal is not None:
            self.journal.discard()

    def _spare(self, run: ParentRun) -> Callable[[Shortage], bool]:
        census, run_id = self._family.census, run.id

        def leave_out(why: Shortage) -> bool:
            if not census.leave_out(run_id, why):
                return False
            self._tell_lacks()
            return True

        return leave_out

    def _root_as_it_is(self) -> ParentRun:
        # A copy: the root itself is what the caller's own runs are made from, in other threads.
        run = derive(self._root, self._root.name, self._root.run_type, self._root.start_time, self._root.id)
        run.parent_run_id, run.dotted_order = self._root.parent_run_id, self._root.dotted_order
        return run

    def _run(self, happening: RunData) -> ParentRun | None:
        if isinstance(happening, EventRun):
            return self._event_run(happening)
        if isinstance(happening, ModelRun):
            return self._model_run(happening)
        return self._tool_run(happening)

    def _event_run(self, event: EventRun) -> ParentRun:
        known: ParentRun = event.ref
        run = derive(self._root, _name(event.name), "chain", known.start_time, known.id)
        run.inputs = {"event": self._privacy.shown(event.payload, redaction.of_event)}
        self._end(run, event.end, event.error, interrupted=event.interrupted, metadata=event.metadata)
        return run

    def _model_run(self, model: ModelRun) -> ParentRun:
        start = model.parent.start_time
        self._family.child_below(model.parent)
        # Made again from the journal, it is the same run.
        seed = f"{model.parent.id} model {without_surrogates(str(model.metadata.get('response_id')))}"
        run = derive(model.parent, "model", "llm", start, uuid7(microseconds_of(start), seed))
        run.inputs = self._privacy.shown({"messages": model.inputs}, redaction.of_talk)
        choice = {"index": 0, "message": model.message, "finish_reason": model.finish_reason}
        run.outputs = self._privacy.shown({"choices": [choice]}, redaction.of_talk)
        metadata = {
            **model.metadata,
            "ls_provider": "openai",
            "ls_model_type": "chat",
            "ls_message_format": "completions",
        }
        if model.model is not None:
            metadata["ls_model_name"] = model.model
        # Azure and others: what the user says of provider and model is right.
        metadata.update({key: value for key, value in self._family.metadata.items() if key.startswith("ls_")})
        self._end(run, model.end, model.error, interrupted=model.interrupted, metadata=metadata)
        if model.usage is not None:
            run.extra["metadata"]["usage_metadata"] = model.usage
        if model.first_token is not None:
            first = max(self._time(model.first_token), start)
            run.events = [{"name": "new_token", "time": first.isoformat()}]
        return run

    def _tool_run(self, tool: ToolRun) -> ParentRun | None:
        if tool.call_id in self._family.claimed:
            return None  # the user's own run is there
        known = self._family.tool_below(tool.parent, tool.call_id, tool.name)
        run = derive(known, _name(tool.name), "tool", known.start_time, known.id)
        run.parent_run_id, run.dotted_order = known.parent_run_id, known.dotted_order
        run.inputs = self._privacy.shown(_arguments(tool.arguments), redaction.of_arguments)
        run.outputs = {} if tool.output is None else self._privacy.shown(tool.output, redaction.of_message)
        metadata = {**tool.metadata, "tool_call_id": tool.call_id}
        if not tool.answered:
            metadata["answered"] = False
        self._end(run, tool.end, tool.error, interrupted=False, metadata=metadata)
        return run

    def _end(
        self, run: ParentRun, end: float | None, error: str | None, *, interrupted: bool, metadata: dict[str, Any]
    ) -> None:
        run.end_time = run.start_time if end is None else max(self._time(end), run.start_time)
        run.error = self._message(error)
        if metadata:
            run.extra["metadata"].update(cut_to_size(self._privacy.metadata(metadata), METADATA_BYTES)[0])
        if interrupted:
            run.extra["metadata"]["ls_is_error_interrupt"] = True

    def _message(self, error: str | None) -> str | None:
        shown = self._privacy.error(error)
        return None if shown is None else cut_text(shown, ERROR_LENGTH)

    def _time(self, t: float) -> datetime:
        return time_of(self._start + round(t * 1_000_000))


def _weight(happening: RunData) -> Weight:
    if isinstance(happening, EventRun):
        return weight_of(happening.name, failed=happening.error is not None)
    return Weight.CORE


def _fit(run: ParentRun) -> int:
    """Keep the run within what LangSmith takes; about its bytes."""
    run.inputs, given = cut_to_size(run.inputs, PAYLOAD_BYTES)
    run.outputs, made = cut_to_size(run.outputs, PAYLOAD_BYTES)
    return 1000 + given + made


def _name(name: str) -> str:
    return without_surrogates(name)[:NAME_LENGTH]


def _arguments(arguments: str | None) -> dict[str, Any]:
    """A call's arguments as inputs: the object they are, or what the model wrote when they are none."""
    try:
        given = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        given = arguments
    return given if isinstance(given, dict) else {"arguments": given}
