"""From the bytes of a Currents file to Amplitude events: framing, decoding and mapping, block by block."""

from __future__ import annotations

import io
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO, Final, Literal, TypeAlias

from braze_etl.braze.currents.container import AvroFile, AvroHeader, read_block, read_header
from braze_etl.braze.currents.container import Block as AvroBlock
from braze_etl.braze.currents.records import DamagedBlock, RecordReader
from braze_etl.engine.due import DueFile
from braze_etl.engine.flow import Block
from braze_etl.flows.currents_to_amplitude.compiled.fields import NotCoveredError, covered_fields
from braze_etl.flows.currents_to_amplitude.compiled.generator import Generated, generate
from braze_etl.flows.currents_to_amplitude.compiled.runtime import UnusualError, namespace
from braze_etl.flows.currents_to_amplitude.drift import Drift, DriftWatch
from braze_etl.mapping.mapper import END_OF_TIME, Mapper, mapper_for
from braze_etl.mapping.mapping import EventMapping, TypePlan
from braze_etl.model import Damage, Event, FileRef, Record, Verdict
from braze_etl.storage.store import Store

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LARGE = 4 << 20
_STRETCH = 2_000


Converted: TypeAlias = tuple[list[Event | Verdict | None], list[tuple[int, int, int]], int, int]
"""Outcomes, unclear records as (index, begin, end), device ids left out, the position behind the last one."""

Convert: TypeAlias = Callable[[bytes, str, int, int, int], Converted]
"""A generated function: (data, data as Latin-1, position, count, latest time) (see `generator`)."""

_KEPT = 256
"""More than there are event types, in two versions of their schemas (currents.md, 2)."""


def generated_source(schema_json: bytes, plan: TypePlan) -> str | None:
    """The function for that writer schema and plan as text, for people; None where it is not covered."""
    generated = _generated(schema_json, plan, Counter())
    return None if generated is None else generated.source


class FunctionCache:
    """The functions of one mapping, the most recently used ones; None stands for what is not covered."""

    def __init__(self, most: int = _KEPT) -> None:
        self._most = most
        self._known: OrderedDict[tuple[bytes, str], Convert | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, schema_json: bytes, mapper: Mapper) -> Convert | None:
        """Give the function for files with that schema whose records *mapper* maps; made where needed."""
        key = (schema_json, mapper.plan.event_type)
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        function = self._known[key] = _compiled(schema_json, mapper)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return function


def _generated(schema_json: bytes, plan: TypePlan, repairs: Counter[str]) -> Generated | None:
    try:
        return generate(plan, covered_fields(schema_json), repairs)
    except NotCoveredError:
        return None


def _compiled(schema_json: bytes, mapper: Mapper) -> Convert | None:
    plan = mapper.plan
    generated = _generated(schema_json, plan, mapper.repairs)
    if generated is None:
        return None
    names = namespace() | generated.names
    code = compile(generated.source, f"<generated for {plan.event_type}>", "exec")
    exec(code, names)  # noqa: S102 - our own text; what comes from a schema is in it as names and literals only
    function: Convert = names["convert"]
    return function


class BlockMapper:
    """Decodes and maps the blocks of one file; *horizon* is its `date=` hour in epoch seconds.

    fastavro, which `RecordReader` is, judges all that *convert* does not decide: blocks on which it raises,
    and records that it finds unclear. `ways` counts the blocks by the decoder whose result they have, and the
    unclear records.
    """

    def __init__(
        self,
        records: RecordReader,
        mapper: Mapper,
        convert: Convert | None,
        horizon: float,
        ways: Counter[str],
    ) -> None:
        self._records = records
        self._mapper = mapper
        self._convert = convert
        self._horizon = horizon
        self._latest = _latest(mapper, horizon)
        self._ways = ways

    def outcomes(self, block: AvroBlock) -> Iterable[Event | Verdict]:
        """What the block's records became; raises `DamagedBlock` before the first.

        A payload of more than 4 MB is decoded twice, the second time as the result is iterated over, so that
        memory stays flat.
        """
        if self._convert is not None:
            before = dict(self._mapper.repairs)
            try:
                outcomes = self._generated(block, self._convert)
            except Exception:  # noqa: BLE001 - whatever it was, fastavro's result is the one that counts
                self._ways["given_up"] += 1
                self._put_back(before)
            else:
                self._ways["generated"] += 1
                return outcomes
        self._ways["fastavro"] += 1
        decoded = self._records.decode(block)
        return (self._mapped(record) for record in decoded)

    def _generated(self, block: AvroBlock, convert: Convert) -> Iterable[Event | Verdict]:
        if len(block.payload) <= _LARGE:
            ((converted, unclear),) = self._stretches(block, convert, block.count)
            return self._completed(converted, unclear)
        before = dict(self._mapper.repairs)
        for _ in self._stretches(block, convert, _STRETCH):
            pass
        self._put_back(before)
        return self._lazily(block, convert)

    def _put_back(self, repairs: Mapping[str, int]) -> None:
        """Forget the repairs of what is mapped once more."""
        self._mapper.repairs.clear()
        self._mapper.repairs.update(repairs)

    def _lazily(self, block: AvroBlock, convert: Convert) -> Iterator[Event | Verdict]:
        for converted, unclear in self._stretches(block, convert, _STRETCH):
            yield from self._completed(converted, unclear)

    def _stretches(
        self, block: AvroBlock, convert: Convert, most: int
    ) -> Iterator[tuple[Converted, list[Record | Verdict]]]:
        """Up to *most* records at a time, with those that are unclear; nothing is mapped or counted yet."""
        data, text = block.payload, block.payload.decode("latin-1")
        pos, left = 0, block.count
        while left:
            count = min(most, left)
            converted = convert(data, text, pos, count, self._latest)
            unclear = [self._decoded(block, begin, end) for _, begin, end in converted[1]]
            pos, left = converted[3], left - count
            if not left and pos != len(data):
                raise UnusualError(f"{count} records end at byte {pos} of {len(data)}")
            yield converted, unclear

    def _decoded(self, block: AvroBlock, begin: int, end: int) -> Record | Verdict:
        (record,) = self._records.decode(AvroBlock(block.offset, block.size, 1, block.payload[begin:end]))
        return record

    def _completed(self, converted: Converted, unclear: list[Record | Verdict]) -> list[Event | Verdict]:
        outcomes, places, left_out, _ = converted
        self._ways["unclear"] += len(places)
        for (index, _, _), record in zip(places, unclear, strict=True):
            outcomes[index] = self._mapped(record)
        if left_out:
            self._mapper.repairs["device_id_left_out"] += left_out
        return outcomes  # type: ignore[return-value] # each None was the place of an unclear record

    def _mapped(self, record: Record | Verdict) -> Event | Verdict:
        return record if isinstance(record, Verdict) else self._mapper(record, self._horizon)


