"""Small Avro files made by fastavro, with the places of their blocks."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import fastavro
import pytest

from tests.commands.init.conftest import source, write_file  # noqa: F401 - fixtures

SCHEMA = {
    "type": "record",
    "name": "Open",
    "namespace": "dataexport.S3.inner.users.messages.email",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "time", "type": "int"},
        {"name": "email", "type": ["null", "string"], "default": None},
    ],
}
SYNC = bytes(range(100, 116))


@dataclass(frozen=True)
class Sample:
    """A file of several blocks: its bytes, where each begins (and the last ends), the records in each."""

    data: bytes
    edges: list[int]
    records: list[list[dict[str, Any]]]

    @property
    def header(self) -> bytes:
        return self.data[: self.edges[0]]

    @property
    def spans(self) -> list[tuple[int, int]]:
        return list(zip(self.edges, self.edges[1:], strict=False))


class Avro:
    """Makes files."""

    def sample(self, codec: str = "null", blocks: int = 4, records: int = 2) -> Sample:
        """A file of that many blocks with that many records in each."""
        made = [[_record(block, number) for number in range(records)] for block in range(blocks)]
        stream = io.BytesIO()
        fastavro.writer(stream, SCHEMA, [], codec=codec, sync_marker=SYNC)
        edges = [stream.tell()]
        for block in made:
            fastavro.writer(stream, SCHEMA, block)  # at the end of a file: appends a block
            edges.append(stream.tell())
        return Sample(stream.getvalue(), edges, made)

    def framed(self, header: bytes, *payloads: tuple[int, bytes]) -> bytes:
        """A file of blocks given as (count, payload as stored)."""
        return header + b"".join(
            self.varint(count) + self.varint(len(payload)) + payload + SYNC for count, payload in payloads
        )

    def varint(self, number: int) -> bytes:
        """Avro's form of a long."""
        rest, out = (number << 1) ^ (number >> 63), bytearray()
        while rest > 0x7F:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        return bytes([*out, rest])


def _record(block: int, number: int) -> dict[str, Any]:
    return {
        "id": f"id-{block}-{number}",
        "time": block * 1000 + number,
        "email": None if number else "a@example.com",
    }


@pytest.fixture(scope="session")
def avro() -> Avro:
    return Avro()
