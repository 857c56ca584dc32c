"""Parses LangSmith's filter expressions, such as ``and(eq(run_type, "llm"), gt(latency, 5))``.

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
# A check receives the run and one (key, value) pair of its metadata, because metadata_key and metadata_value within one
# and() must hold for one pair. None outside of and().
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
    """Return the predicate of runs that a filter expression describes.

    Raises:
        Refused: The expression is malformed, or has a function or a field that the collector does not support (rule
            ``filter``).
    """
    try:
        check = _Parser(expression).parse()
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Refused("filter", f"invalid filter {str(expression)[:200]!r}: {error}") from None
    return lambda run: check(run, None)


class _Parser:
    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._at = 0

    def parse(self) -> _Check:
        check = self._call()
        if rest := self._expression[self._at :].strip():
            raise ValueError(f"the expression must end after its closing parenthesis, got {rest!r} after it")
        return check

    def _call(self) -> _Check:
        name = self._take("word")
        self._expect("(")
        if name in {"and", "or", "not"}:
            check = _combined(name, self._list_of(self._call))
        elif name == "search":
            check = _search(self._value())
        elif name in _COMPARISONS:
            field = self._take("word")
            self._expect(",")
            check = _comparison(name, field, self._value())
        else:
            functions = ", ".join(("and", "or", "not", "search", *_COMPARISONS))
            raise ValueError(f"a function must be one of {functions}, got {name!r}")
        self._expect(")")
        return check

    def _list_of(self, item: Callable[[], Any]) -> list[Any]:
        items = [item()]
        while self._is_next(","):
            self._expect(",")
            items.append(item())
        return items

    def _value(self) -> Any:
        if self._is_next("["):
            self._expect("[")
            values = self._list_of(self._value)
            self._expect("]")
            return values
        kind, token = self._next()
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", token[1:-1])
        if kind == "number" or token in {"true", "false", "null"}:
            return json.loads(token)
        raise ValueError(f"a value must be a quoted string, a number, true, false, null or a list, got {token!r}")

    def _take(self, kind: str) -> str:
        found, token = self._next()
        if found != kind:
            raise ValueError(f"expected a {kind} before position {self._at}, got {token!r}")
        return token

    def _expect(self, mark: str) -> None:
        found = self._next()
        if found != ("mark", mark):
            raise ValueError(f"expected {mark!r} before position {self._at}, got {found[1]!r}")

    def _is_next(self, mark: str) -> bool:
        return self._expression[self._at :].lstrip().startswith(mark)

    def _next(self) -> tuple[str, str]:
        match = _TOKEN.match(self._expression, self._at)
        if match is None:
            raise ValueError(f"expected a name, a value or punctuation at position {self._at}")
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
        # Outside of and(), the comparison is true if any pair satisfies it.
        return lambda run, pair: any(
            compare(each[index], wanted) for each in (run.metadata.items() if pair is None else (pair,))
        )
    if field == "metadata":
        pairs = json.loads(wanted).items()
        return lambda run, _: all(run.metadata.get(key) == value for key, value in pairs)
    if field not in _FIELDS:
        fields = ", ".join((*_FIELDS, "metadata", "metadata_key", "metadata_value"))
        raise ValueError(f"a field must be one of {fields}, got {field!r}")
    read = _FIELDS[field]
    if field.endswith("_time") and wanted is not None:
        wanted = time(wanted, field)

    def check(run: StoredRun, _: _Pair) -> bool:
        value = read(run)
        if value is None and name not in {"eq", "neq", "in"}:
            return False  # gt, lt and so on are false for a missing value
        try:
            return bool(compare(value, wanted))
        except TypeError:
            return False

    return check
