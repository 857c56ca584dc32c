"""Recognizes deltas of an interrupted response in the audio that the application feeds.

Pure. An application may feed each delta as it arrives, before its player drops those of an interrupted response.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from langsmith_realtime.core.audio.decoding import Samples

#: Number of deltas that are remembered.
MAX_DELTAS = 100


class MutedDeltas:
    """Remembers the latest 100 deltas that arrived after their response was interrupted, to recognize them when fed."""

    def __init__(self) -> None:
        self._deltas: deque[Samples] = deque(maxlen=MAX_DELTAS)

    def add(self, samples: Samples) -> None:
        """Remember a delta; the oldest is forgotten when there are more than 100."""
        self._deltas.append(samples)

    def clear(self) -> None:
        """Forget all deltas: one of a response that plays has arrived."""
        self._deltas.clear()

    def remove(self, samples: Samples) -> bool:
        """Tell whether fed samples are a remembered delta, or the start of one and not all zeros.

        If so, forget these samples and the deltas before them.
        """
        for index, delta in enumerate(self._deltas, 1):
            # Coalescing may have joined several deltas into one. A common start of zeros proves nothing.
            is_part = len(samples) < len(delta) and bool(samples.any())
            if np.array_equal(delta[: len(samples)] if is_part else delta, samples):
                for _ in range(index):
                    self._deltas.popleft()
                if is_part:
                    self._deltas.appendleft(delta[len(samples) :])
                return True
        return False
