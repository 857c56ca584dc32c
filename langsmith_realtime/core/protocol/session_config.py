"""The session's configuration, from ``session.created`` and ``session.updated``.

Pure. It reads the GA form, nested under ``audio.input`` and ``audio.output``, and the flat form of the beta API.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from langsmith_realtime.core.protocol.audio_formats import RATE_KEYS, Format, parse_format, read_format
from langsmith_realtime.core.protocol.events import Event, json_text, mapping, sequence, text

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


#: The fields of a session, and of its input audio, for which null means that the server does without.
_NULLABLE = frozenset(
    {
        "turn_detection",
        "transcription",
        "input_audio_transcription",
        "noise_reduction",
        "input_audio_noise_reduction",
        "prompt",
        "tracing",
    }
)

#: How many updates of the client may await the server's answer; older ones are forgotten.
MAX_PENDING_UPDATES = 64


def session_of(event: Event) -> dict[str, Any]:
    """The session in an event: its ``session`` object or, of a server that sends none, the fields of the event."""
    if "session" in event.body:
        return mapping(event.body["session"])
    return {key: value for key, value in event.body.items() if key not in ("type", "event_id")}


class SessionConfig:
    """The session's configuration, as far as the server reported it.

    ``model`` is the name that the application gave; it is used until the server names one. The audio formats that the
    client asked for count from its update on, until the server refuses them or reports others.
    """

    def __init__(self, model: str | None = None) -> None:
        self.model = model
        self.session_id: str | None = None
        self._session: dict[str, Any] = {}
        # The event_id of the client's update whose model is used, because nobody else has named one.
        self._model_requested_by: tuple[str | None] | None = None
        # What the client asked of the audio formats: the event_id of its update, and the keys of the session
        self._asked: deque[tuple[str | None, dict[str, Any]]] = deque(maxlen=MAX_PENDING_UPDATES)

    def model_requested(self, model: object, event_id: str | None) -> None:
        """The client asked for a model in an update of the session. It is used if nobody names the model."""
        name = text(model)
        if name is not None and (self.model is None or self._model_requested_by is not None):
            self.model, self._model_requested_by = name, (event_id,)

    def update(self, session: object, *, confirms: bool = False) -> None:
        """Merge the ``session`` object of an event; each of its top-level keys replaces the known value.

        ``audio`` and its two sides are merged key by key. If the event ``confirms`` the client's oldest update, the
        audio formats in that update count where the event has none.
        """
        given = mapping(session)
        if confirms and self._asked:
            self._session = _merged(self._session, self._asked.popleft()[1])
        self._session = _merged(self._session, given)  # snapshots keep the former one
        if text(given.get("model")):
            self.model, self._model_requested_by = text(given.get("model")), None
        self.session_id = text(given.get("id")) or self.session_id

    def asked(self, event_id: str | None, session: object) -> None:
        """The client sent an update with that ``event_id`` and ``session``."""
        self._asked.append((event_id, _formats_in(mapping(session))))

    def refused(self, error: Mapping[str, Any]) -> None:
        """An ``error`` arrived: if it refuses an update, the formats and the model in that do not count any more.

        It refuses the update whose ``event_id`` it has or, without one, the oldest if it mentions session or format.
        """
        event_id = text(error.get("event_id"))
        is_named = event_id is not None and (event_id,) == self._model_requested_by
        if self._model_requested_by is not None and (is_named or error.get("param") in ("model", "session.model")):
            self.model = self._model_requested_by = None
        if event_id is None:
            words = f"{error.get('message')} {error.get('param')} {error.get('code')}".lower()
            if self._asked and ("session" in words or "format" in words):
                self._asked.popleft()
            return
        self._asked = deque((asked for asked in self._asked if asked[0] != event_id), maxlen=MAX_PENDING_UPDATES)

    def reconnected(self) -> None:
        """A new server session began: updates that the old one did not answer are forgotten."""
        self._asked.clear()

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
            "instructions": json_text(self._session.get("instructions")) or "",
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
        return self._format("input", "output")

    @property
    def agent_format(self) -> Format | None:
        """The format of the audio that the server sends; None if it is not known."""
        return self._format("output", "input")

    def response_format(self, *responses: Mapping[str, Any]) -> Format | None:
        """The format of the agent's audio in one response, where ``responses`` name one; None if it is the session's.

        Args:
            responses: the ``response`` objects of the client's ``response.create`` and of the server's event. The last
                one that names a format counts. Without a rate of its own, it has the session's if the encoding is
                equal.
        """
        told = [formats for formats in map(_formats_in, responses) if formats]
        if not told:
            return None
        own, session = self._format("output", "input", told), self.agent_format
        is_known = any(parse_format(_sound_of(formats, "output")[0]) is not None for formats in told)
        if own is None or session is None or not (own.assumption and is_known):
            return own
        return None if own.encoding == session.encoding else own

    def _format(self, side: str, other: str, changes: Sequence[Mapping[str, Any]] = ()) -> Format | None:
        session = self._session
        for formats in (*(formats for _, formats in self._asked), *changes):
            session = _merged(session, formats)
        value, rate = _sound_of(session, side)
        beside, _ = _sound_of(session, other)
        return read_format(value, rate=rate, beside=beside)

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

        True, the server's default, unless ``turn_detection`` is null or of the type ``none`` (Azure), or its
        ``interrupt_response`` is false.
        """
        if "turn_detection" in self._input:
            detection = self._input["turn_detection"]
        else:
            detection = self._session.get("turn_detection", {})
        if detection is None or mapping(detection).get("type") == "none":
            return False
        return mapping(detection).get("interrupt_response") is not False

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


def _merged(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The session ``known`` with the values of ``given``; ``audio`` and its sides are merged key by key.

    Null tells nothing, except for what the server may be without: servers write it for each field that they leave out.
    """
    given = _told(given)
    merged = {**known, **given}
    audio, more = mapping(known.get("audio")), mapping(given.get("audio"))
    if audio and more:
        merged["audio"] = {**audio, **_told(more)}
        for side in ("input", "output"):
            if mapping(audio.get(side)) and mapping(more.get(side)):
                merged["audio"][side] = {**audio[side], **_told(more[side])}
    return merged


def _told(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if value is not None or key in _NULLABLE}


def _rate_keys(side: str) -> list[str]:
    """The keys of a side's rate in the flat form, such as ``input_audio_sampling_rate``, the most exact first."""
    both_sides = [key for key in RATE_KEYS if key != "rate"]
    return [f"{side}_audio_{key}" for key in RATE_KEYS] + [f"{side}_{key}" for key in RATE_KEYS] + both_sides


def _sound_of(session: Mapping[str, Any], side: str) -> tuple[object, object]:
    """The format of a side, ``input`` or ``output``, and its rate beside the format; each is None if it is missing."""
    nested = mapping(mapping(session.get("audio")).get(side))
    rates = [nested.get(key) for key in RATE_KEYS] + [session.get(key) for key in _rate_keys(side)]
    value = nested.get("format", session.get(f"{side}_audio_format"))
    return value, next((rate for rate in rates if rate is not None), None)


def _formats_in(session: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a session, or of a response, that give its audio formats."""
    flat = {key for side in ("input", "output") for key in (f"{side}_audio_format", *_rate_keys(side))}
    formats = {key: value for key, value in session.items() if key in flat}
    audio = mapping(session.get("audio"))
    sides = {
        side: {key: value for key, value in mapping(audio.get(side)).items() if key in ("format", *RATE_KEYS)}
        for side in ("input", "output")
    }
    told = {side: keys for side, keys in sides.items() if keys}
    return {**formats, "audio": told} if told else formats
