"""Uploads recordings to a store that a URL names, with fsspec (the ``storage`` extra): a bucket, a share, a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from langsmith_realtime.core.payloads.scrubbing import public_url
from langsmith_realtime.runtime.files import NO_FOLLOW, open_private
from langsmith_realtime.runtime.threads import STEP_S, work_in_progress

#: Bytes that the store's client buffers before it sends them. S3 accepts no parts below 5 MiB; the default of s3fs,
#: 50 MB, is more memory than a recording should take.
BLOCK_BYTES = 5 * 2**20
#: Bytes that are read from the file at once.
PIECE_BYTES = 2**20


def upload(path: Path, folder: str) -> str:
    """Copy a file to the folder that a URL names; returns the file's URL without user, password and parameters.

    Raises:
        Exception: Any exception of the store's client.
    """
    import fsspec  # noqa: PLC0415 - an extra that may not be installed

    address, mark, parameters = folder.partition("?")
    target = f"{address.rstrip('/')}/{path.name}{mark}{parameters}"
    filesystem, place = fsspec.core.url_to_fs(target)
    if "file" in _protocols(filesystem):
        # Other stores have access rules of their own.
        Path(place).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # An existing file has the conversation's id: it is this recording, from a process that died after the upload.
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
