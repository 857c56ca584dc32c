"""The options of a traced conversation: checked once, then passed on as one object."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from typing import Any, Literal, Protocol, TypedDict, Unpack
from uuid import UUID

from langsmith import Client, utils
from langsmith.run_trees import RunTree

from langsmith_realtime.core.conversation.numbers import metric_names
from langsmith_realtime.core.payloads.json_values import Redact
from langsmith_realtime.core.protocol.audio_formats import FORMATS_BY_NAME, Format, parse_format
from langsmith_realtime.core.protocol.prices import PRICES, Price, price_table
from langsmith_realtime.options.keep import KeepRule
from langsmith_realtime.options.otel import Otel
from langsmith_realtime.options.recording import Recording
from langsmith_realtime.runtime.guard import logger

#: Metadata keys from which LangSmith reads the thread of a run, in the order of its look-ups.
THREAD_KEYS = ("session_id", "conversation_id", "thread_id")

_SWITCHES = ("LANGSMITH_TRACING", "LANGCHAIN_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2")
_OFF = frozenset({"false", "0", "no", "off"})
_KEYS = ("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY")
_warned: set[str] = set()


class Headers(Protocol):
    """Headers of a request, as a mapping or another object with ``items()``."""

    def items(self) -> Iterable[tuple[Any, Any]]: ...


class TracingOptions(TypedDict, total=False):
    """The keyword arguments of :func:`wrap_realtime` and :class:`SessionTracer`.

    The first ten, up to ``replicas``, are those of LangSmith's own ``wrap_realtime``. Their meanings here are those of
    :class:`Options`.
    """

    thread_id: str | UUID | None
    sample_rate: int
    project_name: str | None
    address: Any
    tags: Sequence[str] | None
    metadata: Mapping[str, Any] | None
    is_agent_speaking: Callable[[], bool] | None
    max_audio_seconds: float | None
    client: Client | None
    replicas: Sequence[Any] | None
    enabled: bool | None
    parent: RunTree | Headers | Iterable[tuple[Any, Any]] | None
    recording: bool | Recording
    user_format: str | Mapping[str, Any] | None
    agent_format: str | Mapping[str, Any] | None
    model: str | None
    prices: Mapping[str, Price] | None
    feedback: bool | Collection[str]
    journal: bool | Literal["keep"]
    redact: Redact | None
    transcripts: bool
    keep: KeepRule | None
    layout: Literal["flat", "turns"]
    otel: bool | Otel
    langsmith: bool


@dataclass(frozen=True)
class Options:
    """The options of one conversation, checked.

    Defaults that depend on the context or the session are None here; they are found when the conversation begins, or
    later for the two formats.

    Attributes:
        thread_id: thread that groups conversations in LangSmith; by default the thread in ``metadata``, else the
            parent's, else a new one.
        sample_rate: rate in Hz of the PCM16 passed to ``record_user_audio`` and ``record_agent_audio``.
        project_name: LangSmith project; by default the parent's, else the one in LangSmith's context or settings.
        address: agent address in place of a project, if the installed langsmith supports addresses.
        tags: tags of every run of the conversation.
        metadata: metadata of every run of the conversation.
        is_agent_speaking: function that returns whether the agent is audible. It is called when the user begins to
            speak, and decides whether the start of speech counts as a barge-in.
        max_audio_seconds: maximum length of the recording in seconds; None sets no limit.
        client: LangSmith client that sends the runs; by default the parent's, else the one in LangSmith's context, else
            LangSmith's default client.
        replicas: further destinations of the runs, as LangSmith defines them; by default the parent's.
        enabled: overrides LangSmith's tracing switch.
        parent: run to nest the conversation under, or the headers of a trusted caller's request, of which
            ``langsmith-trace`` and ``baggage`` are read: any mapping (Starlette, aiohttp, http.server, a dict) or pairs
            of names and values, with names in any case; or the ``sip_headers`` of a call, with ``X-`` before those
            names or without. By default, and for headers that name no run, the current run
            of LangSmith's context.
        recording: how to record the conversation; None for no recording.
        user_format: encoding of the user's audio in events and in ``record_user_audio``, in place of the session's
            format and ``sample_rate``: ``{"type": "audio/pcm", "rate": 16000}`` or a beta name like ``"g711_ulaw"``.
        agent_format: encoding of the agent's audio in events and in ``record_agent_audio``, in the notation of
            ``user_format``.
        model: name of the model, used until the server names one, for example on a sideband connection
            (``call_id=``), which may never see the session.
        prices: price of each model by name; extends and overrides the built-in table.
        feedback: names of the metrics that also become feedback scores of the root run; ``True`` selects
            :data:`~langsmith_realtime.core.conversation.numbers.metric_names.SCORES`.
        journal: whether to write a journal on disk until LangSmith has acknowledged every run, so that a trace
            survives the process and an outage; ``"keep"`` keeps the journal after that.
        redact: function of a payload (dict) that returns the payload to write and send. It sees the payload of every
            event but deltas, the inputs and outputs of every run that this package makes, and each error as
            ``{"error": message}``. One background thread calls it for all conversations; another one may call it for
            the root run at the end. A slow function delays only conversations that call functions of the application:
            those with ``redact``, or with a client that masks with functions. If it raises, or returns something other
            than a dict, the run is sent without that payload. ``pii()`` is a ready one. If it has a method
            ``spans(text)``, it also names the places in spoken texts whose sound becomes silent.
        transcripts: False removes all words: spoken and typed text, tool arguments and tool results. The session's
            instructions and tools stay.
        keep: rule that decides at the end of the conversation whether to keep it: a :class:`~langsmith_realtime.Keep`,
            or a function of the root run's metadata plus ``trace_id`` and, after a failure, ``error``. Until then no
            run of the conversation is sent, nor any run that the caller traces below the conversation with the same
            client. A conversation that is not kept loses its recording and its journal, too. If the rule raises, the
            conversation is kept; so is one that is too large to be held.
        layout: ``"flat"`` has every event directly below the root, as LangSmith's guidance asks; ``"turns"`` has a run
            for each turn in between, with what was said, its latencies and its tokens. Frames are then parsed in the
            caller's thread.
        otel: how to show the conversation in OpenTelemetry: True, or an :class:`~langsmith_realtime.Otel`; None for not
            at all. Needs the extra ``otel``. Without a provider of the application's nothing happens.
        langsmith: False: no LangSmith client, key or thread is used, and the caller's traced work does not nest below
            the conversation. ``otel`` does not need LangSmith.
    """

    thread_id: str | None = None
    sample_rate: int = 24_000
    project_name: str | None = None
    address: Any = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Any] | None = None
    is_agent_speaking: Callable[[], bool] | None = None
    max_audio_seconds: float | None = None
    client: Client | None = None
    replicas: Sequence[Any] | None = None
    enabled: bool | None = None
    parent: RunTree | None = None
    recording: Recording | None = field(default_factory=Recording)
    user_format: Format | None = None
    agent_format: Format | None = None
    model: str | None = None
    prices: Mapping[str, Price] = field(default_factory=lambda: PRICES)
    feedback: frozenset[str] = frozenset()
    journal: bool | Literal["keep"] = True
    redact: Redact | None = None
    transcripts: bool = True
    keep: KeepRule | None = None
    layout: Literal["flat", "turns"] = "flat"
    otel: Otel | None = None
    langsmith: bool = True

    @classmethod
    def of(cls, **given: Unpack[TracingOptions]) -> Options:
        """Return the options that a caller gave as keyword arguments, checked and completed.

        Raises:
            TypeError: an option is unknown or has the wrong type.
            ValueError: a value cannot be used.
        """
        values: dict[str, Any] = dict(given)
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise TypeError(f"{name!r} is not a tracing option; choose from {', '.join(sorted(known))}")
        for name in _SWITCHED:
            if name in values and values[name] is None:
                raise TypeError(f"{name} must be True or False, got None; leave it out for the default")
        for name, types in _TYPES.items():
            value = values.get(name)
            if value is not None and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
                wanted = " or ".join(kind.__name__ for kind in types)
                raise TypeError(f"{name} must be of type {wanted}, got {type(value).__name__}")
        # An empty thread id counts as no thread id, as in LangSmith's own wrapper.
        values["thread_id"] = str(values.get("thread_id") or "") or None
        values["model"] = values.get("model") or None
        _check_audio(values)
        _check_destination(values)
        tags = values.get("tags") or ()
        if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
            raise TypeError("tags must be a list of str")
        values["tags"] = tuple(tags)
        values["langsmith"] = values.get("langsmith") is not False
        values["otel"] = _otel(values.get("otel"))
        values["parent"] = _pairs(values.get("parent"))
        if values["otel"] is not None:
            values["otel"] = replace(values["otel"], headers=_carrier(values["parent"]))
        values["parent"] = _parent(values.get("parent"), values.get("client")) if values["langsmith"] else None
        recording = values.get("recording", True)
        values["recording"] = Recording() if recording is True else recording or None
        values["prices"] = price_table(values.get("prices"))
        values["feedback"] = _feedback(values)
        if values.setdefault("journal", True) not in (True, False, "keep"):
            raise ValueError(f"journal must be True, False or 'keep', got {values['journal']!r}")
        if values.setdefault("layout", "flat") not in ("flat", "turns"):
            raise ValueError(f"layout must be 'flat' or 'turns', got {values['layout']!r}")
        _check_function(values, "redact", "a function of a payload, or pii()", 1)
        _check_function(values, "keep", "a Keep(...), or a function of the conversation's metrics", 1)
        values["transcripts"] = values.get("transcripts") is not False
        return cls(**values)

    @property
    def is_on(self) -> bool:
        """Whether to trace in LangSmith: ``enabled``, else LangSmith's own switch in this context."""
        if not self.langsmith:
            return False
        if self.enabled is not None:
            return self.enabled
        if utils.tracing_is_enabled() is True:
            return True
        switches = [os.environ.get(key, "").lower() for key in _SWITCHES]
        if self.otel is None and any(os.environ.get(key) for key in _KEYS) and not _OFF.intersection(switches):
            _warn_once(
                "this conversation is not traced: a LangSmith API key is set, but tracing is off. "
                "Set LANGSMITH_TRACING=true (lower case), or pass enabled=True. enabled=False silences this warning."
            )
        return False


