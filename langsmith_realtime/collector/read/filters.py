"""Parses LangSmith's filter expressions, such as ``and(eq(run_type, "llm"), gt(latency, "5s"))``.

Source: https://docs.langchain.com/langsmith/trace-query-syntax#filter-query-language
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from langsmith_realtime.collector.numbers import cost, latency, shown_tokens
from langsmith_realtime.collector.read.views import SIDES, THREAD_NUMBERS
from langsmith_realtime.collector.records import StoredRun
from langsmith_realtime.collector.rules import Refused, time
from langsmith_realtime.collector.storage.trace_numbers import Trace, searched_text

T = TypeVar("T")
Predicate = Callable[[StoredRun], bool]

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)|(?P<word>\w+)|(?P<mark>[(),\[\]]))"""
)
_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_COMPARISONS: Final = ("eq", "neq", *_ORDERS, "in", "has", "like")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Fields(Generic[T]):
    """The fields that expressions may name.

    Attributes:
        read: Reads a field, by its name.
        numbers: Names of fields that hold numbers.
        seconds: Names of fields that hold seconds; expressions may write these as durations, such as ``"5s"``.
        lowered: Names of fields whose values are in lower case; expressions may use either case.
        metadata: Reads the metadata.
        feedback: Reads the JSON objects of the feedback.
        text: Reads what ``search`` looks at, as JSON in lower case.
    """

    read: Mapping[str, Callable[[T], object]]
    numbers: frozenset[str]
    seconds: frozenset[str]
    lowered: frozenset[str]
    metadata: Callable[[T], Mapping[str, Any]]
    feedback: Callable[[T], Iterable[Mapping[str, Any]]]
    text: Callable[[T], str]


RUN_FIELDS: Final = Fields[StoredRun](
    read={
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
        "total_tokens": lambda run: shown_tokens("total", run) or 0,
        "prompt_tokens": lambda run: shown_tokens("prompt", run) or 0,
        "completion_tokens": lambda run: shown_tokens("completion", run) or 0,
        "total_cost": lambda run: cost("total", [run]),
        "prompt_cost": lambda run: cost("prompt", [run]),
        "completion_cost": lambda run: cost("completion", [run]),
        "reference_example_id": lambda run: run.reference_example_id,
    },
    numbers=frozenset({"total_tokens", "prompt_tokens", "completion_tokens"})
    | {"total_cost", "prompt_cost", "completion_cost"},
    seconds=frozenset({"latency"}),
    lowered=frozenset({"run_type", "status", "id", "run_id", "trace_id", "parent_run_id", "reference_example_id"}),
    metadata=lambda run: run.metadata,
    feedback=lambda run: run.feedback,
    text=searched_text,
)
#: Fields of root runs that stand in the numbers of traces, or in their texts.
TRACE_FIELDS: Final = Fields[Trace](
    read={
        "id": lambda trace: trace.id,
        "run_id": lambda trace: trace.id,
        "trace_id": lambda trace: trace.id,
        "status": lambda trace: "error" if trace.failed else "success" if trace.ended else "pending",
        "error": lambda trace: trace.error,
        "start_time": lambda trace: time(trace.started, "start_time"),
        "end_time": lambda trace: time(trace.ended, "end_time") if trace.ended else None,
        "latency": lambda trace: trace.latency,
        "is_root": lambda _: True,
        "thread_id": lambda trace: trace.thread,
        "name": lambda trace: trace.name,
        "run_type": lambda trace: trace.run_type,
        "tags": lambda trace: json.loads(trace.tags),
    },
    numbers=frozenset(),
    seconds=RUN_FIELDS.seconds,
    lowered=RUN_FIELDS.lowered,
    metadata=lambda trace: json.loads(trace.metadata),
    feedback=lambda _: (),
    text=lambda trace: trace.searched,
)
#: Which text of a trace each of the other names reads.
_TEXTS: Final = {
    **{name: name for name in ("name", "run_type", "tags", "metadata")},
    "metadata_key": "metadata",
    "metadata_value": "metadata",
    "search": "searched",
}
THREAD_FIELDS: Final = Fields[Sequence[Trace]](
    read={
        "turn_count": THREAD_NUMBERS["count"],
        "min_start_time": lambda traces: time(traces[0].started, "min_start_time"),
        "max_start_time": lambda traces: time(traces[-1].started, "max_start_time"),
        **{name: THREAD_NUMBERS[name] for name in ("thread_id", "num_errored_turns", "thread_duration")},
        **{name: THREAD_NUMBERS[name] for name in ("latency_p50", "latency_p99", "total_cost")},
        **{f"{side}_tokens": THREAD_NUMBERS[f"{side}_tokens"] for side in SIDES},
    },
    numbers=frozenset({"turn_count", "num_errored_turns", "total_cost"} | {f"{side}_tokens" for side in SIDES}),
    seconds=frozenset({"thread_duration", "latency_p50", "latency_p99"}),
    lowered=frozenset(),
    metadata=lambda _: {},
    feedback=lambda _: (),
    text=lambda traces: _lowered([traces[0].inputs, traces[-1].outputs, traces[-1].error]),
)
EXAMPLE_FIELDS: Final = Fields[Mapping[str, Any]](
    read={
        "id": lambda example: example["id"],
        "created_at": lambda example: time(example["created_at"], "created_at"),
        "modified_at": lambda example: time(example["modified_at"], "modified_at"),
        "source_run_id": lambda example: example["source_run_id"],
    },
    numbers=frozenset(),
    seconds=frozenset(),
    lowered=frozenset(),
    metadata=lambda example: example["metadata"],
    feedback=lambda _: (),
    text=lambda example: _lowered([example["inputs"], example["outputs"]]),
)
_PAIR: Final = ("metadata_key", "metadata_value")
_FEEDBACK: Final = {f"feedback_{key}": key for key in ("key", "score", "value", "comment")} | {
    "feedback_source": "source"
}


