"""The notes: small ones stand in the head; a larger one is an object of its own, to keep the head small.

What describes a mapping is some kilobytes, and there is one for each mapping that was ever in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from braze_etl.checkpoint.s3.head import Head
from braze_etl.checkpoint.s3.objects import Objects

MOST_BYTES: Final = 400
"""As JSON, of a note in the head."""
ALWAYS_IN_HEAD: Final = frozenset({"begun"})
"""A note that each settlement changes, and a run's end empties: an object each would be one write more."""


class Notes:
    """Writes notes and reads them back."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def written(self, head: Head, stamp: str, notes: Mapping[str, Mapping[str, Any]]) -> Head:
        """Store these notes, in place of those of the same names."""
        small = {name: dict(fact) for name, fact in head.notes.items() if name not in notes}
        large = {name: of for name, of in head.large_notes.items() if name not in notes}
        for number, (name, fact) in enumerate(notes.items()):
            if name in ALWAYS_IN_HEAD or len(orjson.dumps(dict(fact))) <= MOST_BYTES:
                small[name] = dict(fact)
                continue
            large[name] = f"{stamp}{number:02x}"
            self._objects.put(f"notes/{large[name]}", dict(fact))
        return replace(head, notes=small, large_notes=large)

    def read(self, head: Head, name: str) -> dict[str, Any]:
        """The note of that name; empty when there is none."""
        if name not in head.large_notes:
            return dict(head.notes.get(name, {}))
        fact: dict[str, Any] = self._objects.get(f"notes/{head.large_notes[name]}")
        return fact

    def all(self, head: Head) -> dict[str, dict[str, Any]]:
        """Every note by its name."""
        return {name: self.read(head, name) for name in (*head.notes, *head.large_notes)}
