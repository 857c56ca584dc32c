"""Tail sampling: whether a conversation is kept is decided when it has ended, from its numbers.

Pure. ``keep=`` takes any function of the numbers; :class:`Keep` is the usual one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from langsmith_realtime.core.conversation import metric_names
from langsmith_realtime.core.protocol.events import number

#: From what the root's metadata would say, and ``trace_id`` and (where there is one) ``error``.
KeepRule: TypeAlias = Callable[[dict[str, Any]], object]


class Keep:
    """Keeps the conversations that are worth a look, and a share of the rest::

        Keep(errors=True, interruptions=True, latency_to_first_audio_p95_ms=1500, share=0.1)

    Args:
        share: of the conversations that nothing else keeps, from 0 to 1. It is decided from the trace's id,
            so it is the same for it everywhere.
        **above: numbers of the conversation, by name: it is kept when one is greater than that. ``True`` is
            for any that is greater than 0. A conversation that ended with an error has one ``errors`` more.

    Raises:
        TypeError: a value that is no number.
        ValueError: an unknown number, or a share that is none.
    """

    def __init__(self, *, share: float = 0.0, **above: float) -> None:
        for name, value in {"share": share, **above}.items():
            if name != "share" and name not in metric_names.NAMES:
                raise ValueError(f"keep has no number {name!r}; there are {', '.join(metric_names.NAMES)}")
            if not isinstance(value, (int, float)):
                raise TypeError(f"{name} is a number, not {type(value).__name__}")
        if not 0 <= share <= 1:
            raise ValueError(f"share is between 0 and 1, not {share!r}")
        self._share = float(share)
        # False is for none: it keeps nothing.
        self._above = {
            name: 0.0 if value is True else float(value) for name, value in above.items() if value is not False
        }

    def __call__(self, known: Mapping[str, Any]) -> bool:
        """Whether the conversation with these numbers is kept."""
        values = {name: number(known.get(name)) or 0.0 for name in self._above}
        if "errors" in values and known.get("error") is not None:
            values["errors"] += 1
        return any(values[name] > least for name, least in self._above.items()) or (
            _fraction(str(known.get("trace_id"))) < self._share
        )

    def __repr__(self) -> str:
        said = {**self._above, "share": self._share}
        return f"Keep({', '.join(f'{name}={value:g}' for name, value in said.items())})"


def _fraction(trace_id: str) -> float:
    """From 0 to 1, evenly over ids. Not the hash that LangSmith samples by: a share of those is to be one, too."""
    digest = hashlib.blake2b(trace_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