#: Options for which None is no default, because it could be taken for False.
_SWITCHED = ("recording", "transcripts", "langsmith")

_TYPES: dict[str, tuple[type, ...]] = {
    "thread_id": (str, UUID),
    "sample_rate": (int,),
    "project_name": (str,),
    "tags": (list, tuple, set, frozenset),
    "metadata": (Mapping,),
    "max_audio_seconds": (int, float),
    "client": (Client,),
    "replicas": (list, tuple),
    "enabled": (bool,),
    "recording": (bool, Recording),
    "user_format": (str, Mapping),
    "agent_format": (str, Mapping),
    "model": (str,),
    "feedback": (bool, list, tuple, set, frozenset),
    "journal": (bool, str),
    "layout": (str,),
    "transcripts": (bool,),
    "otel": (bool, Otel),
    "langsmith": (bool,),
}


def _check_audio(values: dict[str, Any]) -> None:
    rate = values.setdefault("sample_rate", 24_000)
    if rate is None or not 1_000 <= rate <= 192_000:
        raise ValueError(f"sample_rate must be between 1000 and 192000 Hz, got {rate!r}")
    limit = values.get("max_audio_seconds")
    if limit is not None and not limit > 0:
        raise ValueError(f"max_audio_seconds must be positive, got {limit!r}")
    if limit is not None and math.isinf(limit):
        values["max_audio_seconds"] = None
    for side in ("user_format", "agent_format"):
        if values.get(side) is not None:
            values[side] = _format(side, values[side])
    _check_function(values, "is_agent_speaking", "a function without arguments", 0)


