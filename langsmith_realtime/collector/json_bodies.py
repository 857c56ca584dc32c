"""Parses the JSON of requests into values that every answer and SQLite can hold again."""

from __future__ import annotations

import json
import re
from typing import Any, Final

#: An escape in JSON: a pair of surrogates, a surrogate alone, or any other.
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def parse_json(body: bytes) -> Any:
    """Return a JSON value in UTF-8. A surrogate alone becomes U+FFFD, because UTF-8 cannot encode it.

    Raises:
        ValueError: The body is no JSON; ``NaN`` and ``Infinity`` are none.
        RecursionError: The value is nested too deeply.
    """
    text = body.decode("utf-8-sig")
    if "\\ud" in text or "\\uD" in text:
        text = _ESCAPE.sub(lambda escape: "\\ufffd" if escape[1] else escape[0], text)
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"JSON has no {name}; send null or a string instead")
