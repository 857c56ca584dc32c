"""Smaller forms of a recording: the WAV's sound as FLAC or Ogg Opus, encoded while the WAV still grows.

The WAV stays the truth. What is read of it lies far enough behind to be settled; where that changed all
the same, encoding starts over.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from langsmith_realtime.audio.recording import FRAME_BYTES, HEADER_BYTES
from langsmith_realtime.guard import logger

#: Seconds that are read and encoded at once.
PIECE_S = 5
#: The time that what was settled changes for which encoding is left for the end.
STARTS = 3
#: What part of the limit a form may reach before the next smaller one is begun. Opus takes over a second for a minute
#: of sound, so it is not begun where FLAC will do; what is left of the time is enough for it to catch up many times.
NEARLY = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A way to store a recording."""

    #: As in ``Recording.format``, and as a sentence calls it.
    name: str
    label: str
    suffix: str
    mime: str
    #: What soundfile is told of it.
    encoding: dict[str, Any] = field(default_factory=dict)
    #: The rates it takes, in Hz, ascending; none for all.
    rates: tuple[int, ...] = ()

    def rate(self, wanted: int) -> int:
        """The lowest rate it takes that loses nothing, or else its highest."""
        return next((rate for rate in self.rates if rate >= wanted), self.rates[-1]) if self.rates else wanted


def _opus(label: str, suffix: str, level: float) -> Form:
    encoding = {"format": "OGG", "subtype": "OPUS", "compression_level": level}
    return Form("opus", label, suffix, "audio/ogg", encoding, (8_000, 12_000, 16_000, 24_000, 48_000))


WAV = Form("wav", "WAV", ".wav", "audio/wav")
#: Its second level: a third less work than the usual one, and 3 % more bytes.
FLAC = Form("flac", "FLAC", ".flac", "audio/flac", {"format": "FLAC", "subtype": "PCM_16", "compression_level": 0.125})
#: 290 kB a minute at most: an hour, the longest session, in 17 MB, close to the original.
OPUS = _opus("Opus", ".ogg", 0.95)
#: 90 kB a minute: more than three hours in 17 MB, where the sides are heard in each other's channel a little.
SMALL_OPUS = _opus("smallest Opus", ".small.ogg", 1.0)
#: From the largest to the smallest.
FORMS = (WAV, FLAC, OPUS, SMALL_OPUS)


