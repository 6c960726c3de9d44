"""Avro object container files, a block at a time, in bounded memory, and past damage.

A file is a header (magic, metadata, a 16-byte sync marker) and blocks (record count, payload size, payload,
sync marker): Avro specification, object container files. Framing is done here and not by a library, because
what is damaged has to be told exactly: every byte of a file lies in its header, in a block, or in a damaged
stretch.
"""

from __future__ import annotations

import bz2
import lzma
import mmap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import cramjam
from isal import isal_zlib

from braze_etl.errors import UnreadableFileError
from braze_etl.model import Damage

_CHUNK = 1 << 16
_LONGEST_VARINT = 10


class EndOfData(Exception):  # noqa: N818 - not a mistake: the caller decides what it means
    """The bytes end before the number does."""


class Window:
    """The bytes of *stream* from `offset` on, of which as many are in `data` as were asked for.

    `offset` is the position in the file of the first byte in `data`.
    """

    def __init__(self, stream: BinaryIO, offset: int = 0) -> None:
        self._stream = stream
        self._ended = False
        self.data = bytearray()
        self.offset = offset

    def fill(self, count: int) -> int:
        """Have at least *count* bytes in `data`, or all there are; return how many are there."""
        there = len(self.data)
        while there < count and not self._ended:
            # Never more than a chunk beyond what arrived: *count* may be a damaged number.
            chunk = self._stream.read(max(_CHUNK, min(count - there, 16 * _CHUNK)))
            self._ended = not chunk
            self.data += chunk
            there += len(chunk)
        return there

    def drop(self, count: int) -> None:
        """Move the window's begin forward by *count* bytes of `data`."""
        del self.data[:count]
        self.offset += count


