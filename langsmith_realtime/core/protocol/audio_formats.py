"""Audio formats of the Realtime API: their names in events, sample rates and silence.

Session events name a format by an object (``{"type": "audio/pcm", "rate": 24000}``), those of the beta API by a string
(``"g711_ulaw"``). Other servers have more names, and tell the rate in the name or beside it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from langsmith_realtime.core.protocol.events import APPEND, Event, mapping, number
from langsmith_realtime.core.protocol.inputs import Audio

#: Channels of the recording: left and right.
USER, AGENT = 0, 1


@dataclass(frozen=True, slots=True)
class Format:
    """Format of one mono channel.

    Attributes:
        encoding: ``"pcm16"``, ``"ulaw"`` or ``"alaw"``; ``"compressed"`` for sound that is not decoded.
        rate: sample rate in Hz.
        assumption: what was assumed and why, for the root run; empty if the session says the format. Two formats that
            differ in this alone are equal.
    """

    encoding: str
    rate: int
    assumption: str = field(default="", compare=False)

    @property
    def bytes_per_frame(self) -> int:
        return 2 if self.encoding == "pcm16" else 1


PCM16 = Format("pcm16", 24_000)
ULAW = Format("ulaw", 8_000)
ALAW = Format("alaw", 8_000)

#: Formats by the names that OpenAI's API gives them, first today's, then the beta API's.
FORMATS_BY_NAME = {
    "audio/pcm": PCM16,
    "pcm16": PCM16,
    "audio/pcmu": ULAW,
    "g711_ulaw": ULAW,
    "audio/pcma": ALAW,
    "g711_alaw": ALAW,
}

#: Formats by the names of all servers, in lower case, without ``audio/``, ``x-`` and the rate, with ``_`` for ``-``.
#: The rate is the one that the name has where nothing tells another.
_FORMATS = {
    **dict.fromkeys(
        ("pcm", "pcm16", "pcm_16", "pcm_s16le", "s16le", "s16_le", "linear16", "lpcm", "linear_pcm"), PCM16
    ),
    **dict.fromkeys(("int16", "pcm_signed", "pcm_16bit", "pcm16le"), PCM16),
    "pcm24": PCM16,  # Qwen-Omni's name for 16-bit samples at 24 kHz
    **dict.fromkeys(("pcmu", "g711_ulaw", "g711_mulaw", "ulaw", "mulaw", "mu_law", "u_law", "pcm_mulaw"), ULAW),
    **dict.fromkeys(("basic", "g711u", "pcm_ulaw"), ULAW),
    **dict.fromkeys(("pcma", "g711_alaw", "alaw", "a_law", "pcm_alaw", "g711a"), ALAW),
}

#: Names of compressed formats. Their sound is not decoded: read as PCM16, it would be noise of a wrong length.
_COMPRESSED = frozenset(
    ("opus", "ogg", "ogg_opus", "vorbis", "webm", "mp3", "mpeg", "mp4", "m4a", "aac", "flac", "speex", "g722", "amr")
)

#: Names that tell no rate: OpenAI defines one for ``pcm16`` alone.
_NAMES_WITHOUT_RATE = frozenset(name for name, known in _FORMATS.items() if known is PCM16) - {"pcm16", "pcm24"}

#: Keys of a rate in Hz, in a format object or beside the format.
RATE_KEYS = ("rate", "sample_rate", "sampling_rate", "sample_rate_hz", "sample_rate_hertz", "sampleRate")
#: Keys of the format's name in a format object; the first with a known name counts.
_NAME_KEYS = ("type", "encoding", "codec", "format", "name")

#: A rate in Hz or kHz at the end of a name: ``pcm16_16000hz``, ``pcm_8khz``, ``ulaw_8000``, ``pcm16k``.
_RATE_IN_NAME = re.compile(r"[_: ]*(\d{4,6}|\d+(?:\.\d+)?(?=k))(khz|k|hz)?$")


def parse_format(value: object) -> Format | None:
    """Return the format that a session event gives, as an object or as a string; None if the name is unknown.

    A rate that is missing, or not between 1000 and 192000 Hz, is replaced by the default rate of the format.
    """
    for name in _names(value):
        base, rate = _split(name)
        known = _FORMATS.get(base)
        if known is not None:
            return Format(known.encoding, _told_rate(value) or rate or known.rate)
    return None


def read_format(value: object, *, rate: object = None, beside: object = None) -> Format | None:
    """Return the format of one side's audio, as the session says it; its ``assumption`` says what the session does not.

    PCM16 is assumed if the name is unknown; a compressed format is not decoded. Qwen-Omni names PCM16 by its rate in
    kHz: if the other side is ``pcm24``, ``pcm16`` is read as 16 kHz, which is an assumption, too.

    Args:
        value: the format, as an object or as a string.
        rate: the rate that the session gives beside the format, in Hz. A rate in the format prevails, and G.711 does
            not follow it: servers leave their default of PCM16 there.
        beside: the format of the other side.

    Returns:
        None if neither a name nor a rate is given.
    """
    names, told, beside_rate = _names(value), _told_rate(value), _usable_rate(rate)
    known_name = next((name for name in names if _split(name)[0] in _FORMATS), None)
    if known_name is None:
        if not names and told is None and beside_rate is None:
            return None
        compressed = next((name for name in names if _split(name)[0] in _COMPRESSED), None)
        if compressed is not None:
            return not_decoded(f"{compressed[:60]!r} is compressed")
        in_name = _split(names[0])[1] if names else None
        why = f"the format {names[0][:60]!r} is unknown" if names else "only the rate is given"
        return _assumed(Format("pcm16", told or in_name or beside_rate or PCM16.rate), why)
    name, in_name = _split(known_name)
    known = _FORMATS[name]
    told = told or in_name or (beside_rate if known.encoding == "pcm16" else None)
    if told is not None:
        return Format(known.encoding, told)
    if name == "pcm16" and any(_split(other) == ("pcm24", None) for other in _names(beside)):
        return _assumed(Format("pcm16", 16_000), "pcm24 of the other side names its rate in kHz")
    if name in _NAMES_WITHOUT_RATE:
        return _assumed(known, f"{known_name[:60]!r} tells no rate")
    return known


def not_decoded(why: str) -> Format:
    """Return the format of sound that is not decoded; ``why`` is a sentence without its end."""
    return Format("compressed", PCM16.rate, f"nothing, because {why}")


def no_format() -> Format:
    """Return the format that is assumed if the session names none."""
    return _assumed(PCM16, "the session names no format")


def _assumed(audio_format: Format, why: str) -> Format:
    encoding, rate = audio_format.encoding, audio_format.rate
    return Format(encoding, rate, f"{encoding} at {rate} Hz, because {why}")


def _names(value: object) -> list[str]:
    """The names in a format, as they are written."""
    given = [value.get(key) for key in _NAME_KEYS] if isinstance(value, dict) else [value]
    return [name for name in given if isinstance(name, str) and name.strip()]


def _split(name: str) -> tuple[str, int | None]:
    """The name without the rate, as :data:`_FORMATS` has it, and the rate in Hz; None if the name has none."""
    base, *parameters = name.lower().replace("-", "_").replace(" ", "").split(";")
    base = base.removeprefix("audio/").removeprefix("x_")
    rates = [parameter.partition("rate=")[2] for parameter in parameters]
    told = next((rate for rate in map(_usable_rate, rates) if rate is not None), None)
    found = None if base in _FORMATS else _RATE_IN_NAME.search(base)
    if found is None:
        return base, told
    rate = float(found[1]) * (1000 if found[2] in ("k", "khz") else 1)
    return base[: found.start()], told or _usable_rate(rate)


def _told_rate(value: object) -> int | None:
    """The rate that a format object gives, in Hz; None without one that is usable."""
    rates = map(_usable_rate, map(mapping(value).get, RATE_KEYS))
    return next((rate for rate in rates if rate is not None), None)


def _usable_rate(value: object) -> int | None:
    rate = float(value) if isinstance(value, str) and value.isdecimal() and len(value) < 9 else number(value)
    return None if rate is None or not 1_000 <= rate <= 192_000 else int(rate)


#: The byte that encodes silence, by encoding.
SILENT_BYTE = {"pcm16": b"\0", "ulaw": b"\xff", "alaw": b"\xd5", "compressed": b"\0"}


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