class Encoder:
    """A WAV at ``rate`` Hz → another form beside it, readable by its owner alone.

    Raises:
        OSError: the disk is full, or gone.
        soundfile.SoundFileError: the same, as libsndfile says it.
    """

    def __init__(self, source: Path, form: Form, rate: int) -> None:
        self.form = form
        self.path = source.with_suffix(form.suffix)
        #: Frames of the WAV that are encoded.
        self.frames = 0
        self._piece = PIECE_S * rate
        self._resampler = None
        if form.rate(rate) != rate:
            self._resampler = soxr.ResampleStream(rate, form.rate(rate), 2, dtype="int16")
        self._target: Any = None
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self._source = -1
        try:
            self._source = os.open(source, os.O_RDONLY)
            self._target = soundfile.SoundFile(self.path, "w", form.rate(rate), 2, **form.encoding)
        except BaseException:
            self.discard()
            raise

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.path.stat().st_size

    def advance(self, frames: int) -> None:
        """Go on towards that frame, by one piece at most."""
        count = min(frames - self.frames, self._piece)
        if count > 0:
            self._write(self._read(count), last=False)
            self.frames += count

    def finish(self, frames: int) -> Path:
        """Encode what is left of so many frames, and end the file."""
        while self.frames < frames:
            self.advance(frames)
        if not self._target.closed:
            self._write(np.zeros((0, 2), dtype=np.int16), last=True)
            self._close()
        return self.path

    def discard(self) -> None:
        """The file is not needed, or not any more."""
        with contextlib.suppress(soundfile.SoundFileError):  # what cannot be finished can still be removed
            self._close()
        self.path.unlink(missing_ok=True)

    def _read(self, count: int) -> npt.NDArray[np.int16]:
        frames = np.zeros((count, 2), dtype="<i2")
        data = os.pread(self._source, count * FRAME_BYTES, HEADER_BYTES + self.frames * FRAME_BYTES)
        frames.reshape(-1)[: len(data) // 2] = np.frombuffer(data, dtype="<i2", count=len(data) // 2)
        return frames  # what lies behind the end of the file was not written yet: silence

    def _write(self, frames: npt.NDArray[np.int16], *, last: bool) -> None:
        if self._resampler is not None:
            frames = self._resampler.resample_chunk(frames, last=last)
        if len(frames):
            self._target.write(frames)

    def _close(self) -> None:
        source, self._source = self._source, -1
        if source >= 0:
            os.close(source)
        if self._target is not None:
            self._target.close()


class Follower:
    """The thread that encodes ``forms``, the largest first, behind a WAV that grows.

    The first begins with the first :meth:`settled`, each other one when the form before it has reached
    :data:`NEARLY` all of ``limit`` bytes; so at the end only a tail is left to do. What outgrows the limit is given up.
    The worker calls; what is made of it in the end (:meth:`finish`, :meth:`discard`) any one thread may ask.
    """

    def __init__(self, source: Path, rate: int, forms: Sequence[Form], limit: float) -> None:
        self._source, self._rate, self._forms, self._limit = source, rate, forms, limit
        self._encoders: dict[Form, Encoder | None] = {}  # None: given up
        self._changed = threading.Condition()
        self._settled = self._done = self._starts = 0
        self._stale = self._stopped = False
        self._thread: threading.Thread | None = None

    def settled(self, frames: int) -> None:
        """The WAV is on disk, and will not change any more, up to that frame."""
        with self._changed:
            self._settled = frames
            self._changed.notify_all()
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._follow, name="langsmith-realtime-encoder", daemon=True)
            self._thread.start()

    def start_over(self) -> None:
        """It did change, and is on disk as it is now."""
        with self._changed:
            self._stale = True
            self._starts += 1
            self._done = 0
            self._changed.notify_all()

    def stop(self) -> None:
        """The WAV is finished. Does not wait."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def finish(self, form: Form, frames: int) -> Path | None:
        """The file of so many frames, encoded by now; None when it is larger than the limit.

        Raises:
            OSError: the disk is full, or gone.
            soundfile.SoundFileError: the same, as libsndfile says it.
        """
        self._end()
        encoder = self._encoder(form)
        return None if encoder is None else encoder.finish(frames)

    def discard(self, *, keep: Path | None = None) -> None:
        """Remove the files but the one to keep."""
        self._end()
        self._forget(keep)

    def _end(self) -> None:
        self.stop()
        if self._thread is not None:
            self._thread.join()
        if self._stale:
            self._forget()

    def _forget(self, keep: Path | None = None) -> None:
        for encoder in self._encoders.values():
            if encoder is not None and encoder.path != keep:
                encoder.discard()
        self._encoders.clear()
        self._stale = False

    def _encoder(self, form: Form) -> Encoder | None:
        if form not in self._encoders:
            self._encoders[form] = Encoder(self._source, form, self._rate)
        return self._encoders[form]

    def _follow(self) -> None:
        if sys.platform == "linux":
            # There a thread has a niceness of its own: the conversation goes first.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(self._has_work)
                    if self._stopped:
                        return
                    if self._stale:
                        self._forget()
                    if self._starts >= STARTS:
                        continue
                    settled, starts = self._settled, self._starts
                done = self._look(settled)
                with self._changed:
                    if starts == self._starts:
                        self._done = done
                        self._changed.notify_all()
        except Exception as error:
            # It is tried once more at the end, by who needs it.
            logger.warning("the recording could not be encoded while it was made: %s", error)
            self._stale = True

    def _has_work(self) -> bool:
        # What was encoded of what changed may be what nobody shall hear: it goes at once.
        return self._stopped or self._stale or (self._done < self._settled and self._starts < STARTS)

    def _look(self, settled: int) -> int:
        """Encode one piece of every form that may be needed; how far all of them are."""
        done = settled
        for form in self._forms:
            encoder = self._encoder(form)
            if encoder is None:
                continue
            encoder.advance(settled)
            done = min(done, encoder.frames)
            size = encoder.size
            if size > self._limit:
                encoder.discard()
                self._encoders[form] = None
            elif size < self._limit * NEARLY:
                break
        return done