def _latest(mapper: Mapper, horizon: float) -> int:
    """The latest time in seconds that is beyond doubt."""
    bound = mapper.plan.time.max_future
    return END_OF_TIME - 1 if bound is None else min(END_OF_TIME - 1, int(horizon + bound.total_seconds()))


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

    def block(self, offset: int) -> AvroBlock | Damage:
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


Decoder: TypeAlias = Literal["auto", "fastavro"]

_TOLD_APART = 100
"""Stretches of damage in a row, each of them an entry of the quarantine; no accident makes more."""
_NO_RECORD = f"there is no record in what follows {_TOLD_APART} stretches of damage in a row"


class EventReader:
    """Reads files under one mapping; what can be kept between files of one type is kept.

    With the *decoder* `fastavro` no code is generated; the outcomes are the same. `ways` tells how blocks
    were read: `generated`, `fastavro`, and `given_up` for those of the latter that generated code was tried
    on; and how many `unclear` records it left to fastavro.
    """

    def __init__(self, mapping: EventMapping, *, decoder: Decoder = "auto") -> None:
        self.ways: Counter[str] = Counter()
        self.mapping: Final = mapping
        self._mappers: dict[str, Mapper] = {}
        self._drift = DriftWatch(mapping.options.fields)
        self._functions = FunctionCache() if decoder == "auto" else None

    def read(self, ref: FileRef, stream: BinaryIO) -> Iterator[Block | Damage]:
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

    def read_blocks(self, ref: FileRef, store: Store, offsets: Iterable[int]) -> Iterator[Block | Damage]:
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

    def blocks(self, due: DueFile, store: Store) -> Iterator[Block | Damage]:
        """See `Reader`: as one stream, or by ranges where that is less to read."""
        ref, wanted = due.ref, due.by_block()
        if wanted is not None and not (due.may_be_all and len(wanted) * BLOCK_RANGE >= ref.size):
            yield from self.read_blocks(ref, store, wanted)
            return
        with store.open(ref.key, etag=ref.etag, size=ref.size or None) as stream:
            yield from self.read(ref, stream)

    def from_payload(self, ref: FileRef, payload: Record) -> Event | Verdict:
        """Map one record of that file, decoded already."""
        return self._mapper(ref.event_type)(payload, ref.hour.timestamp())

    payloads = staticmethod(read_records)

    def take_repairs(self) -> Counter[str]:
        """What was mended since the last call, by name."""
        total: Counter[str] = Counter()
        for mapper in self._mappers.values():
            total += mapper.repairs
            mapper.repairs.clear()
        return total

    def take_extras(self) -> Drift:
        """Where the schemas met since the last call differ from the catalogue."""
        return self._drift.take()

    def _block_mapper(self, schema_json: bytes, ref: FileRef) -> BlockMapper:
        records = RecordReader(schema_json)
        mapper = self._mapper(ref.event_type or records.event_type or "")
        self._drift.check(schema_json, mapper.plan, ref.hour)
        convert = None if self._functions is None else self._functions.get(schema_json, mapper)
        return BlockMapper(records, mapper, convert, ref.hour.timestamp(), self.ways)

    def _mapper(self, event_type: str) -> Mapper:
        mapper = self._mappers.get(event_type)
        if mapper is None:
            mapper = self._mappers[event_type] = mapper_for(self.mapping.plan(event_type))
        return mapper


def _told_apart(items: Iterable[Block | Damage]) -> Iterator[Block | Damage]:
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


def _mapped(block: AvroBlock, blocks: BlockMapper) -> Block | Damage:
    try:
        outcomes = blocks.outcomes(block)
    except DamagedBlock as damage:
        return Damage(block.offset, block.size, str(damage))
    return Block(block.offset, block.count, len(block.payload), outcomes)
