"""The runs: an object of up to 32 of them, which names the objects with the runs before.

The head names the last of these objects only, and each is replaced whole until it is full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, Final

import orjson

from braze_etl.state.ledger import RunRecord
from braze_etl.state.rows import batches, note_of, run_of, run_row
from braze_etl.state.s3.head import Head
from braze_etl.state.s3.objects import Objects
from braze_etl.state.shapes import checked

IN_ONE: Final = 32
OLDER_KEPT: Final = 320
"""Full objects that are kept: 10,240 runs, five weeks of one every five minutes."""

MOST_BYTES: Final = 400
"""As JSON, of a note in the head."""
ALWAYS_IN_HEAD: Final = frozenset({"begun"})
"""A note that each settlement changes, and a run's end empties: an object each would be one write more."""


class Runs:
    """Reads and writes the objects of runs; the last one stays in memory."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._stamp: str | None = None
        self._last: dict[str, Any] = {}

    def write(self, head: Head, stamp: str, run: RunRecord) -> str:
        """Store a run, in place of what was known of it, and return the stamp for the head."""
        last = self._chunk(head.runs)
        rows = [row for row in last["runs"] if row[0] != run.run_id]
        place = next((at for at, row in enumerate(last["runs"]) if row[0] == run.run_id), len(rows))
        older = last["older"]
        if len(rows) >= IN_ONE:
            older, rows, place = [head.runs, *older][:OLDER_KEPT], [], 0
        chunk = {"older": older, "runs": [*rows[:place], run_row(run), *rows[place:]]}
        self._objects.put(f"runs/{stamp}", chunk)
        self._stamp, self._last = stamp, chunk
        return stamp

    def write_all(self, stamp: str, runs: Iterable[RunRecord]) -> str | None:
        """Store many runs, oldest first, as far as they are kept; return the stamp of the last object."""
        kept = deque(map(run_row, runs), maxlen=IN_ONE * (OLDER_KEPT + 1))
        older: list[str] = []
        for number, rows in enumerate(batches(kept, IN_ONE)):
            older = [f"{stamp}{number:02x}", *older]
            self._objects.put(f"runs/{older[0]}", {"older": older[1:], "runs": rows})
        return older[0] if older else None

    def last(self, head: Head, limit: int) -> list[RunRecord]:
        """The last runs, newest first."""
        return list(islice(self._newest_first(head), limit))

    def older(self, head: Head) -> list[str]:
        """The stamps of the objects that hold the runs before those of the last one."""
        older: list[str] = self._chunk(head.runs)["older"]
        return older

    def _newest_first(self, head: Head) -> Iterator[RunRecord]:
        last = self._chunk(head.runs)
        yield from map(run_of, reversed(last["runs"]))
        for stamp in last["older"]:
            yield from map(run_of, reversed(self._objects.get(f"runs/{stamp}", _runs)["runs"]))

    def _chunk(self, stamp: str | None) -> dict[str, Any]:
        if stamp is None:
            return {"older": [], "runs": []}
        if stamp != self._stamp:
            self._last = self._objects.get(f"runs/{stamp}", _runs)
            self._stamp = stamp
        return self._last


def _runs(value: Any) -> dict[str, Any]:
    """Give an object of runs, each of which can be read."""
    for row in checked(value, {"older": [str], "runs": [list]})["runs"]:
        run_of(row)
    chunk: dict[str, Any] = value
    return chunk


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
            with self._objects.understood(f"the note {name}"):
                return dict(note_of(name, head.notes[name])) if name in head.notes else {}
        return self._objects.get(f"notes/{head.large_notes[name]}", partial(note_of, name))

    def all(self, head: Head) -> dict[str, dict[str, Any]]:
        """Every note by its name."""
        return {name: self.read(head, name) for name in (*head.notes, *head.large_notes)}
