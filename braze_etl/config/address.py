"""What an API key and an address can't be, in words that repeat neither."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

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
