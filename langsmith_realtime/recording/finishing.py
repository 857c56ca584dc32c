"""What happens to a recording after the conversation: it is encoded, attached or stored, and its files are removed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langsmith_realtime.core.payloads.scrubbing import public_url
from langsmith_realtime.options.recording import Recording
from langsmith_realtime.recording import storage
from langsmith_realtime.recording.background_encoding import BackgroundEncoder
from langsmith_realtime.recording.encoder import FILE_FORMATS, WAV, FileFormat
from langsmith_realtime.recording.wav import Wav
from langsmith_realtime.runtime.guard import CALLBACK_ERRORS, Guard, logger
from langsmith_realtime.runtime.threads import work_in_progress

#: HTTP status: the request is too large.
TOO_LARGE = 413


@dataclass(frozen=True)
class FinishedRecording:
    """A finished recording, as the root run refers to it.

    Attributes:
        metadata: For the root run.
        attachment: MIME type and file; None if nothing is attached.
        done: Call this with whether the root's update was delivered; it removes the files that are not needed then.
        refused: Call this with the HTTP status if LangSmith refuses the attachment. Returns the recording in a smaller
            form (after status 413, if there is one) or without an attachment; that may take seconds.
    """

    metadata: dict[str, Any] = field(default_factory=dict)
    attachment: tuple[str, Path] | None = None
    done: Callable[[bool], None] | None = None
    refused: Callable[[int], FinishedRecording] | None = None


class Finisher:
    """Finishes one recording.

    Args:
        recording: The options of the recording.
        wav: The file, which must be closed before :meth:`finish`.
        encoder: Encodes the smaller forms.
        guard: Counts and logs failures.
    """

    def __init__(self, recording: Recording, wav: Wav, encoder: BackgroundEncoder, guard: Guard) -> None:
        self._recording = recording
        self._wav = wav
        self._encoder = encoder
        self._guard = guard
        self._formats = file_formats(recording)
        self._metadata: dict[str, Any] = {}

    @property
    def takes_long(self) -> bool:
        """Whether :meth:`finish` may have to encode or upload the recording."""
        return self._recording.url is not None or self._formats[0] is not WAV or not self._fits(self._wav.path)

    def finish(self, metadata: dict[str, Any]) -> FinishedRecording:
        """Return the recording as an attachment, or upload it if ``Recording.directory`` is a URL.

        ``metadata`` becomes part of its metadata. If that fails, or all forms are too large, the result has no
        attachment, and the file stays on disk.
        """
        self._metadata = metadata
        return self._guarded(self._attach if self._recording.url is None else self._store)

    def remove(self, keep: Path | None = None) -> Path | None:
        """Remove all files but ``keep``, and the folder if empty and not the application's; return ``keep``."""
        self._encoder.discard(keep=keep)
        if self._wav.path != keep:
            self._wav.path.unlink(missing_ok=True)
        if keep is None and (self._recording.directory is None or self._recording.url is not None):
            with contextlib.suppress(OSError):  # the journal is still in it
                self._wav.path.parent.rmdir()
        return keep

    def _guarded(self, finish: Callable[[], FinishedRecording]) -> FinishedRecording:
        try:
            return finish()
        except CALLBACK_ERRORS as error:
            self._guard.report("recording", error)
            return self._without_attachment((f"the recording could not be prepared ({type(error).__name__})",))

    def _attach(self, formats: Sequence[FileFormat] | None = None, reasons: tuple[str, ...] = ()) -> FinishedRecording:
        """Attach the first of the formats in which the recording is small enough."""
        formats = self._formats if formats is None else formats
        for index, file_format in enumerate(formats):
            path = self._file(file_format)
            if path is None or not self._fits(path):
                reasons = (*reasons, self._too_large(file_format, path, reasons))
            else:
                return self._attached(file_format, path, formats[index + 1 :], reasons)
        return self._without_attachment(reasons)

    def _attached(
        self, file_format: FileFormat, path: Path, smaller: Sequence[FileFormat], reasons: tuple[str, ...]
    ) -> FinishedRecording:
        def refused(status: int) -> FinishedRecording:
            reason = f"LangSmith refused the {file_format.label} of {_size(path.stat().st_size)} (HTTP {status})"
            remaining = smaller if status == TOO_LARGE else ()
            return self._guarded(lambda: self._attach(remaining, (*reasons, reason)))

        metadata = {**self._metadata, "recording_format": file_format.name}
        if reasons:
            metadata["recording_reduced"] = "; ".join(reasons)
        done = lambda delivered: self._sent(path, delivered)  # noqa: E731
        return FinishedRecording(metadata, (file_format.mime, path), done, refused)

    def _store(self) -> FinishedRecording:
        """Upload the recording to the store of its URL, and remove the local files.

        If the upload fails, the file stays on disk, and ``recording_error`` in the result's metadata says why.
        """
        url, file_format = self._recording.url, self._formats[0]
        path = self._file(file_format)
        assert url is not None
        assert path is not None  # the size of stored files is not limited
        try:
            address = storage.upload(path, url)
        except CALLBACK_ERRORS as error:
            # The exception's message may quote the URL with its secrets.
            reason = f"the recording could not be stored at {public_url(url)} ({type(error).__name__})"
            return self._without_attachment((reason,), keep=path)
        self.remove()
        return FinishedRecording({**self._metadata, "recording_format": file_format.name, "recording_url": address})

    def _without_attachment(self, reasons: tuple[str, ...], keep: Path | None = None) -> FinishedRecording:
        """Keep ``keep``, by default the WAV, on disk; ``recording_error`` in the root's metadata says why."""
        reason = "; ".join(reasons)
        logger.warning("%s; it is kept at %s", reason, self.remove(keep or self._wav.path))
        error = f"{reason}; it is kept where it was recorded"
        return FinishedRecording({**self._metadata, "recording_error": error})

    def _sent(self, path: Path, delivered: bool) -> None:
        """Remove the files that nobody needs once the root's update, with the file ``path``, was sent or given up.

        The WAV stays if the update was not delivered. With ``Recording.keep`` one file stays after delivery: ``path``
        if the options name a format, else the WAV.
        """
        if not delivered:
            logger.warning("the recording could not be sent; it is kept at %s", self.remove(self._wav.path))
        elif self._recording.keep:
            self.remove(self._wav.path if self._recording.format is None else path)
        else:
            self.remove()

    def _fits(self, path: Path) -> bool:
        return path.stat().st_size <= max_bytes(self._recording)

    def _file(self, file_format: FileFormat) -> Path | None:
        """The finished file in a format; None if the encoder gave the format up because it became too large."""
        if file_format is WAV:
            return self._wav.path
        with work_in_progress():
            return self._encoder.finish(file_format, self._wav.frames)

    def _too_large(self, file_format: FileFormat, path: Path | None, earlier: tuple[str, ...]) -> str:
        if earlier and "exceeds the limit" in earlier[0]:
            return f"the {file_format.label} exceeds the limit, too"
        size = "" if path is None else f" of {_size(path.stat().st_size)}"
        return f"the {file_format.label}{size} exceeds the limit of {_size(max_bytes(self._recording))} for attachments"


def file_formats(recording: Recording) -> Sequence[FileFormat]:
    """The formats that the recording may have, the preferred one first."""
    if recording.format is None:
        return FILE_FORMATS if recording.url is None else (WAV,)
    named = tuple(file_format for file_format in FILE_FORMATS if file_format.name == recording.format)
    return named if recording.url is None else named[:1]


def max_bytes(recording: Recording) -> float:
    """The largest size of the attached file, in bytes; infinite if the recording is uploaded to a URL."""
    return float("inf") if recording.url is not None else recording.max_attachment_bytes


def _size(size: float) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"
