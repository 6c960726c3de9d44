"""From the bytes of a Currents file to Amplitude events: framing, decoding and mapping, block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from braze_etl.currents import AvroFile, Block, Damage, DamagedBlock, RecordReader
from braze_etl.model import Event, FileRef, Verdict
from braze_etl.transform import Mapper, Mapping, mapper_for


@dataclass(frozen=True, slots=True)
class MappedBlock:
    """One Avro block: where it lies, how many records of how many bytes it holds, and what these became."""

    offset: int
    count: int
    size: int
    outcomes: Iterator[Event | Verdict]


class EventReader:
    """Reads files under one mapping; what can be kept between files of one type is kept."""

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._mappers: dict[str, Mapper] = {}

    def read(
        self, ref: FileRef, stream: BinaryIO, only: Container[int] | None = None
    ) -> Iterator[MappedBlock | Damage]:
        """Read a file, or only its blocks at the offsets *only*.

        A file without an event type of its own (one outside of a Currents layout) has that of its schema.

        Raises `UnreadableFileError` when there is no reading it at all. A block that can't be trusted comes
        as `Damage`, before any of its records.
        """
        file = AvroFile(stream, ref.size or None, name=ref.key)
        records = RecordReader(file.schema_json)
        mapper = self._mapper(ref.event_type or records.event_type or "")
        horizon = ref.hour.timestamp()
        for block in file.blocks():
            if only is not None and block.offset not in only:
                continue
            yield block if isinstance(block, Damage) else _mapped(block, records, mapper, horizon)

    def take_repairs(self) -> Counter[str]:
        """What was mended since the last call, by name."""
        total: Counter[str] = Counter()
        for mapper in self._mappers.values():
            total += mapper.repairs
            mapper.repairs.clear()
        return total

    def _mapper(self, event_type: str) -> Mapper:
        mapper = self._mappers.get(event_type)
        if mapper is None:
            mapper = self._mappers[event_type] = mapper_for(self._mapping.plan(event_type))
        return mapper


def _mapped(block: Block, records: RecordReader, mapper: Mapper, horizon: float) -> MappedBlock | Damage:
    try:
        decoded = records.decode(block)
    except DamagedBlock as damage:
        return Damage(block.offset, block.size, str(damage))
    outcomes = (record if isinstance(record, Verdict) else mapper(record, horizon) for record in decoded)
    return MappedBlock(block.offset, block.count, len(block.payload), outcomes)
