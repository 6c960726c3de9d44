"""The positions of one file that were asked for: each must come back, or its books say why it did not."""

from __future__ import annotations

from collections import defaultdict

from braze_etl.run.finding.due import DueFile, Place


class Awaited:
    """What was asked for of a file and has not been met yet: nothing, when it is read for the first time.

    A `Place` without a record is a stretch of the file, or (with block 0) all of it.
    """

    def __init__(self, due: DueFile) -> None:
        self._blocks: defaultdict[int, set[int | None]] = defaultdict(set)
        for block, record in due.places():
            self._blocks[block].add(record)

    def met(self, block: int, count: int) -> None:
        """A block of *count* records was read."""
        awaited = self._blocks.pop(block, set())
        missing: set[int | None] = {each for each in awaited if each is not None and each >= count}
        if missing:
            self._blocks[block] = missing

    def met_record(self, block: int, record: int) -> None:
        """One record was read."""
        self._blocks[block].discard(record)

    def places(self) -> list[Place]:
        """Give what is still awaited."""
        return [(block, record) for block, records in self._blocks.items() for record in records]

    def take_block(self, block: int) -> list[Place]:
        """Give what is still awaited of a block, and wait for it no longer."""
        return [(block, record) for record in sorted(self._blocks.pop(block, ()), key=_whole_first)]

    def take(self) -> list[Place]:
        """Give all that is still awaited, and wait for nothing any longer."""
        return [place for block in sorted(self._blocks) for place in self.take_block(block)]


def _whole_first(record: int | None) -> int:
    return -1 if record is None else record
