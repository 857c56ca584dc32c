"""The session's configuration, from ``session.created`` and ``session.updated``.

Pure. It reads the GA form, nested under ``audio.input`` and ``audio.output``, and the flat form of the beta API.
"""

from __future__ import annotations

from typing import Any

from langsmith_realtime.core.protocol.audio_formats import Format, parse_format
from langsmith_realtime.core.protocol.events import mapping, text

#: The fields of the session that become inputs of the root run as they are.
_INPUT_KEYS = (
    "instructions",
    "tools",
    "tool_choice",
    "model",
    "output_modalities",
    "modalities",
    "temperature",
    "max_output_tokens",
    "max_response_output_tokens",
    "prompt",
    "reasoning",
)


class SessionConfig:
    """The session's configuration, as far as the server reported it. ``model`` is used until the server names one."""

    def __init__(self, model: str | None = None) -> None:
        self.model = model
        self.session_id: str | None = None
        self._session: dict[str, Any] = {}

    def update(self, session: object) -> None:
        """Merge the ``session`` object of an event; each of its top-level keys replaces the known value."""
        given = mapping(session)
        self._session.update(given)
        self.model = text(given.get("model")) or self.model
        self.session_id = text(given.get("id")) or self.session_id

    @property
    def voice(self) -> str | None:
        """The voice's name; for a custom voice its name, or its id without one; None if it is not known."""
        voice = self._output.get("voice", self._session.get("voice"))
        return text(mapping(voice).get("name") or mapping(voice).get("id") if isinstance(voice, dict) else voice)

    @property
    def user_format(self) -> Format | None:
        """The format of the audio that the client sends; None if it is not known."""
        return parse_format(self._input.get("format", self._session.get("input_audio_format")))

    @property
    def agent_format(self) -> Format | None:
        """The format of the audio that the server sends; None if it is not known."""
        return parse_format(self._output.get("format", self._session.get("output_audio_format")))

    @property
    def transcribes(self) -> bool:
        """Whether the server transcribes the user's audio."""
        return bool(self._input.get("transcription", self._session.get("input_audio_transcription")))

    @property
    def transcription_model(self) -> str | None:
        """The model that transcribes the user's audio; None if there is none or it is not known."""
        transcription = self._input.get("transcription", self._session.get("input_audio_transcription"))
        return text(mapping(transcription).get("model"))

    @property
    def interrupts_response(self) -> bool:
        """Whether the server cancels the response when the user starts to speak.

        True, the server's default, unless ``turn_detection`` is null or its ``interrupt_response`` is false.
        """
        if "turn_detection" in self._input:
            detection = self._input["turn_detection"]
        else:
            detection = self._session.get("turn_detection", {})
        return detection is not None and mapping(detection).get("interrupt_response") is not False

    def inputs(self) -> dict[str, Any]:
        """The configuration as inputs of the root run: instructions, tools, model, voice, audio formats and more."""
        known = {key: self._session[key] for key in _INPUT_KEYS if self._session.get(key) is not None}
        if self.model:
            known["model"] = self.model
        if self.voice:
            known["voice"] = self.voice
        details = (
            ("input_audio_format", self._input.get("format", self._session.get("input_audio_format"))),
            ("output_audio_format", self._output.get("format", self._session.get("output_audio_format"))),
            ("turn_detection", self._input.get("turn_detection", self._session.get("turn_detection"))),
            ("transcription", self._input.get("transcription", self._session.get("input_audio_transcription"))),
        )
        return known | {key: value for key, value in details if value is not None}

    @property
    def _input(self) -> dict[str, Any]:
        return mapping(mapping(self._session.get("audio")).get("input"))

    @property
    def _output(self) -> dict[str, Any]:
        return mapping(mapping(self._session.get("audio")).get("output"))
