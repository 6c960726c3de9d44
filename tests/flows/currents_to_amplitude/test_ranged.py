from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import fastavro
import pytest

from braze_etl.braze.currents.container import AvroFile, Block
from braze_etl.engine.flow import Block as MappedBlock
from braze_etl.errors import SourceGoneError, UnreadableFileError
from braze_etl.flows.currents_to_amplitude.reader import (
    BLOCK_RANGE,
    HEADER_RANGE,
    EventReader,
    RangedFile,
    read_records,
)
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Damage, FileRef
from braze_etl.storage.folder import FolderStore
from fixtures.generate import ExportSpec, generate

HOUR = datetime(2026, 10, 1, tzinfo=UTC)
KIND = "users.messages.email.Open"
SCHEMA = {"type": "record", "name": "r", "fields": [{"name": "id", "type": "string"}]}


@dataclass
class CountingStore(FolderStore):
    """Notes the offset and length of every read."""

    root: Path
    reads: list[tuple[int, int | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.root)

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, etag: str = "", size: int | None = None
    ) -> BinaryIO:
        self.reads.append((offset, length))
        return super().open(key, offset=offset, length=length, etag=etag)


@dataclass
class Sample:
    """One file of several blocks, and all that is in it."""

    store: CountingStore
    ref: FileRef
    blocks: list[Block]


def sample(path: Path) -> Sample:
    store = CountingStore(path.parent)
    with path.open("rb") as stream:
        blocks = [block for block in AvroFile(stream).blocks() if isinstance(block, Block)]
    (stored,) = next(store.pages(path.name)).objects
    return Sample(store, FileRef(path.name, stored.etag, 0, stored.modified, KIND, HOUR), blocks)


@pytest.fixture
def opens(tmp_path: Path) -> Sample:
    generate(
        tmp_path, ExportSpec(events=900, hours=1, event_types=(KIND,), records_per_file=900, codec="null")
    )
    return sample(max(tmp_path.rglob("*.avro"), key=lambda path: path.stat().st_size))


def written(folder: Path, schema: dict[str, Any], records: list[dict[str, Any]], **options: Any) -> Sample:
    path = folder / "file.avro"
    with path.open("wb") as stream:
        fastavro.writer(stream, schema, records, **options)
    return sample(path)


def test_each_wanted_block_is_one_ranged_read_and_the_header_another(opens: Sample) -> None:
    wanted = [opens.blocks[-2].offset, opens.blocks[1].offset]
    reader = EventReader(EventMapping.load(MappingSection()))
    found = list(reader.read_blocks(opens.ref, opens.store, wanted))
    assert [block.offset for block in found] == sorted(wanted)
    assert opens.store.reads == [
        (0, HEADER_RANGE),
        (opens.blocks[1].offset, BLOCK_RANGE),
        (opens.blocks[-2].offset, BLOCK_RANGE),
    ]


def test_single_blocks_become_what_they_become_in_the_whole_file(opens: Sample) -> None:
    reader = EventReader(EventMapping.load(MappingSection()))

    def outcomes(block: MappedBlock | Damage) -> list[Any]:
        assert isinstance(block, MappedBlock)
        return list(block.outcomes)

    with opens.store.open(opens.ref.key) as stream:
        whole = [outcomes(block) for block in reader.read(opens.ref, stream)]
    offsets = [block.offset for block in opens.blocks]
    single = [outcomes(block) for block in reader.read_blocks(opens.ref, opens.store, offsets)]
    assert single == whole


def test_a_long_schema_takes_a_second_read(tmp_path: Path) -> None:
    schema = {**SCHEMA, "doc": "x" * HEADER_RANGE}
    long = written(tmp_path, schema, [{"id": "a"}])
    assert len(RangedFile(long.store, long.ref).header.schema_json) > HEADER_RANGE
    assert len(long.store.reads) == 2


def test_a_block_longer_than_the_range_is_read_to_its_end(tmp_path: Path) -> None:
    long = written(tmp_path, SCHEMA, [{"id": "x" * 3 * BLOCK_RANGE}])
    block = RangedFile(long.store, long.ref).block(long.blocks[0].offset)
    assert block == long.blocks[0]


@pytest.mark.parametrize("shift", [1, 7, 1_000_000])
def test_where_no_block_begins_there_is_damage(opens: Sample, shift: int) -> None:
    block = RangedFile(opens.store, opens.ref).block(opens.blocks[0].offset + shift)
    assert isinstance(block, Damage)
    assert block.offset == opens.blocks[0].offset + shift


def test_another_content_is_gone(opens: Sample) -> None:
    file = RangedFile(opens.store, opens.ref)
    path = opens.store.root / opens.ref.key
    path.write_bytes(path.read_bytes() + b"!")
    with pytest.raises(SourceGoneError):
        file.block(opens.blocks[0].offset)
    with pytest.raises(SourceGoneError):
        RangedFile(opens.store, opens.ref)


def test_no_header_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.avro").write_bytes(b"no avro")
    store = FolderStore(tmp_path)
    (stored,) = next(store.pages()).objects
    ref = FileRef("a.avro", stored.etag, 0, stored.modified, KIND, HOUR)
    with pytest.raises(UnreadableFileError):
        RangedFile(store, ref)


def test_records_are_read_one_by_one_as_they_were_written(opens: Sample) -> None:
    path = opens.store.root / opens.ref.key
    with path.open("rb") as stream:
        records: list[Any] = list(fastavro.reader(stream))
    first, second = opens.blocks[:2]
    found = read_records(opens.store, opens.ref, {first.offset: [0, 2], second.offset: [1], 3: [0]})
    assert {place: record["id"] for place, record in found.items()} == {
        (first.offset, 0): records[0]["id"],
        (first.offset, 2): records[2]["id"],
        (second.offset, 1): records[first.count + 1]["id"],
    }


def test_a_record_that_is_not_there_is_left_out(opens: Sample) -> None:
    first = opens.blocks[0]
    assert read_records(opens.store, opens.ref, {first.offset: [first.count, 999_999]}) == {}
