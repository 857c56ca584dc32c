"""The recording of one conversation, from its first sound to its delivery.

What is written comes from the worker's thread. What takes long in the end (encoding the rest, storing the
file elsewhere) is done aside.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langsmith_realtime.core.audio.agent.playback import Playback
from langsmith_realtime.core.audio.writes import ChannelWrite, WriteJoiner
from langsmith_realtime.core.payloads.scrubbing import public_url
from langsmith_realtime.core.protocol.audio_formats import AGENT, USER
from langsmith_realtime.options.recording import Recording
from langsmith_realtime.recording import storage
from langsmith_realtime.recording.background_encoding import NEARLY, BackgroundEncoder
from langsmith_realtime.recording.encoder import FORMS, PIECE_S, WAV, FileFormat
from langsmith_realtime.recording.wav import FRAME_BYTES, Wav, private_directory
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, Guard, logger
from langsmith_realtime.runtime.threads import work_in_progress

#: What lies that many seconds back hardly changes any more: so long truncations may correct what was cut.
SETTLED_S = Playback.MEMORY_S + 5
#: How often the file is brought up to date, in seconds of the conversation: what is written together costs less.
LOOK_S = 2.0
#: The answer to a request that is too large.
TOO_LARGE = 413


@dataclass(frozen=True)
class Recorded:
    """What became of a recording: what the root says of it, and what is attached to it.

    Attributes:
        metadata: for the root.
        attachment: MIME type and file, if there is something to attach.
        done: hears whether the root's update was delivered.
        refused: what there is instead when LangSmith refuses the attachment with that HTTP status. It may
            take seconds.
    """

    metadata: dict[str, Any] = field(default_factory=dict)
    attachment: tuple[str, Path] | None = None
    done: Callable[[bool], None] | None = None
    refused: Callable[[int], Recorded] | None = None


class Recorder:
    """Makes the recording's file with the first sound, and what is attached or stored of it in the end.

    Args:
        recording: how.
        name: of the file, without its ending.
        limit_s: the longest recording, in seconds; None for any.
        hidden: the channels that stay silent.
        guard: hears what went wrong in the end.
        aside: does work in a thread of its own.
    """

    def __init__(
        self,
        recording: Recording,
        *,
        name: str,
        limit_s: float | None,
        hidden: set[int],
        guard: Guard,
        aside: Callable[[Callable[[], None]], None],
    ) -> None:
        #: Where the file is made when nobody says where; by default a private temporary folder.
        self.folder: Path | None = None
        self._recording = recording
        self._name = name
        self._limit_s = limit_s
        self._hidden = hidden
        self._guard = guard
        self._aside = aside
        self._wanted = _wanted(recording)
        self._wav: Wav | None = None
        self._follower: BackgroundEncoder | None = None
        self._waiting: list[ChannelWrite] = []
        self._settled = 0  # frames that were said to be
        self._looked = 0.0
        self._failed: str | None = None

    def write(self, writes: Iterable[ChannelWrite], rate: int, t: float) -> None:
        """Put the samples where they belong, soon after ``t``; a channel whose side is hidden stays silent."""
        if self._failed is not None:
            return
        self._waiting += writes
        try:
            if self._waiting and self._wav is None:
                self._wav = self._begin(rate)
            if self._wav is not None and t >= self._looked + LOOK_S:
                self._looked = t
                self._write(self._wav)
                self._settle(self._wav, t)
        except OSError as error:
            # A full disk or a read-only folder costs the recording, not the trace.
            self._fail(error)

    def sync(self) -> None:
        """Have on disk what was written, now: what it took the place of must not be there any longer."""
        try:
            if self._wav is not None and self._failed is None:
                self._write(self._wav)
        except OSError as error:
            self._fail(error)

    def finish(self, t: float, end: Callable[[Recorded], None]) -> None:
        """End the file at ``t``; ``end`` hears what became of it, now or, from another thread, later."""
        if self._wav is None or self._follower is None:
            end(Recorded(self._said()))
            return
        self.sync()
        self._follower.stop()
        try:
            self._wav.close(round(t * self._wav.rate))
        except OSError as error:
            self._fail(error)
            self._follower.discard()
            end(Recorded(self._said()))
            return
        if self._recording.url is not None:
            self._aside(lambda: end(self._made(self._stored)))
        elif self._wanted[0] is WAV and self._fits(self._wav.path):
            end(self._made(self._attached))
        else:
            self._aside(lambda: end(self._made(self._attached)))

    def discard(self) -> None:
        """Nobody wants it: nothing of it stays."""
        if self._wav is None or self._follower is None:
            return
        self._follower.stop()
        try:
            self._wav.close(0)
        except OSError as error:
            logger.debug("the recording could not be finished: %s", error)
        self._clear()

    # While it is made

    def _begin(self, rate: int) -> Wav:
        limit = None if self._limit_s is None else round(self._limit_s * rate)
        wanted = None if self._recording.url is not None else self._recording.directory
        folder = private_directory(wanted or self.folder)
        wav = Wav(folder / f"{self._name}.wav", rate, limit)
        smaller = [form for form in self._wanted if form is not WAV]
        self._follower = BackgroundEncoder(wav.path, rate, smaller, self._max_bytes)
        return wav

    def _write(self, wav: Wav) -> None:
        waiting, self._waiting = self._waiting, []
        writes = [item for channel in {USER, AGENT} - self._hidden for item in _joined(channel, waiting)]
        for item in writes:
            wav.write(item)
        wav.sync()
        if self._follower is not None and any(item.write.start < self._settled for item in writes):
            self._follower.start_over()

    def _settle(self, wav: Wav, t: float) -> None:
        settled = min(round((t - SETTLED_S) * wav.rate), wav.limit)
        # By whole pieces: less of it costs as much to encode.
        if settled < self._settled + PIECE_S * wav.rate or not self._is_followed(t * wav.rate * FRAME_BYTES):
            return
        assert self._follower is not None
        self._settled = settled
        self._follower.settled(settled)

    def _is_followed(self, size: float) -> bool:
        """Whether smaller forms of a WAV of that many bytes may be needed."""
        return self._wanted[0] is not WAV or (len(self._wanted) > 1 and size >= self._max_bytes * NEARLY)

    def _fail(self, error: OSError) -> None:
        self._failed = f"{type(error).__name__}: {error.strerror}"
        logger.warning("the recording stopped: %s", error)

    # At the end

    def _made(self, make: Callable[[], Recorded]) -> Recorded:
        """What was made of the recording; whatever fails in that costs the attachment, and not the root's update."""
        try:
            return make()
        except CALLBACK_ERRORS as error:
            self._guard.report("recording", error)
            return self._without((f"the recording could not be prepared ({type(error).__name__})",))

    def _attached(self, forms: Sequence[FileFormat] | None = None, reasons: tuple[str, ...] = ()) -> Recorded:
        """The first of the forms that LangSmith may take."""
        forms = self._wanted if forms is None else forms
        for index, form in enumerate(forms):
            path = self._file(form)
            if path is None or not self._fits(path):
                reasons = (*reasons, self._too_large(form, path, reasons))
            else:
                return self._offered(form, path, forms[index + 1 :], reasons)
        return self._without(reasons)

    def _offered(self, form: FileFormat, path: Path, rest: Sequence[FileFormat], reasons: tuple[str, ...]) -> Recorded:
        """That file, or one of the ``rest`` when LangSmith says that it is too large."""

        def refused(status: int) -> Recorded:
            said = f"LangSmith refused the {form.label} of {_size(path.stat().st_size)} (HTTP {status})"
            return self._made(lambda: self._attached(rest if status == TOO_LARGE else (), (*reasons, said)))

        said = {**self._said(), "recording_format": form.name}
        if reasons:
            said["recording_reduced"] = "; ".join(reasons)
        return Recorded(said, (form.mime, path), lambda delivered: self._sent(path, delivered), refused)

    def _stored(self) -> Recorded:
        """The recording in the store that its URL names."""
        url, form = self._recording.url, self._wanted[0]
        path = self._file(form)
        assert url is not None
        assert path is not None  # nothing limits its size
        try:
            address = storage.upload(path, url)
        except CALLBACK_ERRORS as error:
            # What a store says may quote the URL with all its secrets.
            reason = f"the recording could not be stored at {public_url(url)} ({type(error).__name__})"
            return self._without((reason,), keep=path)
        self._clear()
        return Recorded({**self._said(), "recording_format": form.name, "recording_url": address})

    def _without(self, reasons: tuple[str, ...], keep: Path | None = None) -> Recorded:
        """Nothing is attached: the file stays here, and the root says so."""
        reason = "; ".join(reasons)
        kept = self._clear(keep or self._path)
        logger.warning("%s; it is kept at %s", reason, kept)
        return Recorded({**self._said(), "recording_error": f"{reason}; it is kept where it was recorded"})

    def _sent(self, path: Path, delivered: bool) -> None:
        """The root's update was sent, or could not be: what was not delivered stays on disk."""
        if not delivered:
            logger.warning("the recording could not be sent; it is kept at %s", self._clear(self._path))
        elif self._recording.keep:
            self._clear(self._path if self._recording.format is None else path)
        else:
            self._clear()

    def _said(self) -> dict[str, Any]:
        said: dict[str, Any] = {}
        if self._failed is not None:
            said["recording_error"] = self._failed
        if self._wav is not None and self._wav.frames_beyond_limit:
            said["audio_truncated"] = True
        hidden = [name for channel, name in ((USER, "user"), (AGENT, "agent")) if channel in self._hidden]
        if hidden:
            said["recording_hidden"] = hidden
        return said

    # Files

    @property
    def _path(self) -> Path:
        assert self._wav is not None
        return self._wav.path

    @property
    def _max_bytes(self) -> float:
        return float("inf") if self._recording.url is not None else self._recording.max_attachment_bytes

    def _fits(self, path: Path) -> bool:
        return path.stat().st_size <= self._max_bytes

    def _file(self, form: FileFormat) -> Path | None:
        """The finished file in that form; None when it is known to be too large."""
        assert self._wav is not None
        assert self._follower is not None
        if form is WAV:
            return self._wav.path
        with work_in_progress():
            return self._follower.finish(form, self._wav.frames)

    def _too_large(self, form: FileFormat, path: Path | None, before: tuple[str, ...]) -> str:
        if before and "larger than" in before[0]:
            return f"so is the {form.label}"
        size = "" if path is None else f" of {_size(path.stat().st_size)}"
        return f"the {form.label}{size} is larger than the {_size(self._max_bytes)} an attachment may have"

    def _clear(self, keep: Path | None = None) -> Path | None:
        """Remove all files but that one, and the folder when it is ours and empty."""
        assert self._follower is not None
        self._follower.discard(keep=keep)
        if self._path != keep:
            self._path.unlink(missing_ok=True)
        if keep is None and (self._recording.directory is None or self._recording.url is not None):
            with contextlib.suppress(OSError):  # whatever else is in it is not ours
                self._path.parent.rmdir()
        return keep


def _joined(channel: int, writes: Iterable[ChannelWrite]) -> list[ChannelWrite]:
    """Those of a channel, in order; what goes on from one another becomes one, because each costs the same."""
    joined = WriteJoiner()
    for item in writes:
        if item.channel == channel:
            silent = not item.write.samples.strides[0]  # in the memory of one sample, which it would lose
            if silent:
                joined.flush()
            joined.add(item.write)
            if silent:
                joined.flush()
    joined.flush()
    return [ChannelWrite(channel, write) for write in joined.take_writes()]


def _wanted(recording: Recording) -> Sequence[FileFormat]:
    """The forms that the recording may be had in, the best first."""
    if recording.format is None:
        return FORMS if recording.url is None else (WAV,)
    named = tuple(form for form in FORMS if form.name == recording.format)
    return named if recording.url is None else named[:1]


def _size(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
