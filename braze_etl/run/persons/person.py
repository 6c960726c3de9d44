"""One person, as what the job stores may know them: by an id in Braze, or the one in Amplitude."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from braze_etl.model import Record, Verdict
from braze_etl.transform import IdentityRules

ERASED: Final = "[erased]"
_LONG: Final = 5
"""Characters from which on an id is looked for inside of texts too; a shorter one is a word of many."""


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
        self._named = re.compile(rf"(?<![\w-])(?:{words})(?![\w-])")

    def are_in(self, record: Record) -> bool:
        """Whether a record is theirs: sent under one of their names, or with their id in any field."""
        ids = self._sent_as(record.get("external_user_id"), record.get("device_id"), record.get("user_id"))
        return not self.names.isdisjoint(ids) or any(map(self._is_in, _texts(record)))

    def blot_out(self, text: str) -> str:
        """The text with `[erased]` in the place of each of their names."""
        return self._named.sub(ERASED, text)

    def _sent_as(self, user: object, device: object, braze_id: object) -> set[str]:
        """The ids under which Amplitude knows whoever has these in Braze."""
        event = self._rules.resolve(user, device, braze_id)
        return set() if isinstance(event, Verdict) else set(event.values())

    def _is_in(self, text: str) -> bool:
        return text == self._id or (len(self._id) >= _LONG and self._named.search(text) is not None)


def _texts(value: Any) -> Iterator[str]:
    """All texts and whole numbers in a value; JSON in a text is taken apart as well."""
    if isinstance(value, dict):
        for each in (*value, *value.values()):
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value
        if value.lstrip()[:1] in ("{", "["):
            yield from _texts(_json(value))
    elif isinstance(value, int):
        yield str(value)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
