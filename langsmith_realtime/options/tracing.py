"""Everything that can be said about how a conversation is traced, checked once and passed whole."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal
from uuid import UUID

from langsmith import Client, utils
from langsmith.run_trees import RunTree
from typing_extensions import TypedDict, Unpack

from langsmith_realtime.core.conversation import metric_names
from langsmith_realtime.core.payloads.json_values import Redact
from langsmith_realtime.core.protocol.audio_formats import NAMES, Format, named
from langsmith_realtime.core.protocol.prices import PRICES, Price
from langsmith_realtime.core.protocol.prices import table as price_table
from langsmith_realtime.options.keep import KeepRule
from langsmith_realtime.options.recording import Recording
from langsmith_realtime.runtime.guard import logger

#: Metadata keys LangSmith recognises a thread by, in the order it looks them up.
THREAD_KEYS = ("session_id", "conversation_id", "thread_id")

_SWITCHES = ("LANGSMITH_TRACING", "LANGCHAIN_TRACING", "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2")
_OFF = frozenset({"false", "0", "no", "off"})
_KEYS = ("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY")
_warned: set[str] = set()


class TracingOptions(TypedDict, total=False):
    """The keyword arguments of :func:`wrap_realtime` and :class:`SessionTracer`.

    The first eleven are those of LangSmith's own ``wrap_realtime``, under the same names.
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
    parent: RunTree | Mapping[Any, Any] | None
    recording: bool | Recording
    user_format: str | Mapping[str, Any] | None
    agent_format: str | Mapping[str, Any] | None
    prices: Mapping[str, Price] | None
    feedback: bool | Collection[str]
    journal: bool | Literal["keep"]
    redact: Redact | None
    transcripts: bool
    keep: KeepRule | None


@dataclass(frozen=True)
class Options:
    """Checked options.

    Attributes:
        thread_id: groups conversations in LangSmith; by default the parent's thread, else a new one.
        sample_rate: Hz of the PCM16 fed with ``record_user_audio`` and ``record_agent_audio``.
        project_name: LangSmith project; by default what LangSmith's own settings say.
        address: an agent address instead of a project, where the installed langsmith knows them.
        tags: put on every run of the conversation.
        metadata: put on every run of the conversation.
        is_agent_speaking: says whether the agent is audible; asked when the user begins to speak.
        max_audio_seconds: the recording's longest length; None keeps all of it.
        client: the LangSmith client to send with.
        replicas: further destinations of the runs, as LangSmith defines them.
        enabled: overrides LangSmith's tracing switch.
        parent: a run, or ``langsmith-trace``/``baggage`` headers from a caller you trust, to nest under.
        recording: whether and how the conversation is recorded.
        user_format: how the user's audio is encoded, in events and fed by hand alike, whatever the session and
            ``sample_rate`` say: ``{"type": "audio/pcm", "rate": 16000}`` or a beta name like ``"g711_ulaw"``.
        agent_format: how the agent's audio is encoded, likewise.
        prices: what models cost, by name; added to the default table, and in place of its rows of the same name.
        feedback: which of the conversation's numbers also become feedback scores of its root run. True for
            those of :data:`~langsmith_realtime.core.conversation.metric_names.SCORES`, else names out of its ``NAMES``.
        journal: whether what is needed to complete the trace is kept on disk until LangSmith has it all, so
            that it survives the process and an endpoint that is down; ``"keep"`` to have it stay afterwards.
        redact: ``redact(payload) -> dict`` sees every payload before it is written or sent: an event's, inputs
            and outputs of every run of the conversation's own, ``{"error": message}``. It is called in the
            background, for one payload after the other of all conversations. A payload is left out where it
            raises, or returns no dict.
        transcripts: False keeps no words: neither what was said or typed, nor what tools were called with or
            returned. The session's instructions and tools are kept.
        keep: decides when the conversation has ended whether it is kept: :class:`~langsmith_realtime.Keep`, or
            any function of its numbers (the root's metadata, ``trace_id``, and ``error`` where it ended with
            one). Until then nothing of it is sent, the caller's own runs below it included, as far as they go
            through the same client. What is not kept is removed, its recording and journal too. One that
            raises keeps it.
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
    prices: Mapping[str, Price] = field(default_factory=lambda: PRICES)
    feedback: frozenset[str] = frozenset()
    journal: bool | Literal["keep"] = True
    redact: Redact | None = None
    transcripts: bool = True
    keep: KeepRule | None = None

    @classmethod
    def of(cls, **given: Unpack[TracingOptions]) -> Options:
        """Check what a caller gave.

        Raises:
            TypeError: an unknown option, or one of the wrong type.
            ValueError: a value that cannot be used.
        """
        values: dict[str, Any] = dict(given)
        known = {field.name for field in fields(cls)}
        for name in values:
            if name not in known:
                raise TypeError(f"{name!r} is no tracing option; there are {', '.join(sorted(known))}")
        for name, types in _TYPES.items():
            value = values.get(name)
            if value is not None and (not isinstance(value, types) or (isinstance(value, bool) and bool not in types)):
                wanted = " or ".join(kind.__name__ for kind in types)
                raise TypeError(f"{name} is a {wanted}, not {type(value).__name__}")
        # An empty one is none, as in LangSmith's own wrapper.
        values["thread_id"] = str(values.get("thread_id") or "") or None
        _check_audio(values)
        _check_destination(values)
        tags = values.get("tags") or ()
        if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
            raise TypeError("tags is a list of str")
        values["tags"] = tuple(tags)
        values["parent"] = _parent(values.get("parent"), values.get("client"))
        recording = values.get("recording", True)
        values["recording"] = Recording() if recording is True else recording or None
        values["prices"] = price_table(values.get("prices"))
        values["feedback"] = _feedback(values)
        if values.setdefault("journal", True) not in (True, False, "keep"):
            raise ValueError(f"journal is True, False or 'keep', not {values['journal']!r}")
        _check_function(values, "redact", "a function of a payload")
        _check_function(values, "keep", "a Keep, or a function of the conversation's numbers")
        values["transcripts"] = values.get("transcripts") is not False
        return cls(**values)

    @property
    def is_on(self) -> bool:
        """Whether to trace: ``enabled``, else LangSmith's own switch, as it stands in this context."""
        if self.enabled is not None:
            return self.enabled
        if utils.tracing_is_enabled() is True:
            return True
        switches = [os.environ.get(key, "").lower() for key in _SWITCHES]
        if any(os.environ.get(key) for key in _KEYS) and not _OFF.intersection(switches):
            _warn_once(
                "a LangSmith API key is set, but tracing is not switched on: this conversation is not traced. "
                "Set LANGSMITH_TRACING=true (LangSmith takes nothing but lower-case true), "
                "or pass enabled=True (or False, to silence this)."
            )
        return False


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
    "parent": (RunTree, Mapping),
    "recording": (bool, Recording),
    "user_format": (str, Mapping),
    "agent_format": (str, Mapping),
    "feedback": (bool, list, tuple, set, frozenset),
    "journal": (bool, str),
    "transcripts": (bool,),
}


