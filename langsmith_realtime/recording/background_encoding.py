"""Recordings that are encoded while they are made, by one thread for all of the process.

The WAV stays the truth. What is read of it lies far enough behind to be settled; where that changed all
the same, encoding starts over.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from langsmith_realtime.recording.encoder import Encoder, FileFormat
from langsmith_realtime.runtime import threads
from langsmith_realtime.runtime.forks import at_fork
from langsmith_realtime.runtime.guard import logger

#: The time that what was settled changes for which encoding is left for the end.
STARTS = 3
#: What part of the limit a form may reach before the next smaller one is begun. Opus takes over a second for a minute
#: of sound, so it is not begun where FLAC will do; what is left of the time is enough for it to catch up many times.
NEARLY = 0.8
#: How long the thread waits for more before it ends, in seconds.
IDLE = 30.0


class BackgroundEncoder:
    """Encodes ``forms``, the largest first, behind a WAV that grows.

    The first begins with the first :meth:`settled`, each other one when the form before it has reached
    :data:`NEARLY` all of ``limit`` bytes; so at the end only a tail is left to do. What outgrows the limit is given up.
    The worker calls; what is made of it in the end (:meth:`finish`, :meth:`discard`) any one thread may ask.
    """

    def __init__(self, source: Path, rate: int, forms: Sequence[FileFormat], limit: float) -> None:
        self._source, self._rate, self._forms, self._limit = source, rate, forms, limit
        self._encoders: dict[FileFormat, Encoder | None] = {}  # None: given up
        self._state = threading.Lock()
        self._at_work = threading.Lock()
        self._settled = self._done = self._starts = 0
        self._stale = self._stopped = self._is_due = False

    def settled(self, frames: int) -> None:
        """The WAV is on disk, and will not change any more, up to that frame."""
        with self._state:
            self._settled = frames
            self._have_it_done()

    def start_over(self) -> None:
        """It did change, and is on disk as it is now."""
        with self._state:
            self._stale = True
            self._starts += 1
            self._done = 0
            self._have_it_done()

    def stop(self) -> None:
        """The WAV is finished. Does not wait."""
        self._stopped = True

    def finish(self, form: FileFormat, frames: int) -> Path | None:
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

    def go_on(self) -> None:
        """Encode one piece of every form that may be needed; from the thread that does so for all."""
        with self._at_work:
            try:
                self._go_on()
            except Exception as error:
                # It is tried once more at the end, by who needs it.
                logger.warning("the recording could not be encoded while it was made: %s", error)
                self._stale = self._stopped = True
        with self._state:
            self._is_due = False
            self._have_it_done()

    def _have_it_done(self) -> None:
        """Take one's place in the queue, where there is something to do."""
        if not self._is_due and self._has_work():
            self._is_due = True
            _encoding.put(self)

    def _has_work(self) -> bool:
        # What was encoded of what changed may be what nobody shall hear: it goes with the next turn.
        return not self._stopped and (self._stale or (self._done < self._settled and self._starts < STARTS))

    def _go_on(self) -> None:
        with self._state:
            if not self._has_work():
                return
            if self._stale:
                self._forget()
            if self._starts >= STARTS:
                return
            settled, starts = self._settled, self._starts
        done = self._look(settled)
        with self._state:
            if starts == self._starts:
                self._done = done

    def _look(self, settled: int) -> int:
        """How far all of them are then."""
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

    def _end(self) -> None:
        self.stop()
        with self._at_work:
            if self._stale:
                self._forget()

    def _forget(self, keep: Path | None = None) -> None:
        for encoder in self._encoders.values():
            if encoder is not None and encoder.path != keep:
                encoder.discard()
        self._encoders.clear()
        self._stale = False

    def _encoder(self, form: FileFormat) -> Encoder | None:
        if form not in self._encoders:
            self._encoders[form] = Encoder(self._source, form, self._rate)
        return self._encoders[form]


class _Encoding:
    """The followers that have something to do, each a piece in its turn, in a thread that begins with the first."""

    def __init__(self) -> None:
        self._due: queue.SimpleQueue[BackgroundEncoder] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._is_running = False

    def put(self, follower: BackgroundEncoder) -> None:
        self._due.put(follower)
        with self._starting:
            if not self._is_running:
                # Where the process ends already, who needs what was not encoded does so.
                self._is_running = threads.start_thread(self._work, "langsmith-realtime-encoder") is not None

    def _work(self) -> None:
        if sys.platform == "linux":
            # There a thread has a niceness of its own: the conversation goes first.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)
        while True:
            try:
                self._due.get(timeout=IDLE).go_on()
            except queue.Empty:
                with self._starting:
                    if self._due.empty():
                        self._is_running = False
                        return


_encoding = _Encoding()


def _begin_again() -> None:
    """After a fork: the recordings are the parent's, and so is the thread."""
    global _encoding  # noqa: PLW0603
    _encoding = _Encoding()


at_fork(after_in_child=_begin_again)
