from __future__ import annotations

import io
import pickle
from typing import Any

import pytest

from braze_etl.braze.currents.container import AvroHeader, Limits, read_header
from braze_etl.errors import UnreadableFileError


def _header(avro: Any, metadata: dict[bytes, bytes], sync: bytes = bytes(16)) -> bytes:
    entries = b"".join(
        avro.varint(len(name)) + name + avro.varint(len(value)) + value for name, value in metadata.items()
    )
    return bytes(b"Obj\x01" + avro.varint(len(metadata)) + entries + avro.varint(0) + sync)


def test_the_header_gives_schema_codec_and_marker(avro: Any) -> None:
    data = _header(avro, {b"avro.schema": b'{"a":  1}', b"avro.codec": b"deflate", b"other": b"x"})
    header = read_header(io.BytesIO(data + b"blocks"))
    assert header == AvroHeader(b'{"a":  1}', "deflate", bytes(16), len(data))
    assert pickle.loads(pickle.dumps(header)) == header


def test_headers_that_begin_alike_are_told_apart_by_all_their_bytes(avro: Any) -> None:
    schemas = [b'{"name": "%s", "last": "%s"}' % (b"x" * 400, last) for last in (b"a", b"b", b"a", b"longer")]
    for number, schema in enumerate(schemas):
        data = _header(avro, {b"avro.schema": schema, b"avro.codec": b"deflate"}, sync=bytes([number]) * 16)
        header = read_header(io.BytesIO(data + b"blocks"))
        assert header == AvroHeader(schema, "deflate", bytes([number]) * 16, len(data))


def test_a_header_seen_before_still_has_to_be_whole_and_within_the_limit(avro: Any) -> None:
    data = _header(avro, {b"avro.schema": b'{"name": "%s"}' % (b"y" * 400)})
    read_header(io.BytesIO(data))
    with pytest.raises(UnreadableFileError, match=f"breaks off after {len(data) - 1} bytes"):
        read_header(io.BytesIO(data[:-1]))
    with pytest.raises(UnreadableFileError, match="more than 300 bytes"):
        read_header(io.BytesIO(data), Limits(header=300))


def test_without_a_codec_it_is_null(avro: Any) -> None:
    assert read_header(io.BytesIO(_header(avro, {b"avro.schema": b"{}"}))).codec == "null"
    assert read_header(io.BytesIO(_header(avro, {b"avro.schema": b"{}", b"avro.codec": b""}))).codec == "null"


def test_a_map_in_several_sized_parts_is_read(avro: Any) -> None:
    def part(name: bytes, value: bytes) -> bytes:
        entry = avro.varint(len(name)) + name + avro.varint(len(value)) + value
        return bytes(avro.varint(-1) + avro.varint(len(entry)) + entry)

    data = b"Obj\x01" + part(b"avro.codec", b"snappy") + part(b"avro.schema", b"{}") + b"\0" + bytes(16)
    header = read_header(io.BytesIO(data))
    assert (header.codec, header.schema_json, header.length) == ("snappy", b"{}", len(data))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"id,name\n1,x\n", "is not an Avro file: it begins with b'id,name"),
        (b"Ob", "header breaks off after 2 bytes"),
        (b"Obj\x02....", "is not an Avro file"),
        (b"Obj\x01", "header breaks off after 4 bytes"),
        (b"Obj\x01\x02\x03", "damaged header"),
        (b"Obj\x01" + b"\xff" * 30, "damaged header"),
        (b"Obj\x01\x00" + bytes(16), "has no schema"),
        (b"Obj\x01\x02\xfe\xff\xff\xff\xff\xff\x01", "more than 1048576 bytes"),
    ],
)
def test_what_has_no_header_is_told_apart(data: bytes, words: str) -> None:
    with pytest.raises(UnreadableFileError, match="the key of it") as caught:
        read_header(io.BytesIO(data), name="the key of it")
    assert words in caught.value.message
    assert caught.value.remedy


def test_an_unknown_codec_is_named(avro: Any) -> None:
    data = _header(avro, {b"avro.schema": b"{}", b"avro.codec": b"lzo"})
    with pytest.raises(UnreadableFileError, match="codec lzo is not supported"):
        read_header(io.BytesIO(data))


def test_a_header_may_not_grow_without_end(avro: Any) -> None:
    data = _header(avro, {b"avro.schema": b"x" * 200})
    assert read_header(io.BytesIO(data), Limits(header=300)).length == len(data)
    with pytest.raises(UnreadableFileError, match="more than 100 bytes"):
        read_header(io.BytesIO(data), Limits(header=100))


def test_a_header_cut_anywhere_is_unreadable(avro: Any) -> None:
    header = avro.sample().header
    for length in range(len(header)):
        with pytest.raises(UnreadableFileError):
            read_header(io.BytesIO(header[:length]))
