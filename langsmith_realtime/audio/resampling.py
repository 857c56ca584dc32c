"""Another rate for a stream of chunks that each came with something: a time, an item.

Pure. A good resampler knows the future: it holds sound back. Here what a chunk came with is held back
with it, so that whoever places the sound gets the same calls as without resampling, only a moment later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import soxr

from langsmith_realtime.audio.formats import NO_SAMPLES, Samples

Tag = TypeVar("Tag")


class DelayLine(Generic[Tag]):
    """Chunks at ``rate`` Hz come out at ``wanted`` Hz, in order, each with the tag it was put in with.

    Of all that was put in, ``frames * wanted // rate`` frames come out, and of each chunk its share:
    whole numbers over the whole stream, so that no chunking changes a sample and no rounding adds up.
    The filter's delay is made up for: frame ``n`` of what comes out sounds ``n / wanted`` seconds after
    the first one. At the same rate chunks come out at once, as they are.
    """

    def __init__(self, rate: int, wanted: int) -> None:
        self._rate, self._wanted = rate, wanted
        self._waiting: deque[tuple[Tag, int]] = deque()  # and where the chunk ends, in frames that come out
        self._put = 0
        self._out = 0
        self._ready: Samples = NO_SAMPLES
        self._resampler: soxr.ResampleStream | None = None

    @property
    def waiting(self) -> Iterator[Tag]:
        """The tags of the chunks that are held back, in order."""
        return (tag for tag, _ in self._waiting)

    def put(self, tag: Tag, samples: Samples) -> list[tuple[Tag, Samples]]:
        """What comes out now that these came in."""
        if self._rate == self._wanted:
            return [(tag, samples)]
        self._put += len(samples)
        self._waiting.append((tag, self._put * self._wanted // self._rate))
        self._resample(samples)
        return self._come_out()

    def flush(self) -> list[tuple[Tag, Samples]]:
        """All that is held back: as if silence followed. What is put in later begins another stream."""
        if not self._waiting:
            return []
        self._resample(NO_SAMPLES, last=True)
        self._resampler = None
        owed = self._waiting[-1][1] - self._out
        # Fractions of a frame that were left by the streams before make a whole one now and then.
        self._ready = np.pad(self._ready, (0, max(0, owed - len(self._ready))))
        out = self._come_out()
        self._ready = NO_SAMPLES
        return out

    def _resample(self, samples: Samples, *, last: bool = False) -> None:
        if self._resampler is None:
            self._resampler = soxr.ResampleStream(self._rate, self._wanted, 1, dtype="float32", quality="HQ")
        made: npt.NDArray[np.float32] = self._resampler.resample_chunk(samples.astype(np.float32), last=last)
        if len(made):
            # Ringing beside a loud edge may leave the range; wrapped around it would be a bang.
            rounded = np.clip(np.rint(made), -32_768, 32_767).astype(np.int16)
            self._ready = np.concatenate((self._ready, rounded)) if len(self._ready) else rounded

    def _come_out(self) -> list[tuple[Tag, Samples]]:
        out = []
        used = 0
        while self._waiting and self._waiting[0][1] - self._out <= len(self._ready) - used:
            tag, end = self._waiting.popleft()
            frames = end - self._out
            out.append((tag, self._ready[used : used + frames]))
            used, self._out = used + frames, end
        self._ready = self._ready[used:]
        return out