@dataclass(frozen=True)
class _Scope:
    """What the conditions within one ``and`` are about: one pair of the metadata, and one feedback; None for any."""

    pair: tuple[str, object] | None = None
    feedback: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _Check(Generic[T]):
    """A condition.

    Attributes:
        holds: Tells whether the condition is true for an item.
        scopes: Which parts of a scope it reads: ``pair``, ``feedback``.
        key: The key of every pair of the metadata for which the condition is true; None if they may have several.
        thread: The thread of every item for which the condition is true; None if they may have several.
    """

    holds: Callable[[T, _Scope], bool]
    scopes: frozenset[str] = frozenset()
    key: str | None = None
    thread: str | None = None


@dataclass(frozen=True)
class Filter(Generic[T]):
    """The predicate that a filter expression describes; call it with an item.

    Attributes:
        check: The expression's condition.
        names: The fields that the expression names; ``search`` stands for all that ``search`` searches.
    """

    check: _Check[T]
    names: frozenset[str]

    def __call__(self, item: T) -> bool:
        """Return whether the item satisfies the expression."""
        return self.check.holds(item, _Scope())

    @property
    def thread(self) -> str | None:
        """The thread of every item that satisfies the expression; None if they may have several."""
        return self.check.thread

    @property
    def texts(self) -> set[str]:
        """The texts of a trace that the expression reads."""
        return {_TEXTS[name] for name in self.names if name in _TEXTS}


def parse(expression: str) -> Filter[StoredRun]:
    """Return the predicate of runs that a filter expression describes.

    Raises:
        Refused: The expression is malformed, or has a function or a field that the collector does not support (rule
            ``filter``).
    """
    return _parse(expression, RUN_FIELDS)


def parse_trace_filter(expression: str) -> Filter[Trace] | None:
    """Return the predicate of traces that :func:`parse` describes for their root runs.

    None if the expression names a field that traces do not have. Raises Refused as `parse`.
    """
    known = TRACE_FIELDS.read.keys() | _TEXTS.keys()
    return _parse(expression, TRACE_FIELDS) if parse(expression).names <= known else None


def parse_thread_filter(expression: str) -> Filter[Sequence[Trace]]:
    """Return the predicate of threads, the traces of each from the oldest. Raises Refused as `parse`."""
    return _parse(expression, THREAD_FIELDS)


def parse_example_filter(expression: str) -> Filter[Mapping[str, Any]]:
    """Return the predicate of a dataset's examples. Raises Refused as `parse`."""
    return _parse(expression, EXAMPLE_FIELDS)


def _parse(expression: str, fields: Fields[T]) -> Filter[T]:
    try:
        parser = _Parser(expression, fields)
        return Filter(parser.parse(), frozenset(parser.names))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Refused("filter", f"invalid filter {str(expression)[:200]!r}: {error}") from None


