"""What may leave the process: payloads without audio, without secrets, otherwise whole.

Pure. Raw audio and other base64 become a placeholder that says how many bytes there were; secrets
(client secrets, API keys, bearer tokens, what an MCP server is called with) are removed. Nothing else
is shortened. What comes out is made of JSON's own types, whatever went in.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from langsmith_realtime.core.payloads.json_values import plain, sayable

#: What stands where words were.
NOT_KEPT = "[not kept]"


REMOVED = "<secret removed>"

#: Characters: ``sk-`` and twelve more, an address with a user, and three lines as MIME has them.
SHORTEST_SECRET, SHORTEST_BASE64 = 8, 195

#: Names of what is secret, word by word: they may be joined by a dash, an underscore, a space or nothing.
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
# The same in text that is JSON itself, or looks like it (arguments of tools, Python's own words): the key with its
# quotes, which may be escaped, and what it holds.
_NAMED = re.compile(
    r"""(?i)(\\{0,8}["'])("""
    + "|".join(map("[-_ ]?".join, _SECRET_NAMES))
    + r""")\1(\s{0,9}:\s{0,9})(\\{0,8}["'])(?!<secret)(?:(?!\4)(?:\\.|[^\\]))+"""
)
#: One of these is in each of them.
_NAMED_PARTS = frozenset(name[-1] for name in _SECRET_NAMES)
# An address may carry who calls it, in front of the host or among its parameters.
_URL = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.\-]{1,20}://[^\s\"'<>]+")
_USER = re.compile(r"(?<=://)[^/@]+@")
_PARAMETER = re.compile(
    r"(?i)(?<=[?&])((?:api[-_]?|access[-_]?|id[-_]?|refresh[-_]?)?(?:key|token)|(?:client[-_]?)?secret|password"
    r"|auth(?:orization)?|sig(?:nature)?|x-(?:amz|goog)-(?:signature|credential|security-token))=[^&#]+"
)
# Keys of OpenAI, lasting and ephemeral, and of LangSmith. Letters alone are words with dashes; a key has digits.
_SECRET = re.compile(
    r"(?:\b|(?<=\\[nrt]))(?:sk|ek|rk|lsv2)[-_](?=[A-Za-z_\-]{0,200}\d)[A-Za-z0-9_\-]{12,}"
    r"|(?:\b|(?<=\\[nrt]))(?i:bearer)\s{1,9}(?=[A-Za-z._~+/\-]{0,200}\d)[A-Za-z0-9._~+/\-]{12,}=*"
)
_DATA_URL = re.compile(r"data:([\w.+\-]+/[\w.+\-]+)?(?:;[\w.+\-]+=[\w.+\-]+){0,8};base64,([A-Za-z0-9+/\-_]*)={0,2}")
# Shorter ones are ids or words; nothing playable fits in them.
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/\-_])[A-Za-z0-9+/\-_]{256,}={0,2}")
# In lines of one length, as MIME has it; the last may be shorter.
_BASE64_LINES = re.compile(
    r"(?<![A-Za-z0-9+/\-_])(?:[A-Za-z0-9+/]{64}\r?\n|[A-Za-z0-9+/]{76}\r?\n){3,}[A-Za-z0-9+/]*={0,2}"
)
_ANY_BASE64 = re.compile(r"[A-Za-z0-9+/\-_\s]+={0,2}\s*")


def scrub(value: Any) -> Any:
    """A copy of a decoded payload that may be traced."""
    return _scrub(plain(value))


def scrub_message(text: str) -> str:
    """A message (an error's, a close reason) without the secrets it may quote."""
    return _SECRET.sub(REMOVED, _NAMED.sub(_named, _URL.sub(_url, sayable(text))))


def _scrub(value: Any, key: str = "") -> Any:
    # Every payload comes through here, and is made of JSON's own types.
    kind = type(value)
    if kind is str:
        return _scrub_text(value)
    if kind is dict:
        return {
            name: _scrub_member(value, name, member, key) if _tells(name) else _scrub(member, name)
            for name, member in value.items()
        }
    if kind is list:
        return [_scrub(member, key) for member in value]
    return value


@lru_cache(4096)
def _tells(key: str) -> bool:
    """Whether what has that key may be something else than its text says."""
    return _is_secret(key) or key.lower() in ("headers", "audio")


def _scrub_member(parent: dict[str, Any], key: str, member: Any, parent_key: str) -> Any:
    if member is not None and _is_secret(key) and not _is_schema(member, parent_key):
        return REMOVED
    name = key.lower()
    if name == "headers" and parent.get("type") == "mcp" and member is not None:
        return REMOVED
    if name == "audio" and isinstance(member, str) and "audio" in str(parent.get("type")):
        return _audio(member)
    return _scrub(member, key)


def _is_secret(key: str) -> bool:
    """Whether what has that key is one, however its words are joined."""
    return key.lower().replace("_", "").replace("-", "").replace(" ", "") in _SECRET_KEYS


def _is_schema(member: Any, parent_key: str) -> bool:
    """Whether it describes a parameter of a tool that happens to have a secret's name."""
    return parent_key == "properties" and isinstance(member, (dict, bool))


def _scrub_text(text: str) -> str:
    # Most texts are short: what they cannot hold is not looked for.
    if len(text) < SHORTEST_SECRET:
        return text
    if "base64," in text:
        text = _DATA_URL.sub(_data_url, text)
    if len(text) >= SHORTEST_BASE64:
        text = _BASE64.sub(_base64, text)
        text = _BASE64_LINES.sub(_base64, text)
    if "://" in text:
        text = _URL.sub(_url, text)
    lower = text.lower()
    if any(part in lower for part in _NAMED_PARTS):
        text = _NAMED.sub(_named, text)
    # One of these is in each of the keys.
    if "k-" in text or "k_" in text or "2-" in text or "2_" in text or "bearer" in lower:
        text = _SECRET.sub(REMOVED, text)
    return text


def _named(match: re.Match[str]) -> str:
    quote, key, between, opening = match.groups()
    return f"{quote}{key}{quote}{between}{opening}{REMOVED}"


def _url(match: re.Match[str]) -> str:
    return _PARAMETER.sub(rf"\1={REMOVED}", _USER.sub(f"{REMOVED}@", match[0]))


def _audio(text: str) -> str:
    """Wire audio of any length."""
    return f"<audio: {_bytes(text)} bytes>" if _ANY_BASE64.fullmatch(text) else _scrub_text(text)


def _data_url(match: re.Match[str]) -> str:
    return f"<{match[1] or 'data'}: {_bytes(match[2])} bytes>"


def _base64(match: re.Match[str]) -> str:
    drawn = not any(character.isalnum() for character in match[0])  # a line of dashes
    return match[0] if drawn else f"<base64: {_bytes(match[0])} bytes>"


def _bytes(text: str) -> int:
    """How many bytes that base64 stands for."""
    return len("".join(text.split()).rstrip("=")) * 3 // 4


#: Where what stands before the @ is a container's name, and no secret.
_CONTAINERS = ("abfs", "abfss")


def public_url(url: str) -> str:
    """The URL without what it carries to be let in: user, password and parameters."""
    protocol, _, rest = url.partition("://")
    user, _, host = rest.rpartition("@")
    # A password may hold whatever else separates the parts of a URL.
    if ":" in user or not ("/" in user or protocol in _CONTAINERS):
        rest = host
    return f"{protocol}://{re.split('[?#]', rest)[0]}"
