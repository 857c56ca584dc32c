"""How a conversation is recorded."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

#: The formats of an attached recording.
FORMATS = ("wav", "flac", "opus")


@dataclass(frozen=True)
class Recording:
    """How the conversation is recorded.

    Attributes:
        format: format of the attachment: ``"wav"``, ``"flac"`` or ``"opus"`` (Ogg Opus). A file of this format that
            is too large is not attached. By default WAV up to ``max_attachment_bytes``, else FLAC, else Ogg Opus; with
            a URL as ``directory``, by default WAV of any size.
        sample_rate: sample rate of the recording in Hz; by default the higher rate of the session's two formats.
        directory: folder for the WAV while it is written; by default the folder of the conversation's journal, or a
            private temporary folder without a journal. Or the URL of a folder that fsspec can write to
            (``"s3://bucket/folder"``): the recording is uploaded there at the end instead of being attached, and the
            root run's metadata has its ``recording_url``.
        keep: whether the file (the WAV, or the ``format`` above) stays in ``directory`` after it was attached. An
            uploaded file always stays.
        max_attachment_bytes: size of the largest file to attach, in bytes. LangSmith accepts requests of 20,971,520
            bytes by default (``size_limit_bytes`` of ``GET /info``); this default leaves room for the rest of it.

    Raises:
        TypeError: a value has the wrong type.
        ValueError: a value cannot be used, for example a URL if fsspec is not installed.
    """

    format: str | None = None
    sample_rate: int | None = None
    directory: str | os.PathLike[str] | None = field(default=None, repr=False)  # a URL may carry a password
    keep: bool = False
    max_attachment_bytes: int = 20_000_000

    def __post_init__(self) -> None:
        if self.format is not None and not isinstance(self.format, str):
            raise TypeError(f"Recording.format must be a str, got {type(self.format).__name__}")
        if self.format is not None and self.format not in FORMATS:
            raise ValueError(f"Recording.format must be one of {', '.join(FORMATS)}, got {self.format!r}")
        if self.sample_rate is not None:
            _check_int("sample_rate", self.sample_rate)
            if not 8_000 <= self.sample_rate <= 192_000:
                raise ValueError(f"Recording.sample_rate must be between 8000 and 192000 Hz, got {self.sample_rate}")
        if self.directory is not None and not isinstance(self.directory, (str, os.PathLike)):
            raise TypeError(f"Recording.directory must be a path or a URL, got {type(self.directory).__name__}")
        if not isinstance(self.keep, bool):
            raise TypeError(f"Recording.keep must be a bool, got {type(self.keep).__name__}")
        _check_int("max_attachment_bytes", self.max_attachment_bytes)
        if self.max_attachment_bytes <= 0:
            raise ValueError(f"Recording.max_attachment_bytes must be positive, got {self.max_attachment_bytes}")
        if self.url is not None:
            check_store(self.url)

    @property
    def url(self) -> str | None:
        """``directory`` if it is a URL, else None."""
        return self.directory if isinstance(self.directory, str) and "://" in self.directory else None


def _check_int(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"Recording.{name} must be an int, got {type(value).__name__}")


def check_store(url: str) -> None:
    """Check that fsspec has a file system for the protocol of a URL. Does not connect to it.

    Args:
        url: A URL with ``://``. A plain path is refused.

    Raises:
        ValueError: fsspec is not installed, does not know the protocol, or lacks the package for it.
    """
    protocol = url.split("://", 1)[0]
    try:
        import fsspec  # noqa: PLC0415 - an extra
    except ImportError:
        remedy = "install it with: pip install 'langsmith-realtime[storage]'"
        raise ValueError(f"Recording.directory at {protocol}:// needs fsspec; {remedy}") from None
    try:
        fsspec.get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        raise ValueError(f"Recording.directory cannot be at {protocol}://: {error}") from None
