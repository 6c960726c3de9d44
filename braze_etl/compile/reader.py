"""From the bytes of a Currents file to Amplitude events: framing, decoding and mapping, block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, TypeAlias

from braze_etl.compile.blocks import BlockMapper
from braze_etl.compile.cache import FunctionCache
from braze_etl.compile.drift import Drift, DriftWatch
from braze_etl.compile.ranged import RangedFile
from braze_etl.currents import AvroFile, Block, Damage, DamagedBlock, RecordReader
from braze_etl.model import Event, FileRef, Record, Verdict
from braze_etl.storage import Store
from braze_etl.transform import Mapper, Mapping, mapper_for

Decoder: TypeAlias = Literal["auto", "fastavro"]

_TOLD_APART = 100
"""Stretches of damage in a row, each of them an entry of the quarantine; no accident makes more."""
_NO_RECORD = f"there is no record in what follows {_TOLD_APART} stretches of damage in a row"


@dataclass(frozen=True, slots=True)
class MappedBlock:
    """One Avro block: where it lies, how many records of how many bytes it holds, and what these became.

    `outcomes` can be iterated over once; there are `count` of them.
    """

    offset: int
    count: int
    size: int
    outcomes: Iterable[Event | Verdict]


class EventReader:
    """Reads files under one mapping; what can be kept between files of one type is kept.

    With the *decoder* `fastavro` no code is generated; the outcomes are the same. `ways` tells how blocks
    were read: `generated`, `fastavro`, and `given_up` for those of the latter that generated code was tried
    on; and how many `unclear` records it left to fastavro.
    """

    def __init__(self, mapping: Mapping, *, decoder: Decoder = "auto") -> None:
        self.ways: Counter[str] = Counter()
        self._mapping = mapping
        self._mappers: dict[str, Mapper] = {}
        self._drift = DriftWatch(mapping.options.fields)
        self._functions = FunctionCache() if decoder == "auto" else None

    def read(self, ref: FileRef, stream: BinaryIO) -> Iterator[MappedBlock | Damage]:
        """Read a file from its first byte on.

        A file without an event type of its own (one outside of a Currents layout) has that of its schema.

        Raises `UnreadableFileError` when there is no reading it at all. A block that can't be trusted comes
        as `Damage`, before any of its records; after very many in a row the rest of them come as one.
        """
        file = AvroFile(stream, ref.size or None, name=ref.key)
        blocks = self._block_mapper(file.schema_json, ref)
        yield from _told_apart(
            block if isinstance(block, Damage) else _mapped(block, blocks)
            for block in file.blocks()
            if isinstance(block, Damage) or block.count
        )

    def read_blocks(
        self, ref: FileRef, store: Store, offsets: Iterable[int]
    ) -> Iterator[MappedBlock | Damage]:
        """Read only the blocks at these offsets, each by one ranged read, and the header by another.

        What is no block comes as `Damage`. Raises `SourceGoneError` and `UnreadableFileError`.
        """
        file = RangedFile(store, ref)
        blocks = self._block_mapper(file.header.schema_json, ref)
        for offset in sorted(offsets):
            block = file.block(offset)
            if isinstance(block, Damage):
                yield block
            elif block.count:
                yield _mapped(block, blocks)

    def map_record(self, ref: FileRef, record: Record) -> Event | Verdict:
        """Map one record of that file, decoded already."""
        return self._mapper(ref.event_type)(record, ref.hour.timestamp())

    def take_repairs(self) -> Counter[str]:
        """What was mended since the last call, by name."""
        total: Counter[str] = Counter()
        for mapper in self._mappers.values():
            total += mapper.repairs
            mapper.repairs.clear()
        return total

    def take_drift(self) -> Drift:
        """Where the schemas met since the last call differ from the catalogue."""
        return self._drift.take()

    def _block_mapper(self, schema_json: bytes, ref: FileRef) -> BlockMapper:
        records = RecordReader(schema_json)
        mapper = self._mapper(ref.event_type or records.event_type or "")
        self._drift.look(schema_json, mapper.plan, ref.hour)
        convert = None if self._functions is None else self._functions.get(schema_json, mapper)
        return BlockMapper(records, mapper, convert, ref.hour.timestamp(), self.ways)

    def _mapper(self, event_type: str) -> Mapper:
        mapper = self._mappers.get(event_type)
        if mapper is None:
            mapper = self._mappers[event_type] = mapper_for(self._mapping.plan(event_type))
        return mapper


def _told_apart(items: Iterable[MappedBlock | Damage]) -> Iterator[MappedBlock | Damage]:
    """Join damage to the damage before it, with no record between, where there is too much to tell apart."""
    in_a_row, rest = 0, None
    for item in items:
        in_a_row = in_a_row + 1 if isinstance(item, Damage) else 0
        if isinstance(item, Damage) and in_a_row > _TOLD_APART:
            begin = item.offset if rest is None else rest.offset
            rest = Damage(begin, item.offset + item.length - begin, _NO_RECORD)
            continue
        if rest is not None:
            yield rest
            rest = None
        yield item
    if rest is not None:
        yield rest


def _mapped(block: Block, blocks: BlockMapper) -> MappedBlock | Damage:
    try:
        outcomes = blocks.outcomes(block)
    except DamagedBlock as damage:
        return Damage(block.offset, block.size, str(damage))
    return MappedBlock(block.offset, block.count, len(block.payload), outcomes)
