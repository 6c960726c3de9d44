"""Reading a due file: whole as one stream, or by ranged reads what is wanted of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Self, TypeAlias, cast

from braze_etl.compile import EventReader, MappedBlock
from braze_etl.currents import Damage
from braze_etl.errors import FileReplacedError, SourceGoneError
from braze_etl.run.finding.due import DueFile
from braze_etl.run.working.pulse import Life
from braze_etl.storage import Store

_RANGE = 1 << 17
"""Bytes that reading one block by itself costs (see `compile.ranged`)."""

Wanted: TypeAlias = frozenset[int] | None
"""The records of a block that count; None for all of them."""


class _Awaited:
    """A store whose files are waited for: how long is for the store's own deadlines to say, not for the file.

    Each piece that arrives is a step: a large block may come slowly.
    """

    def __init__(self, store: Store, life: Life) -> None:
        self._store = store
        self._life = life

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, etag: str = "", size: int | None = None
    ) -> BinaryIO:
        stream = self._life.wait(self._store.open, key, offset=offset, length=length, etag=etag, size=size)
        return cast("BinaryIO", _AwaitedStream(stream, self._life))


class _AwaitedStream:
    def __init__(self, stream: BinaryIO, life: Life) -> None:
        self._stream = stream
        self._life = life

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        return self._life.wait(self._stream.read, size)

    def close(self) -> None:
        self._stream.close()


def blocks_of(
    due: DueFile, store: Store, reader: EventReader, life: Life | None = None
) -> Iterator[tuple[MappedBlock | Damage, Wanted]]:
    """Give the blocks of *due* in their order; raises `SourceGoneError` and `UnreadableFileError`.

    *life* is told of each block, and that each piece of the file is waited for.
    """
    life = life or Life()
    wanted, awaited = due.wanted(), cast("Store", _Awaited(store, life))
    if wanted is not None and not (due.changed and len(wanted) * _RANGE >= due.ref.size):
        for block in reader.read_blocks(due.ref, awaited, wanted):
            life.step()
            yield block, wanted[block.offset]
        return
    with awaited.open(due.ref.key, etag=due.ref.etag, size=due.ref.size or None) as stream:
        for block in reader.read(due.ref, stream):
            life.step()
            if wanted is None or block.offset in wanted:
                yield block, None if wanted is None else wanted[block.offset]


def look_again(due: DueFile, store: Store) -> SourceGoneError | FileReplacedError | None:
    """Ask for a new listing of a file that could not be read, and say what became of it.

    None where it is listed as before; `SourceGoneError` where it is not there, or not the content in which an
    earlier run left records behind, for the new one is due by itself.
    """
    ref, name = due.ref, f"{store.uri}/{due.ref.key}"
    listed = (item for page in store.pages(ref.key) for item in page.objects)
    now = next((item for item in listed if item.key == ref.key), None)
    if now is None:
        return SourceGoneError(f"{name} is no longer there", remedy="put it back to replay it")
    if now.etag == ref.etag:
        return None
    if not due.whole or due.again is not None:
        return SourceGoneError(f"{name} was replaced", remedy="its new content is due by itself")
    return FileReplacedError(f"{name} was replaced since it was listed", remedy="the next run reads it anew")
