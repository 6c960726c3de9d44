"""What of a configuration no message repeats: values behind keys of secrets, of variables, and of that form.

A key may be pasted to the wrong place, or a place be misspelt: what merely looks like a secret is hidden too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlsplit

from pydantic import SecretStr

from braze_etl.quoting import masked

_HIDDEN: Final = "***"
_SHORTEST: Final = 4
_SECRET_KEY: Final = re.compile(
    r"(?:api|secret|private|access)[^a-z]*key|^key$|secret|salt|token|passw|credential|auth|webhook|dead[^a-z]*man"
    r"|^url$",
    re.IGNORECASE,
)
_BEHIND: Final = re.compile(r"[=:\s]")
_TOKEN: Final = re.compile(
    r"\b(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{20,}\b"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    r"|(?<![\w+/])(?=[a-z_+/]*[0-9])[\w+/]{40}(?![\w+/])|(?<=hooks\.)[\w./-]+",
    re.IGNORECASE,
)
_HARMLESS: Final = re.compile(
    r"[-+]?[\d.,:_TZ-]{0,20}\s*[A-Za-z%]{0,8}|[A-Za-z]{1,15}(?:/[a-z]{1,15})?|!?[a-z*?]+(?:\.[\w*?]*)+"
    r"|(?:s3|gs|az|file|sqlite|memory|arn)[:/].{0,200}|[./~$%].{0,200}|https?://[\w.-]+(?::\d+)?(?:/\w{0,8})?",
    re.DOTALL,
)
"""What a mistake may repeat: numbers with a unit, words, event types, and places in a store or folder."""


def is_secret(path: Sequence[str | int]) -> bool:
    """Whether a secret may stand at *path*, or is meant to by whoever misspelt its key."""
    return any(isinstance(part, str) and _SECRET_KEY.search(part) for part in path)


def without_tokens(words: str) -> str:
    """The words without what has the form of a key or a token."""
    return _TOKEN.sub(_HIDDEN, words)


def key_alone(key: str) -> str:
    """A key without the secret that was written into it: `api_key=...`, say, or with the colon forgotten."""
    alone = _BEHIND.split(key, maxsplit=1)[0] if _SECRET_KEY.search(key) else key
    return without_tokens(alone)


class Veil:
    """Knows the values that are secret in one configuration, and takes them out of words."""

    def __init__(self) -> None:
        self._forms: set[str] = set()

    def add(self, value: str) -> None:
        """Hide *value* from now on, also as JSON, Python or a URL would write it."""
        for text in {value, value.strip()}:
            if len(text) >= _SHORTEST:
                plain, ascii_only = json.dumps(text, ensure_ascii=False), json.dumps(text)
                self._forms |= {text, plain[1:-1], ascii_only[1:-1], repr(text)[1:-1]}
                self._forms |= {quote(text, safe=""), quote(text), quote_plus(text)}

    def over(self, words: str, *, complained_of: Any = "") -> str:
        """The words without what is secret, and without the value they complain of if it may be a secret."""
        given = {str(complained_of), repr(complained_of)} if _may_be_secret(complained_of) else set()
        for form in sorted(self._forms | given, key=len, reverse=True):
            words = words.replace(form, _HIDDEN)
        return masked(without_tokens(words))

    def quoted(self, value: Any) -> str:
        """A value behind a message that complains of it; nothing of what may be a secret or holds others."""
        if isinstance(value, dict | list | tuple) or _may_be_secret(value):
            return ""
        return f", not {self.over(repr(value))}"


def _may_be_secret(value: Any) -> bool:
    text = str(value)
    return len(text) >= _SHORTEST and _HARMLESS.fullmatch(text) is None


_VARIABLE: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?\}")
_STAND_IN: Final = re.compile(
    r"(?:your|my|the|insert|enter|put|add|some)?[-_]*(?:amplitude)?[-_]*(?:api)?[-_]*key(?:[-_]*(?:here|goes))*"
    r"|(?:please)?[-_]*(?:change|replace|fill|set)[-_]*(?:me|this|it|in)|to[-_]?do|fix[-_]?me|tbd|placeholder|dummy"
    r"|example|none|null|nil|undefined|redacted|[x*.?0_-]+",
    re.IGNORECASE,
)
"""What people write where a key has yet to come."""


def checked_key(value: SecretStr) -> SecretStr:
    """Return an API key that may be one, is empty, or waits for the environment; else raise ValueError."""
    key = value.get_secret_value()
    if words := "" if _VARIABLE.search(key) else _fault(key):
        raise ValueError(f"the key {words}")
    return value


def _fault(key: str) -> str:
    if key.strip() != key and key.strip():
        return "begins or ends with a blank or a line end, as `echo` puts one into secrets: take it off"
    if re.search(r"\s", key):
        return "holds a blank or a line end: no key has one"
    if re.search("[\"'`\u2018-\u201f]", key):
        return "holds a quote, which the shell or the secret has kept: take it off"
    if re.search(r"[$<>{}%\\]", key):
        return "is not resolved: a variable is written ${NAME}, and set in the environment"
    return "" if key.isascii() and key.isprintable() else "holds a character that no key has"


def is_stand_in(key: str) -> bool:
    """Whether somebody may have meant to write the key later."""
    return bool(key) and _STAND_IN.fullmatch(key) is not None


def checked_url(value: str) -> str:
    """Return a URL with a host, or one that waits for the environment; else raise ValueError."""
    if value.startswith("${"):
        return value
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable and not _VARIABLE.search(value):
        raise ValueError(f"{value!r} is no URL; it begins with https:// or http://, and a host follows")
    return value


def leads_away_in_clear(url: str) -> bool:
    """Whether whoever stands between can read what is sent there: http:// to another machine."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not _is_here((parts.hostname or "").removesuffix("."))


def _is_here(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or address.is_unspecified or (mapped is not None and mapped.is_loopback)
