"""The errors that a server answers to client events, and generated ids."""

from __future__ import annotations

import random
import string


class ClientError(ValueError):
    """A client's event is invalid. The server answers with an ``error`` event, and the session continues.

    `code`, `message` and `param` are the fields of the event's ``error`` object; `param` names the invalid field.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def missing(param: str) -> ClientError:
    """Return the error for a missing required field."""
    return ClientError("missing_required_parameter", f"Missing required parameter: '{param}'.", param)


def wrong_type(param: str, expected: str) -> ClientError:
    """Return the error for a field whose type is not `expected`, such as ``an object``."""
    return ClientError("invalid_type", f"Invalid type for '{param}': expected {expected}.", param)


_ALPHABET = string.ascii_letters + string.digits


class Ids:
    """Generates random ids. With a `seed`, the ids are equal in every run of a test."""

    def __init__(self, seed: int | str | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - ids of a test server need no secrecy

    def new(self, prefix: str, length: int = 21) -> str:
        """Return a new id, such as ``event_E6U0u6ZFxXUxYesuS1vaT`` for the prefix ``event``."""
        return prefix + "_" + "".join(self._random.choices(_ALPHABET, k=length))
