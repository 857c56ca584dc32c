"""Builds LangSmith's run trees from run data: names, times, masked payloads and metadata, of sizes LangSmith takes.

:mod:`~langsmith_realtime.trace.langsmith_runs` sends them. Times in run data are seconds since the conversation opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from langsmith_realtime.core.conversation.run_data import ConversationEnd, EventRun, ModelRun, ToolRun, TurnRun
from langsmith_realtime.core.payloads.json_values import cut_text, cut_to_size, without_surrogates
from langsmith_realtime.core.payloads.scrubbing import scrub, scrub_message
from langsmith_realtime.core.protocol.events import number
from langsmith_realtime.core.protocol.inputs import ROOT, Annotated, Ref
from langsmith_realtime.core.protocol.messages import ARGUMENTS_UNKNOWN
from langsmith_realtime.delivery.operations import PAYLOAD_LEFT_OUT
from langsmith_realtime.trace import redaction
from langsmith_realtime.trace.privacy import Privacy
from langsmith_realtime.trace.run_trees.parent_runs import ConversationRuns, ParentRun
from langsmith_realtime.trace.run_trees.run_ids import microseconds_of, time_of

#: The most characters of a run's name; LangSmith refuses longer ones.
NAME_LENGTH = 128
#: The most bytes of JSON of a run's inputs, of its outputs, and of its metadata. LangSmith refuses runs of 20 MB.
PAYLOAD_BYTES, METADATA_BYTES = 8_000_000, 1_000_000
#: The most characters of a run's error.
ERROR_LENGTH = 100_000


class RunBuilder:
    """Builds LangSmith runs from the run data of one conversation.

    Args:
        conversation_runs: has the root run, and the tags and metadata that all runs of the conversation get.
        privacy: masks inputs, outputs, errors and metadata.
    """

    def __init__(self, conversation_runs: ConversationRuns, privacy: Privacy) -> None:
        self._conversation_runs = conversation_runs
        self._root = conversation_runs.root
        self._start = microseconds_of(self._root.start_time)
        self._privacy = privacy
        self._added_metadata: dict[str, Any] = {}
        self._added_outputs: dict[str, Any] = {}
        self._added_tags: list[str] = []

    def id_of(self, ref: Ref) -> UUID:
        """The id of an event's run."""
        return self._conversation_runs.id_of(ref)

    def run(self, data: EventRun | ModelRun | ToolRun | TurnRun) -> ParentRun:
        """The run of some run data."""
        if isinstance(data, TurnRun):
            return self._flagged(lambda: self._turn_run(data))
        if isinstance(data, EventRun):
            return self._flagged(lambda: self._event_run(data))
        if isinstance(data, ModelRun):
            return self._flagged(lambda: self._model_run(data))
        return self._flagged(lambda: self._tool_run(data))

    def bare_event(self, ref: Ref, name: str) -> ParentRun:
        """The run of an event without the event's payload, for an event that was left out and has children."""
        run = self._conversation_runs.event_run(ref, name)
        run.inputs, run.end_time = {"event": {"type": name}}, run.start_time
        run.extra["metadata"][PAYLOAD_LEFT_OUT] = True
        return run

    def root(self) -> ParentRun:
        """A run with the root's ids, name, type and start, its metadata and tags; its payloads are empty.

        The root itself is a parent in the callers' threads, and is never sent.
        """
        run = self._conversation_runs.event_run(ROOT, "")
        run.extra = {"metadata": dict(self._root.extra["metadata"])}
        return run

    def annotate(self, annotation: Annotated) -> None:
        """Note what the application added to the conversation, for :meth:`ended_root`."""
        self._added_metadata.update(annotation.metadata)
        self._added_outputs.update(annotation.outputs)
        self._added_tags += [tag for tag in annotation.tags if tag not in self._added_tags]

    def ended_root(self, end: ConversationEnd, metadata: dict[str, Any]) -> ParentRun:
        """The root run as it ended, with the session's configuration, the transcript and what the application added."""

        def build() -> ParentRun:
            run = self.root()
            run.end_time = max(self._time(end.t), run.start_time)
            run.inputs = self._privacy.masked(end.inputs, redaction.of_session_config)
            run.outputs = self._privacy.masked({"messages": end.messages}, redaction.of_messages)
            if self._added_outputs:
                run.outputs = {**self._privacy.masked(self._added_outputs, redaction.of_application), **run.outputs}
            run.error = self._error(end.error)
            added = self._privacy.masked_metadata(self._added_metadata)
            told = scrub(metadata)
            if "close_reason" in told:  # words of the server's, which may quote the conversation
                told["close_reason"] = self._error(told["close_reason"])
            run.extra = {"metadata": {**added, **self._root.extra["metadata"], **told}}
            run.tags = list(dict.fromkeys([*(run.tags or []), *map(scrub_message, self._added_tags)]))
            return run

        return self._flagged(build)

    def recording_start(self) -> dict[str, Any]:
        """LangSmith's metadata that aligns its audio player with the runs: the recording starts with the root run.

        ``ls_audio_recording_started_at`` is in seconds since the epoch (UTC), the offset in ms.
        """
        return {
            "ls_audio_recording_started_at": self._start / 1_000_000,
            "ls_audio_recording_start_offset_ms": 0,
        }

    def _flagged(self, build: Callable[[], ParentRun]) -> ParentRun:
        """The run that ``build`` returns, with a flag in its metadata if ``redact`` failed for one of its payloads."""
        self._privacy.take_failure()  # an earlier failure belongs to another payload
        run = build()
        if self._privacy.take_failure():
            run.extra["metadata"][PAYLOAD_LEFT_OUT] = True
        return run

    def _event_run(self, event: EventRun) -> ParentRun:
        run = self._conversation_runs.event_run(event.ref, _run_name(event.name))
        run.inputs = {"event": self._privacy.masked(event.payload, redaction.of_event)}
        self._end(run, event.end, event.error, interrupted=event.interrupted, metadata=event.metadata)
        return run

    def _model_run(self, model: ModelRun) -> ParentRun:
        run = self._conversation_runs.model_run(model.parent, str(model.metadata.get("response_id")))
        inputs = {"messages": model.inputs, **model.role, **model.settings}
        run.inputs = self._privacy.masked(inputs, redaction.of_messages)
        choice = {"index": 0, "message": model.message, "finish_reason": model.finish_reason}
        run.outputs = self._privacy.masked({"choices": [choice]}, redaction.of_messages)
        metadata = {
            **model.metadata,
            "ls_provider": "openai",
            "ls_model_type": "chat",
            "ls_message_format": "completions",
        }
        if model.model is not None:
            metadata["ls_model_name"] = model.model
        metadata.update(_model_parameters(model.parameters))
        # The application's own ls_provider and ls_model_name win, as on Azure.
        own = self._conversation_runs.metadata
        metadata.update({key: value for key, value in own.items() if key.startswith("ls_")})
        self._end(run, model.end, model.error, interrupted=model.interrupted, metadata=metadata)
        if model.usage is not None:
            run.extra["metadata"]["usage_metadata"] = model.usage
        if model.first_token is not None:
            first = max(self._time(model.first_token), run.start_time)
            run.events = [{"name": "new_token", "time": first.isoformat()}]
        return run

    def _tool_run(self, tool: ToolRun) -> ParentRun:
        run = self._conversation_runs.tool_run(tool.parent, tool.call_id, _run_name(tool.name))
        run.inputs = self._privacy.masked(_arguments(tool.arguments), redaction.of_arguments)
        run.outputs = {} if tool.output is None else self._privacy.masked(tool.output, redaction.of_message)
        metadata = {**tool.metadata, "tool_call_id": tool.call_id}
        if not tool.answered:
            metadata["answered"] = False
        self._end(run, tool.end, tool.error, interrupted=False, metadata=metadata)
        return run

    def _turn_run(self, turn: TurnRun) -> ParentRun:
        run = self._conversation_runs.turn_run(turn.start)
        run.inputs = self._privacy.masked(turn.inputs, redaction.of_turn_inputs)
        run.outputs = self._privacy.masked(turn.outputs, redaction.of_turn_outputs)
        self._end(run, turn.end, turn.error, interrupted=turn.interrupted, metadata=turn.metadata)
        return run

    def _end(
        self, run: ParentRun, end: float | None, error: str | None, *, interrupted: bool, metadata: dict[str, Any]
    ) -> None:
        run.end_time = run.start_time if end is None else max(self._time(end), run.start_time)
        run.error = self._error(error)
        if metadata:
            run.extra["metadata"].update(cut_to_size(self._privacy.masked_metadata(metadata), METADATA_BYTES)[0])
        if interrupted:
            run.extra["metadata"]["ls_is_error_interrupt"] = True

    def _error(self, message: str | None) -> str | None:
        masked = self._privacy.masked_error(message)
        return None if masked is None else cut_text(masked, ERROR_LENGTH)

    def _time(self, t: float) -> datetime:
        return time_of(self._start + round(t * 1_000_000))


