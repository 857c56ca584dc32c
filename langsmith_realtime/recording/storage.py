"""Recordings in a store that a URL names: a bucket, a share, whatever fsspec knows (the ``storage`` extra)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from langsmith_realtime.core.payloads.scrubbing import public_url
from langsmith_realtime.runtime.files import NO_FOLLOW, open_private
from langsmith_realtime.runtime.threads import STEP_S, work_in_progress

#: Bytes a store's client may hold back before it sends them; S3's own choice of 50 MB is more than a
#: recording may cost in memory, and 5 MiB the least that S3 takes.
BLOCK_BYTES = 5 * 2**20
#: Bytes that are read, and handed to it, at once.
PIECE_BYTES = 2**20


def upload(path: Path, folder: str) -> str:
    """Put the file into the folder that a URL names; tells its own URL, which anybody may read.

    Raises:
        Exception: whatever the store's client raises.
    """
    import fsspec  # noqa: PLC0415 - an extra, needed by nobody else

    address, mark, parameters = folder.partition("?")
    target = f"{address.rstrip('/')}/{path.name}{mark}{parameters}"
    filesystem, place = fsspec.core.url_to_fs(target)
    if "file" in _protocols(filesystem):
        # Other stores have their own rules of who may read what; on a disk they are ours.
        Path(place).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Named by the conversation's id: what is there is the same recording, of a process that died before it said so.
        os.close(open_private(place, os.O_WRONLY | os.O_CREAT | NO_FOLLOW))
    with (
        work_in_progress(STEP_S) as step,
        path.open("rb") as source,
        filesystem.open(place, "wb", block_size=BLOCK_BYTES) as stored,
    ):
        while piece := source.read(PIECE_BYTES):
            stored.write(piece)
            step()
    return public_url(target)


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)