def _check_function(values: Mapping[str, Any], option: str, kind: str, arguments: int) -> None:
    """Check that an option is a function that takes so many arguments, which ``redact=pii`` without ``()`` does not."""
    given = values.get(option)
    if given is None:
        return
    if not callable(given):
        raise TypeError(f"{option} must be {kind}, got {type(given).__name__}")
    try:
        signature = inspect.signature(given)
    except (TypeError, ValueError):  # some built-in functions have none
        return
    try:
        signature.bind(*[None] * arguments)
    except TypeError:
        name = getattr(given, "__name__", type(given).__name__)
        raise TypeError(f"{option} must be {kind}, got {name}{signature}") from None


def _format(option: str, given: str | Mapping[str, Any]) -> Format:
    known = parse_format(given if isinstance(given, str) else dict(given))
    if known is None:
        raise ValueError(f"{option} must be one of {', '.join(FORMATS_BY_NAME)}, got {given!r}")
    rate = known.rate if isinstance(given, str) else given.get("rate", known.rate)
    if rate != known.rate:
        raise ValueError(f"{option}: rate must be between 1000 and 192000 Hz, got {rate!r}")
    return known


def _check_destination(values: dict[str, Any]) -> None:
    replicas = values.get("replicas") or ()
    if not all(isinstance(replica, (Mapping, tuple)) for replica in replicas):
        raise TypeError("replicas must be a list of langsmith's WriteReplica dicts")
    if replicas:
        _check_with_langsmith("replicas", replicas=list(values["replicas"]))
    if values.get("address") is None:
        return
    if "address" not in RunTree.model_fields:
        raise ValueError("address needs a newer langsmith; upgrade langsmith, or use project_name")
    if values.get("project_name") is not None:
        raise ValueError("address and project_name exclude each other; pass one of them")
    _check_with_langsmith("address", address=values["address"])


def _check_with_langsmith(name: str, **fields: Any) -> None:
    try:
        RunTree(name="check", **fields)
    except Exception as error:
        raise ValueError(f"LangSmith refuses this {name}: {error}") from None


