"""What may leave the process: payloads without audio, without secrets, otherwise whole.

Pure. Raw audio and other base64 become a placeholder that says how many bytes there were; secrets
(client secrets, API keys, bearer tokens, what an MCP server is called with) are removed. Nothing else
is shortened.
"""

from __future__ import annotations

import re
from typing import Any

REMOVED = "<secret removed>"
#: Deeper than any real event; what lies below is named, not walked.
MAX_DEPTH = 40
#: Shorter base64 is an id or a word; nothing playable fits in it.
BASE64_LENGTH = 256

SECRET_KEYS = frozenset({"authorization", "api_key", "api-key", "x-api-key", "client_secret", "headers"})
AUDIO_KEYS = frozenset({"audio"})

_SECRET = re.compile(
    r"\b(?:sk|ek|rk|pk|lsv2)[-_][A-Za-z0-9_\-]{12,}"  # OpenAI keys and ephemeral keys, LangSmith keys
    r"|\b[Bb]earer\s+[A-Za-z0-9._~+/\-]{8,}=*"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/\-_\s]+={0,2}")
_DATA_URL = re.compile(r"data:([\w.+\-/]*)[^,]{0,100};base64,")


def scrub(value: Any, _key: str = "", _depth: int = 0) -> Any:
    """A copy of a decoded payload that may be traced."""
    if isinstance(value, str):
        return _scrub_text(value, _key)
    if _depth > MAX_DEPTH and isinstance(value, (dict, list)):
        return "<nested too deeply>"
    if isinstance(value, dict):
        return {key: _scrub_member(str(key), member, _depth) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub(member, _key, _depth + 1) for member in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes>"
    return value


def scrub_message(text: str) -> str:
    """A message (an error's, a close reason) without the secrets it may quote."""
    return _SECRET.sub(REMOVED, text)


def _scrub_member(key: str, member: Any, depth: int) -> Any:
    if key.lower() in SECRET_KEYS and member is not None:
        return REMOVED
    return scrub(member, key, depth + 1)


def _scrub_text(text: str, key: str) -> str:
    if key in AUDIO_KEYS and _is_base64(text):
        return f"<audio: {_base64_bytes(text)} bytes>"
    data_url = _DATA_URL.match(text)
    if data_url:
        return f"<{data_url[1] or 'data'}: {_base64_bytes(text[data_url.end() :])} bytes>"
    if len(text) >= BASE64_LENGTH and _is_base64(text) and not any(character.isspace() for character in text):
        return f"<base64: {_base64_bytes(text)} bytes>"
    return _SECRET.sub(REMOVED, text)


def _is_base64(text: str) -> bool:
    return _BASE64.fullmatch(text) is not None


def _base64_bytes(text: str) -> int:
    return len(text.rstrip("=")) * 3 // 4
