"""Files of few bytes that ask for much: for ever, or for more memory than there is. Made, never stored."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import cramjam

SYNC = bytes(range(16))
TIME = 1_790_812_800
_BASE = [
    {"name": "id", "type": "string"},
    {"name": "external_user_id", "type": "string"},
    {"name": "time", "type": "int"},
]
_NULL_OR_TEXT = ["null", "string"]


def varint(number: int) -> bytes:
    """Avro's form of a long."""
    rest, out = (number << 1) ^ (number >> 63), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def schema(*types: Any) -> dict[str, Any]:
    """A record of an event's id and time, and of fields of these types."""
    more = [{"name": f"odd_{number}", "type": kind} for number, kind in enumerate(types)]
    space = "dataexport.S3.inner.users.messages.email"
    return {"type": "record", "name": "Open", "namespace": space, "fields": [*_BASE, *more]}


def begin(number: int = 0) -> bytes:
    """A record's id, user and time."""
    return b"\x08" + f"{number:04d}"[-4:].encode() + b"\x0esomeone" + varint(TIME)


def packed(codec: str, payload: bytes) -> bytes:
    """A payload as stored."""
    if codec == "deflate":
        return zlib.compress(payload, wbits=-15)
    return bytes(cramjam.zstd.compress(payload)) if codec == "zstandard" else payload


def header(of: Any, codec: str = "null") -> bytes:
    """A file's header."""
    pairs = {b"avro.schema": json.dumps(of).encode(), b"avro.codec": codec.encode()}
    parts = [varint(len(pairs))]
    for name, value in pairs.items():
        parts += [varint(len(name)), name, varint(len(value)), value]
    return b"Obj\x01" + b"".join(parts) + b"\x00" + SYNC


def block(count: int, payload: bytes, codec: str = "null") -> bytes:
    """A block of *count* records in *payload*, which is not stored yet."""
    stored = packed(codec, payload)
    return varint(count) + varint(len(stored)) + stored + SYNC


def file(of: Any, *blocks: tuple[int, bytes], codec: str = "deflate") -> bytes:
    """A whole file; each block is given by its records' number and bytes."""
    return header(of, codec) + b"".join(block(count, payload, codec) for count, payload in blocks)


def _doubled(times: int) -> Any:
    # Each type holds the one before it twice, or nothing.
    kind: Any = {"type": "record", "name": "R0", "fields": [{"name": "x", "type": "float"}]}
    for number in range(1, times + 1):
        fields = [{"name": "a", "type": ["null", kind]}, {"name": "b", "type": ["null", f"R{number - 1}"]}]
        kind = {"type": "record", "name": f"R{number}", "fields": fields}
    return ["null", kind]


def _chained(times: int) -> list[Any]:
    # Flat as JSON, and as deep as it is long.
    first: Any = {"type": "record", "name": "R0", "fields": [{"name": "x", "type": "int"}]}
    more = [
        {"type": "record", "name": f"R{n}", "fields": [{"name": "a", "type": ["null", f"R{n - 1}"]}]}
        for n in range(1, times)
    ]
    return [["null", each] for each in (first, *more)]


def _nested_arrays(depth: int) -> Any:
    kind: Any = "string"
    for _ in range(depth):
        kind = {"type": "array", "items": kind}
    return kind


def _array(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _decimal(**more: Any) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", **more}


_TINY = {"type": "record", "name": "Tiny", "fields": [{"name": "x", "type": "boolean"}]}
_MANY = 20_000_000


def _record(rest: bytes) -> tuple[int, bytes]:
    return 1, begin() + rest


def _counted(*parts: tuple[int, bytes]) -> bytes:
    return b"".join(varint(count) + items for count, items in parts) + b"\x00"


KINDS: Mapping[str, Callable[[], bytes]] = {
    "a schema that doubles 40 times": lambda: file(schema(_doubled(40)), _record(b"\x00")),
    "a schema as deep as it is long": lambda: file(schema(*_chained(3000)), _record(b"\x00" * 3000)),
    "arrays in arrays": lambda: file(schema(_nested_arrays(200)), _record(b"\x00")),
    "a union of thousands": lambda: file(
        schema([{"type": "enum", "name": f"E{n}", "symbols": ["a"]} for n in range(11_000)]), _record(b"\0\0")
    ),
    "records of one byte": lambda: file(
        {"type": "record", "name": "Open", "fields": [{"name": "x", "type": "boolean"}]},
        (_MANY, bytes(_MANY)),
    ),
    "records of nothing but nulls": lambda: file(
        {"type": "record", "name": "Open", "fields": [{"name": "x", "type": "null"}]}, (_MANY, b"")
    ),
    "many nulls beside one byte": lambda: file(
        schema(*["null"] * 5000), (10_000, b"".join(begin(n) for n in range(10_000)))
    ),
    "an array of nulls": lambda: file(
        schema(_array(_NULL_OR_TEXT)), _record(_counted((_MANY, bytes(_MANY))))
    ),
    "an array in small parts": lambda: file(
        schema(_array(_NULL_OR_TEXT)), _record((varint(500) + bytes(500)) * (_MANY // 500) + b"\0")
    ),
    "an array of negative counts": lambda: file(
        schema(_array(_NULL_OR_TEXT)), _record(_counted((-_MANY, varint(_MANY) + bytes(_MANY))))
    ),
    "an array of arrays of nothing": lambda: file(
        schema(_array(_array("string"))), _record(_counted((_MANY, bytes(_MANY))))
    ),
    "an array of small records": lambda: file(
        schema(_array(_TINY)), _record(_counted((_MANY, bytes(_MANY))))
    ),
    "a map of nulls": lambda: file(
        schema({"type": "map", "values": _NULL_OR_TEXT}),
        _record(_counted((_MANY // 4, b"\x04ab\x00" * (_MANY // 4)))),
    ),
    "a decimal of megabytes": lambda: file(
        schema(_decimal(scale=2)), _record(varint(8_000_000) + b"\x7f" * 8_000_000)
    ),
    "a scale of a thousand million": lambda: file(schema(_decimal(scale=10**9)), _record(b"\x02\x01")),
    "a fixed of gigabytes": lambda: file(
        schema({"type": "fixed", "name": "F", "size": 4 << 30}), _record(b"abc")
    ),
    "a text of an endless length": lambda: file(schema("string"), _record(varint(2**62) + b"abc")),
    "a count beyond all": lambda: file(schema(), (2**62, begin())),
    "a bomb of zeros": lambda: file(schema("string"), _record(bytes(300 << 20))),
    "nothing but markers": lambda: header(schema()) + SYNC * 100_000,
    "blocks of half a record": lambda: header(schema()) + block(1, b"\x08") * 100_000,
    "a bomb in many blocks": lambda: file(
        schema(["null", "string"]), *[(1, begin() + bytes(4_000_000))] * 60, codec="zstandard"
    ),
}
"""By what they are."""
