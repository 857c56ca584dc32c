"""Formats of session events, and the decoding of PCM16 and G.711."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from langsmith_realtime.core.audio.decoding import Decoder
from langsmith_realtime.core.protocol.audio_formats import AGENT, PCM16, USER, Format, audio_of, parse_format
from langsmith_realtime.core.protocol.events import parse
from langsmith_realtime.core.protocol.inputs import Audio
from tests.support.audio.sounds import pieces, properties

pytestmark = pytest.mark.newest

SIZES = st.lists(st.integers(1, 700), min_size=1, max_size=8)


def decode_all(decoder: Decoder, chunks: list[bytes]) -> list[int]:
    return np.concatenate([decoder.decode(chunk) for chunk in chunks]).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"type": "audio/pcm", "rate": 24000}, PCM16),
        ({"type": "audio/pcm", "rate": 16000}, Format("pcm16", 16_000)),
        ({"type": "audio/pcm"}, PCM16),
        ({"type": "audio/pcm", "rate": 7}, PCM16),
        ({"type": "audio/pcm", "rate": "fast"}, PCM16),
        ({"type": "audio/pcmu"}, Format("ulaw", 8_000)),
        ({"type": "audio/pcma"}, Format("alaw", 8_000)),
        ("pcm16", PCM16),
        ("g711_ulaw", Format("ulaw", 8_000)),
        ("g711_alaw", Format("alaw", 8_000)),
        ("mp3", None),
        ({"type": ["audio/pcm"]}, None),
        (None, None),
        (24000, None),
    ],
)
def test_a_format_is_given_by_an_object_or_by_a_beta_name(value: object, expected: Format | None) -> None:
    assert parse_format(value) == expected


def test_a_frame_has_two_bytes_in_pcm16_and_one_in_g711() -> None:
    assert [Format(encoding, 8_000).bytes_per_frame for encoding in ("pcm16", "ulaw", "alaw")] == [2, 1, 1]


@properties
@given(data=st.binary(max_size=3000), sizes=SIZES)
def test_the_chunking_of_pcm16_does_not_change_the_samples(data: bytes, sizes: list[int]) -> None:
    whole = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").tolist()
    assert decode_all(Decoder(PCM16), [b"", *pieces(data, sizes)]) == whole


# Levels of ITU-T G.711 at the ends of some segments, scaled to 16 bits.
ULAW = {0x00: -32124, 0x0F: -16764, 0x10: -15996, 0x6F: -132, 0x7E: -8, 0x7F: 0, 0x80: 32124, 0x9F: 8316, 0xFF: 0}
ALAW = {0x55: -8, 0x54: -24, 0xD5: 8, 0xD4: 24, 0x2A: -32256, 0xAA: 32256, 0xA5: 16896, 0x45: -264}


@pytest.mark.parametrize(("encoding", "codes"), [("ulaw", ULAW), ("alaw", ALAW)])
def test_g711_codes_have_the_levels_of_the_standard(encoding: str, codes: dict[int, int]) -> None:
    decoder = Decoder(Format(encoding, 8_000))
    assert decoder.decode(bytes(codes)).tolist() == list(codes.values())


@pytest.mark.parametrize("encoding", ["ulaw", "alaw"])
def test_g711_levels_are_symmetric_and_differ(encoding: str) -> None:
    levels = Decoder(Format(encoding, 8_000)).decode(bytes(range(256)))
    assert levels[:128].tolist() == (-levels[128:]).tolist()
    assert len(set(levels.tolist())) == (255 if encoding == "ulaw" else 256)  # µ-law has two zeros


def test_base64_text_is_decoded() -> None:
    decoder = Decoder(PCM16)
    assert decoder.decode_payload(base64.b64encode(b"\x01\x02\x03").decode()).tolist() == [0x0201]
    assert decoder.decode_payload(base64.b64encode(b"\x04").decode()).tolist() == [0x0403]
    assert decoder.decode_payload("").tolist() == []


def test_decoded_audio_is_accepted_in_place_of_base64() -> None:
    decoder = Decoder(PCM16)
    assert decoder.decode_payload(b"\x01\x02\x03").tolist() == [0x0201]
    assert decoder.decode_payload(b"\x04").tolist() == [0x0403]


@pytest.mark.parametrize("payload", ["AAA", "no base64!", "ÄÖÜ="])
def test_text_that_is_not_base64_is_refused(payload: str) -> None:
    with pytest.raises(ValueError, match="must be valid base64"):
        Decoder(PCM16).decode_payload(payload)


@properties
@given(data=st.binary(max_size=500), sizes=SIZES, encoding=st.sampled_from(["ulaw", "alaw"]))
def test_the_chunking_of_g711_does_not_change_the_samples(data: bytes, sizes: list[int], encoding: str) -> None:
    whole = Decoder(Format(encoding, 8_000)).decode(data).tolist()
    assert decode_all(Decoder(Format(encoding, 8_000)), [b"", *pieces(data, sizes)]) == whole


@pytest.mark.parametrize("payload", [None, b"AAAA", 7, ["AAAA"]])
@pytest.mark.parametrize(("name", "field"), [("input_audio_buffer.append", "audio"), ("response.audio.delta", "delta")])
def test_an_event_whose_audio_is_no_text_carries_no_audio(name: str, field: str, payload: object) -> None:
    assert audio_of(parse({"type": name, field: payload}), 1.0) is None
    assert audio_of(parse({"type": name}), 1.0) is None


def test_an_event_is_audio_with_its_other_fields() -> None:
    sent = parse({"type": "input_audio_buffer.append", "event_id": "mine", "audio": "AAAA"})
    received = parse({"type": "response.audio.delta", "item_id": "item_1", "delta": "AAAA"})
    appended = {"type": "input_audio_buffer.append", "event_id": "mine"}
    assert audio_of(sent, 1.0) == Audio(USER, "AAAA", 1.0, event=appended)
    assert audio_of(received, 2.0) == Audio(
        AGENT, "AAAA", 2.0, event={"type": "response.audio.delta", "item_id": "item_1"}
    )
    assert audio_of(parse({"type": "session.created", "audio": "AAAA"}), 1.0) is None


@pytest.mark.parametrize("encoding", ["ulaw", "alaw"])
def test_pcm16_that_is_read_as_g711_is_said_and_g711_is_not_doubted(encoding: str) -> None:
    times = np.arange(24_000) / 24_000
    voice = sum(amplitude * np.sin(2 * np.pi * hz * times) for hz, amplitude in ((131, 6000), (397, 3000), (1211, 900)))
    wrong, right = (Decoder(Format(encoding, 8_000)) for _ in range(2))
    levels = right.decode(bytes(range(256))).astype(int)
    codes = np.abs(levels[None, :] - np.asarray(voice)[:, None]).argmin(axis=1).astype(np.uint8)
    for begin in range(0, 24_000, 800):
        wrong.decode_payload(np.asarray(voice).astype("<i2")[begin : begin + 800].tobytes())
        right.decode_payload(codes[begin : begin + 800].tobytes())
    assert wrong.assumption == f"{encoding} at 8000 Hz, although its bytes look like pcm16"
    assert right.assumption == ""
