"""What happened → run trees of LangSmith, handed to the sender; one operation for every run but the root.

Used by the worker alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from langsmith_realtime.feedback import Feedback
from langsmith_realtime.happenings import EventRun, Happening, ModelRun, ToolRun
from langsmith_realtime.ids import microseconds_of, time_of, uuid7
from langsmith_realtime.parents import Family, ParentRun, derive
from langsmith_realtime.plain import cut_text, fitted, plain_frame, sayable
from langsmith_realtime.recorder import Recorded
from langsmith_realtime.scrub import scrub, scrub_message
from langsmith_realtime.sender import Operation, Sender

#: LangSmith refuses longer names.
NAME_LENGTH = 128
#: Bytes of JSON for a run's inputs, its outputs and its metadata. LangSmith refuses a run of 20 MB in all.
PAYLOAD_BYTES, METADATA_BYTES = 8_000_000, 1_000_000
#: Characters.
ERROR_LENGTH = 100_000


class Runs:
    """Makes the runs of one conversation."""

    def __init__(self, family: Family, sender: Sender, feedback: Sender) -> None:
        self._family = family
        self._root = family.root
        self._start = microseconds_of(family.root.start_time)
        self._sender = sender
        self._feedback = feedback

    def open(self) -> None:
        """Post the root: the conversation is visible from now on."""
        self._sender.put(Operation(self._root_as_it_is()))

    def emit(self, happening: Happening) -> None:
        """Send the run of something that happened."""
        run = self._run(happening)
        if run is not None:
            self._sender.put(Operation(run, size=_fit(run)))

    def malformed(self, ref: ParentRun, reason: str, frame: object) -> None:
        """Send the run of a frame that is no event."""
        self.emit(EventRun(ref, "malformed_frame", {"frame": plain_frame(frame)}, error=reason))

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
        run = self._root_as_it_is()
        run.end_time = max(self._time(t), run.start_time)
        run.inputs = scrub(inputs)
        run.outputs = {"messages": scrub(messages)}
        run.error = _message(error)
        run.extra = {"metadata": {**self._root.extra["metadata"], **scrub(metadata)}}
        size = _fit(run)
        scored = Feedback(self._root_as_it_is(), scores=scores or {})

        def sent() -> None:
            if scores:
                self._feedback.put(scored)

        self._sender.put(_closing(run, recorded, size, sent))

    def _root_as_it_is(self) -> ParentRun:
        # A copy: the root itself is what the caller's own runs are made from, in other threads.
        run = derive(self._root, self._root.name, self._root.run_type, self._root.start_time, self._root.id)
        run.parent_run_id, run.dotted_order = self._root.parent_run_id, self._root.dotted_order
        return run

    def _run(self, happening: Happening) -> ParentRun | None:
        if isinstance(happening, EventRun):
            return self._event_run(happening)
        if isinstance(happening, ModelRun):
            return self._model_run(happening)
        return self._tool_run(happening)

    def _event_run(self, event: EventRun) -> ParentRun:
        known: ParentRun = event.ref
        run = derive(self._root, _name(event.name), "chain", known.start_time, known.id)
        run.inputs = {"event": scrub(event.payload)}
        self._end(run, event.end, event.error, interrupted=event.interrupted, metadata=event.metadata)
        return run

    def _model_run(self, model: ModelRun) -> ParentRun:
        start = model.parent.start_time
        run = derive(model.parent, "model", "llm", start, uuid7(microseconds_of(start)))
        run.inputs = {"messages": scrub(model.inputs)}
        run.outputs = {"choices": [{"index": 0, "message": scrub(model.message), "finish_reason": model.finish_reason}]}
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
        run.inputs = scrub(_arguments(tool.arguments))
        run.outputs = {} if tool.output is None else scrub(tool.output)
        metadata = {**tool.metadata, "tool_call_id": tool.call_id}
        if not tool.answered:
            metadata["answered"] = False
        self._end(run, tool.end, tool.error, interrupted=False, metadata=metadata)
        return run

    def _end(
        self, run: ParentRun, end: float | None, error: str | None, *, interrupted: bool, metadata: dict[str, Any]
    ) -> None:
        run.end_time = run.start_time if end is None else max(self._time(end), run.start_time)
        run.error = _message(error)
        run.extra["metadata"].update(fitted(scrub(metadata), METADATA_BYTES)[0])
        if interrupted:
            run.extra["metadata"]["ls_is_error_interrupt"] = True

    def _time(self, t: float) -> datetime:
        return time_of(self._start + round(t * 1_000_000))


def _closing(run: ParentRun, recorded: Recorded, size: int, sent: Callable[[], None]) -> Operation:
    """The root's update with what became of the recording; refused, it can still be another one."""
    said, refused = run.extra["metadata"], recorded.refused
    run.extra = {"metadata": {**said, **scrub(recorded.metadata)}}

    def done(delivered: bool) -> None:
        sent()
        if recorded.done is not None:
            recorded.done(delivered)

    def instead(status: int) -> Operation:
        assert refused is not None
        run.extra = {"metadata": said}
        return _closing(run, refused(status), size, sent)

    return Operation(
        run,
        update=True,
        attachments={} if recorded.attachment is None else {"conversation": recorded.attachment},
        size=size,
        done=done,
        refused=None if refused is None else instead,
    )


def _fit(run: ParentRun) -> int:
    """Keep the run within what LangSmith takes; about its bytes."""
    run.inputs, given = fitted(run.inputs, PAYLOAD_BYTES)
    run.outputs, made = fitted(run.outputs, PAYLOAD_BYTES)
    return 1000 + given + made


def _name(name: str) -> str:
    return sayable(name)[:NAME_LENGTH]


def _message(error: str | None) -> str | None:
    return None if error is None else cut_text(scrub_message(error), ERROR_LENGTH)


def _arguments(arguments: str | None) -> dict[str, Any]:
    """A call's arguments as inputs: the object they are, or what the model wrote when they are none."""
    try:
        given = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        given = arguments
    return given if isinstance(given, dict) else {"arguments": given}