def _feedback(values: Mapping[str, Any]) -> frozenset[str]:
    given = values.get("feedback") or ()
    wanted = metric_names.SCORES if given is True else given
    for name in wanted:
        if name not in metric_names.NAMES:
            raise ValueError(f"feedback: {name!r} is not a metric; choose from {', '.join(metric_names.NAMES)}")
    if wanted and values.get("replicas"):
        raise ValueError(
            "feedback and replicas exclude each other: a score belongs to one run, and replicas make several"
        )
    return frozenset(wanted)


def _otel(given: bool | Otel | None) -> Otel | None:
    given = Otel.default() if given is None else given
    if not given:
        return None
    try:
        import_module("opentelemetry.trace")
    except ImportError:
        remedy = "install it with: pip install 'langsmith-realtime[otel]'"
        raise ValueError(f"otel needs opentelemetry-api; {remedy}") from None
    return Otel() if given is True else given


def _pairs(given: Any) -> Any:
    """The option ``parent``; a list if it is an iterable of pairs, which may be read only once.

    Raises:
        TypeError: ``given`` has no headers.
    """
    if given is None or isinstance(given, RunTree) or hasattr(given, "items"):
        return given
    try:
        return [_pair(each) for each in given]
    except (TypeError, ValueError):
        raise TypeError(f"parent must be of type RunTree or Mapping, got {type(given).__name__}") from None


#: Headers that name a trace. Carriers of SIP calls pass them only with ``X-`` before their names.
_TRACE_HEADERS = ("traceparent", "tracestate", "baggage", "langsmith-trace")


def _pair(header: Any) -> tuple[Any, Any]:
    """The name and the value of a header: a pair, or as a webhook of a SIP call has it, as ``name`` and ``value``."""
    if isinstance(header, Mapping):
        name, value = header.get("name"), header.get("value")
    elif hasattr(header, "name") and hasattr(header, "value"):
        name, value = header.name, header.value
    else:
        name, value = header
        return name, value
    if name is None or value is None:
        raise TypeError("a header must have a name and a value")
    plain = _header_text(name).lower().removeprefix("x-")
    return (plain if plain in _TRACE_HEADERS else name), value


def _carrier(given: Any) -> dict[str, str] | None:
    """Headers by their names in lower case, for OpenTelemetry's propagators; None if ``given`` are none."""
    if given is None or isinstance(given, RunTree):
        return None
    carrier: dict[str, str] = {}
    for name, value in given.items() if hasattr(given, "items") else given:
        for each in value if isinstance(value, (list, tuple)) else [value]:
            key = _header_text(name).lower()
            is_list = key in ("baggage", "tracestate") and key in carrier
            carrier[key] = f"{carrier[key]},{_header_text(each)}" if is_list else carrier.get(key, _header_text(each))
    return carrier


def _parent(given: object, client: Client | None) -> RunTree | None:
    """The run that headers name; None if they name none, because a request of a stranger must not fail.

    Raises:
        TypeError: ``given`` has no headers.
    """
    if given is None or isinstance(given, RunTree):
        return given
    headers = _langsmith_headers(given)
    if "langsmith-trace" not in headers:
        return None
    without_baggage: dict[str | bytes, str | bytes] = {"langsmith-trace": headers["langsmith-trace"]}
    own_client: dict[str, Any] = {"client": client} if client else {}
    for read in (headers, without_baggage):
        try:
            parent: RunTree | None = RunTree.from_headers(read, **own_client)
        except Exception as error:  # the headers are a stranger's text, and any part may be wrong
            reason = type(error).__name__
        else:
            return parent
    logger.warning("parent: the langsmith-trace header is malformed (%s); it is ignored", reason)
    return None


def _langsmith_headers(given: Any) -> dict[str | bytes, str | bytes]:
    """The headers ``langsmith-trace`` and ``baggage``, by their names in lower case.

    Names and values may be str or bytes. Of several ``langsmith-trace`` headers the first counts; several ``baggage``
    headers are one list. Only LangSmith's items of it are taken: those of other tools may break LangSmith's parser.
    """
    pairs = given.items() if hasattr(given, "items") else given
    values: dict[str, list[str]] = {}
    try:
        for name, value in pairs:
            each = value if isinstance(value, (list, tuple)) else [value]
            values.setdefault(_header_text(name).lower(), []).extend(map(_header_text, each))
    except (TypeError, ValueError):
        raise TypeError(f"parent must be of type RunTree or Mapping, got {type(given).__name__}") from None
    trace = values.get("langsmith-trace", [""])[0].strip()
    items = [item.strip() for value in values.get("baggage", []) for item in value.split(",")]
    own = [item for item in items if item.startswith("langsmith-") and "=" in item]
    return {name: value for name, value in (("langsmith-trace", trace), ("baggage", ",".join(own))) if value}


def _header_text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _warn_once(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        logger.warning(message)
