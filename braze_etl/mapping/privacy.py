"""What is private, and what is sent in the place of a value: a hash, an address without its query."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import orjson

from braze_etl.globs import matches
from braze_etl.mapping.choice import text_of
from braze_etl.mapping.limits import MAX_DEPTH, MAX_TEXT, depth_of, mend, read_json
from braze_etl.mapping.settings import Scalar

Change: TypeAlias = Callable[[Any], Any]
"""From a value that is not null to the one that is sent; None: none is. Of an array, each item is changed."""

_PEOPLE = frozenset({"mailto", "tel", "sms"})
"""Schemes of addresses that are a person's."""
_REMEMBERED = 10_000
"""Keys of JSON texts of which it is known whether they are private; customers choose them."""


@dataclass(frozen=True, slots=True)
class Hashed:
    """SHA-256 of the salt and the value's text, as hex digits."""

    salt: str = field(repr=False)

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [None if item is None else self(item) for item in value]
        return hashlib.sha256(f"{self.salt}{text_of(value)}".encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class WithoutQuery:
    """An address without its query string, its fragment, and the name and password before its host.

    Of one that is a person's (`mailto:`), the scheme is left.
    """

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [None if item is None else self(item) for item in value]
        if not isinstance(value, str):
            return None if isinstance(value, dict) else value
        try:
            parts = urlsplit(value)
        except ValueError:
            return None  # nobody can tell what is in it
        if parts.scheme in _PEOPLE:
            return f"{parts.scheme}:"
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


@dataclass(frozen=True, slots=True)
class PrivateFields:
    """Fields (globs) that must not travel as they are; the change of the first that matches counts.

    `texts` are fields with JSON as text.
    """

    rules: tuple[tuple[str, Change | None], ...] = ()
    texts: AbstractSet[str] = frozenset()
    _found: dict[str, tuple[bool, Change | None]] = field(default_factory=dict, compare=False, repr=False)

    def find(self, source: str) -> tuple[bool, Change | None]:
        """Whether *source* is private, and what is sent of it; None: nothing.

        A key of a JSON text is private also where a field of its name is, upper and lower case being one.
        """
        found = self._found.get(source)
        if found is None:  # asked for each key inside of each record, and there are dozens of globs
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            found = self._found[source] = self._look_up(source)
        return found

    def _look_up(self, source: str) -> tuple[bool, Change | None]:
        key = source.rpartition(".")[2]
        for glob, change in self.rules:
            if any(matches(name, (glob,)) for name in (source, key, key.lower())):
                return True, change
        return False, None

    def __contains__(self, field: str) -> bool:
        return self.find(field)[0]

    def within(self, source: str, *, is_known: bool = True) -> Change | None:
        """What leaves out the private part of a value that is not private itself; None: it has none.

        Of a field that nobody knows, each text is looked at that may be JSON.
        """
        if not self.rules:
            return None
        if "." in source:
            return _Within(source, self)
        holds_json = source in self.texts or any(glob.startswith(f"{source}.") for glob, _ in self.rules)
        if holds_json:
            return _WithinText(_Within(source, self))
        return None if is_known else _WithinUnknown(_WithinText(_Within(source, self)))


NOTHING_PRIVATE = PrivateFields()


@dataclass(frozen=True, slots=True)
class _Within:
    """The value of a key, without the private keys of the objects in it."""

    source: str
    private: PrivateFields

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self(item) for item in value]
        return dict(self._items(value)) if isinstance(value, dict) else value

    def _items(self, value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
        for key, each in value.items():
            source = f"{self.source}.{key}"
            is_private, change = self.private.find(source)
            if not is_private:
                yield key, _Within(source, self.private)(each)
            elif change is not None and each is not None:
                yield key, change(each)


@dataclass(frozen=True, slots=True)
class _WithinText:
    """A JSON text without the private keys in it; nothing of what can't be read, or is a single value."""

    within: _Within

    def __call__(self, value: Any) -> Any:
        parsed, _ = read_json(value)
        if not isinstance(parsed, dict | list) or depth_of(parsed) > MAX_DEPTH:
            return None
        text = orjson.dumps(self.within(mend(parsed, Counter()))).decode()
        return text[:MAX_TEXT]  # numbers may have become longer


@dataclass(frozen=True, slots=True)
class _WithinUnknown:
    """The value of a field that nobody knows: if it looks like JSON, it is treated so."""

    within: _WithinText

    def __call__(self, value: Any) -> Any:
        looks_so = isinstance(value, str) and value.lstrip().startswith(("{", "["))
        return self.within(value) if looks_so else value


@dataclass(frozen=True, slots=True)
class _Then:
    first: Change
    second: Change

    def __call__(self, value: Any) -> Any:
        changed = self.first(value)
        return None if changed is None else self.second(changed)


def one_after_other(first: Change | None, second: Change | None) -> Change | None:
    """One change made of two, either of which may be none."""
    return _Then(first, second) if first and second else first or second
