"""One conversation on disk while it is not delivered: an append-only file of lines, and one of sound.

A folder for each conversation, named by its root run's id, holds ``journal.jsonl`` (the header, then what
happened, then what the server acknowledged) and ``audio.raw``. Who has the journal locked is alive, or
completes it. ``docs/journal.md`` describes the lines.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import orjson

from langsmith_realtime.delivery.operations import ROOT_CREATE, ROOT_UPDATE
from langsmith_realtime.runtime.files import create_private, open_private, read_at, retry_while_open, try_lock
from langsmith_realtime.runtime.forks import at_fork
from langsmith_realtime.runtime.guard import logger

LINES, SOUND = "journal.jsonl", "audio.raw"
#: What a journal is called when all is delivered and it is kept.
KEPT = "conversation.jsonl"
NAMES = (LINES, KEPT, SOUND)
VERSION = 1
#: Bytes that may wait to be written before the one who brings more has to write them.
BUFFER_BYTES = 1 << 20

_warned: set[str] = set()
_open: WeakSet[Journal] = WeakSet()
#: Those whose file of sound stays open. There may be more conversations than files that a process may have open.
_sounding: WeakSet[Journal] = WeakSet()
OPEN_SOUNDS = 64
#: No process is forked while a journal is opened, which the child would keep locked.
_opening = threading.Lock()


def state_directory() -> Path:
    """Where journals are: ``LANGSMITH_REALTIME_DIR``, else below the platform's folder for state.

    Raises:
        OSError: nobody can tell whose home that is in.
    """
    given = os.environ.get("LANGSMITH_REALTIME_DIR")
    try:
        if given:
            return Path(given).expanduser().absolute()
        if sys.platform == "darwin":
            base = Path.home() / "Library" / "Application Support"
        elif sys.platform == "win32":
            base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        else:
            named = os.environ.get("XDG_STATE_HOME", "")
            # The specification says to ignore one that is relative.
            base = Path(named) if named.startswith("/") else Path.home() / ".local" / "state"
    except RuntimeError as error:  # there is no such user, or none at all
        raise OSError(f"{error} Set LANGSMITH_REALTIME_DIR") from None
    return base / "langsmith-realtime"


class Journal:
    """The journal of one conversation, locked while this object is open.

    Lines are gathered until :meth:`flush`, sound before the lines that speak of it. Any thread may call anything.
    When the disk refuses, the journal is gone, one warning says so, and every method does nothing.
    """

    def __init__(self, folder: Path, lines: int, *, keep: bool) -> None:
        self.folder = folder
        self._file: int | None = lines
        self._keep = keep
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._sounds: list[bytes] = []
        self._waiting = 0  # bytes
        self._sound = str(folder / SOUND)
        self._sound_file: int | None = None  # where there are few of them
        self._offset = (folder / SOUND).stat().st_size
        _open.add(self)
        self._expected = {ROOT_CREATE, ROOT_UPDATE}
        self._settled: set[str] = set()
        self._is_for_another = False  # some of what was expected is not tried here any more

    @classmethod
    def begin(cls, folder: Path, header: dict[str, Any], *, keep: bool = False) -> Journal:
        """The journal of a conversation that begins.

        Raises:
            OSError: the folder cannot be made or written.
        """
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
        with _opening:
            return cls._begin(folder, header, keep=keep)

    @classmethod
    def _begin(cls, folder: Path, header: dict[str, Any], *, keep: bool) -> Journal:
        # Until it has a header, `take` leaves it alone.
        lines = open_private(folder / LINES, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL)
        try:
            _lock_new(lines)
            create_private(folder / SOUND)
            _write(lines, _line(header))
        except BaseException:
            os.close(lines)
            _remove(folder)
            raise
        return cls(folder, lines, keep=keep)

    @classmethod
    def take(cls, folder: Path) -> Journal | None:
        """The journal of a conversation whose process died; None when somebody has it.

        Raises:
            OSError: there is none, or it may not be written.
        """
        with _opening:
            return cls._take(folder)

    @classmethod
    def _take(cls, folder: Path) -> Journal | None:
        lines = open_private(folder / LINES, os.O_RDWR | os.O_APPEND)
        journal = None
        try:
            if try_lock(lines) and not _is_new_or_removed(lines):
                _cut_half_line(lines)
                os.close(open_private(folder / SOUND, os.O_WRONLY | os.O_CREAT))
                journal = cls(folder, lines, keep=False)
        finally:
            if journal is None:
                os.close(lines)
        return journal

    @property
    def is_open(self) -> bool:
        return self._file is not None

    # What happened

    def write(self, line: dict[str, Any]) -> None:
        """Add a line, with the next :meth:`flush`."""
        data = _line(line)
        with self._lock:
            self._lines.append(data)
            self._waiting += len(data)
            full = self._waiting > BUFFER_BYTES
        if full:
            self.flush()

    def place(self, sound: bytes) -> dict[str, int]:
        """Add sound; what its line says of it."""
        with self._lock:
            offset = self._offset
            self._offset += len(sound)
            self._sounds.append(sound)
            self._waiting += len(sound)
        return {"offset": offset, "bytes": len(sound)}

    def blank(self, place: dict[str, Any], silence: bytes) -> None:
        """Put silence where sound was written; ``place`` is what its line says of it."""
        with self._lock:
            if "offset" not in place or self._file is None:
                return
            # Not through the file that is appended to: there a place means nothing.
            with (self.folder / SOUND).open("r+b") as file:
                file.seek(place["offset"])
                file.write(silence)

    def flush(self) -> None:
        """Write what was gathered."""
        with self._lock:
            self._flush()

    # What became of it

    def expect(self, operation: str) -> bool:
        """The operation is about to be sent; False when it was settled before, so that it must not be."""
        with self._lock:
            if operation in self._settled:
                return False
            self._expected.add(operation)
        return True

    def settle(self, operation: str, *, refused: bool = False) -> None:
        """The server has the operation, or ``refused`` it for good; to be written with the next :meth:`flush`.

        With the last one the journal ends.
        """
        with self._lock:
            self._lines.append(_line({"refused" if refused else "ack": operation}))
            self._settled.add(operation)
            self._expected.discard(operation)
            self._end_if_complete()

    def drop(self, operation: str) -> None:
        """The operation is not tried here any more: with the last one the journal is there for who recovers it."""
        with self._lock:
            self._is_for_another = True
            self._expected.discard(operation)
            self._end_if_complete()

    def restore(self, settled: set[str]) -> None:
        """These operations were settled before this object was made."""
        with self._lock:
            self._settled |= settled
            self._expected -= settled

    def complete(self) -> None:
        """Nothing more is expected: if all is settled, the journal ends."""
        with self._lock:
            self._end_if_complete()

    # Its end

    def leave(self) -> None:
        """Nobody here works on it any more: it is there for who recovers it."""
        with self._lock:
            self._flush()
            self._close()

    def discard(self) -> None:
        """Nobody wants the conversation: nothing of it stays."""
        with self._lock:
            self._remove()

    def keep(self, *, keep: bool) -> None:
        """Whether it stays when all is delivered."""
        self._keep = keep

    def forget(self) -> None:
        """After a fork: the files, and the lock, are the parent's. Takes no lock, which nobody might hold any more."""
        self._close()

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        sounds, self._sounds = self._sounds, []
        self._waiting = 0
        if self._file is None:
            return
        try:
            if sounds:
                self._append(b"".join(sounds))
            if lines:
                _write(self._file, b"".join(lines))
        except OSError as error:
            warn_once("the journal cannot be written, tracing goes on without it", error)
            # Half a journal would recover half a conversation beside the whole one.
            self._remove()

    def _append(self, sound: bytes) -> None:
        file = self._sound_file
        if file is None:
            file = open_private(self._sound, os.O_WRONLY | os.O_APPEND)
            if len(_sounding) < OPEN_SOUNDS:
                self._sound_file = file
                _sounding.add(self)
        try:
            _write(file, sound)
        finally:
            if self._sound_file is None:
                os.close(file)

    def _end_if_complete(self) -> None:
        if self._expected or self._file is None:
            return
        if self._is_for_another:
            self._flush()
            self._close()
        elif self._keep:
            self._flush()
            self._change_and_close(lambda: (self.folder / LINES).rename(self.folder / KEPT))
        else:
            self._remove()

    def _remove(self) -> None:
        self._change_and_close(lambda: _remove(self.folder), empty=True)

    def _change_and_close(self, change: Callable[[], object], *, empty: bool = False) -> None:
        """Rename or remove the journal while it is locked, so that no other process takes it in between."""
        with suppress(OSError):
            try:
                change()
            except PermissionError:  # Windows does neither to an open file
                if empty and self._file is not None:
                    os.ftruncate(self._file, 0)  # `take` leaves an empty journal alone
                self._close()
                retry_while_open(change)
        self._close()

    def _close(self) -> None:
        files = self._file, self._sound_file
        self._file = self._sound_file = None
        _sounding.discard(self)
        for file in files:
            if file is not None:
                os.close(file)


