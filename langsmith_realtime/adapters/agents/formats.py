"""The audio formats that a session of the OpenAI Agents SDK asks for when it connects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from langsmith_realtime.core.protocol.events import mapping

#: Format that the SDK asks for if the application names none.
_DEFAULT = "pcm16"


def formats_asked(settings: object, *, is_call: bool) -> dict[str, Any] | None:
    """Return the ``session.update`` with the audio formats of the first update that the SDK's model sends.

    No public name of the SDK shows that update. The application may send audio before the server confirms it.

    Args:
        settings: the session's model settings. A format stands in ``audio.input.format`` and ``audio.output.format``,
            or in ``input_audio_format`` and ``output_audio_format``, as a string, as a mapping, or as openai's model.
        is_call: whether the session listens to a call, for which the SDK asks for no format by itself.

    Returns:
        None if the SDK asks for no format.
    """
    audio: dict[str, Any] = {}
    for side in ("input", "output"):
        nested = mapping(mapping(mapping(settings).get("audio")).get(side)).get("format")
        value = nested if nested is not None else mapping(settings).get(f"{side}_audio_format")
        if value is None and not is_call:
            value = _DEFAULT
        if isinstance(value, BaseModel):
            value = value.model_dump(exclude_none=True)
        if isinstance(value, str | Mapping):
            audio[side] = {"format": value}
    return {"type": "session.update", "session": {"audio": audio}} if audio else None
