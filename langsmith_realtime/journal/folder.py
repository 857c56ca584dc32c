"""The files of one conversation's journal: made, locked, appended to, and removed or renamed at the end.

The folder is named by the id of the conversation's root run. ``journal.jsonl`` has the lines, and ``audio.raw`` the
audio that they refer to. The process that has ``journal.jsonl`` locked holds the conversation, or recovers it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from weakref import WeakSet

from langsmith_realtime.runtime.files import create_private, open_private, read_at, retry_while_open, try_lock
from langsmith_realtime.runtime.forks import at_fork, holding_forks

LINES, AUDIO = "journal.jsonl", "audio.raw"
#: The name of the lines after delivery, if the journal is kept.
DELIVERED = "conversation.jsonl"
NAMES = (LINES, DELIVERED, AUDIO)
#: The most audio files that a process keeps open; the others are opened for each write. A process may have more
#: conversations than it may have files open.
OPEN_AUDIO_FILES = 64
#: How long a new journal may be locked by processes that look at it, in seconds.
LOCK_PATIENCE_S = 0.1

_open: WeakSet[JournalFolder] = WeakSet()
_with_open_audio: WeakSet[JournalFolder] = WeakSet()


class JournalFolder:
    """The folder of one conversation, locked for this process until :meth:`close`.

    Not safe for use from several threads at once.
    """

    def __init__(self, path: Path, lines: int) -> None:
        self.path = path
        self._lines: int | None = lines
        self._audio: int | None = None  # of at most OPEN_AUDIO_FILES journals
        self._audio_path = str(path / AUDIO)
        _open.add(self)

    @classmethod
    def create(cls, path: Path, header: bytes) -> JournalFolder:
        """Make the folder and its files, with ``header`` as the first line.

        Raises:
            OSError: The folder exists, or cannot be made or locked.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
        with holding_forks():  # so that no child inherits a lock unnoticed
            # Other processes leave a journal without a header alone.
            lines = open_private(path / LINES, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL)
            try:
                _lock_new(lines)
                create_private(path / AUDIO)
                _write(lines, header)
            except BaseException:
                os.close(lines)
                _remove(path)
                raise
            return cls(path, lines)

    @classmethod
    def take(cls, path: Path) -> JournalFolder | None:
        """Lock the journal of a dead process; None if a process has it, makes it, or just removed it.

        A line that was cut off at the end is removed.

        Raises:
            OSError: The folder has no journal, or it cannot be written.
        """
        with holding_forks():  # so that no child inherits a lock unnoticed
            lines = open_private(path / LINES, os.O_RDWR | os.O_APPEND)
            taken = None
            try:
                if try_lock(lines) and not _is_new_or_removed(lines):
                    _cut_half_line(lines)
                    os.close(open_private(path / AUDIO, os.O_WRONLY | os.O_CREAT))
                    taken = cls(path, lines)
            finally:
                if taken is None:
                    os.close(lines)
            return taken

    @property
    def is_open(self) -> bool:
        return self._lines is not None

    def audio_size(self) -> int:
        """Bytes of audio that are written."""
        return (self.path / AUDIO).stat().st_size

    def append(self, lines: bytes, audio: bytes) -> None:
        """Write the audio and then the lines, which may refer to it.

        Raises:
            OSError: The disk is full or gone.
        """
        if audio:
            self._append_audio(audio)
        if lines and self._lines is not None:
            _write(self._lines, lines)

    def overwrite_audio(self, offset: int, data: bytes) -> None:
        """Replace audio that was written before.

        Raises:
            OSError: The disk is gone.
        """
        # A file that is open for appending cannot be written at an offset.
        with (self.path / AUDIO).open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def rename_and_close(self) -> None:
        """Rename the lines to :data:`DELIVERED`, close the files, and so free the lock."""
        self._change_and_close(lambda: (self.path / LINES).rename(self.path / DELIVERED))

    def remove_and_close(self) -> None:
        """Remove the journal's files, and the folder if nothing else is in it, and free the lock."""
        self._change_and_close(lambda: _remove(self.path), is_removal=True)

    def close(self) -> None:
        """Close the files, which frees the lock."""
        files = self._lines, self._audio
        self._lines = self._audio = None
        _with_open_audio.discard(self)
        for file in files:
            if file is not None:
                os.close(file)

    def _append_audio(self, audio: bytes) -> None:
        file = self._audio
        if file is None:
            file = open_private(self._audio_path, os.O_WRONLY | os.O_APPEND)
            if len(_with_open_audio) < OPEN_AUDIO_FILES:
                self._audio = file
                _with_open_audio.add(self)
        try:
            _write(file, audio)
        finally:
            if self._audio is None:
                os.close(file)

    def _change_and_close(self, change: Callable[[], object], *, is_removal: bool = False) -> None:
        """Change the names while the journal is locked, so that no other process takes it before."""
        with suppress(OSError):
            try:
                change()
            except PermissionError:  # Windows renames and removes no open file
                if is_removal and self._lines is not None:
                    os.ftruncate(self._lines, 0)  # other processes leave an empty journal alone
                self.close()
                retry_while_open(change)
        self.close()


def is_free(path: Path) -> bool:
    """Whether no process has the folder's journal locked, or the folder has none that can be opened."""
    try:
        lines = open_private(path / LINES, os.O_RDWR)
    except OSError:
        return True
    try:
        return try_lock(lines)
    except OSError:
        return False
    finally:
        os.close(lines)


def _lock_new(lines: int) -> None:
    until = time.monotonic() + LOCK_PATIENCE_S
    while not try_lock(lines):
        if time.monotonic() > until:
            raise BlockingIOError("another process has locked the new journal")
        time.sleep(0.001)


def _is_new_or_removed(lines: int) -> bool:
    """Whether the journal has no header yet, or was removed between opening and locking it."""
    status = os.fstat(lines)
    return status.st_size == 0 or status.st_nlink == 0


def _remove(path: Path) -> None:
    for name in (LINES, AUDIO):
        (path / name).unlink(missing_ok=True)
    with suppress(OSError):  # a recording that is kept is in it
        path.rmdir()


def _write(file: int, data: bytes) -> None:
    while data:  # a disk that fills up accepts a part first
        data = data[os.write(file, data) :]


def _cut_half_line(lines: int) -> None:
    """Remove an unfinished last line, which the next line would continue."""
    size = os.fstat(lines).st_size
    position, tail = size, b""
    while position and b"\n" not in tail:
        step = min(position, 1 << 16)
        position -= step
        tail = read_at(lines, step, position)
    os.ftruncate(lines, position + tail.rfind(b"\n") + 1)


def _close_in_child() -> None:
    """In a forked child: the journals are the parent's. Closing the copies keeps the parent's locks."""
    for folder in list(_open):
        folder.close()


at_fork(after_in_child=_close_in_child)
