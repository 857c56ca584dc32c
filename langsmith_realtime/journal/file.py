"""The journal of one conversation: its lines and audio, and which operations have not been acknowledged yet.

It ends when all expected operations are settled: acknowledged, or refused for good. ``docs/journal.md`` describes the
lines.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import orjson

from langsmith_realtime.core.protocol import inputs
from langsmith_realtime.journal.folder import JournalFolder
from langsmith_realtime.runtime.guard import logger

#: The version of the lines' format, in the header.
VERSION = inputs.VERSION
#: Bytes that are buffered before :meth:`Journal.write` flushes by itself.
BUFFER_BYTES = 1 << 20

_warned: set[str] = set()


class Journal:
    """Buffers lines and audio until :meth:`flush`, and tracks the operations that are expected and settled.

    All methods may be called from any thread. If the disk refuses lines or audio, the journal is removed, a warning
    is logged (once in a process), and from then on nothing is written.
    """

    def __init__(self, files: JournalFolder, *, keep: bool) -> None:
        self.folder = files.path
        self._files = files
        self._keep = keep
        self._lock = threading.Lock()
        self._lines: list[bytes] = []
        self._audio: list[bytes] = []
        self._buffered_bytes = 0
        self._audio_end = files.audio_size()  # bytes of written and buffered audio
        self._expected: set[str] = set()
        self._settled: set[str] = set()
        self._has_undelivered = False  # an operation was given up, a recovery has to deliver it

    @classmethod
    def begin(cls, folder: Path, header: dict[str, Any], *, keep: bool = False) -> Journal:
        """Make the journal of a conversation that begins; ``keep`` it after delivery.

        Raises:
            OSError: The folder cannot be made or written.
        """
        return cls(JournalFolder.create(folder, _encode(header)), keep=keep)

    @classmethod
    def take(cls, folder: Path) -> Journal | None:
        """Take over the journal of a process that died; None if another process has it.

        Raises:
            OSError: The folder has no journal, or it cannot be written.
        """
        files = JournalFolder.take(folder)
        return None if files is None else cls(files, keep=False)

    @property
    def is_open(self) -> bool:
        return self._files.is_open

    # What happens in the conversation

    def write(self, line: dict[str, Any]) -> None:
        """Buffer a line; flush if more than :data:`BUFFER_BYTES` are buffered."""
        data = _encode(line)
        with self._lock:
            self._lines.append(data)
            self._buffered_bytes += len(data)
            is_full = self._buffered_bytes > BUFFER_BYTES
        if is_full:
            self.flush()

    def add_audio(self, audio: bytes) -> dict[str, int]:
        """Buffer audio; returns its place, ``offset`` and ``bytes``, for the line that refers to it."""
        with self._lock:
            offset = self._audio_end
            self._audio_end += len(audio)
            self._audio.append(audio)
            self._buffered_bytes += len(audio)
        return {"offset": offset, "bytes": len(audio)}

    def overwrite_audio(self, place: dict[str, Any], silence: bytes) -> None:
        """Replace flushed audio at ``place``; do nothing without an ``offset``: such audio was not kept."""
        with self._lock:
            if "offset" in place and self._files.is_open:
                self._files.overwrite_audio(place["offset"], silence)

    def flush(self) -> None:
        """Write the buffered audio and lines."""
        with self._lock:
            self._flush()

    # Delivery

    def expect(self, operation: str, *, again: bool = False) -> bool:
        """Note that an operation is about to be sent; False if it is settled, so that it must not be sent.

        ``again`` sends it although it was left out before.
        """
        with self._lock:
            if again and operation in self._settled:
                self._settled.discard(operation)
                self._lines.append(_encode({"again": operation}))
            if operation in self._settled:
                return False
            self._expected.add(operation)
        return True

    def settle(self, operation: str, *, refused: bool = False) -> None:
        """Buffer the line that LangSmith has the operation, or ``refused`` it for good.

        The last expected operation ends the journal.
        """
        with self._lock:
            self._lines.append(_encode({"refused" if refused else "ack": operation}))
            self._settled.add(operation)
            self._expected.discard(operation)
            self._end_if_complete()

    def give_up(self, operation: str) -> None:
        """Note that this process does not try the operation again.

        With the last expected operation, the journal is closed and left to a recovery.
        """
        with self._lock:
            self._has_undelivered = True
            self._expected.discard(operation)
            self._end_if_complete()

    def mark_settled(self, operations: set[str]) -> None:
        """Note operations that the process that died had settled."""
        with self._lock:
            self._settled |= operations
            self._expected -= operations

    def complete(self) -> None:
        """End the journal if no operation is expected any more; a recovery calls this last."""
        with self._lock:
            self._end_if_complete()

    # The end

    def release(self) -> None:
        """Flush and close the journal, so that another process can recover it."""
        with self._lock:
            self._flush()
            self._files.close()

    def discard(self) -> None:
        """Remove the journal, whatever is delivered."""
        with self._lock:
            self._files.remove_and_close()

    def keep(self, *, keep: bool) -> None:
        """Set whether the journal is kept after delivery."""
        self._keep = keep

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        audio, self._audio = self._audio, []
        self._buffered_bytes = 0
        if not self._files.is_open:
            return
        try:
            self._files.append(b"".join(lines), b"".join(audio))
        except OSError as error:
            warn_once("the journal cannot be written, tracing goes on without it", error)
            # A recovery from half of the journal would end the trace too early.
            self._files.remove_and_close()

    def _end_if_complete(self) -> None:
        if self._expected or not self._files.is_open:
            return
        if self._has_undelivered:
            self._flush()
            self._files.close()
        elif self._keep:
            self._flush()
            self._files.rename_and_close()
        else:
            self._files.remove_and_close()


def warn_once(what: str, error: OSError) -> None:
    """Log the warning the first time that this process has it."""
    if what not in _warned:
        _warned.add(what)
        logger.warning("%s: %s", what, error)


_JSON = json.JSONEncoder(separators=(",", ":"))  # made once: json.dumps makes an encoder for each line


def _encode(line: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # json also accepts halves of surrogate pairs, larger integers and other keys
        return _JSON.encode(line).encode() + b"\n"
