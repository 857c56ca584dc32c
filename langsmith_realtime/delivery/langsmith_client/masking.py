"""What LangSmith's client masks, and what it hides."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from langsmith import Client

from langsmith_realtime.core.payloads.scrubbing import NOT_KEPT
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.delivery.operations import FREE_METADATA, LEFT_OUT
from langsmith_realtime.runtime.guard import ANYTHING, logger, unquoted

#: What a client masks with.
_MASKS = ("_anonymizer", "_hide_inputs", "_hide_outputs", "_hide_metadata")


_told: WeakSet[Client] = WeakSet()


def unmasking(client: Client) -> Client:
    """The client as it would be if it took runs as they are."""
    like = copy.copy(client)
    for mask in _MASKS:
        setattr(like, mask, None if mask == "_anonymizer" else False)
    like._omit_traced_runtime_info = True  # noqa: SLF001 - it is there already, masked
    return like


def tell_of_failed_masking(client: Client, error: BaseException) -> None:
    """Say once for each client that runs are sent without what was to be masked."""
    if client not in _told:
        _told.add(client)
        said = "what you mask runs with failed; such runs are sent without inputs, outputs and errors, and say %s\n%s"
        logger.warning(said, LEFT_OUT, unquoted(error))


def without_payload(client: Client, row: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """A run of whose payload nobody can say what may be seen: what it is, when it was, and its metadata.

    Args:
        client: masks the metadata; where it cannot, numbers of ours are left of it, and LangSmith's own terms.
        row: the run as LangSmith's ingestion takes it.
        given: the names of metadata that are the application's.
    """
    bare = {key: value for key, value in row.items() if key not in ("inputs", "outputs", "error")}
    if row.get("error") is not None:
        bare["error"] = NOT_KEPT
    metadata = row["extra"]["metadata"]
    try:
        shown: object = client._hide_run_metadata(dict(metadata))  # noqa: SLF001
    except ANYTHING:
        shown = None
    if not isinstance(shown, dict):
        ours = {key: value for key, value in metadata.items() if key not in given and key != FREE_METADATA}
        terms = {key: value for key, value in ours.items() if key.startswith("ls_") and isinstance(value, str)}
        shown = {**_numbers(ours), **terms}
    return {**bare, "extra": {"metadata": {**shown, LEFT_OUT: True}}}


def _numbers(metadata: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: _numbers(value) if isinstance(value, dict) else value for key, value in metadata.items()}
    return {key: value for key, value in told.items() if isinstance(value, (int, float, dict)) and value != {}}


def hidden_sides(client: Client) -> frozenset[int]:
    """The sides of which the client hides everything, so that their sound must be silent too.

    So are those whose masking fails. The application's own functions are asked once, as they may take their time.
    """
    masks = tuple(getattr(client, setting, None) for setting in (*SETTINGS.values(), _FOR_BOTH))
    known = _asked.get(client)
    if known is None or known[0] != masks:
        known = masks, frozenset(side for side, setting in SETTINGS.items() if _hides(client, setting))
        _asked[client] = known
    return known[1]


def hides_anything(client: Client) -> bool:
    return any(getattr(client, setting, False) for setting in SETTINGS.values())


def anonymizer_of_errors(client: Client) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    """The client's anonymizer, where the client does not mask errors and metadata with it itself."""
    return None if hasattr(client, "_hide_run_error") else getattr(client, "_anonymizer", None)


def asks_the_application(client: Client) -> bool:
    """Whether functions of the application's have a say in what it sends."""
    return any(callable(getattr(client, setting, None)) for setting in (*SETTINGS.values(), _FOR_BOTH, _FOR_METADATA))


_asked: WeakKeyDictionary[Client, tuple[tuple[Any, ...], frozenset[int]]] = WeakKeyDictionary()


SETTINGS = {USER: "_hide_inputs", AGENT: "_hide_outputs"}


#: Takes the place of those of them that are functions.
_FOR_BOTH = "_anonymizer"


_FOR_METADATA = "_hide_metadata"


_PROBE = "a word that nobody said"


def _hides(client: Client, setting: str) -> bool:
    hides = getattr(client, setting, None)
    if hides is True:
        return True
    hides = getattr(client, _FOR_BOTH, None) or hides
    if not callable(hides):
        return False
    try:
        return _PROBE not in str(hides({"event": {"text": _PROBE}, "messages": [{"role": "user", "content": _PROBE}]}))
    except ANYTHING:
        return True  # better silent than said


def shown_scores(client: Client, scores: Mapping[str, float]) -> dict[str, float]:
    """What the client's masking of metadata leaves of them: they are metadata too."""
    hides: bool | Callable[[dict[str, Any]], object] | None = getattr(client, "_hide_metadata", None)
    if callable(hides):
        left = hides(dict(scores))
        return {key: scores[key] for key in scores if isinstance(left, dict) and left.get(key) == scores[key]}
    return {} if hides else dict(scores)