def _check_audio(values: dict[str, Any]) -> None:
    rate = values.setdefault("sample_rate", 24_000)
    if rate is None or not 1_000 <= rate <= 192_000:
        raise ValueError(f"sample_rate is a rate in Hz between 1000 and 192000, not {rate!r}")
    limit = values.get("max_audio_seconds")
    if limit is not None and not limit > 0:
        raise ValueError(f"max_audio_seconds is a positive number of seconds, not {limit!r}")
    if limit is not None and math.isinf(limit):
        values["max_audio_seconds"] = None
    for side in ("user_format", "agent_format"):
        if values.get(side) is not None:
            values[side] = _format(side, values[side])
    _check_function(values, "is_agent_speaking", "a function without arguments")


def _check_function(values: Mapping[str, Any], option: str, kind: str) -> None:
    given = values.get(option)
    if given is not None and not callable(given):
        raise TypeError(f"{option} is {kind}, not {type(given).__name__}")


def _format(option: str, given: str | Mapping[str, Any]) -> Format:
    known = named(given if isinstance(given, str) else dict(given))
    if known is None:
        raise ValueError(f"{option} is one of {', '.join(NAMES)}, not {given!r}")
    rate = known.rate if isinstance(given, str) else given.get("rate", known.rate)
    if rate != known.rate:
        raise ValueError(f"{option} has a rate in Hz between 1000 and 192000, not {rate!r}")
    return known


def _check_destination(values: dict[str, Any]) -> None:
    replicas = values.get("replicas") or ()
    if not all(isinstance(replica, (Mapping, tuple)) for replica in replicas):
        raise TypeError("replicas is a list of langsmith's WriteReplica dicts")
    if replicas:
        _check_with_langsmith("replicas", replicas=list(values["replicas"]))
    if values.get("address") is None:
        return
    if "address" not in RunTree.model_fields:
        raise ValueError("the installed langsmith does not know address=; upgrade langsmith or use project_name=")
    if values.get("project_name") is not None:
        raise ValueError("address and project_name exclude each other")
    _check_with_langsmith("address", address=values["address"])


def _check_with_langsmith(name: str, **fields: Any) -> None:
    try:
        RunTree(name="check", **fields)
    except Exception as error:
        raise ValueError(f"{name} is not what LangSmith takes: {error}") from None


def _feedback(values: Mapping[str, Any]) -> frozenset[str]:
    given = values.get("feedback") or ()
    wanted = metric_names.SCORES if given is True else given
    for name in wanted:
        if name not in metric_names.NAMES:
            raise ValueError(f"feedback has no number {name!r}; there are {', '.join(metric_names.NAMES)}")
    if wanted and values.get("replicas"):
        raise ValueError("feedback is for one run, and replicas make several of it; leave one of them out")
    return frozenset(wanted)


def _parent(given: RunTree | Mapping[Any, Any] | None, client: Client | None) -> RunTree | None:
    if given is None or isinstance(given, RunTree):
        return given
    try:
        parent = RunTree.from_headers(given, **({"client": client} if client else {}))
    except (ValueError, IndexError) as error:
        raise ValueError(f"parent has a malformed langsmith-trace header: {error}") from None
    if parent is None:
        raise ValueError("parent has no langsmith-trace header")
    return parent


def _warn_once(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        logger.warning(message)