def read_varint(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """Return the zig-zag number that begins at *at*, and where it ends.

    `EndOfData` if the bytes end first, `ValueError` if it is longer than 64 bits allow (Avro specification,
    binary encoding of int and long).
    """
    result = 0
    for place, byte in enumerate(data[at : at + _LONGEST_VARINT]):
        result |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return (result >> 1) ^ -(result & 1), at + place + 1
    if len(data) - at < _LONGEST_VARINT:
        raise EndOfData
    raise ValueError("a number of more than 64 bits")


SYNC_SIZE = 16
_MAGIC = b"Obj\x01"


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


_LONGEST_PREFIX = 20  # two numbers of up to ten bytes
_SCAN = 1 << 20
_RATIO = 100
"""Inflated bytes per stored one that need no allowance; files of Currents have 5 to 20."""


@dataclass(frozen=True, slots=True)
class Block:
    """*count* records in one inflated payload; it takes `size` bytes of the file from `offset` on."""

    offset: int
    size: int
    count: int
    payload: bytes


class AvroFile:
    """One file read from its first byte on. The stream stays the caller's to close.

    `size` (bytes, if known) shows at once whether a block can be whole. `UnreadableFileError` if there is no
    readable header; *name* is the file's in its words.
    """

    def __init__(
        self,
        stream: BinaryIO,
        size: int | None = None,
        limits: Limits = DEFAULT_LIMITS,
        *,
        name: str = "the file",
    ) -> None:
        window = Window(stream)
        self.header = take_header(window, limits, name)
        self._blocks = _BlockReader(window, self.header, size, limits)

    @property
    def schema_json(self) -> bytes:
        """The exact bytes of `avro.schema`."""
        return self.header.schema_json

    def blocks(self) -> Iterator[Block | Damage]:
        """Yield what follows the header, in order and without gaps. After damage it goes on where it can."""
        while (item := self._blocks.next()) is not None:
            yield item


def read_block(
    stream: BinaryIO, header: AvroHeader, offset: int, limits: Limits = DEFAULT_LIMITS
) -> Block | Damage:
    """Read the one block at *offset*, where *stream* stands already (a ranged read of the file)."""
    item = _BlockReader(Window(stream, offset), header, None, limits).next()
    return item if item is not None else Damage(offset, 0, "the file ends before this block")


class _Broken(Exception):  # noqa: N818 - becomes a Damage, which is a value
    """What stands where a block should begin is none; the words say why."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """A block as its two numbers claim it to be; positions are in the window."""

    count: int
    begin: int
    size: int

    @property
    def payload(self) -> slice:
        return slice(self.begin, self.begin + self.size)

    @property
    def end(self) -> int:
        return self.begin + self.size + SYNC_SIZE


class _BlockReader:
    def __init__(self, window: Window, header: AvroHeader, size: int | None, limits: Limits) -> None:
        self._window = window
        self._codec = header.codec
        self._sync = header.sync
        self._size = size
        self._limits = limits
        self._thin_records = limits.thin_records
        self._thin_bytes = limits.thin_bytes

    def next(self) -> Block | Damage | None:
        """Return what lies at the window's begin, and move the window behind it; None at the end."""
        if self._window.fill(1) == 0:
            return None
        try:
            frame = self._frame(0)
        except _Broken as error:
            return self._skip(str(error))
        if not self._is_whole(frame):
            return self._skip_unfinished(frame)
        if not self._ends_at_its_marker(frame):
            return self._skip("the block's sync marker is not where its size says", behind=frame.end)
        return self._open(frame)

    def _frame(self, at: int) -> _Frame:
        self._window.fill(at + _LONGEST_PREFIX)
        try:
            count, begin = read_varint(self._window.data, at)
            size, begin = read_varint(self._window.data, begin)
        except EndOfData:
            raise _Broken(
                f"the file ends in the middle of a block ({len(self._window.data) - at} bytes)"
            ) from None
        except ValueError as error:
            raise _Broken(f"no block begins here: {error}") from error
        if count < 0:
            raise _Broken(f"no block begins here: it would have {count} records")
        if not 0 <= size <= self._limits.block:
            raise _Broken(f"no block begins here: it would have {size} bytes")
        return _Frame(count, begin, size)

    def _is_whole(self, frame: _Frame) -> bool:
        if self._size is not None and self._window.offset + frame.end > self._size:
            return False  # nothing is read to learn that
        return self._window.fill(frame.end) >= frame.end

    def _open(self, frame: _Frame) -> Block | Damage:
        """Inflate a block that stands where it should; one of no records and no bytes is none the worse."""
        offset = self._window.offset
        payload = bytes(self._window.data[frame.payload])
        self._window.drop(frame.end)
        try:
            inflated = self._inflated(frame, payload)
        except InflateError as error:
            return Damage(offset, frame.end, f"the block is damaged: {error}")
        # A record takes a byte at least.
        if frame.count > len(inflated) or (inflated and not frame.count):
            detail = f"the block is damaged: {frame.count} records in {len(inflated)} bytes"
            return Damage(offset, frame.end, detail)
        return Block(offset, frame.end, frame.count, inflated)

    def _inflated(self, frame: _Frame, payload: bytes) -> bytes:
        """The block's payload, paid for from the file's allowance where it is thinner than events can be."""
        thin = frame.count - frame.size
        most = min(self._limits.records, frame.size + self._thin_records)
        if frame.count > most:
            words = f"{frame.count} records in {frame.size} stored bytes, where at most {most} can be"
            raise InflateError(words)
        dense = _RATIO * frame.size
        limit = min(self._limits.inflated, dense + self._thin_bytes)
        try:
            inflated = inflate(self._codec, payload, limit)
        except InflateError:
            self._thin_bytes //= 2  # what it took to find out is not known
            raise
        self._thin_records -= max(0, thin)
        self._thin_bytes -= max(0, len(inflated) - dense)
        return inflated

    def _skip_unfinished(self, frame: _Frame) -> Damage:
        damage = self._skip("the block's size says that it ends behind the end of the file")
        if self._window.fill(1) or damage.length >= frame.end:
            return damage
        detail = f"the file ends in the middle of a block ({damage.length} of {frame.end} bytes)"
        return Damage(damage.offset, damage.length, detail)

    def _skip(self, detail: str, *, behind: int | None = None) -> Damage:
        """Move the window behind the next sync marker, or to the end.

        With *behind*, where the block would end: if a sound block follows there, only the marker was damaged.
        """
        window, begin = self._window, self._window.offset
        if behind is not None and not self._has_marker_before(behind) and self._is_block(behind):
            window.drop(behind)
            return Damage(begin, behind, detail)
        while (found := window.data.find(self._sync)) < 0:
            window.drop(max(0, len(window.data) - SYNC_SIZE + 1))  # a marker may have begun in these
            if window.fill(_SCAN) < SYNC_SIZE:
                window.drop(len(window.data))
                return Damage(begin, window.offset - begin, detail)
        window.drop(found + SYNC_SIZE)
        return Damage(begin, window.offset - begin, detail)

    def _has_marker_before(self, at: int) -> bool:
        # One that begins before and ends behind counts: its last bytes could read as the numbers of a block.
        self._window.fill(at + SYNC_SIZE)
        return self._window.data.find(self._sync, 0, at + SYNC_SIZE - 1) >= 0

    def _is_block(self, at: int) -> bool:
        try:
            frame = self._frame(at)
        except _Broken:
            return False
        if not self._is_whole(frame):
            return False
        return self._ends_at_its_marker(frame)

    def _ends_at_its_marker(self, frame: _Frame) -> bool:
        # A marker within the payload: a damaged size that leads, by chance, to the end of a later block.
        return self._window.data.find(self._sync, frame.begin, frame.end) == frame.begin + frame.size


_IsalError: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub declares an instance
_XZ_MEMORY = 128 << 20  # xz -9 needs 65 MB
_SNAPPY_HIGHEST_RATIO = 64  # three bytes of a copy give at most 64


class InflateError(Exception):
    """The bytes are no whole output of that codec, or more than the limit when inflated."""


class _Decompressor(Protocol):
    """What zlib, bz2 and lzma have in common after they have run."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...


def inflate(codec: str, data: bytes, limit: int) -> bytes:
    """Return the inflated bytes of a block, at most *limit* of them.

    `InflateError` if the codec can't read all of *data* to its end, or if the result were longer.
    """
    try:
        inflated = CODECS[codec](data, limit)
    except (cramjam.DecompressionError, _IsalError, lzma.LZMAError, OSError, EOFError) as error:
        raise InflateError(f"{codec} can't inflate it: {error}") from error
    if len(inflated) > limit:
        raise InflateError(f"it inflates to more than {limit} bytes")
    return inflated


def _deflate(data: bytes, limit: int) -> bytes:
    stream = isal_zlib.decompressobj(wbits=-15)
    inflated = stream.decompress(data, limit + 1)
    # fastavro cuts its blocks out of zlib's format, and leaves three of the four bytes of the checksum.
    allowed = isal_zlib.adler32(inflated).to_bytes(4, "big") if stream.unused_data else b""
    _check_end(stream, len(inflated), limit, allowed)
    return inflated


def _bzip2(data: bytes, limit: int) -> bytes:
    return _streamed(bz2.BZ2Decompressor(), data, limit)


def _xz(data: bytes, limit: int) -> bytes:
    return _streamed(lzma.LZMADecompressor(memlimit=_XZ_MEMORY), data, limit)


def _streamed(stream: bz2.BZ2Decompressor | lzma.LZMADecompressor, data: bytes, limit: int) -> bytes:
    inflated = stream.decompress(data, limit + 1)
    _check_end(stream, len(inflated), limit)
    return inflated


def _check_end(stream: _Decompressor, length: int, limit: int, allowed: bytes = b"") -> None:
    if length > limit:
        return  # it was stopped, and is refused for that
    if not stream.eof:
        raise InflateError("its data breaks off")
    if not allowed.startswith(stream.unused_data):
        raise InflateError(f"{len(stream.unused_data)} bytes follow its data")


def _snappy(data: bytes, limit: int) -> bytes:
    packed, checksum = data[:-4], data[-4:]
    length = cramjam.snappy.decompress_raw_len(packed)
    if length > min(limit, _SNAPPY_HIGHEST_RATIO * len(packed)):
        raise InflateError(f"{len(packed)} bytes claim to inflate to {length}")
    inflated = bytes(cramjam.snappy.decompress_raw(packed))
    if isal_zlib.crc32(inflated).to_bytes(4, "big") != checksum:
        raise InflateError("its checksum is wrong")
    return inflated


def _zstandard(data: bytes, limit: int) -> bytes:
    # A frame need not tell its length. An anonymous mapping takes memory only where it is written to.
    with mmap.mmap(-1, limit + 1) as output:
        length = cramjam.zstd.decompress_into(data, output)
        return output[:length]


CODECS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "null": lambda data, _limit: data,
    "deflate": _deflate,
    "snappy": _snappy,
    "zstandard": _zstandard,
    "bzip2": _bzip2,
    "xz": _xz,
}
"""By the name in a file's `avro.codec`."""
