"""Removes audio and secrets from payloads.

Pure. Audio, data URLs and other long base64 become a placeholder with the number of bytes. Secrets (client secrets,
API keys, bearer tokens, passwords, the credentials for MCP servers) become :data:`REMOVED`. Everything else stays
whole, converted to JSON types.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from langsmith_realtime.core.payloads.json_values import json_copy, without_surrogates

#: The placeholder for a text that the options or the client hide.
NOT_KEPT = "[not kept]"
#: The placeholder for a secret.
REMOVED = "<secret removed>"

#: Length in characters of the shortest text that may contain a secret: a URL with a user.
SHORTEST_SECRET = 8
#: Length in characters of the shortest base64 that is replaced: three lines of 64 and their ends, as MIME has them.
SHORTEST_BASE64 = 195

#: Keys whose values are secrets, as words. A dash, an underscore, a space or nothing may stand between the words.
_SECRET_NAMES = (
    ("authorization",),
    ("authorization", "token"),
    ("proxy", "authorization"),
    ("api", "key"),
    ("x", "api", "key"),
    ("client", "secret"),
    ("secret", "key"),
    ("secret", "access", "key"),
    ("private", "key"),
    ("access", "token"),
    ("refresh", "token"),
    ("id", "token"),
    ("bearer", "token"),
    ("password",),
)
_SECRET_KEYS = frozenset(map("".join, _SECRET_NAMES))
# A secret key and its value inside a text that is JSON or a Python repr, such as the arguments of a tool. The quotes
# may be escaped.
_KEY_AND_SECRET = re.compile(
    r"""(?i)(\\{0,8}["'])("""
    + "|".join(map("[-_ ]?".join, _SECRET_NAMES))
    + r""")\1(\s{0,9}:\s{0,9})(\\{0,8}["'])(?!<secret)(?:(?!\4)(?:\\.|[^\\]))+"""
)
#: Each secret key ends with one of these words.
_SECRET_KEY_ENDS = frozenset(name[-1] for name in _SECRET_NAMES)
# A URL may contain credentials, before the host or in its parameters.
_URL = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.\-]{1,20}://[^\s\"'<>]+")
_URL_USER = re.compile(r"(?<=://)[^/@]+@")
_URL_SECRET_PARAMETER = re.compile(
    r"(?i)(?<=[?&])((?:api[-_]?|access[-_]?|id[-_]?|refresh[-_]?)?(?:key|token)|(?:client[-_]?)?secret|password"
    r"|auth(?:orization)?|sig(?:nature)?|x-(?:amz|goog)-(?:signature|credential|security-token))=[^&#]+"
)
# API keys of OpenAI (permanent and ephemeral) and LangSmith, and bearer tokens. A key has a digit; without one it is
# ordinary words joined by dashes.
_API_KEY = re.compile(
    r"(?:\b|(?<=\\[nrt]))(?:sk|ek|rk|lsv2)[-_](?=[A-Za-z_\-]{0,200}\d)[A-Za-z0-9_\-]{12,}"
    r"|(?:\b|(?<=\\[nrt]))(?i:bearer)\s{1,9}(?=[A-Za-z._~+/\-]{0,200}\d)[A-Za-z0-9._~+/\-]{12,}=*"
)
_DATA_URL = re.compile(r"data:([\w.+\-]+/[\w.+\-]+)?(?:;[\w.+\-]+=[\w.+\-]+){0,8};base64,([A-Za-z0-9+/\-_]*)={0,2}")
# Shorter ones are ids or words; they are too short for audio.
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/\-_])[A-Za-z0-9+/\-_]{256,}={0,2}")
# Base64 in lines of equal length, as in MIME; the last line may be shorter.
_BASE64_LINES = re.compile(
    r"(?<![A-Za-z0-9+/\-_])(?:[A-Za-z0-9+/]{64}\r?\n|[A-Za-z0-9+/]{76}\r?\n){3,}[A-Za-z0-9+/]*={0,2}"
)
_ANY_BASE64 = re.compile(r"[A-Za-z0-9+/\-_\s]+={0,2}\s*")


def scrub(value: Any) -> Any:
    """A copy of a payload in JSON types, with placeholders for audio, other long base64 and secrets."""
    return _scrub(json_copy(value))


def scrub_message(text: str) -> str:
    """The text of an error or a close reason, with placeholders for the secrets that it may quote."""
    return _API_KEY.sub(
        REMOVED, _KEY_AND_SECRET.sub(_without_secret, _URL.sub(_url_without_secrets, without_surrogates(text)))
    )


