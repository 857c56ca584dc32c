"""LangSmith's filter expressions, as ``and(eq(run_type, "llm"), gt(latency, 5))``. Pure.

Source: https://docs.langchain.com/langsmith/trace-query-syntax#filter-query-language
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable
from typing import Any, Final

from langsmith_realtime.collector.read.views import latency, total_tokens
from langsmith_realtime.collector.records import StoredRun
from langsmith_realtime.collector.rules import Refused, time

Predicate = Callable[[StoredRun], bool]
# Beside the run goes one pair of its metadata: within one and(), metadata_key and metadata_value mean the same pair.
_Pair = tuple[str, object] | None
_Check = Callable[[StoredRun, _Pair], bool]

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?\b)|(?P<word>\w+)|(?P<mark>[(),\[\]]))"""
)
_COMPARISONS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, wanted: value in wanted,
    "has": lambda value, wanted: wanted in value,
}
_FIELDS: Final[dict[str, Callable[[StoredRun], object]]] = {
    "id": lambda run: run.id,
    "run_id": lambda run: run.id,
    "trace_id": lambda run: run.trace_id,
    "parent_run_id": lambda run: run.parent_run_id,
    "name": lambda run: run.name,
    "run_type": lambda run: run.run_type,
    "status": lambda run: run.status,
    "error": lambda run: run.error,
    "start_time": lambda run: run.start_time,
    "end_time": lambda run: run.end_time,
    "latency": latency,
    "is_root": lambda run: run.parent_run_id is None,
    "tags": lambda run: run.tags,
    "thread_id": lambda run: run.thread_id,
    "total_tokens": lambda run: total_tokens([run]),
}


def parse(expression: str) -> Predicate:
    """Make a predicate of a filter expression.

    Raises:
        Refused: The expression is none, or uses something that is not known here.
    """
    try:
        check = _Parser(expression).whole()
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Refused("filter", f"invalid filter {str(expression)[:200]!r}: {error}") from None
    return lambda run: check(run, None)


class _Parser:
    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._at = 0

    def whole(self) -> _Check:
        check = self._call()
        if self._expression[self._at :].strip():
            raise ValueError("something follows its end")
        return check

    def _call(self) -> _Check:
        name = self._take("word")
        self._mark("(")
        if name in {"and", "or", "not"}:
            check = _combined(name, self._listed(self._call))
        elif name == "search":
            check = _search(self._value())
        elif name in _COMPARISONS:
            field = self._take("word")
            self._mark(",")
            check = _comparison(name, field, self._value())
        else:
            raise ValueError(f"unknown function {name!r}")
        self._mark(")")
        return check

    def _listed(self, item: Callable[[], Any]) -> list[Any]:
        items = [item()]
        while self._sees(","):
            self._mark(",")
            items.append(item())
        return items

    def _value(self) -> Any:
        if self._sees("["):
            self._mark("[")
            values = self._listed(self._value)
            self._mark("]")
            return values
        kind, token = self._next()
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", token[1:-1])
        if kind == "number" or token in {"true", "false", "null"}:
            return json.loads(token)
        raise ValueError(f"{token!r} is no value")

    def _take(self, kind: str) -> str:
        found, token = self._next()
        if found != kind:
            raise ValueError(f"{token!r} is no {kind}")
        return token

    def _mark(self, mark: str) -> None:
        if self._next() != ("mark", mark):
            raise ValueError(f"{mark!r} is missing before position {self._at}")

    def _sees(self, mark: str) -> bool:
        return self._expression[self._at :].lstrip().startswith(mark)

    def _next(self) -> tuple[str, str]:
        match = _TOKEN.match(self._expression, self._at)
        if match is None:
            raise ValueError(f"unreadable from position {self._at}")
        self._at = match.end()
        return str(match.lastgroup), match[str(match.lastgroup)]


def _combined(name: str, checks: list[_Check]) -> _Check:
    if name == "or":
        return lambda run, pair: any(check(run, pair) for check in checks)
    if name == "not":
        return lambda run, pair: not any(check(run, pair) for check in checks)
    return lambda run, pair: any(
        all(check(run, each) for check in checks) for each in (run.metadata.items() or (pair,))
    )


def _search(wanted: object) -> _Check:
    text = str(wanted).lower()
    return lambda run, _: text in json.dumps([run.name, run.inputs, run.outputs, run.error], ensure_ascii=False).lower()


def _comparison(name: str, field: str, wanted: Any) -> _Check:
    compare = _COMPARISONS[name]
    if field in {"metadata_key", "metadata_value"}:
        index = int(field == "metadata_value")
        # Alone, it asks for any pair.
        return lambda run, pair: any(
            compare(each[index], wanted) for each in (run.metadata.items() if pair is None else (pair,))
        )
    if field == "metadata":
        pairs = json.loads(wanted).items()
        return lambda run, _: all(run.metadata.get(key) == value for key, value in pairs)
    if field not in _FIELDS:
        raise ValueError(f"unknown field {field!r}")
    read = _FIELDS[field]
    if field.endswith("_time") and wanted is not None:
        wanted = time(wanted, field)

    def check(run: StoredRun, _: _Pair) -> bool:
        value = read(run)
        if value is None and name not in {"eq", "neq", "in"}:
            return False  # nothing is neither before nor after anything
        try:
            return bool(compare(value, wanted))
        except TypeError:
            return False

    return check
