"""Words from outside, fit to be read: what can't be seen is shown, and what must not be seen is not.

Names of event types, keys of objects and values of records come from others. In them, a control character
moves a terminal's cursor or begins a line of its own, and a bidirectional mark turns the order of letters.
Errors of libraries quote addresses, and an address may hold a password.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from typing import Any, Final
from urllib.parse import unquote

import orjson

_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u070f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""C0, C1, DEL; marks of direction; separators of lines; characters without width; halves of pairs; tags."""
_SHORT: Final = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_END_OF_C1: Final = 0xA0
_PROXIES: Final = tuple(
    name for kind in ("http", "https", "all", "socks") for name in (f"{kind}_proxy", f"{kind.upper()}_PROXY")
)

_CREDENTIALS: Final = (
    # scheme://user:password@, also in JSON's form of a slash; a password may hold what a URL should not.
    re.compile(r"(?<=:)(\\?/\\?/)(?:[^\s/\"<>]*|[^\s/:@\[\"<>]*:(?![0-9]+(?:/|$))[^\s\"<>@]*)@"),
    re.compile(r"(%3A%2F%2F)(?:(?!%2F)[^\s\"<>&])*?%40", re.IGNORECASE),
    # user:password@host, as libraries quote what they could not take apart
    re.compile(r"(?:^|(?<=[\s'\"(=]))()[^\s:@/\\\"'<>()=]+:(?!//)[^\s@/\"<>]+@(?=[\w\[])"),
)
_HIDDEN: Final = "***"
_SHORTEST_SECRET: Final = 4


def visible(text: str, *, lines: bool = False) -> str:
    r"""The text with a `\x1b` or `\u202e` for each character that can't be seen; *lines* keeps `\n`."""
    return _UNSEEN.sub(_kept if lines else _escape, text)


def masked(text: str) -> str:
    """The text without the user and password of any address in it, and without those of the proxies."""
    for pattern in _CREDENTIALS if "@" in text or "%40" in text else ():
        text = pattern.sub(rf"\1{_HIDDEN}@", text)
    for secret in _proxy_passwords():
        text = text.replace(secret, _HIDDEN)
    return text


def json_text(value: Any, *, indent: bool = False) -> str:
    r"""JSON in which every character can be seen: the others as `\uXXXX`, which parsers read as before."""
    try:
        text = orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 if indent else None).decode()
    except orjson.JSONEncodeError:  # half a surrogate pair, out of a name that is no text
        return json.dumps(value, default=str, indent=2 if indent else None)
    return _UNSEEN.sub(_as_json, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if code < _END_OF_C1 or code == 0xAD:
        return _SHORT.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _kept(match: re.Match[str]) -> str:
    return "\n" if match[0] == "\n" else _escape(match)


def _as_json(match: re.Match[str]) -> str:
    # The line ends of an indented object are outside of its texts; those inside are escaped already.
    return "\n" if match[0] == "\n" else json.dumps(match[0])[1:-1]


def _proxy_passwords() -> tuple[str, ...]:
    """Passwords of the proxies in the environment: libraries quote parts of an address they can't read."""
    # By name: a walk over the whole environment takes longer than to make the error that is to be masked.
    return _passwords_of(tuple(value for name in _PROXIES if (value := os.environ.get(name))))


@cache
def _passwords_of(proxies: tuple[str, ...]) -> tuple[str, ...]:
    secrets = set[str]()
    for value in proxies:
        if "@" in value:
            password = value.rpartition("@")[0].rpartition("://")[2].partition(":")[2]
            # A character that ends the host for a library leaves it a piece of the password.
            secrets |= {password, unquote(password), *re.split("[/?#@]", password)}
    return tuple(sorted((each for each in secrets if len(each) >= _SHORTEST_SECRET), key=len, reverse=True))
