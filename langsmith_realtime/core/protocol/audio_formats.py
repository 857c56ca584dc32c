"""Audio formats of the Realtime API: their names in events, sample rates and silence.

Session events name a format by an object (``{"type": "audio/pcm", "rate": 24000}``), those of the beta API by a string
(``"g711_ulaw"``).
"""

from __future__ import annotations

from dataclasses import dataclass

from langsmith_realtime.core.protocol.events import APPEND, Event, mapping, number
from langsmith_realtime.core.protocol.inputs import Audio

#: Channels of the recording: left and right.
USER, AGENT = 0, 1


@dataclass(frozen=True, slots=True)
class Format:
    """Format of one mono channel.

    Attributes:
        encoding: ``"pcm16"``, ``"ulaw"`` or ``"alaw"``.
        rate: sample rate in Hz.
    """

    encoding: str
    rate: int

    @property
    def bytes_per_frame(self) -> int:
        return 2 if self.encoding == "pcm16" else 1


PCM16 = Format("pcm16", 24_000)

#: Formats by their name in events, first the API's, then the beta API's. An event may give another rate.
FORMATS_BY_NAME = {
    "audio/pcm": PCM16,
    "pcm16": PCM16,
    "audio/pcmu": Format("ulaw", 8_000),
    "g711_ulaw": Format("ulaw", 8_000),
    "audio/pcma": Format("alaw", 8_000),
    "g711_alaw": Format("alaw", 8_000),
}


def parse_format(value: object) -> Format | None:
    """Return the format that a session event gives, as an object or as a string; None if the name is unknown.

    A rate that is missing, or not between 1000 and 192000 Hz, is replaced by the default rate of the format.
    """
    name = mapping(value).get("type") if isinstance(value, dict) else value
    known = FORMATS_BY_NAME.get(name) if isinstance(name, str) else None
    rate = number(mapping(value).get("rate"))
    if known is None or rate is None or not 1_000 <= rate <= 192_000:
        return known
    return Format(known.encoding, int(rate))


#: The byte that encodes silence, by encoding.
SILENT_BYTE = {"pcm16": b"\0", "ulaw": b"\xff", "alaw": b"\xd5"}


def bytes_per_second(audio_format: Format) -> int:
    """Return the bytes of one second of audio in a format."""
    return audio_format.rate * audio_format.bytes_per_frame


#: Field and channel of the audio in an event, by the event's GA type.
AUDIO_FIELDS = {APPEND: ("audio", USER), "response.output_audio.delta": ("delta", AGENT)}


def audio_of(event: Event, t: float) -> Audio | None:
    """Return the audio that an event sent or received at ``t`` carries; None if it carries none as text."""
    field, channel = AUDIO_FIELDS.get(event.kind, ("", USER))
    data = event.body.get(field)
    if not isinstance(data, str):
        return None
    return Audio(channel, data, t, event={key: value for key, value in event.body.items() if key != field})