class _Parser(Generic[T]):
    def __init__(self, expression: str, fields: Fields[T]) -> None:
        self._expression = expression
        self._fields = fields
        self._at = 0
        self.names: set[str] = set()

    def parse(self) -> _Check[T]:
        check = self._call()
        if rest := self._expression[self._at :].strip():
            raise ValueError(f"the expression must end after its closing parenthesis, got {rest!r} after it")
        return check

    def _call(self) -> _Check[T]:
        name = self._take("word")
        self._expect("(")
        if name in {"and", "or", "not"}:
            check = _combined(name, self._list_of(self._call), self._fields)
        elif name == "search":
            self.names.add(name)
            check = _search(self._value(), self._fields)
        elif name == "exists":
            field = self._take("word")
            self.names.add(field)
            key = self._value() if self._takes(",") else None
            check = _exists(field, key, self._fields)
        elif name in _COMPARISONS:
            field = self._take("word")
            self.names.add(field)
            self._expect(",")
            check = _comparison(name, field, self._value(), self._fields)
        else:
            functions = ", ".join(("and", "or", "not", "search", "exists", *_COMPARISONS))
            raise ValueError(f"a function must be one of {functions}, got {name!r}")
        self._expect(")")
        return check

    def _list_of(self, item: Callable[[], Any]) -> list[Any]:
        items = [item()]
        while self._takes(","):
            items.append(item())
        return items

    def _value(self) -> Any:
        if self._takes("["):
            values = [] if self._is_next("]") else self._list_of(self._value)
            self._expect("]")
            return values
        kind, token = self._next()
        if kind == "text":
            return _unquoted(token)
        if kind == "number" or token in {"true", "false", "null"}:
            return json.loads(token)
        raise ValueError(f"a value must be a quoted string, a number, true, false, null or a list, got {token!r}")

    def _take(self, kind: str) -> str:
        found, token = self._next()
        if found != kind:
            raise ValueError(f"expected a {kind} before position {self._at}, got {token!r}")
        return token

    def _takes(self, mark: str) -> bool:
        """Take a mark if it is next; return whether it was."""
        if not self._is_next(mark):
            return False
        self._expect(mark)
        return True

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


def _combined(name: str, checks: list[_Check[T]], fields: Fields[T]) -> _Check[T]:
    used = frozenset[str]().union(*(check.scopes for check in checks))
    key = next((check.key for check in checks if check.key is not None), None)
    if name == "or":
        return _Check(lambda item, scope: any(check.holds(item, scope) for check in checks), used)
    if name == "not":
        return _Check(lambda item, scope: not any(check.holds(item, scope) for check in checks), used)

    # Conditions about metadata in one and() must hold for one pair of it, conditions about feedback for one feedback.
    # An and() within opens a scope of its own, so its conditions may hold for another pair.
    def holds(item: T, _: _Scope) -> bool:
        pairs: Iterable[Any] = (None,)
        if "pair" in used:
            metadata = fields.metadata(item)
            known = metadata if key is None else metadata.keys() & {key}
            pairs = [(each, metadata[each]) for each in known] or (None,)
        feedback: list[Any] = (list(fields.feedback(item)) or [None]) if "feedback" in used else [None]
        scopes = (_Scope(pair, each) for pair in pairs for each in feedback)
        return any(all(check.holds(item, scope) for check in checks) for scope in scopes)

    return _Check(holds, thread=next((check.thread for check in checks if check.thread is not None), None))


def _search(wanted: object, fields: Fields[T]) -> _Check[T]:
    text = str(wanted).lower()
    return _Check(lambda item, _: text in fields.text(item))


def _lowered(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).lower()


def _exists(field: str, key: object, fields: Fields[T]) -> _Check[T]:
    if key is not None:
        if field != "metadata":
            raise ValueError(f"exists with two arguments must name metadata and a key of it, got {field!r}")
        return _Check(lambda item, _: fields.metadata(item).get(str(key)) is not None)
    values = _reader(field, fields)
    return _Check(lambda item, scope: any(value not in (None, "", []) for value in values(item, scope)))


def _comparison(name: str, field: str, wanted: Any, fields: Fields[T]) -> _Check[T]:
    if name == "in" and not isinstance(wanted, list):
        raise ValueError(f"the values of in must be a list in square brackets, got {wanted!r}")
    if name == "like" and not isinstance(wanted, str):
        raise ValueError(f"the pattern of like must be a quoted string, got {wanted!r}")
    if field == "metadata":
        part = json.loads(wanted)
        if name != "has" or not isinstance(part, dict):
            raise ValueError('metadata must be compared as has(metadata, \'{"key": "value"}\')')
        return _Check(lambda item, _: _contains(fields.metadata(item), part))
    wanted = [_wanted(each, field, fields) for each in wanted] if name == "in" else _wanted(wanted, field, fields)
    compare = _comparator(name, wanted)
    values = _reader(field, fields)
    scopes = frozenset({"pair"} if field in _PAIR else {"feedback"} if field in _FEEDBACK else ())
    only = wanted if name == "eq" and isinstance(wanted, str) else None
    return _Check(
        lambda item, scope: any(compare(value) for value in values(item, scope)),
        scopes,
        key=only if field == "metadata_key" else None,
        thread=only if field == "thread_id" else None,
    )


