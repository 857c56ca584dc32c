"""What a server says when a client's event is wrong."""

from __future__ import annotations

import random
import string


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


_ALPHABET = string.ascii_letters + string.digits


class Ids:
    """Makes ids, too long for two to be the same. A `seed` makes them the same in every run of a test."""

    def __init__(self, seed: int | str | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - ids of a test server guard nothing

    def new(self, prefix: str, length: int = 21) -> str:
        """An id such as ``event_E6U0u6ZFxXUxYesuS1vaT`` for the prefix ``event``."""
        return prefix + "_" + "".join(self._random.choices(_ALPHABET, k=length))
