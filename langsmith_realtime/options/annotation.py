"""Checks what the application adds to an open conversation."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from langsmith_realtime.core.payloads.json_values import json_copy
from langsmith_realtime.core.protocol.inputs import Annotated


def checked_annotation(t: float, metadata: object, tags: object, outputs: object) -> Annotated:
    """What is added at ``t`` seconds; None adds nothing. Values are copied as JSON.

    Raises:
        TypeError: ``metadata`` or ``outputs`` is no mapping with str keys, or ``tags`` no collection of str.
        ValueError: ``outputs`` has the key ``messages``, which holds the transcript.
    """
    for name, given in (("metadata", metadata), ("outputs", outputs)):
        if given is not None and not (isinstance(given, Mapping) and all(isinstance(key, str) for key in given)):
            raise TypeError(f"{name} must be a mapping with str keys, got {type(given).__name__}")
    if tags is None:
        tags = ()
    if isinstance(tags, str) or not isinstance(tags, Collection) or not all(isinstance(tag, str) for tag in tags):
        raise TypeError("tags must be a list of str")
    if isinstance(outputs, Mapping) and "messages" in outputs:
        raise ValueError("outputs must not have the key 'messages', which holds the transcript")
    return Annotated(t, json_copy(metadata or {}), tuple(tags), json_copy(outputs or {}))
