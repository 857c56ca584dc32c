"""Function calls: when they start and end, and the :class:`ToolRun` of each.

Pure. The client answers a function call. Its run hangs below the ``response.done`` of its response or, if the result
was sent earlier, below the event that completed its arguments. A ``response.done`` that announced function calls ends
when the last of their results was sent.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from langsmith_realtime.core.conversation.run_data import EventRun, RunData, ToolRun
from langsmith_realtime.core.protocol.events import Call, text
from langsmith_realtime.core.protocol.inputs import ROOT, Ref
from langsmith_realtime.core.protocol.messages import tool_message

#: How many ``response.done`` events may wait for the results of their calls; the oldest then ends without them.
MAX_WAITING_EVENTS = 64
#: How long the server may take to refuse a result that the client sent, in seconds; the call's run is held until then.
REFUSAL_TIMEOUT_S = 2.0


@dataclass(slots=True, eq=False)
class _Call:
    call_id: str
    name: str | None = None
    arguments: str | None = None
    parent: Ref | None = None
    announced: bool = False
    began: int | None = None  # the start of the run of the first event that announced the complete call, in µs
    response_id: str | None = None
    is_placed: bool = False  # the application entered its block, and its work stands below `parent`
    is_claimed: bool = False  # a run of the application's own carries it out
    block_ended: float | None = None  # the end of the application's tool(call_id) block, in seconds
    error: str | None = None
    results: list[tuple[float, object]] = field(default_factory=list)  # sent by the client: when, and the output
    refusal: str | None = None  # why the server refused the latest refused result
    refused_at: float | None = None  # when the client had sent a result that the server refused


@dataclass(slots=True, eq=False)
class _WaitingEvent:
    """The run of a ``response.done``, held back until its calls have results, 64 newer ones are held or all ends."""

    run: EventRun
    waiting_for: set[str]


class ToolCalls:
    """All function calls of a conversation."""

    def __init__(self) -> None:
        self._open: dict[str, _Call] = {}
        self._undecided: dict[str, _Call] = {}  # the server may still refuse the result that the client sent
        self._traced: dict[str, str | None] = {}  # the response of each call that has its run, by call_id
        self._waiting: dict[_WaitingEvent, None] = {}  # an ordered set, oldest first
        self._waiting_for: dict[str, list[_WaitingEvent]] = {}  # by call_id

    def set_name(self, call_id: object, name: object) -> None:
        """Note a call's function name from its output item; the event that completes the arguments may not have it."""
        if text(call_id) and call_id not in self._traced:
            self._update(Call(str(call_id), text(name), None))

    def announced(self, calls: list[Call], ref: Ref, response_id: str | None = None) -> None:
        """Note calls that an event, or the application's ``tool(call_id)`` block, announced before ``response.done``.

        The first ``ref`` becomes the parent of a call's run, unless ``response.done`` replaces it. A call that has its
        run already is ignored, unless it is one of another response: some servers use a ``call_id`` again.
        """
        for call in calls:
            if not self._has_run(call, response_id):
                known = self._update(call)
                known.response_id = known.response_id or response_id
                if call.complete and known.began is None:
                    known.began = ref.start
                if not known.announced:
                    known.parent, known.announced = ref, True

    def response_done(self, run: EventRun, calls: list[Call], response_id: str | None = None) -> list[RunData]:
        """``response.done`` arrived with these calls. Return its run, unless a call awaits its result.

        The run is then held, and returned by :meth:`answered` once all are answered, or by :meth:`close`. An incomplete
        call, cut off while the model wrote it, is not waited for. At most 64 runs are held: if this is one too many,
        the oldest is returned.
        """
        calls = [call for call in calls if not self._has_run(call, response_id)]
        calls = [call for call in calls if call.call_id not in self._undecided]
        for call in calls:
            known = self._update(call)
            if not known.is_placed:
                known.parent = run.ref
            known.began = run.ref.start if known.began is None else known.began
            known.response_id = known.response_id or response_id
            known.announced = True
        waiting_for = {call.call_id for call in calls if call.complete}
        if not waiting_for:
            return [run]
        waiting = _WaitingEvent(run, waiting_for)
        self._waiting[waiting] = None
        for call_id in waiting_for:
            self._waiting_for.setdefault(call_id, []).append(waiting)
        return [self._drop_oldest()] if len(self._waiting) > MAX_WAITING_EVENTS else []

    def is_announced(self, call_id: str) -> bool:
        """Whether an event has announced the call."""
        return call_id in self._traced or (call_id in self._open and self._open[call_id].announced)

    def result_sent(self, call_id: str, output: object, t: float) -> None:
        """The client sent a call's result. It counts once the server has accepted it.

        The server accepts it by reporting its item, see :meth:`answered`, or by not refusing it for 2 s.
        """
        call = self._open.get(call_id)
        if call is not None and call.announced:
            call.results.append((t, output))
            self._undecided[call_id] = call

    def result_refused(self, call_id: str, sent_at: float, failure: str) -> None:
        """The server refused the result that the client had sent at ``sent_at``; a later one may still be accepted."""
        call = self._open.get(call_id)
        if call is not None:
            call.results = [result for result in call.results if result[0] != sent_at]
            if not call.results:
                self._undecided.pop(call_id, None)
            call.refusal, call.refused_at = failure, sent_at

    def advance(self, t: float) -> list[RunData]:
        """Return the runs of the calls whose results the server has not refused in time."""
        runs: list[RunData] = []
        for call in list(self._undecided.values()):
            if t >= call.results[0][0] + REFUSAL_TIMEOUT_S:
                runs += self._answer(call, *call.results[0])
        return runs

    def answered(self, item: dict[str, object], t: float) -> list[RunData]:
        """The server reported a ``function_call_output`` item; a call's first one counts.

        The call was answered when the client sent that result, or at ``t`` if another client sent it. Return the call's
        run, and the runs of the ``response.done`` events that waited for nothing else. A result without an announced
        call has no run: it belongs to an earlier conversation, which the application inserted into this one.
        """
        call = self._open.get(text(item.get("call_id")) or "")
        if call is None or not call.announced:
            return []
        output = item.get("output")
        sent = [result for result in call.results if result[1] == output] or call.results
        return self._answer(call, *(sent[0] if sent else (t, output)))

    def _answer(self, call: _Call, t: float, output: object) -> list[RunData]:
        return [*self._runs(call, t, output=output, answered=True), *self._release(call.call_id, t)]

    def claimed(self, call_id: str) -> None:
        """A run of the application's own carries out the call, so it gets no :class:`ToolRun`."""
        if call_id not in self._traced:
            self._open.setdefault(call_id, _Call(call_id)).is_claimed = True

    def block_entered(self, call_id: str, parent: Ref) -> None:
        """The application entered its ``tool(call_id)`` block: the call's run stands below ``parent``.

        The block announces a call that no event has announced.
        """
        if call_id not in self._traced:
            call = self._open.setdefault(call_id, _Call(call_id))
            call.parent, call.announced, call.is_placed = parent, True, True

    def block_left(self, call_id: str, t: float, error: str | None) -> None:
        """Note when a ``tool(call_id)`` block ended, and the error that it raised, which the call's run shows.

        The run of an answered call ends when its result was sent. Nothing is noted if the call has its run already.
        """
        call = self._open.get(call_id)
        if call is not None:
            call.block_ended, call.error = t, error or call.error

    def failed(self, call_id: str, error: str) -> None:
        """Note the error of a tool whose result does not say it. Nothing is noted if the call has its run already."""
        if call_id in self._open:
            self._open[call_id].error = error

    def close(self) -> list[RunData]:
        """End the conversation; return the runs of announced calls without a result, then the held runs.

        Held are the runs of ``response.done`` events whose calls are not all answered. The run of an unanswered call
        ends with its ``tool(call_id)`` block; if no block has ended, its ``end`` is None, and it ends when it starts.
        """
        runs: list[RunData] = []
        for call in [call for call in self._open.values() if call.announced]:
            if call.results:
                runs += self._answer(call, *call.results[0])
            else:
                end = call.refused_at if call.block_ended is None else call.block_ended
                runs += self._runs(call, end, output=None, answered=False)
        runs += [waiting.run for waiting in self._waiting]
        self._waiting.clear()
        return runs

    def _has_run(self, call: Call, response_id: str | None) -> bool:
        """Whether the call of that response has its run; if the run is that of another response, forget it."""
        earlier = self._traced.get(call.call_id)
        if earlier is not None and response_id is not None and earlier != response_id:
            del self._traced[call.call_id]
        return call.call_id in self._traced

    def _update(self, call: Call) -> _Call:
        known = self._open.setdefault(call.call_id, _Call(call.call_id))
        known.name = call.name or known.name
        if call.arguments or known.arguments is None:
            known.arguments = call.arguments
        return known

    def _runs(self, call: _Call, end: float | None, *, output: object, answered: bool) -> list[ToolRun]:
        """The run of a call that is over; none if a run of the application's own carried it out."""
        del self._open[call.call_id]
        self._undecided.pop(call.call_id, None)
        self._traced[call.call_id] = call.response_id
        if call.is_claimed:
            return []
        run = ToolRun(
            parent=call.parent or ROOT,
            call_id=call.call_id,
            name=call.name or "tool",
            arguments=call.arguments,
            output=tool_message(call.call_id, output) if answered else None,
            end=end,
            answered=answered,
            error=call.error or (None if answered else call.refusal),
            began=call.began,
            response_id=call.response_id,
        )
        return [run]

    def _drop_oldest(self) -> RunData:
        """Stop waiting with the oldest ``response.done``, and return its run."""
        oldest = next(iter(self._waiting))
        del self._waiting[oldest]
        for call_id in oldest.waiting_for:
            others = [other for other in self._waiting_for.pop(call_id) if other is not oldest]
            if others:
                self._waiting_for[call_id] = others
        return oldest.run

    def _release(self, call_id: str, t: float) -> list[RunData]:
        """The call was answered at ``t``: return the runs of the ``response.done`` events that waited only for it."""
        released: list[RunData] = []
        for waiting in self._waiting_for.pop(call_id, []):
            waiting.run = replace(waiting.run, end=t)
            waiting.waiting_for.discard(call_id)
            if not waiting.waiting_for:
                del self._waiting[waiting]
                released.append(waiting.run)
        return released
