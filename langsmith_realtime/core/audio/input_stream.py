"""Decodes and resamples one stream of chunks, and passes each chunk on with its times and its item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from langsmith_realtime.core.audio.decoding import Decoder, Samples
from langsmith_realtime.core.audio.rates import TaggedResampler
from langsmith_realtime.core.audio.stream_clock import StreamClock
from langsmith_realtime.core.protocol.audio_formats import Format


@dataclass(slots=True)  # not frozen: creating a frozen instance takes four times as long, and there is one per chunk
class ChunkInfo:
    """What is known of a chunk besides its samples.

    Attributes:
        arrival: when it was sent, received or fed, in seconds.
        at: when it was captured or played, in seconds, as the application said; None if it said nothing.
        item_id: item of an audio delta; empty for other chunks.
        is_muted: the client does not play the delta, because the response was interrupted.
    """

    arrival: float
    at: float | None = None
    item_id: str = ""
    is_muted: bool = False


class InputStream:
    """One stream of audio in one format: sent, received, or fed by the application.

    Args:
        format: encoding and rate of the chunks.
        rate: rate of the recording in Hz.
        place: receives each chunk at the rate of the recording, in order. Resampling delays the call.
        may_run_ahead: whether chunks normally arrive faster than real time.
    """

    #: Seconds without a chunk after which the resampler is flushed.
    FLUSH_AFTER_S = 0.3

    def __init__(
        self,
        format: Format,  # noqa: A002
        rate: int,
        place: Callable[[ChunkInfo, Samples], None],
        *,
        may_run_ahead: bool = False,
    ) -> None:
        self.decoder = Decoder(format)
        self.clock = StreamClock(may_run_ahead=may_run_ahead)
        self._resampler: TaggedResampler[ChunkInfo] = TaggedResampler(format.rate, rate)
        self._place = place
        self._last_arrival = 0.0

    def add(self, chunk: ChunkInfo, samples: Samples) -> None:
        """Add a chunk that :attr:`decoder` decoded."""
        self._last_arrival = chunk.arrival
        # Of several deltas joined, the arrival is the first one's.
        is_start = chunk.at is not None or bool(chunk.item_id)
        time = chunk.arrival if chunk.at is None else chunk.at
        self.clock.add(time, len(samples) / self.decoder.format.rate, at_end=not is_start)
        for complete, resampled in self._resampler.add(chunk, samples):
            self._place(complete, resampled)

    def flush(self) -> None:
        """Place all chunks that the resampler holds back."""
        for complete, resampled in self._resampler.flush():
            self._place(complete, resampled)

    @property
    def last_arrival(self) -> float:
        """Arrival of the last chunk, in seconds."""
        return self._last_arrival

    def advance(self, t: float) -> float:
        """Flush the resampler if no chunk arrived in the :attr:`FLUSH_AFTER_S` seconds before ``t``.

        Return the arrival of the oldest chunk that the resampler still holds back; ``t`` if there is none.
        """
        if t > self._last_arrival + self.FLUSH_AFTER_S:
            self.flush()
        return min((chunk.arrival for chunk in self._resampler.pending_tags), default=t)

    def has_pending(self, item_id: str) -> bool:
        """Tell whether the resampler holds back audio of an item."""
        return any(chunk.item_id == item_id for chunk in self._resampler.pending_tags)
