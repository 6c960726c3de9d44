"""What is sent in the place of a value: a hash, an address without its query, a value of a table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from braze_etl.config import Scalar
from braze_etl.transform.choice import text_of

Change: TypeAlias = Callable[[Any], Any]
"""From a value that is not null to the one that is sent; None: none is. Of an array, each item is changed."""


@dataclass(frozen=True, slots=True)
class Hashed:
    """SHA-256 of the salt and the value's text, as hex digits."""

    salt: str = field(repr=False)

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [None if item is None else self(item) for item in value]
        return hashlib.sha256(f"{self.salt}{text_of(value)}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class WithoutQuery:
    """An address without its query string, its fragment, and the name and password before its host."""

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [None if item is None else self(item) for item in value]
        if not isinstance(value, str):
            return value
        try:
            parts = urlsplit(value)
        except ValueError:
            return value.partition("?")[0].partition("#")[0]
        return parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2]).geturl()


@dataclass(frozen=True, slots=True)
class Translated:
    """The value that a table has for the value's text; `*` stands for all others, which else stay."""

    table: Mapping[str, Scalar]

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [each for item in value if (each := self._one(item)) is not None]
        return self._one(value)

    def _one(self, value: Any) -> Any:
        return self.table.get(text_of(value), self.table.get("*", value))
