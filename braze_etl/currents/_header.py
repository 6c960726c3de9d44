"""The header of an Avro object container file: magic, a map of metadata, a sync marker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from braze_etl.currents._codecs import CODECS
from braze_etl.currents._window import EndOfData, Window, read_varint
from braze_etl.errors import UnreadableFileError

SYNC_SIZE = 16
_MAGIC = b"Obj\x01"
_LONGEST_VARINT = 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may ask for, in bytes: its header, a block as stored, a block when inflated.

    `records` are those of a block: Currents writes 100,000 a *file* at most (currents.md, 1.2). Of what no
    writer of real events can store there is an allowance for the whole file: `thin_records` beyond one per
    stored byte (each has an id of its own, which no codec makes shorter), and `thin_bytes` beyond 100
    inflated ones per stored byte. So what reading costs grows with a file's size, whatever is in it.
    """

    header: int = 1 << 20
    block: int = 128 << 20
    inflated: int = 256 << 20
    records: int = 1_000_000
    thin_records: int = 100_000
    thin_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class AvroHeader:
    """What reading any block of a file needs. `schema_json` is the exact text of `avro.schema`.

    `length` is the header's own, and so the offset of the first block.
    """

    schema_json: bytes
    codec: str
    sync: bytes
    length: int


DEFAULT_LIMITS = Limits()
_BEGIN = 256
"""Bytes that nearly always tell one schema's headers from another's; whether they do is checked."""
_KEPT = 512
_seen: dict[bytes, tuple[bytes, AvroHeader]] = {}
"""By its begin, the last header read that begins so, and its bytes before the sync marker.

Files of one type have the same but for that marker, and a small file is little more than its header.
"""


def read_header(stream: BinaryIO, limits: Limits = DEFAULT_LIMITS, *, name: str = "the file") -> AvroHeader:
    """Read a header alone, to use with `read_block`. `UnreadableFileError` as for `AvroFile`."""
    return take_header(Window(stream), limits, name)


def take_header(window: Window, limits: Limits, name: str) -> AvroHeader:
    """Read the header at the window's begin and move the window behind it."""
    window.fill(_BEGIN)
    begin = bytes(window.data[:_BEGIN])
    return _like_one_before(window, limits, begin) or _read_anew(window, limits, name, begin)


def _like_one_before(window: Window, limits: Limits, begin: bytes) -> AvroHeader | None:
    before_sync, like = _seen.get(begin, (b"", None))
    if like is None or like.length > limits.header or window.fill(like.length) < like.length:
        return None
    if not window.data.startswith(before_sync):
        return None
    sync = bytes(window.data[len(before_sync) : like.length])
    window.drop(like.length)
    return AvroHeader(like.schema_json, like.codec, sync, like.length)


def _read_anew(window: Window, limits: Limits, name: str, begin: bytes) -> AvroHeader:
    reader = _HeaderReader(window, limits.header, name)
    header = reader.read()
    if len(reader.before_sync) >= _BEGIN:  # else the begin has a marker in it, and will not be seen again
        if len(_seen) >= _KEPT:
            _seen.clear()
        _seen[begin] = (reader.before_sync, header)
    return header


class _HeaderReader:
    def __init__(self, window: Window, limit: int, name: str) -> None:
        self._window = window
        self._limit = limit
        self._name = name
        self._at = 0
        self.before_sync = b""

    def read(self) -> AvroHeader:
        self._read_magic()
        metadata = self._read_metadata()
        schema_json = metadata.get(b"avro.schema")
        if schema_json is None:
            raise self._unreadable("has no schema in its header")
        codec = metadata.get(b"avro.codec", b"null").decode("latin-1") or "null"
        if codec not in CODECS:
            raise UnreadableFileError(
                f"{self._name} can't be read: codec {codec} is not supported",
                remedy=f"the codecs known are {', '.join(CODECS)}; rewrite the file in one of them",
            )
        self.before_sync = bytes(self._window.data[: self._at])
        sync = self._take(SYNC_SIZE)
        self._window.drop(self._at)
        return AvroHeader(schema_json, codec, sync, self._at)

    def _read_magic(self) -> None:
        if self._window.fill(len(_MAGIC)) == 0:
            raise self._unreadable("is empty")
        begin = bytes(self._window.data[: len(_MAGIC)])
        if begin != _MAGIC[: len(begin)]:
            raise self._unreadable(f"is not an Avro file: it begins with {bytes(self._window.data[:16])!r}")
        self._take(len(_MAGIC))

    def _read_metadata(self) -> dict[bytes, bytes]:
        metadata: dict[bytes, bytes] = {}
        while count := self._number():
            if count < 0:  # then the size of this part of the map follows
                self._number()
            for _ in range(abs(count)):
                name = self._take(self._number())
                metadata[name] = self._take(self._number())
        return metadata

    def _number(self) -> int:
        self._window.fill(self._at + _LONGEST_VARINT)
        try:
            number, self._at = read_varint(self._window.data, self._at)
        except EndOfData:
            raise self._broken_off() from None
        except ValueError as error:
            raise self._unreadable(f"has a damaged header: {error}") from error
        return number

    def _take(self, count: int) -> bytes:
        begin, end = self._at, self._at + count
        if count < 0 or end > self._limit:
            raise self._unreadable(f"has a damaged header, or one of more than {self._limit} bytes")
        if self._window.fill(end) < end:
            raise self._broken_off()
        self._at = end
        return bytes(self._window.data[begin:end])

    def _broken_off(self) -> UnreadableFileError:
        return self._unreadable(f"is cut short: its header breaks off after {len(self._window.data)} bytes")

    def _unreadable(self, words: str) -> UnreadableFileError:
        return UnreadableFileError(
            f"{self._name} {words}",
            remedy="if it is a Currents file, see whether its copy is whole; Braze may have written it again",
        )
