"""The texts of errors in a trace, and which exceptions are errors at all."""

from __future__ import annotations

from typing import Self

from langsmith_realtime.core.payloads.scrubbing import scrub_message


class Failure(str):
    """An error's text.

    ``kind`` is the part of the text that cannot quote the conversation, such as an error code. It is all that remains
    of the error where content is hidden; by default it is the whole text, and for a failure the kind of that.
    """

    kind: str

    def __new__(cls, text: str, kind: str | None = None) -> Self:
        self = super().__new__(cls, text)
        self.kind = getattr(text, "kind", text) if kind is None else kind
        return self

    def prefixed(self, prefix: str) -> Failure:
        """The failure with ``prefix`` and a colon before the text and before the kind."""
        return Failure(f"{prefix}: {self}", f"{prefix}: {self.kind}")


#: The most characters of a code or an id.
_MAX_CODE = 128


def as_code(value: object) -> str | None:
    """The text if it is one word, as codes, statuses and ids are; None for a sentence, which may quote the user."""
    return value if isinstance(value, str) and len(value) <= _MAX_CODE and len(value.split()) == 1 else None


#: Exceptions that are no errors: a cancelled task, and a connection closed with code 1000 or 1001 (websockets).
_ORDINARY_ENDS = frozenset({"CancelledError", "ConnectionClosedOK"})


def describe_error(error: BaseException | str | None) -> str | None:
    """The error text of an exception that ended a conversation or a block; None if it is an ordinary end.

    Secrets are removed from the text. Ordinary ends are cancellation, a normally closed connection, KeyboardInterrupt,
    SystemExit, GeneratorExit, and groups of these. A text is returned as it is.
    """
    if error is None or isinstance(error, str):
        return error
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)) or type(error).__name__ in _ORDINARY_ENDS:
        return None
    if isinstance(error, BaseExceptionGroup) and all(describe_error(each) is None for each in error.exceptions):
        return None
    try:
        return Failure(scrub_message(f"{type(error).__name__}: {error}"), type(error).__name__)
    except Exception:  # the exception's __str__ raised
        return Failure(type(error).__name__)
