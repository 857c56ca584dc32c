"""Deletes what a store no longer keeps: traces by their age, and the oldest by the size of the folder."""

from __future__ import annotations

import time as clock
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from langsmith_realtime.collector.storage.store import Store

#: Seconds between two looks at the store.
INTERVAL_S: Final = 600.0
#: Seconds after the last write to a trace during which it may still be growing, so that it is not deleted for its size.
GROWING_S: Final = 600.0
_DAY_S: Final = 86_400.0
_GB: Final = 1_000_000_000


@dataclass(frozen=True)
class Retention:
    """How much a store keeps.

    Attributes:
        days: Days after the last write to a trace until the trace is deleted; None for no limit.
        gb: Largest size of the folder, in gigabytes of 1,000,000,000 bytes; the traces that were written to first are
            deleted until the rest fits. None for no limit. A trace that was written to in the last ten minutes stays
            in any case, and so do datasets.

    Raises:
        TypeError: A value is no number.
        ValueError: A value is not above 0.
    """

    days: float | None = None
    gb: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("keep_days", self.days), ("keep_gb", self.gb)):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} must be a number, got {value!r}")
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be above 0 and finite, got {value!r}; leave it out to keep everything")

    def apply(self, store: Store, now: float | None = None) -> int:
        """Delete what is too old or too much; return the number of deleted traces.

        Args:
            store: The store. Other threads may use it meanwhile; each trace is deleted in one transaction.
            now: Seconds since 1970; None for the time of the call.
        """
        now = clock.time() if now is None else now
        deleted = 0
        if self.days is not None:
            deleted += store.delete_traces(store.unchanged_since(now - self.days * _DAY_S))
        if self.gb is not None:
            limit = self.gb * _GB
            excess = store.bytes_used() - limit
            for trace_id in store.unchanged_since(now - GROWING_S) if excess > 0 else ():
                if excess <= 0:
                    break
                excess -= store.bytes_of(trace_id)
                deleted += store.delete_traces([trace_id])
                if excess <= 0:
                    excess = store.bytes_used() - limit  # the sizes of traces are estimates
        if deleted:
            store.shrink()
        return deleted
