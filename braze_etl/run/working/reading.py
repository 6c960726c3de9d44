"""Reading a due file: whole as one stream, or by ranged reads what is wanted of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from braze_etl.compile import EventReader, MappedBlock
from braze_etl.currents import Damage
from braze_etl.run.finding.due import DueFile
from braze_etl.storage import Store

_RANGE = 1 << 17
"""Bytes that reading one block by itself costs (see `compile.ranged`)."""

Wanted: TypeAlias = frozenset[int] | None
"""The records of a block that count; None for all of them."""


def blocks_of(
    due: DueFile, store: Store, reader: EventReader
) -> Iterator[tuple[MappedBlock | Damage, Wanted]]:
    """Give the blocks of *due* in their order; raises `SourceGoneError` and `UnreadableFileError`."""
    wanted = due.wanted()
    if wanted is not None and not (due.changed and len(wanted) * _RANGE >= due.ref.size):
        for block in reader.read_blocks(due.ref, store, wanted):
            yield block, wanted[block.offset]
        return
    with store.open(due.ref.key, etag=due.ref.etag) as stream:
        for block in reader.read(due.ref, stream):
            if wanted is None or block.offset in wanted:
                yield block, None if wanted is None else wanted[block.offset]
