"""The catalogue of Currents event types, kept as data beside this module.

It says what the Avro schemas of Currents release 10 and the changelog up to release 12 declare (currents.md,
section 5). Reading does not depend on it: a file carries its own schema, and new types and fields
join every month.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import orjson

Status: TypeAlias = Literal["current", "announced", "retired"]
"""*announced*: in the changelog, but no schema is known; *retired*: no longer written, yet in old buckets."""


@dataclass(frozen=True, slots=True)
class FieldType:
    """The type of one field.

    `avro` is `string`, `int`, `long`, `float`, `boolean`, `array<string>` or `array<null|string>` (an array
    whose items may be null). `nullable` means the union of null and that type, with null as the default.
    `pii` marks what Braze documents as personal data.
    """

    avro: str
    nullable: bool
    pii: bool


@dataclass(frozen=True, slots=True)
class EventType:
    """One event type, such as `users.messages.email.Open`.

    `fields` are in the order of their names; empty where no schema is known.
    """

    name: str
    category: str
    channel: str | None
    status: Status
    fields: Mapping[str, FieldType] = field(repr=False)


@cache
def load_catalogue() -> Mapping[str, EventType]:
    """All known event types by name, in the order of their names. Read once; shared and read-only."""
    data = orjson.loads(files(__package__).joinpath("catalogue.json").read_bytes())
    pii = frozenset(data["pii"])
    return MappingProxyType({name: _event_type(name, entry, pii) for name, entry in data["types"].items()})


def _event_type(name: str, entry: dict[str, Any], pii: frozenset[str]) -> EventType:
    fields = {key: _field_type(text, pii=key in pii) for key, text in entry["fields"].items()}
    return EventType(
        name=name,
        category=entry["category"],
        channel=entry.get("channel"),
        status=entry["status"],
        fields=MappingProxyType(fields),
    )


@cache
def _field_type(text: str, *, pii: bool) -> FieldType:
    return FieldType(avro=text.removesuffix("?"), nullable=text.endswith("?"), pii=pii)
