"""When tools were at work: the part of a latency that is theirs.

Pure. Times are seconds since the conversation opened.
"""

from __future__ import annotations

#: How many tool calls :class:`ToolTimes` remembers; older ones are forgotten.
MAX_TIMED_CALLS = 256


class ToolTimes:
    """When tools were at work, in the latest 256 calls: each from its announcement to its answer, in seconds."""

    def __init__(self) -> None:
        self._calls: dict[str, tuple[float, float | None]] = {}  # by call_id: announced, answered

    def announced(self, call_id: str, t: float) -> None:
        """Note when a call's arguments were complete or an MCP call began. Only the first time counts."""
        if call_id not in self._calls:
            self._calls[call_id] = t, None
            if len(self._calls) > MAX_TIMED_CALLS:
                del self._calls[next(iter(self._calls))]

    def answered(self, call_id: str | None, t: float) -> None:
        """Note when an announced call's result was known. Only the first answer of a call counts."""
        announced, answered = self._calls.get(call_id or "", (None, None))
        if call_id is not None and announced is not None and answered is None:
            self._calls[call_id] = announced, t

    def result_refused(self, call_id: str) -> None:
        """The server refused the call's result, so the call is at work until another one is sent."""
        if call_id in self._calls:
            self._calls[call_id] = self._calls[call_id][0], None

    def busy_between(self, begin: float, end: float) -> float | None:
        """The seconds between ``begin`` and ``end`` in which at least one call was at work.

        Only calls announced in that time count; None if there are none. An unanswered call is at work until ``end``.
        """
        spans = sorted(
            (announced, end if answered is None else min(answered, end))
            for announced, answered in self._calls.values()
            if begin <= announced < end
        )
        if not spans:
            return None
        total, reached = 0.0, begin
        for announced, answered in spans:
            total += max(0.0, answered - max(announced, reached))
            reached = max(reached, answered)
        return total