def _scrub(value: Any, key: str = "") -> Any:
    # Types are compared exactly, which is fast: a copy by json_copy() has no subclasses.
    kind = type(value)
    if kind is str:
        return _scrub_text(value)
    if kind is dict:
        return {
            name: _scrub_member(value, name, member, key) if _is_special(name) else _scrub(member, name)
            for name, member in value.items()
        }
    if kind is list:
        return [_scrub(member, key) for member in value]
    return value


@lru_cache(4096)
def _is_special(key: str) -> bool:
    """Whether the value of that key may have to be replaced because of its key."""
    return _is_secret(key) or key.lower() in ("headers", "audio")


def _scrub_member(parent: dict[str, Any], key: str, member: Any, parent_key: str) -> Any:
    """Scrub the value of a special key. ``parent_key`` is the key whose value is ``parent``."""
    if member is not None and _is_secret(key) and not _is_schema(member, parent_key):
        return REMOVED
    name = key.lower()
    if name == "headers" and parent.get("type") == "mcp" and member is not None:
        return REMOVED
    if name == "audio" and isinstance(member, str) and "audio" in str(parent.get("type")):
        return _scrub_audio(member)
    return _scrub(member, key)


def _is_secret(key: str) -> bool:
    """Whether the values of that key are secrets."""
    return key.lower().replace("_", "").replace("-", "").replace(" ", "") in _SECRET_KEYS


def _is_schema(member: Any, parent_key: str) -> bool:
    """Whether ``member`` is the JSON schema of a tool parameter whose name is a secret key, not a secret."""
    return parent_key == "properties" and isinstance(member, (dict, bool))


def _scrub_text(text: str) -> str:
    # Most texts are short, so cheap tests come before each search.
    if len(text) < SHORTEST_SECRET:
        return text
    if "base64," in text:
        text = _DATA_URL.sub(_data_url_placeholder, text)
    if len(text) >= SHORTEST_BASE64:
        text = _BASE64.sub(_base64_placeholder, text)
        text = _BASE64_LINES.sub(_base64_placeholder, text)
    if "://" in text:
        text = _URL.sub(_url_without_secrets, text)
    lower = text.lower()
    for end in _SECRET_KEY_ENDS:  # any() would take three times as long
        if end in lower:
            text = _KEY_AND_SECRET.sub(_without_secret, text)
            break
    # Each API key contains one of these.
    if "k-" in text or "k_" in text or "2-" in text or "2_" in text or "bearer" in lower:
        text = _API_KEY.sub(REMOVED, text)
    return text


def _without_secret(match: re.Match[str]) -> str:
    quote, key, between, opening = match.groups()
    return f"{quote}{key}{quote}{between}{opening}{REMOVED}"


def _url_without_secrets(match: re.Match[str]) -> str:
    return _URL_SECRET_PARAMETER.sub(rf"\1={REMOVED}", _URL_USER.sub(f"{REMOVED}@", match[0]))


def _scrub_audio(text: str) -> str:
    """A placeholder for base64 of any length, in a field that holds audio; other text is scrubbed."""
    return f"<audio: {_decoded_size(text)} bytes>" if _ANY_BASE64.fullmatch(text) else _scrub_text(text)


def _data_url_placeholder(match: re.Match[str]) -> str:
    return f"<{match[1] or 'data'}: {_decoded_size(match[2])} bytes>"


def _base64_placeholder(match: re.Match[str]) -> str:
    is_ruler = not any(character.isalnum() for character in match[0])  # a line of dashes
    return match[0] if is_ruler else f"<base64: {_decoded_size(match[0])} bytes>"


def _decoded_size(text: str) -> int:
    """How many bytes this base64 decodes to."""
    return len("".join(text.split()).rstrip("=")) * 3 // 4


#: URL schemes with a container's name before the @, which is not a secret (Azure).
_SCHEMES_WITH_CONTAINER = ("abfs", "abfss")


def public_url(url: str) -> str:
    """The URL without user, password, parameters and fragment; an Azure container before the @ stays."""
    scheme, _, rest = url.partition("://")
    user, _, host = rest.rpartition("@")
    # The last @ and the first colon decide, because a password may contain / and @.
    if ":" in user or not ("/" in user or scheme in _SCHEMES_WITH_CONTAINER):
        rest = host
    return f"{scheme}://{re.split('[?#]', rest)[0]}"
