"""Single blocks of a file, each by one ranged read: for the few records that are wanted of a large file."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO, Final

from braze_etl.currents import (
    AvroHeader,
    Block,
    Damage,
    DamagedBlock,
    RecordReader,
    read_block,
    read_header,
)
from braze_etl.model import FileRef, Record
from braze_etl.storage import Store

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HEADER_RANGE: Final = 1 << 16
BLOCK_RANGE: Final = 1 << 17
"""Avro libraries close a block after 16,000 or 64,000 bytes; a larger one takes a second read."""


class RangedFile:
    """One file of a store, read by ranges of it; the header is read when this is made.

    Every method raises `SourceGoneError` once the object is not there, or no longer has the etag of *ref*.
    `UnreadableFileError` if there is no readable header.
    """

    def __init__(self, store: Store, ref: FileRef) -> None:
        self._store = store
        self._ref = ref
        self.header: Final[AvroHeader] = read_header(self._stream(0, HEADER_RANGE), name=ref.key)

    def block(self, offset: int) -> Block | Damage:
        """Read the block at *offset*."""
        return read_block(self._stream(offset, BLOCK_RANGE), self.header, offset)

    def _stream(self, offset: int, size: int) -> BinaryIO:
        return io.BufferedReader(_Ranges(self._store, self._ref, offset), size)


def read_records(
    store: Store, ref: FileRef, wanted: Mapping[int, Collection[int]]
) -> dict[tuple[int, int], Record]:
    """Read single records as Currents wrote them, by (block, record); *wanted* has indexes by block offset.

    What does not decode, or is not there, is left out. Errors are those of `RangedFile`.
    """
    file = RangedFile(store, ref)
    reader = RecordReader(file.header.schema_json)
    found: dict[tuple[int, int], Record] = {}
    for offset, indexes in sorted(wanted.items()):
        block = file.block(offset)
        if isinstance(block, Damage):
            continue
        try:
            decoded = enumerate(reader.decode(block))
        except DamagedBlock:
            continue
        found |= {(offset, i): each for i, each in decoded if i in indexes and isinstance(each, dict)}
    return found


class _Ranges(io.RawIOBase):
    """A file from *offset* on; whatever is read of it is one ranged read."""

    def __init__(self, store: Store, ref: FileRef, offset: int) -> None:
        super().__init__()
        self._store = store
        self._ref = ref
        self._at = offset
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if self._ended:
            return 0  # known already: asking once more would be one more request
        view, ref = memoryview(buffer).cast("B"), self._ref
        asked = len(view)
        opened = self._store.open(
            ref.key, offset=self._at, length=asked, etag=ref.etag, size=ref.size or None
        )
        with closing(opened) as stream:
            data = stream.read(asked)
        self._ended = len(data) < asked
        self._at += len(data)
        view[: len(data)] = data
        return len(data)
