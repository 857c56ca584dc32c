"""The prices of models, and the estimated cost of a conversation.

Pure. The table has the prices that OpenAI published for its standard tier, as read on 21 November 2026:

- ``gpt-realtime-2``, ``-2.1``, ``-2.1-mini``, ``-1.5``, ``gpt-4o-mini-realtime-preview``, ``gpt-4o-transcribe``,
  ``gpt-realtime-whisper``, ``gpt-live-transcribe`` and ``whisper-1``: each model's own page,
  ``developers.openai.com/api/docs/models/<model>``.
- ``gpt-4o-mini-transcribe``: the comparison page there, ``models/compare?model=gpt-4o-mini-transcribe``.
- ``gpt-realtime``, ``gpt-realtime-mini`` and the retired ``gpt-4o-realtime-preview``: the pricing page
  (``platform.openai.com/docs/pricing``) as it stood in autumn 2025, which the newer pages do not contradict.

Models whose prices were not found there are not in the table, nor are batch, flex, regional and contract prices. Give
your own prices with ``prices=``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

TOKENS_PER_PRICE = 1_000_000
#: Decimal places of the estimate: a millionth of a dollar is less than the price of one text token.
DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The prices of one model, in USD per 1 million tokens and, for ``per_minute``, in USD per minute of audio.

    None means that the price is not known; an estimate that needs it is marked as incomplete.

    Attributes:
        text_input, audio_input, image_input: of input tokens that were not cached.
        cached_text_input, cached_audio_input, cached_image_input: of cached input tokens.
        text_output, audio_output: of output tokens; reasoning counts as text.
        per_minute: of a minute of audio, for transcription that is charged by duration.

    Raises:
        TypeError: a price is not a number.
        ValueError: a price is negative or not finite.
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
                raise TypeError(f"Price.{each.name} must be a number of USD, got {type(value).__name__}")
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"Price.{each.name} must be finite and non-negative, got {value!r}")

    def of(self, kind: str, units: float) -> float | None:
        """The cost in USD of ``units`` tokens of a kind, or minutes for ``per_minute``; None if the kind has no price.

        ``kind`` is the name of a field, such as ``"text_input"``.
        """
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

#: By model name. A dated snapshot (``…-2025-08-28``) without a row of its own has the price of its model.
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


def price_table(own: object) -> Mapping[str, Price]:
    """The option ``prices=`` as a whole table: :data:`PRICES`, with the rows of ``own`` added or replaced.

    Raises:
        TypeError: ``own`` is not None and not a mapping of model names to :class:`Price`.
    """
    if own is None:
        return PRICES
    if not isinstance(own, Mapping):
        raise TypeError(f"prices must be a mapping of model names to Price, got {type(own).__name__}")
    for name, price in own.items():
        if not isinstance(name, str):
            raise TypeError(f"the keys of prices must be model names (str), got {type(name).__name__}")
        if not isinstance(price, Price):
            raise TypeError(f"prices[{name!r}] must be a Price, got {type(price).__name__}")
    return {**PRICES, **own}


def price_of(model: str, prices: Mapping[str, Price]) -> Price | None:
    """The price of a model: its own row or, for a dated snapshot, its model's row; None without either.

    Only a date is ignored: ``gpt-realtime-mini`` does not get the price of ``gpt-realtime``.
    """
    return prices.get(model) or prices.get(_SNAPSHOT.sub("", model))


def own_costs(model: str | None, charges: Mapping[str, float], prices: Mapping[str, Price]) -> dict[str, float]:
    """A response's ``input_cost``, ``output_cost`` and ``total_cost`` in USD, at the application's own prices.

    Empty if the model's price is the published one, which LangSmith knows by itself, and if a charge has no price.

    Args:
        model: the model's name; None if it is not known.
        charges: tokens by kind of charge: a field of :class:`Price`, or ``unsplit``.
        prices: by model name.
    """
    price = None if model is None else price_of(model, prices)
    if model is None or price is None or price == price_of(model, PRICES):
        return {}
    sides = {"input_cost": 0.0, "output_cost": 0.0}
    for kind, units in charges.items():
        cost = price.of(kind, units)
        if cost is None:
            return {}
        sides["input_cost" if kind.endswith("_input") else "output_cost"] += cost
    sides["total_cost"] = sum(sides.values())
    return {name: round(cost, 12) for name, cost in sides.items()}


def estimated_cost(charges: Mapping[str, Mapping[str, float]], prices: Mapping[str, Price]) -> dict[str, Any]:
    """The estimated cost of these charges, for the root's metadata.

    Args:
        charges: tokens or minutes by model, then by kind of charge: a field of :class:`Price`, or ``unsplit``.
        prices: by model name.

    Returns:
        ``estimated_cost_usd``, rounded to a millionth of a dollar; absent if no charge has a price.
        ``estimated_cost_incomplete``, the sorted names of models with a charge that has no price; absent if there
        are none.
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
