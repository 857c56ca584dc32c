"""What a server says when a client's event is wrong."""

from __future__ import annotations


class ClientError(ValueError):
    """The client's event cannot be obeyed. It becomes an ``error`` event; the conversation goes on.

    `code` and `param` are those of the event's ``error`` object; `param` names the offending field.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def missing(param: str) -> ClientError:
    """The error for a required field that is not there."""
    return ClientError("missing_required_parameter", f"Missing required parameter: '{param}'.", param)


def wrong_type(param: str, expected: str) -> ClientError:
    """The error for a field of another type than `expected`."""
    return ClientError("invalid_type", f"Invalid type for '{param}': expected {expected}.", param)
