from __future__ import annotations

import io
import zlib
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from braze_etl.braze.currents.container import AvroFile, Block, Limits, read_block, read_header
from braze_etl.braze.currents.records import RecordReader
from braze_etl.errors import UnreadableFileError
from braze_etl.model import Damage
from tests.braze.currents.conftest import SYNC

CODECS = ["null", "deflate", "snappy", "zstandard", "bzip2", "xz"]


def _items(data: bytes, size: int | None = None, limits: Limits | None = None) -> list[Block | Damage]:
    """What a file gives; checks on the way that no byte is unaccounted for."""
    file = AvroFile(io.BytesIO(data), size, limits or Limits())
    items = list(file.blocks())
    at = file.header.length
    for item in items:
        assert item.offset == at
        at += item.size if isinstance(item, Block) else item.length
    assert at == len(data)
    return items


def _found(items: list[Block | Damage]) -> list[int]:
    return [item.offset for item in items if isinstance(item, Block)]


def _damages(items: list[Block | Damage]) -> list[Damage]:
    return [item for item in items if isinstance(item, Damage)]


@pytest.mark.parametrize("codec", CODECS)
def test_a_file_gives_what_fastavro_reads(avro: Any, codec: str) -> None:
    sample = avro.sample(codec)
    file = AvroFile(io.BytesIO(sample.data), len(sample.data))
    reader = RecordReader(file.schema_json)
    blocks = [block for block in file.blocks() if isinstance(block, Block)]
    assert (file.header.codec, [block.offset for block in blocks]) == (codec, sample.edges[:-1])
    assert [list(reader.decode(block)) for block in blocks] == sample.records
    expected = list(fastavro.reader(io.BytesIO(sample.data)))
    assert [record for block in blocks for record in reader.decode(block)] == expected


@pytest.mark.parametrize("known_size", [True, False])
@pytest.mark.parametrize("codec", CODECS)
def test_a_file_cut_anywhere_gives_its_whole_blocks(avro: Any, codec: str, known_size: bool) -> None:
    sample = avro.sample(codec)
    for length in range(len(sample.header), len(sample.data) + 1):
        items = _items(sample.data[:length], length if known_size else None)
        assert _found(items) == [begin for begin, end in sample.spans if end <= length]
        assert len(_damages(items)) == (length not in sample.edges)


def test_a_truncated_block_tells_how_much_of_it_is_there(avro: Any) -> None:
    sample = avro.sample()
    begin, end = sample.spans[-1]
    (damage,) = _damages(_items(sample.data[: end - 7]))
    whole = end - begin
    assert damage.detail == f"the file ends in the middle of a block ({whole - 7} of {whole} bytes)"


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
@pytest.mark.parametrize("codec", ["null", "deflate", "snappy"])
def test_a_flipped_byte_costs_its_own_block_at_most(avro: Any, codec: str, flip: int) -> None:
    sample = avro.sample(codec)
    for place in range(len(sample.header), len(sample.data)):
        data = bytearray(sample.data)
        data[place] ^= flip
        found = _found(_items(bytes(data), len(data)))
        others = [begin for begin, end in sample.spans if not begin <= place < end]
        assert [begin for begin in found if begin in others] == others
        assert set(found) <= set(sample.edges)


def test_garbage_between_blocks_is_one_damage(avro: Any) -> None:
    sample = avro.sample()
    edge = sample.edges[2]
    for garbage in (b"x", b"\0" * 40, b"\xff" * 100_000, b"\x02\x00"):
        data = sample.data[:edge] + garbage + sample.data[edge:]
        items = _items(data)
        (damage,) = _damages(items)
        assert damage.offset == edge
        assert len(_found(items)) == 3  # the block behind the garbage has no begin that can be told


def test_a_marker_whose_last_byte_reads_as_a_number_is_still_a_marker(avro: Any) -> None:
    sample = avro.sample()
    marker = bytes(range(100, 115)) + b"\x84"  # with what follows it, the count of a block
    data = sample.data.replace(SYNC, marker)
    begin, end = sample.edges[1:3]
    items = _items(data[: begin + 9] + b"!" + data[begin + 9 :])
    assert [(damage.offset, damage.length) for damage in _damages(items)] == [(begin, end - begin + 1)]
    assert _found(items) == [sample.edges[0], end + 1, sample.edges[3] + 1]


def test_a_size_that_leads_to_the_end_of_a_later_block_hides_no_block_between(avro: Any) -> None:
    sample = avro.sample()
    begin, end = sample.edges[1], sample.edges[3]
    claim = avro.varint(2) + avro.varint(end - begin - 3 - len(SYNC))  # in three bytes, where two were
    items = _items(sample.data[:begin] + claim + sample.data[begin + len(claim) :])
    assert len(_damages(items)) == 1
    assert _found(items) == [sample.edges[0], sample.edges[2], sample.edges[3]]


def test_a_lost_stretch_is_one_damage(avro: Any) -> None:
    sample = avro.sample(blocks=6)
    lost = sample.edges[3] + 9 - (sample.edges[1] + 5)
    items = _items(sample.data[: sample.edges[1] + 5] + sample.data[sample.edges[3] + 9 :])
    assert [damage.offset for damage in _damages(items)] == [sample.edges[1]]
    assert _found(items) == [sample.edges[0], sample.edges[4] - lost, sample.edges[5] - lost]


