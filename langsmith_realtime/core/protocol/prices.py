"""What models cost, as one table, and what a conversation's usage comes to.

Pure. The prices are those OpenAI published for its standard tier, read on 21 November 2026:

- ``gpt-realtime-2``, ``-2.1``, ``-2.1-mini``, ``-1.5``, ``gpt-4o-mini-realtime-preview``, ``gpt-4o-transcribe``,
  ``gpt-realtime-whisper``, ``gpt-live-transcribe`` and ``whisper-1``: each model's own page,
  ``developers.openai.com/api/docs/models/<model>``.
- ``gpt-4o-mini-transcribe``: the comparison page there, ``models/compare?model=gpt-4o-mini-transcribe``.
- ``gpt-realtime``, ``gpt-realtime-mini`` and the retired ``gpt-4o-realtime-preview``: the pricing page
  (``platform.openai.com/docs/pricing``) as it stood in autumn 2025, which the newer pages do not contradict.

A model whose price was not found there is not in the table. Batch, flex and regional prices, and what a
contract says, are not in it either: give your own with ``prices=``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

TOKENS_PER_PRICE = 1_000_000
#: Digits after the point: a millionth of a dollar is less than one token of text.
DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one model costs, in USD: for 1 million tokens of each kind, and for a minute of audio.

    What is None has no price; an estimate that would need it says that it is incomplete.

    Attributes:
        text_input, audio_input, image_input: input tokens that were not cached.
        cached_text_input, cached_audio_input, cached_image_input: input tokens that were.
        text_output, audio_output: output tokens; reasoning counts as text.
        per_minute: a minute of audio, where transcription is charged by duration.

    Raises:
        TypeError: a price is no number.
        ValueError: it is negative or not finite.
    """

    text_input: float | None = None
    audio_input: float | None = None
    image_input: float | None = None
    cached_text_input: float | None = None
    cached_audio_input: float | None = None
    cached_image_input: float | None = None
    text_output: float | None = None
    audio_output: float | None = None
    per_minute: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"Price.{each.name} is a number of USD, not {type(value).__name__}")
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"Price.{each.name} is a price in USD, not {value!r}")

    def of(self, kind: str, units: float) -> float | None:
        """What so many tokens (or, for ``per_minute``, minutes) of a kind cost; None when that has no price."""
        price: float | None = getattr(self, kind, None)
        if price is None:
            return None
        return price * units if kind == "per_minute" else price * units / TOKENS_PER_PRICE


_FLAGSHIP: dict[str, Any] = {
    "text_input": 4.00,
    "cached_text_input": 0.40,
    "audio_input": 32.00,
    "cached_audio_input": 0.40,
    "audio_output": 64.00,
    "image_input": 5.00,
    "cached_image_input": 0.50,
}
_MINI = Price(
    text_input=0.60,
    cached_text_input=0.06,
    text_output=2.40,
    audio_input=10.00,
    cached_audio_input=0.30,
    audio_output=20.00,
    image_input=0.80,
    cached_image_input=0.08,
)

#: By model name; a dated snapshot (``…-2025-08-28``) costs what its model costs unless it has a row of its own.
PRICES: Mapping[str, Price] = MappingProxyType(
    {
        "gpt-realtime": Price(**_FLAGSHIP, text_output=16.00),
        "gpt-realtime-1.5": Price(**_FLAGSHIP, text_output=16.00),
        "gpt-realtime-2": Price(**_FLAGSHIP, text_output=24.00),
        "gpt-realtime-2.1": Price(**_FLAGSHIP, text_output=24.00),
        "gpt-realtime-mini": _MINI,
        "gpt-realtime-2.1-mini": _MINI,
        "gpt-4o-realtime-preview": Price(
            text_input=5.00,
            cached_text_input=2.50,
            text_output=20.00,
            audio_input=40.00,
            cached_audio_input=2.50,
            audio_output=80.00,
        ),
        "gpt-4o-mini-realtime-preview": Price(
            text_input=0.60,
            cached_text_input=0.30,
            text_output=2.40,
            audio_input=10.00,
            cached_audio_input=0.30,
            audio_output=20.00,
        ),
        "gpt-4o-transcribe": Price(text_input=2.50, audio_input=2.50, text_output=10.00),
        "gpt-4o-mini-transcribe": Price(text_input=1.25, audio_input=1.25, text_output=5.00),
        "gpt-realtime-whisper": Price(per_minute=0.017),
        "gpt-live-transcribe": Price(per_minute=0.017),
        "whisper-1": Price(per_minute=0.006),
    }
)

_SNAPSHOT = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def table(own: object) -> Mapping[str, Price]:
    """The default table, with a caller's own rows added and put in place of those of the same name.

    Raises:
        TypeError: it is no mapping of model names to :class:`Price`.
    """
    if own is None:
        return PRICES
    if not isinstance(own, Mapping):
        raise TypeError(f"prices is a mapping of model names to Price, not {type(own).__name__}")
    for name, price in own.items():
        if not isinstance(name, str):
            raise TypeError(f"prices is a mapping of model names to Price, not of {type(name).__name__}")
        if not isinstance(price, Price):
            raise TypeError(f"prices[{name!r}] is a Price, not {type(price).__name__}")
    return {**PRICES, **own}


def price_of(model: str, prices: Mapping[str, Price]) -> Price | None:
    """The price of a model: its own row, else the one of the model it is a dated snapshot of.

    Nothing but a date may follow: ``gpt-realtime-mini`` is no ``gpt-realtime``, and a model that comes
    later has no price until somebody gives it one.
    """
    return prices.get(model) or prices.get(_SNAPSHOT.sub("", model))


def estimated_cost(charges: Mapping[str, Mapping[str, float]], prices: Mapping[str, Price]) -> dict[str, Any]:
    """What these charges come to, for a run's metadata.

    Args:
        charges: by model, by kind of charge (a field of :class:`Price`), the tokens or minutes.
        prices: by model.

    Returns:
        ``estimated_cost_usd``, rounded to a millionth of a dollar; absent when nothing has a price.
        ``estimated_cost_incomplete``, the models of which something has none; absent when everything has one.
    """
    total, priced, incomplete = 0.0, False, []
    for model, kinds in charges.items():
        price = price_of(model, prices) or Price()
        costs = [price.of(kind, units) for kind, units in kinds.items() if units]
        known = [cost for cost in costs if cost is not None]
        total += sum(known)
        priced = priced or bool(known)
        if len(known) < len(costs):
            incomplete.append(model)
    estimate: dict[str, Any] = {}
    if priced:
        estimate["estimated_cost_usd"] = round(total, DIGITS)
    if incomplete:
        estimate["estimated_cost_incomplete"] = sorted(incomplete)
    return estimate