def fit_payload(run: ParentRun) -> int:
    """Shorten the run's inputs, and its outputs, to :data:`PAYLOAD_BYTES` each; return roughly the bytes of the run."""
    run.inputs, input_bytes = cut_to_size(run.inputs, PAYLOAD_BYTES)
    run.outputs, output_bytes = cut_to_size(run.outputs, PAYLOAD_BYTES)
    return 1000 + input_bytes + output_bytes


def _model_parameters(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a model under the keys that LangSmith reads; an unlimited number of tokens has none."""
    others = dict(parameters)
    temperature = number(others.pop("temperature", None))
    limits = [number(others.pop(key, None)) for key in ("max_output_tokens", "max_response_output_tokens")]
    limit = next((limit for limit in limits if limit is not None), None)
    named = {"ls_temperature": temperature, "ls_max_tokens": limit, "ls_invocation_params": others or None}
    return {key: value for key, value in named.items() if value is not None}


def _run_name(name: str) -> str:
    return without_surrogates(name)[:NAME_LENGTH]


def _arguments(arguments: str | None) -> dict[str, Any]:
    """A call's arguments as a run's inputs: the JSON object, empty if there are none.

    Any other JSON value, or text that is not JSON, is under the key ``arguments``; so is a note if no event told them.
    """
    if arguments is None:
        return {"arguments": ARGUMENTS_UNKNOWN}
    try:
        parsed = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        parsed = arguments
    return parsed if isinstance(parsed, dict) else {"arguments": parsed}
