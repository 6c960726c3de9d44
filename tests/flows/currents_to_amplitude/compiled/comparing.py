"""Files of hand-picked and of spoiled bytes, read by both decoders and compared."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import fastavro

from braze_etl.flows.currents_to_amplitude.reader import Decoder, EventReader
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Damage, FileRef

HOUR = datetime(2026, 10, 1, 5, tzinfo=UTC)
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of the stream, in some of fastavro's words
SYNC = b"0123456789abcdef"
OPEN = "users.messages.email.Open"
MAPPINGS = [
    EventMapping.load(MappingSection()),
    EventMapping.load(
        MappingSection(send=("*",), test_events="send", unknown_fields="drop"), min_id_length=1
    ),
    EventMapping.load(MappingSection(identity={"anonymous": "braze_id"})),
]


@dataclass(frozen=True)
class Seen:
    """A file as one decoder sees it. Outcomes are text: the order of keys counts, and 1 is not 1.0."""

    blocks: list[tuple[Any, ...]]
    repairs: Counter[str]
    ways: Counter[str]

    @property
    def outcomes(self) -> list[str]:
        return [text for kind, *_, texts in self.blocks if kind == "records" for text in texts]


def avro(schema: dict[str, Any], records: list[dict[str, Any]], *, sync_interval: int = 2000) -> bytes:
    """A file with these records."""
    stream = io.BytesIO()
    fastavro.writer(stream, schema, records, sync_interval=sync_interval, sync_marker=SYNC)
    return stream.getvalue()


def payload_of(schema: dict[str, Any], records: Iterable[dict[str, Any]]) -> bytes:
    """Records one behind the other, as they stand in a block."""
    stream = io.BytesIO()
    parsed = fastavro.parse_schema(schema)
    for record in records:
        fastavro.schemaless_writer(stream, parsed, record)
    return stream.getvalue()


def framed(schema: dict[str, Any], count: int, payload: bytes) -> bytes:
    """A file with one block of just these bytes, which says that it holds *count* records."""
    return avro(schema, []) + number(count) + number(len(payload)) + payload + SYNC


def number(value: int) -> bytes:
    """A long in Avro's encoding."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, {"type": "long"}, value)
    return stream.getvalue()


def read_by(decoder: Decoder, data: bytes, event_type: str, mapping: EventMapping = MAPPINGS[0]) -> Seen:
    """Read a file."""
    reader = _reader(decoder, mapping)
    reader.ways.clear()
    ref = FileRef("some/key.avro", "e", len(data), HOUR, event_type, HOUR)
    blocks: list[tuple[Any, ...]] = []
    for block in reader.read(ref, io.BytesIO(data)):
        if isinstance(block, Damage):
            blocks.append(("damage", block.offset, block.length, _ADDRESS.sub("", block.detail)))
        else:
            blocks.append(("records", block.offset, block.count, [*map(repr, block.outcomes)]))
    return Seen(blocks, reader.take_repairs(), reader.ways.copy())


@cache
def _reader(decoder: Decoder, mapping: EventMapping) -> EventReader:
    """One for all files, as in a worker: to generate a function takes longer than to call it."""
    return EventReader(mapping, decoder=decoder)


def both_agree(data: bytes, event_type: str, mappings: Iterable[EventMapping] = MAPPINGS) -> Counter[str]:
    """Check that a file comes out the same by both decoders; tell how its blocks were read by the first."""
    ways: Counter[str] = Counter()
    for mapping in mappings:
        generated = read_by("auto", data, event_type, mapping)
        plain = read_by("fastavro", data, event_type, mapping)
        assert plain.ways["generated"] == 0
        assert generated.blocks == plain.blocks
        assert generated.repairs == plain.repairs
        ways += generated.ways
    return ways