def is_free(folder: Path) -> bool:
    """Whether nobody alive has the folder's journal, or there is none in it."""
    try:
        lines = open_private(folder / LINES, os.O_RDWR)
    except OSError:
        return True
    try:
        return try_lock(lines)
    except OSError:
        return False
    finally:
        os.close(lines)


def warn_once(what: str, error: OSError) -> None:
    """Say it at its first time in this process."""
    if what not in _warned:
        _warned.add(what)
        logger.warning("%s: %s", what, error)


_JSON = json.JSONEncoder(separators=(",", ":"))  # made once: json.dumps would make one for every line


def _line(value: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # json takes a little more: half of a surrogate pair, any int, any key
        return _JSON.encode(value).encode() + b"\n"


def _write(file: int, data: bytes) -> None:
    while data:  # a disk that fills up takes a part, and refuses the rest
        data = data[os.write(file, data) :]


def _lock_new(lines: int) -> None:
    """Lock a journal that was just made; other processes that look at it let go of it at once."""
    for _ in range(100):
        if try_lock(lines):
            return
        time.sleep(0.001)
    raise BlockingIOError("another process has locked the journal")


def _is_new_or_removed(lines: int) -> bool:
    """Whether the process that made the journal has not locked it yet, or the one that completed it removed it."""
    status = os.fstat(lines)
    return status.st_size == 0 or status.st_nlink == 0


def _remove(folder: Path) -> None:
    for name in (LINES, SOUND):
        (folder / name).unlink(missing_ok=True)
    with suppress(OSError):  # a recording is kept in it
        folder.rmdir()


def _cut_half_line(lines: int) -> None:
    """What is written next must not continue a line that was cut off."""
    size = os.fstat(lines).st_size
    position, tail = size, b""
    while position and b"\n" not in tail:
        step = min(position, 1 << 16)
        position -= step
        tail = read_at(lines, step, position)
    os.ftruncate(lines, position + tail.rfind(b"\n") + 1)


def _forget() -> None:
    for journal in list(_open):
        journal.forget()
    _opening.release()


at_fork(before=_opening.acquire, after_in_parent=_opening.release, after_in_child=_forget)
