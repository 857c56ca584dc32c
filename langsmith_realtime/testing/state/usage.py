"""Computes the ``usage`` of responses and transcriptions.

The counts are estimates from the lengths of text and audio. The fields and their sums are those of the Realtime API.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass

from langsmith_realtime.testing.script.script import Event
from langsmith_realtime.testing.state.conversation import Entry

USER_TOKENS_PER_SECOND = 10
AGENT_TOKENS_PER_SECOND = 20
CACHE_BLOCK = 64
"""Number of prompt tokens in one block of the prompt cache."""


@dataclass(frozen=True)
class Tokens:
    """A number of text tokens and of audio tokens."""

    text: int = 0
    audio: int = 0

    @property
    def total(self) -> int:
        """The sum of text and audio tokens."""
        return self.text + self.audio

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.text + other.text, self.audio + other.audio)


def text_tokens(text: str) -> int:
    """Return the estimated number of tokens of a text: one for each four characters, rounded up."""
    return math.ceil(len(text) / 4)


def item_tokens(entry: Entry) -> Tokens:
    """Return the number of tokens of one item of the conversation."""
    by_agent = entry.item.get("role") == "assistant"
    per_second = AGENT_TOKENS_PER_SECOND if by_agent else USER_TOKENS_PER_SECOND
    content = entry.item.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    words = [part.get("text") for part in parts] + [entry.item.get(name) for name in ("name", "arguments", "output")]
    if by_agent:
        words += [part.get("transcript") for part in parts]
    return Tokens(
        text_tokens("".join(str(each) for each in words if each)), math.ceil(entry.audio_ms / 1000 * per_second)
    )


def prompt_tokens(session: Event, entries: Iterable[Entry]) -> Tokens:
    """Return the number of tokens in a response's prompt: instructions, tools and all items."""
    prompt = Tokens(text_tokens(str(session["instructions"])) + text_tokens(json.dumps(session["tools"])))
    return sum((item_tokens(entry) for entry in entries), prompt)


def response_usage(prompt: Tokens, previous: Tokens, output: Tokens) -> Event:
    """Return the ``usage`` of a response.

    The number of cached tokens is that of the smaller prompt, `prompt` or `previous`, rounded down to a multiple of
    ``CACHE_BLOCK`` (64); text and audio tokens are counted separately.
    """
    cached_text, cached_audio = (
        min(now, earlier) // CACHE_BLOCK * CACHE_BLOCK
        for now, earlier in ((prompt.text, previous.text), (prompt.audio, previous.audio))
    )
    return {
        "total_tokens": prompt.total + output.total,
        "input_tokens": prompt.total,
        "output_tokens": output.total,
        "input_token_details": {
            "text_tokens": prompt.text,
            "audio_tokens": prompt.audio,
            "image_tokens": 0,
            "cached_tokens": cached_text + cached_audio,
            "cached_tokens_details": {"text_tokens": cached_text, "audio_tokens": cached_audio, "image_tokens": 0},
        },
        "output_token_details": {"text_tokens": output.text, "audio_tokens": output.audio},
    }


def transcription_usage(by: str, seconds: float, transcript: str) -> Event:
    """Return the ``usage`` of a transcription of `seconds` s of audio; `by` is ``duration`` or ``tokens``."""
    if by == "duration":
        return {"type": "duration", "seconds": math.ceil(seconds)}
    input_tokens = math.ceil(seconds * USER_TOKENS_PER_SECOND)
    output_tokens = text_tokens(transcript)
    return {
        "type": "tokens",
        "total_tokens": input_tokens + output_tokens,
        "input_tokens": input_tokens,
        "input_token_details": {"text_tokens": 0, "audio_tokens": input_tokens},
        "output_tokens": output_tokens,
    }
