"""The rule of tail sampling: at the end of a conversation it decides from the metrics whether to keep the trace."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from langsmith_realtime.core.conversation.numbers import metric_names
from langsmith_realtime.core.protocol.events import number

#: Called with the root run's metadata, ``trace_id`` and, if the conversation failed, ``error``; a true result keeps it.
KeepRule: TypeAlias = Callable[[dict[str, Any]], object]


class Keep:
    """Keeps the conversations with a metric above its limit, and a share of the others::

        Keep(errors=True, interruptions=True, latency_to_first_audio_p95_ms=1500, share=0.1)

    Args:
        share: fraction (0 to 1) of the other conversations to keep. The trace id decides, so every process decides
            alike for one trace.
        **above: limits by metric name (``docs/numbers.md``). A conversation is kept if a metric exceeds its limit;
            ``True`` stands for the limit 0, ``False`` for no limit. An error at the end counts as one of ``errors``.

    Raises:
        TypeError: a limit or the share is not a number.
        ValueError: there is no such metric, or the share is not between 0 and 1.
    """

    def __init__(self, *, share: float = 0.0, **above: float) -> None:
        for name, value in {"share": share, **above}.items():
            if name != "share" and name not in metric_names.NAMES:
                raise ValueError(f"Keep: {name!r} is not a metric; choose from {', '.join(metric_names.NAMES)}")
            if not isinstance(value, (int, float)):
                raise TypeError(f"Keep: {name} must be a number, got {type(value).__name__}")
        if not 0 <= share <= 1:
            raise ValueError(f"Keep: share must be between 0 and 1, got {share!r}")
        self._share = float(share)
        # True is the limit 0; False sets no limit.
        self._above = {
            name: 0.0 if value is True else float(value) for name, value in above.items() if value is not False
        }

    def __call__(self, metrics: Mapping[str, Any]) -> bool:
        """Return whether to keep the conversation with these metrics."""
        values = {name: number(metrics.get(name)) or 0.0 for name in self._above}
        if "errors" in values and metrics.get("error") is not None:
            values["errors"] += 1
        return any(values[name] > limit for name, limit in self._above.items()) or (
            _fraction(str(metrics.get("trace_id"))) < self._share
        )

    def __repr__(self) -> str:
        arguments = {**self._above, "share": self._share}
        return f"Keep({', '.join(f'{name}={value:g}' for name, value in arguments.items())})"


def _fraction(trace_id: str) -> float:
    """A number from 0 to 1 for a trace id, uniformly distributed.

    It differs from the hash that LangSmith's sampling uses, so that a share of sampled traces is a random share.
    """
    digest = hashlib.blake2b(trace_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
