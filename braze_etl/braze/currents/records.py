"""Records out of a block: all of them, or none.

A payload has no checksum, so a damaged one may still decode, to fewer or other records. What is trusted is a
block whose declared records take exactly its bytes.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator
from typing import Any, cast

from fastavro import schemaless_reader

from braze_etl.braze.currents.container import Block
from braze_etl.braze.currents.schema import writer_schema
from braze_etl.errors import FileError
from braze_etl.model import Reason, Record, Verdict

_LARGE = 4 << 20
_REMEDY = "see whether the object is whole; Braze may have written its records again in another file"
_UNDECODABLE = (
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
)


class DamagedBlock(FileError):  # noqa: N818 - named for the thing, like the reason it becomes
    """A block whose bytes are not the records that it declares; none of them can be trusted."""


class RecordReader:
    """Reads the records of all files that carry the schema *schema_json*; such readers are cheap to make.

    `UnreadableFileError` if the schema is not valid or reading by it is not safe.
    """

    def __init__(self, schema_json: bytes) -> None:
        self._schema = writer_schema(schema_json)

    @property
    def event_type(self) -> str | None:
        """The event type that the schema's name tells, to check the key's; None if it tells none."""
        return self._schema.event_type

    def decode(self, block: Block) -> Iterable[Record | Verdict]:
        """Return the block's records in order, values plain JSON; or raise `DamagedBlock` before the first.

        A record with text that is not UTF-8 becomes a `Verdict`, the others are fine. A payload of more than
        4 MB (1 MB where there are arrays or maps) is decoded twice, the second time as the result is
        iterated over, so that memory stays flat.
        """
        if len(block.payload) <= min(_LARGE, self._schema.longest):
            return list(self._records(block))
        for _ in self._records(block):
            pass
        return self._records(block)

    def _records(self, block: Block) -> Iterator[Record | Verdict]:
        convert, longest = self._schema.convert, self._schema.longest
        # Through a window: a record that is too long ends with it, and not with the memory.
        step, window = longest // 4, longest + longest // 4
        at, stream = 0, io.BytesIO(block.payload[:window])
        try:
            for _ in range(block.count):
                start = stream.tell()
                if start >= step:
                    at += start
                    start, stream = 0, io.BytesIO(block.payload[at : at + window])
                record = self._record(stream, start)
                yield record if convert is None or isinstance(record, Verdict) else convert(record)
        except _UNDECODABLE as error:
            words = str(error) or type(error).__name__
            if isinstance(error, EOFError) and at + window < len(block.payload):
                words = f"it has a record of more than {longest} bytes"
            raise DamagedBlock(
                f"the block at byte {block.offset} does not decode: {words}", remedy=_REMEDY
            ) from error
        left = len(block.payload) - at - stream.tell()
        if left:
            raise DamagedBlock(
                f"the block at byte {block.offset} has {left} bytes more than its {block.count} records",
                remedy=_REMEDY,
            )

    def _record(self, stream: io.BytesIO, start: int) -> Record | Verdict:
        try:
            return cast("Record", schemaless_reader(stream, self._schema.parsed, None))
        except UnicodeDecodeError:
            stream.seek(start)  # read again, leniently, to learn where the record ends
        lenient = cast(
            "Record",
            schemaless_reader(stream, self._schema.parsed, None, handle_unicode_errors="surrogateescape"),
        )
        names = [name for name, value in lenient.items() if _has_undecoded(value)]
        return Verdict(Reason.INVALID_EVENT, f"text that is not UTF-8 in {', '.join(names)}")


def _has_undecoded(value: Any) -> bool:
    if isinstance(value, str):
        return any("\udc80" <= character <= "\udcff" for character in value)
    if isinstance(value, dict):
        return any(_has_undecoded(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_has_undecoded(item) for item in value)
