"""How a conversation, or a block within it, ended: what of an exception is an error of the trace."""

from __future__ import annotations

from typing import Self

from langsmith_realtime.core.payloads.scrubbing import scrub_message


class Failure(str):
    """An error's text; ``kind`` is the part of it that quotes nobody: all of it, if nothing else is said."""

    kind: str

    def __new__(cls, text: str, kind: str | None = None) -> Self:
        self = super().__new__(cls, text)
        self.kind = text if kind is None else kind
        return self

    def of(self, what: str) -> Failure:
        """It, and what it is a failure of."""
        return Failure(f"{what}: {self}", f"{what}: {self.kind}")


#: A cancelled task, and a connection that was closed with 1000 or 1001.
_ORDINARY = frozenset({"CancelledError", "ConnectionClosedOK"})


def describe(error: BaseException | str | None) -> str | None:
    """An exception as a root's error; None for the ordinary ends of a conversation."""
    if error is None or isinstance(error, str):
        return error
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)) or type(error).__name__ in _ORDINARY:
        return None
    if isinstance(error, BaseExceptionGroup) and all(describe(each) is None for each in error.exceptions):
        return None
    try:
        return Failure(scrub_message(f"{type(error).__name__}: {error}"), type(error).__name__)
    except Exception:  # its own, while it describes itself
        return Failure(type(error).__name__)