def _reader(field: str, fields: Fields[T]) -> Callable[[T, _Scope], Iterable[object]]:
    """Return the reader of the values that a field has in a scope: of all pairs or all feedback without one."""
    if field in _PAIR:
        index = _PAIR.index(field)
        return lambda item, scope: (
            pair[index] for pair in (fields.metadata(item).items() if scope.pair is None else (scope.pair,))
        )
    if field in _FEEDBACK:
        key = _FEEDBACK[field]
        return lambda item, scope: (
            (each.get("feedback_source") or {}).get("type") if key == "source" else each.get(key)
            for each in (fields.feedback(item) if scope.feedback is None else (scope.feedback,))
        )
    if field not in fields.read:
        names = ", ".join((*fields.read, "metadata", *_PAIR, *_FEEDBACK))
        raise ValueError(f"a field must be one of {names}, got {field!r}")
    read = fields.read[field]
    return lambda item, _: (read(item),)


def _wanted(value: Any, field: str, fields: Fields[T]) -> Any:
    """Return a value of an expression as the field's type. Raises ValueError if it is of another type."""
    if value is None:
        return None
    if field.endswith(("_time", "_at")):
        return time(value, field)
    if field == "is_root" and isinstance(value, str):
        raise ValueError(f"is_root must be compared with true or false, got {value!r}")
    if field in fields.lowered and isinstance(value, str):
        return value.lower()
    if field in fields.seconds and isinstance(value, str):
        duration = _DURATION.fullmatch(value.strip())
        if duration is None:
            raise ValueError(f'{field} must be seconds, or a duration such as "5s" or "800ms", got {value!r}')
        return float(duration[1]) * _SECONDS[duration[2]]
    if (field in fields.numbers or field in fields.seconds) and not _is_number(value):
        raise ValueError(f"{field} must be compared with a number, got {value!r}")
    return value


def _comparator(name: str, wanted: Any) -> Callable[[object], bool]:
    """Return the comparison with a value. Values of different types are unequal, and neither is greater."""
    if name == "eq":
        return lambda value: _equal(value, wanted)
    if name == "neq":
        return lambda value: not _equal(value, wanted)
    if name == "in":
        return lambda value: any(_equal(value, each) for each in wanted)
    if name == "has":
        return lambda value: isinstance(value, list) and any(_equal(each, wanted) for each in value)
    if name == "like":
        return lambda value: isinstance(value, str) and _is_like(value, wanted)
    order = _ORDERS[name]
    return lambda value: _comparable(value, wanted) and order(value, wanted)


def _is_like(text: str, pattern: str) -> bool:
    """Return whether a text matches a pattern with ``%`` for any characters and ``_`` for one."""
    parts = ["".join("." if mark == "_" else re.escape(mark) for mark in part) for part in pattern.split("%")]
    if len(parts) == 1:
        return re.fullmatch(parts[0], text, re.DOTALL) is not None
    # Each part is searched once, behind the part before: one regular expression for all may take years.
    end = len(text) - len(pattern.rpartition("%")[2])
    at = 0
    for number, part in enumerate(parts[:-1]):
        expression = re.compile(part, re.DOTALL)
        found = expression.search(text, at) if number else expression.match(text)
        if found is None:
            return False
        at = found.end()
    return at <= end and re.compile(parts[-1], re.DOTALL).fullmatch(text, end) is not None


def _unquoted(token: str) -> str:
    """Return the text in quotation marks. Clients write it as JSON, with escapes such as ``\\u00e9``."""
    if token.startswith('"'):
        try:
            return str(json.loads(token, strict=False))
        except ValueError:  # an escape that JSON does not have
            pass
    return re.sub(r"\\(.)", r"\1", token[1:-1])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(value: object, wanted: object) -> bool:
    return isinstance(value, bool) == isinstance(wanted, bool) and value == wanted


def _comparable(value: object, wanted: object) -> bool:
    return any(isinstance(value, kind) and isinstance(wanted, kind) for kind in (str, datetime)) or (
        _is_number(value) and _is_number(wanted)
    )


def _contains(value: object, part: object) -> bool:
    """Return whether a JSON value has all keys of an object, with values that contain its values."""
    if isinstance(part, dict) and isinstance(value, Mapping):
        return all(key in value and _contains(value[key], each) for key, each in part.items())
    return _equal(value, part)
