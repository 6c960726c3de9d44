from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer

from braze_etl.braze.currents.container import Block
from braze_etl.braze.currents.records import DamagedBlock, RecordReader
from braze_etl.flows.currents_to_amplitude.reader import BlockMapper, FunctionCache
from braze_etl.mapping.mapper import Mapper, mapper_for
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Reason, Record, Verdict
from fixtures.generate import sample_record, schema_for

CUSTOM = "users.behaviors.CustomEvent"
SCHEMA = schema_for(CUSTOM)
SCHEMA_JSON = json.dumps(SCHEMA).encode()
HOUR = 1_790_812_800.0


def records(count: int, **changes: Any) -> list[Record]:
    return [sample_record(CUSTOM, seed) | changes for seed in range(count)]


def block(written: list[Record], *, count: int | None = None, behind: bytes = b"") -> Block:
    stream, parsed = io.BytesIO(), parse_schema(SCHEMA)
    for record in written:
        schemaless_writer(stream, parsed, record)
    payload = stream.getvalue() + behind
    return Block(100, len(payload) + 20, count or len(written), payload)


class Both:
    """A block through the generated function, and through fastavro alone."""

    def __init__(self) -> None:
        mapping = EventMapping.load(MappingSection())
        self.mapper: Mapper = mapper_for(mapping.plan(CUSTOM))
        self.plain = mapper_for(mapping.plan(CUSTOM))
        self.ways: Counter[str] = Counter()
        convert = FunctionCache().get(SCHEMA_JSON, self.mapper)
        reader = RecordReader(SCHEMA_JSON)
        self.generated = BlockMapper(reader, self.mapper, convert, HOUR, self.ways)
        self.fastavro = BlockMapper(reader, self.plain, None, HOUR, Counter())


@pytest.fixture
def both() -> Both:
    return Both()


def test_what_is_unclear_alone_goes_to_the_mapper(both: Both) -> None:
    written = records(5)
    written[1]["external_user_id"] = "[REDACTED]"
    written[3]["id"] = "an-id-filler-events"
    outcomes = list(both.generated.outcomes(block(written)))
    assert outcomes == list(both.fastavro.outcomes(block(written)))
    verdicts = [outcome for outcome in outcomes if isinstance(outcome, Verdict)]
    assert [verdict.reason for verdict in verdicts] == [Reason.REDACTED_IDENTITY]
    assert (both.ways["generated"], both.ways["unclear"], both.ways["given_up"]) == (1, 2, 0)


def test_fastavro_has_the_last_word_on_damage(both: Both) -> None:
    spoiled = block(records(2))
    payload = spoiled.payload.replace(b"\x02", b"\x04", 1)
    with pytest.raises(DamagedBlock):
        both.generated.outcomes(Block(100, spoiled.size, 2, payload))
    assert both.ways == {"given_up": 1, "fastavro": 1}


@pytest.mark.parametrize(("count", "behind"), [(3, b"\0"), (2, b""), (4, b"")])
def test_a_block_whose_records_do_not_take_its_bytes_gives_nothing(
    both: Both, count: int, behind: bytes
) -> None:
    with pytest.raises(DamagedBlock, match="at byte 100"):
        both.generated.outcomes(block(records(3), count=count, behind=behind))


@pytest.mark.parametrize("large", [False, True])
def test_a_device_id_that_is_left_out_is_counted_once(
    both: Both, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr("braze_etl.flows.currents_to_amplitude.reader._LARGE", 10)
    written = records(4)
    written[0]["device_id"] = "null"
    written[1] |= {"device_id": "[REDACTED]", "timezone": "0b9a3c52-7d1e-4f60-a8c4-5e2f91d7b603"}
    outcomes = list(both.generated.outcomes(block(written)))
    assert outcomes == list(both.fastavro.outcomes(block(written)))
    assert both.mapper.repairs == both.plain.repairs == {"device_id_left_out": 2}


def test_repairs_of_a_block_that_is_given_up_are_counted_once(both: Both) -> None:
    written = records(3, device_id="null")
    written[2]["app_id"] = "MARK"
    payload = block(written).payload.replace(b"MARK", b"\xff\xfe!!")
    spoiled = Block(100, len(payload) + 20, 3, payload)
    *events, verdict = both.generated.outcomes(spoiled)
    assert all(isinstance(event, dict) for event in events)
    assert isinstance(verdict, Verdict)
    assert both.ways["given_up"] == 1
    assert both.mapper.repairs == {"device_id_left_out": 2}


def test_a_large_block_is_checked_before_its_first_record_and_then_decoded_lazily(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("braze_etl.flows.currents_to_amplitude.reader._LARGE", 10)
    monkeypatch.setattr("braze_etl.flows.currents_to_amplitude.reader._STRETCH", 2)
    with pytest.raises(DamagedBlock):
        both.generated.outcomes(block(records(5), behind=b"\0"))
    outcomes = both.generated.outcomes(block(records(5)))
    assert isinstance(outcomes, Iterator)
    assert list(outcomes) == list(both.fastavro.outcomes(block(records(5))))
    assert both.ways["generated"] == 1