@pytest.mark.parametrize(
    ("count", "size", "words"),
    [
        (0, 10, "0 records"),
        (-1, 10, "-1 records"),
        (-(2**63), 10, "records"),
        (1, -1, "-1 bytes"),
        (1, 2**62, "bytes"),
        (1, 1 << 40, "bytes"),
        (2**62, 10, "records in"),
        (1, 1 << 20, "behind the end"),
    ],
)
def test_absurd_numbers_are_damage(avro: Any, count: int, size: int, words: str) -> None:
    sample = avro.sample(blocks=1)
    block = sample.data[sample.edges[0] :]
    bad = avro.varint(count) + avro.varint(size) + b"0123456789" + sample.data[-16:]
    items = _items(sample.header + bad + block)
    assert [type(item) for item in items] == [Damage, Block]
    assert words in _damages(items)[0].detail


def test_more_records_than_bytes_are_damage(avro: Any) -> None:
    sample = avro.sample(blocks=0)
    (damage,) = _items(avro.framed(sample.header, (11, b"0123456789")))
    assert isinstance(damage, Damage)
    assert "11 records in 10 bytes" in damage.detail


def test_a_block_of_no_records_is_a_block(avro: Any) -> None:
    sample = avro.sample(blocks=1)
    empty = avro.framed(b"", (0, b""))
    items = _items(sample.header + empty + sample.data[sample.edges[0] :] + empty)
    assert [item.count for item in items if isinstance(item, Block)] == [0, 2, 0]
    assert not _damages(items)


def test_more_records_than_any_block_has_are_damage(avro: Any) -> None:
    header = avro.sample(blocks=0).header
    items = _items(avro.framed(header, (11, bytes(20)), (10, bytes(20))), limits=Limits(records=10))
    assert [type(item) for item in items] == [Damage, Block]
    assert "at most 10" in _damages(items)[0].detail


def test_records_that_take_less_than_a_stored_byte_have_an_allowance_a_file(avro: Any) -> None:
    header = avro.sample("deflate", blocks=0).header
    thin = (1000, zlib.compress(bytes(1000), wbits=-15))
    dense = (5, zlib.compress(b"01234", wbits=-15))
    items = _items(avro.framed(header, *[thin] * 4, dense), limits=Limits(thin_records=2500))
    assert [type(item) for item in items] == [Block, Block, Damage, Damage, Block]
    assert "1000 records in" in _damages(items)[0].detail


def test_a_file_of_bombs_costs_no_more_than_its_allowance(avro: Any) -> None:
    header = avro.sample("deflate", blocks=0).header
    bomb = (1, zlib.compress(bytes(1_000_000), wbits=-15))
    dense = (1, zlib.compress(bytes(reversed(range(256))), wbits=-15))
    items = _items(avro.framed(header, *[bomb] * 5, dense), limits=Limits(thin_bytes=2_000_000))
    assert [type(item) for item in items] == [Block, Block, Damage, Damage, Damage, Block]
    assert "inflates to more than" in _damages(items)[0].detail


def test_a_block_that_inflates_beyond_the_limit_is_damage(avro: Any) -> None:
    sample = avro.sample("deflate", blocks=1, records=500)
    (damage,) = _items(sample.data, limits=Limits(inflated=1000))
    assert isinstance(damage, Damage)
    assert "more than 1000 bytes" in damage.detail


def test_a_block_larger_than_the_limit_is_damage(avro: Any) -> None:
    sample = avro.sample(records=200)
    items = _items(sample.data, limits=Limits(block=1000))
    assert _found(items) == []
    assert len(_damages(items)) == 4


def test_one_block_is_read_again_by_its_place(avro: Any) -> None:
    sample = avro.sample("snappy")
    header = read_header(io.BytesIO(sample.data))
    blocks = list(AvroFile(io.BytesIO(sample.data)).blocks())
    for block in blocks:
        stream = io.BytesIO(sample.data[block.offset :])
        assert read_block(stream, header, block.offset) == block


def test_a_place_without_a_block_is_damage(avro: Any) -> None:
    sample = avro.sample()
    header = read_header(io.BytesIO(sample.data))
    end = len(sample.data)
    assert read_block(io.BytesIO(b""), header, end) == Damage(end, 0, "the file ends before this block")
    place = sample.edges[1] + 3
    inside = read_block(io.BytesIO(sample.data[place:]), header, place)
    assert isinstance(inside, Damage)


def test_a_file_without_blocks_is_whole(avro: Any) -> None:
    assert _items(avro.sample(blocks=0).data) == []


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_the_bytes_are_each_is_accounted_for(avro: Any, data: st.DataObject) -> None:
    sample = avro.sample("snappy")
    begin = data.draw(st.integers(0, len(sample.data)))
    end = data.draw(st.integers(begin, len(sample.data)))
    noise = data.draw(st.binary(max_size=60))
    spoiled = sample.data[:begin] + noise + sample.data[end:]
    try:
        items = _items(spoiled)
    except UnreadableFileError:
        assert begin < len(sample.header)
        return
    if begin >= len(sample.header):  # else it may be read with another codec or marker
        assert [type(item) for item in items].count(Damage) <= 2
