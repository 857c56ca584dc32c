"""The session's configuration, from ``session.created`` and ``session.updated``.

Pure. It reads the GA form, nested under ``audio.input`` and ``audio.output``, and the flat form of the beta API.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from langsmith_realtime.core.protocol.audio_formats import Format, parse_format
from langsmith_realtime.core.protocol.events import mapping, sequence, text

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
#: The fields of the session, or of a response, that a ``model`` run tells as parameters of the model.
_PARAMETERS = (
    "temperature",
    "max_output_tokens",
    "max_response_output_tokens",
    "tool_choice",
    "parallel_tool_calls",
    "output_modalities",
    "modalities",
    "reasoning",
    "truncation",
    "speed",
)
#: The fields of a response that take the place of the session's for that response.
_RESPONSE_KEYS = (*_PARAMETERS, "model", "instructions", "tools", "voice", "audio")


class SessionConfig:
    """The session's configuration, as far as the server reported it.

    ``model`` is the name that the application gave; it is used until the server names one.
    """

    def __init__(self, model: str | None = None) -> None:
        self.model = model
        self.session_id: str | None = None
        self._session: dict[str, Any] = {}
        # The event_id of the client's update whose model is used, because nobody else has named one.
        self._model_requested_by: tuple[str | None] | None = None

    def model_requested(self, model: object, event_id: str | None) -> None:
        """The client asked for a model in an update of the session. It is used if nobody names the model."""
        name = text(model)
        if name is not None and (self.model is None or self._model_requested_by is not None):
            self.model, self._model_requested_by = name, (event_id,)

    def refused(self, error: Mapping[str, Any]) -> None:
        """The server sent an error. If it refused the client's update, or its model, the model is not used."""
        if self._model_requested_by is None:
            return
        is_named = text(error.get("event_id")) is not None and (error.get("event_id"),) == self._model_requested_by
        if is_named or error.get("param") in ("model", "session.model"):
            self.model = self._model_requested_by = None

    def update(self, session: object) -> None:
        """Merge the ``session`` object of an event; each of its top-level keys replaces the known value."""
        given = mapping(session)
        self._session = {**self._session, **given}  # snapshots keep the former one
        if text(given.get("model")):
            self.model, self._model_requested_by = text(given.get("model")), None
        self.session_id = text(given.get("id")) or self.session_id

    @property
    def is_known(self) -> bool:
        """Whether the server has reported the session."""
        return bool(self._session)

    def snapshot(self) -> SessionConfig:
        """The configuration as it is now; later updates do not change it."""
        return copy.copy(self)

    def of_response(self, response: Mapping[str, Any]) -> SessionConfig:
        """The configuration of one response: where the ``response`` of an event names a value, that value counts."""
        config = self.snapshot()
        given = {key: response[key] for key in _RESPONSE_KEYS if response.get(key) is not None}
        if "audio" in given:
            output = {**self._output, **mapping(mapping(given["audio"]).get("output"))}
            given["audio"] = {**mapping(self._session.get("audio")), "output": output}
        config.update(given)
        return config

    def role(self) -> dict[str, Any]:
        """What the agent is told to be: ``instructions`` (empty without), ``tools`` (empty without) and ``voice``."""
        return {
            "instructions": text(self._session.get("instructions")) or "",
            "tools": sequence(self._session.get("tools")),
            "voice": self.voice,
        }

    def parameters(self) -> dict[str, Any]:
        """The parameters of the model, without those that are not known: temperature, modalities, voice and more."""
        known = {key: self._session[key] for key in _PARAMETERS if self._session.get(key) is not None}
        return known | ({"voice": self.voice} if self.voice else {})

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
