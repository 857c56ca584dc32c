"""How a conversation is recorded."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

#: What an attachment may be.
FORMATS = ("wav", "flac", "opus")


@dataclass(frozen=True)
class Recording:
    """How the conversation is recorded.

    Attributes:
        format: what is attached to the trace: ``"wav"``, ``"flac"``, ``"opus"`` (Ogg Opus), and nothing if
            that is too large; by default a WAV up to ``max_attachment_bytes``, beyond it the same sound as
            FLAC, and beyond that as Ogg Opus.
        sample_rate: the recording's own, in Hz; by default the higher one of the session's two.
        directory: where the WAV is written; by default a private temporary folder. Or the URL of a folder
            that fsspec can write to (``"s3://bucket/folder"``): the recording is put there in the end,
            unattached, and the root's metadata says where (``recording_url``).
        keep: whether the file stays in ``directory`` after it was attached: the WAV, or what ``format``
            names. In a URL's folder it always does.
        max_attachment_bytes: the largest file that is attached. LangSmith takes 20,971,520 bytes a request
            by default (``size_limit_bytes`` of its ``/info``); the rest is for the request around the file.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a value that cannot be used, as a URL where fsspec is not installed.
    """

    format: str | None = None
    sample_rate: int | None = None
    directory: str | os.PathLike[str] | None = field(default=None, repr=False)  # a URL may carry a password
    keep: bool = False
    max_attachment_bytes: int = 20_000_000

    def __post_init__(self) -> None:
        if self.format is not None and not isinstance(self.format, str):
            raise TypeError(f"Recording.format is a str, not {type(self.format).__name__}")
        if self.format is not None and self.format not in FORMATS:
            raise ValueError(f"Recording.format is one of {', '.join(FORMATS)}, not {self.format!r}")
        if self.sample_rate is not None:
            _check_int("sample_rate", self.sample_rate)
            if not 8_000 <= self.sample_rate <= 192_000:
                raise ValueError(
                    f"Recording.sample_rate is a rate in Hz between 8000 and 192000, not {self.sample_rate}"
                )
        if self.directory is not None and not isinstance(self.directory, (str, os.PathLike)):
            raise TypeError(f"Recording.directory is a path, not {type(self.directory).__name__}")
        if not isinstance(self.keep, bool):
            raise TypeError(f"Recording.keep is a bool, not {type(self.keep).__name__}")
        _check_int("max_attachment_bytes", self.max_attachment_bytes)
        if self.max_attachment_bytes <= 0:
            raise ValueError(f"Recording.max_attachment_bytes is positive, not {self.max_attachment_bytes}")
        if self.url is not None:
            check_store(self.url)

    @property
    def url(self) -> str | None:
        """``directory`` if it is a URL."""
        return self.directory if isinstance(self.directory, str) and "://" in self.directory else None


def _check_int(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"Recording.{name} is an int, not {type(value).__name__}")


def check_store(url: str) -> None:
    """See that recordings can be put there.

    Raises:
        ValueError: fsspec is not installed, does not know such a store, or lacks the package for it.
    """
    protocol = url.split("://", 1)[0]
    try:
        import fsspec  # noqa: PLC0415 - an extra, needed by nobody else
    except ImportError:
        raise ValueError(
            f"a recording at {protocol}:// needs fsspec: pip install 'langsmith-realtime[storage]'"
        ) from None
    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise ValueError(f"a recording cannot be put at {protocol}://: {error}") from None
