"""The shape of a conversation, which the page shows and which is handed on as JSON.

Pure: runs, and when each side was audible, go in. A running conversation has no numbers yet, and ``model`` runs come
late, so lines are made from the events of transcripts, and the numbers are added as they come.
Times are seconds since the conversation opened, which is where its recording begins.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from math import inf
from typing import TYPE_CHECKING, Any, Final

from langsmith_realtime.collector.page.payloads import (
    answer_of,
    item_id_of,
    known_text,
    names,
    response_id_of,
    result_text,
    step_text,
)
from langsmith_realtime.collector.page.sound import talk_from_until
from langsmith_realtime.collector.page.turns import Line, Response, shown_turn
from langsmith_realtime.core.conversation.agents import GUARDRAIL_MESSAGE
from langsmith_realtime.core.protocol.events import BETA_NAMES, ga_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from langsmith_realtime.collector.page.sound import Sound
    from langsmith_realtime.collector.records import StoredRun

#: How long before ``speech_started`` arrives, and after ``speech_stopped``, the user may have been audible, in seconds.
_DETECTION_S: Final = 1.0


class Shape:
    """Everything about one conversation, from its runs.

    Args:
        runs: The conversation's run and all runs below it, in ``dotted_order`` order.
        sound: When each side is audible in the recording; None if that is not known.
        slow_ms: An answer above this is slow.
    """

    def __init__(self, runs: Sequence[StoredRun], sound: Sound | None = None, slow_ms: float = 1500) -> None:
        self._root = runs[0]
        self._runs = [run for run in runs[1:] if run.creates]
        self._sound = sound
        self._slow_ms = slow_ms
        self._lines: dict[str, Line] = {}
        self._responses: dict[str, Response] = {}
        self._item_of_response: dict[str, str] = {}
        self._events: list[dict[str, Any]] = []
        self._failed_events: list[tuple[float, str]] = []
        for run in self._runs:
            self._take(run)
        self._last = max([self._t(run) for run in self._runs] + [self._end(run) for run in self._runs], default=0.0)
        self._add_agent_lines()
        self._turns = self._number_turns()

    @property
    def duration_s(self) -> float:
        """From the begin to the end, or to the latest run of a running conversation, in seconds."""
        return self._last if self._root.end_time is None else self._end(self._root)

    def lines(self) -> list[dict[str, Any]]:
        """Return what was said and which tools were called, in the order of the conversation."""
        found = []
        # At one time, a call stands before what became of it.
        for line in sorted(self._lines.values(), key=lambda each: (each.turn, each.begin, each.who == "step")):
            shown = {
                "id": line.id,
                "who": line.who,
                "turn": line.turn,
                "from": round(line.begin, 3),
                "to": round(max(line.begin, line.end), 3),
                "text": line.text,
                "run": line.run,
            }
            found.append({**shown, **{key: value for key, value in line.fields.items() if value is not None}})
        return found

    def turns(self) -> list[dict[str, Any]]:
        """Return the turns in order; number 0 is what came before the user spoke."""
        return self._turns

    def events(self) -> list[dict[str, Any]]:
        """Return all runs below the conversation's in order of their begin."""
        turn_of_item = {line.id: line.turn for line in self._lines.values()}
        turn_of_item |= {
            item: self._responses[response].turn
            for item, response in self._item_of_response.items()
            if response in self._responses
        }
        begins, numbers = [turn["order"] for turn in self._turns], [turn["n"] for turn in self._turns]
        shown = []
        for listed in self._events:
            event = dict(listed)
            item, response = event.pop("item_id", None), event.pop("response_id", None)
            turn = turn_of_item.get(item) if item in turn_of_item else None
            if turn is None and response in self._responses:
                turn = self._responses[response].turn
            if turn is None:
                before = bisect_right(begins, event["t"])
                turn = numbers[before - 1] if before else 0
            shown.append({**event, "turn": turn, **({"item": item} if item else {})})
        return shown

    # Reading the runs

    def _t(self, run: StoredRun) -> float:
        return (run.start_time - self._root.start_time).total_seconds()

    def _end(self, run: StoredRun) -> float:
        return (run.end_time - self._root.start_time).total_seconds() if run.end_time else self._t(run)

    def _take(self, run: StoredRun) -> None:
        t, metadata = self._t(run), run.metadata
        payload = run.inputs.get("event")
        event: dict[str, Any] = payload if isinstance(payload, dict) else {}
        is_model = run.run_type == "llm" and "response_id" in metadata
        kind = "model" if is_model else "tool" if run.run_type == "tool" else "event"
        failed = bool(run.error) and not metadata.get("ls_is_error_interrupt")
        usage = metadata.get("usage_metadata")
        listed = {
            "id": run.id,
            "t": round(t, 3),
            "d": max(0.0, round(self._end(run) - t, 3)),
            "name": run.name,
            "type": kind,
            "depth": max(0, len(run.ancestors) - len(self._root.ancestors) - 1),
            "error": run.error if failed else None,
            "tokens": usage.get("total_tokens") if isinstance(usage, dict) else None,
            "item_id": item_id_of(event),
            "response_id": metadata.get("response_id") or response_id_of(event),
        }
        self._events.append({key: value for key, value in listed.items() if value is not None})
        if is_model:
            response = self._response(str(metadata["response_id"]), t)
            response.metadata, response.run, response.ended = metadata, run, self._end(run)
        elif kind == "tool":
            self._take_tool(run, t, failed=failed)
        elif event:
            if failed and ga_type(run.name) != "response.done":  # the response's model run has that error, too
                self._failed_events.append((t, run.id))
            self._take_event(BETA_NAMES.get(str(event.get("type")), str(event.get("type"))), event, t, run)

    def _take_tool(self, run: StoredRun, t: float, *, failed: bool) -> None:
        end = self._end(run)
        self._lines[run.id] = Line(
            run.id,
            "tool",
            t,
            end,
            run=run.id,
            order=t,
            fields={
                "name": run.name,
                "arguments": json.dumps(run.inputs, ensure_ascii=False),
                "result": result_text(run.outputs),
                "error": run.error if failed else None,
                "answered": run.metadata.get("answered"),
                "approval": run.metadata.get("approval"),
                "approval_wait_ms": run.metadata.get("approval_wait_ms"),
                "ms": round((end - t) * 1000) if end >= t else None,  # of another clock
            },
        )

    def _take_event(self, kind: str, event: dict[str, Any], t: float, run: StoredRun) -> None:
        item_id = item_id_of(event)
        step = step_text(kind, event)
        if step is not None:
            stopped = kind == "guardrail_tripped"
            self._lines[run.id] = Line(run.id, "step", t, t, step, run.id, {"stopped": stopped or None}, order=t)
        elif kind == "input_audio_buffer.speech_started" and item_id:
            line = self._user_line(item_id, t, run)
            line.begin = min(line.begin, t)
        elif kind in {"input_audio_buffer.speech_stopped", "input_audio_buffer.committed"} and item_id:
            line = self._user_line(item_id, t, run)
            line.end = t
            line.detected_until = t if line.detected_until is None else line.detected_until
        elif kind == "conversation.item.input_audio_transcription.completed" and item_id:
            self._user_line(item_id, t, run).text = known_text(event.get("transcript"))
        elif kind in {"response.output_audio_transcript.done", "response.output_text.done"}:
            response = self._response(str(event.get("response_id")), t)
            response.texts.append(str(known_text(event.get("transcript", event.get("text"))) or ""))
        elif kind == "response.created":
            self._response(str(response_id_of(event)), t)
        elif kind == "response.output_item.added" and item_id and event.get("response_id"):
            self._item_of_response[item_id] = str(event["response_id"])
        elif kind == "conversation.item.added" and item_id:
            item = event["item"] if isinstance(event.get("item"), dict) else {}
            content = item.get("content") if isinstance(item.get("content"), list) else []
            typed = [part for part in content or [] if isinstance(part, dict) and part.get("type") == "input_text"]
            if item.get("role") == "user" and typed and item_id not in self._lines:
                words = " ".join(str(part.get("text", "")) for part in typed)
                if words.startswith(GUARDRAIL_MESSAGE):  # the SDK's own message, which begins no turn
                    told = f"The model is told: {words}"
                    self._lines[item_id] = Line(item_id, "step", t, t, told, run.id, order=t)
                else:
                    line = self._user_line(item_id, t, run)
                    line.text, line.fields["typed"] = words, True

    def _user_line(self, item_id: str, t: float, run: StoredRun) -> Line:
        return self._lines.setdefault(item_id, Line(item_id, "user", t, t, run=run.id, order=t))

    def _response(self, response_id: str, t: float) -> Response:
        return self._responses.setdefault(response_id, Response(t))

    # Lines and turns

    def _add_agent_lines(self) -> None:
        for response_id, response in self._responses.items():
            metadata = response.metadata
            message = answer_of(response.run)
            text = message.get("content") or "\n".join(filter(None, response.texts))
            if not text and not metadata.get("spoken_ms"):
                continue
            created = response.created
            begin = metadata.get("heard_from_s", metadata.get("first_audio_s", created))
            end = metadata.get("heard_until_s")
            if end is None:
                end = begin + (metadata.get("heard_ms") or 0) / 1000
            if "heard_from_s" not in metadata:
                begin, end = self._heard(created) or (begin, end)
            response.begin, response.end = begin, end
            guardrails = names(metadata.get("guardrails"))
            interrupted = bool(metadata.get("was_interrupted")) or bool(guardrails and message.get("interrupted"))
            heard = message.get("heard")
            fields: dict[str, Any] = {
                "spoken_ms": metadata.get("spoken_ms"),
                "heard_ms": metadata.get("heard_ms"),
                "interrupted": interrupted or None,
                "heard_chars": len(heard)
                if interrupted and isinstance(heard, str) and text.startswith(heard)
                else None,
                "reaction_ms": metadata.get("barge_in_reaction_ms"),
                "out_of_band": metadata.get("out_of_band"),
                "agent": known_text(metadata.get("agent")),
                "guardrails": guardrails or None,
            }
            if interrupted and heard is None and metadata.get("heard_ms") == 0:
                fields["heard_chars"] = 0
            self._lines[response_id] = Line(
                response_id,
                "agent",
                begin,
                end,
                text=text or None,
                run=response.run.id if response.run else None,
                order=created,
                fields=fields,
            )
        self._place_user_lines()

    def _heard(self, created: float) -> tuple[float, float] | None:
        """Return when the recording has the agent's sound that begins after a response and before the next response.

        It stands for what the tracer has not measured, as where a recording was added to frames without sound.
        """
        until = min((each.created for each in self._responses.values() if each.created > created), default=inf)
        sound = [] if self._sound is None else [each for each in self._sound.agent if created <= each[0] < until]
        return (sound[0][0], sound[-1][1]) if sound else None

    def _place_user_lines(self) -> None:
        """Move the user's lines to where the recording has their sound."""
        answers = [each.metadata for each in self._responses.values() if "user_audible_until_s" in each.metadata]
        for line in self._lines.values():
            if line.who != "user" or "typed" in line.fields:
                continue
            stopped = line.end if line.detected_until is None else line.detected_until
            span = next(
                (
                    (each.get("user_audible_from_s"), each["user_audible_until_s"])
                    for each in answers
                    if line.begin - _DETECTION_S <= each["user_audible_until_s"] <= stopped + _DETECTION_S
                ),
                None,
            )
            if self._sound is not None and (span is None or span[0] is None):
                since = max(line.begin - _DETECTION_S, 0.0)
                talk = talk_from_until(self._sound.user, since, stopped if span is None else span[1])
                if talk is not None:
                    span = talk if span is None else (talk[0], span[1])
            if span is not None:
                line.begin, line.end = span[0] if span[0] is not None else min(line.begin, span[1]), span[1]

    def _number_turns(self) -> list[dict[str, Any]]:
        """Give every line and response its turn, and return the turns.

        A turn begins with what the user says, or types. Further utterances without an answer in between belong to it.
        """
        marks: list[tuple[float, int, Line | Response]] = []
        marks += [(line.order, 0, line) for line in self._lines.values() if line.who == "user"]
        marks += [(response.created, 1, response) for response in self._responses.values()]
        marks += [(line.order, 2, line) for line in self._lines.values() if line.who in ("tool", "step")]
        turns: list[dict[str, Any]] = [{"n": 0, "order": 0.0, "user": [], "responses": [], "tools": []}]
        for order, _, mark in sorted(marks, key=lambda each: each[:2]):
            if isinstance(mark, Response):
                turns[-1]["responses"].append(mark)
            elif mark.who == "user":
                if turns[-1]["responses"] or turns[-1]["n"] == 0:
                    turns.append({"n": len(turns), "order": order, "user": [], "responses": [], "tools": []})
                turns[-1]["user"].append(mark)
            elif mark.who == "tool":
                turns[-1]["tools"].append(mark)
            mark.turn = turns[-1]["n"]
        for response_id, response in self._responses.items():
            if response_id in self._lines:
                self._lines[response_id].turn = response.turn
        begins = [min([line.begin for line in turn["user"]], default=0.0) for turn in turns]
        ends = [*begins[1:], self.duration_s]
        for t, run_id in self._failed_events:
            [turn for turn in turns if turn["order"] <= t][-1].setdefault("errors", []).append(run_id)
        shown = [shown_turn(*each, self._slow_ms) for each in zip(turns, begins, ends, strict=True)]
        return shown if turns[0]["responses"] or turns[0]["tools"] or len(turns) == 1 else shown[1:]
