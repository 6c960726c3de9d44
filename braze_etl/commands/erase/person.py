"""One person, as what the job stores may know them: by an id in Braze, or the one in Amplitude."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import starmap
from typing import Any, Final

import orjson

from braze_etl.mapping.identity import IdentityRules
from braze_etl.model import Record, Verdict

ERASED: Final = "[erased]"
_LONG: Final = 5
"""Characters from which on an id is looked for inside of texts too; a shorter one is a word of many."""
_WHOLE: Final = re.compile(
    r"(?:^|[_ -])(?i:ids?)$|[a-z]I[dD]s?$|(?i:e-?mail|phone)(?:[_ -]?(?i:address|number))?s?$"
)
"""Names of fields that hold an id or an address and nothing else."""
_BEFORE: Final = r"(?<![\w.+@%-])(?<!\w')"
_AFTER: Final = r"(?![\w+@%-]|\.+[\w+@%-]|'\w)"
"""Where a name begins and ends in a text: smith@example.com is nobody in john.smith@example.com or
smith@example.com.au. A full stop at the end of a sentence, and quotes around a name, are none of it."""


class Person:
    """Whoever goes by *id_*: an external id, a device id, Braze's user id, an address, an Amplitude id.

    `names` are that id and those under which events with it are sent, by these identity rules.
    """

    def __init__(self, id_: str, rules: IdentityRules) -> None:
        self._rules = rules
        self._id = id_
        places = ((id_, None, None), (None, id_, None), (None, None, id_))
        self.names: Final = frozenset({id_}.union(*(self._sent_as(*place) for place in places)))
        words = "|".join(re.escape(name) for name in sorted(self.names, key=len, reverse=True))
        self._named = re.compile(f"{_BEFORE}(?:{words}){_AFTER}")

    def are_in(self, record: Record) -> bool:
        """Whether a record is theirs: sent under one of their names, or with their id in any field.

        A field that holds an id or an address is compared as a whole, also within JSON; a text is searched.
        """
        ids = self._sent_as(record.get("external_user_id"), record.get("device_id"), record.get("user_id"))
        return not self.names.isdisjoint(ids) or any(starmap(self._is_in, _texts(record)))

    def blot_out(self, text: str) -> str:
        """The text with `[erased]` in the place of each of their names."""
        return self._named.sub(ERASED, text)

    def _sent_as(self, user: object, device: object, braze_id: object) -> set[str]:
        """The ids under which Amplitude knows whoever has these in Braze."""
        event = self._rules.resolve(user, device, braze_id)
        return set() if isinstance(event, Verdict) else set(event.values())

    def _is_in(self, field: str, text: str) -> bool:
        if text == self._id or len(self._id) < _LONG:
            return text == self._id
        return text in self.names if _WHOLE.search(field) else self._named.search(text) is not None


def _texts(value: Any, field: str = "") -> Iterator[tuple[str, str]]:
    """All texts and whole numbers in a value, each behind its field; JSON in a text is taken apart."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield "", name
            yield from _texts(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, field)
    elif isinstance(value, str):
        parts = _json(value)
        yield from ((field, value),) if parts is None else _texts(parts, field)
    elif isinstance(value, int):
        yield field, str(value)


def _json(text: str) -> dict[str, Any] | list[Any] | None:
    """The object or list that a text holds; None for any other text."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        parts: dict[str, Any] | list[Any] = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return parts
