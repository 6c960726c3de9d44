"""A forward window on a stream, and Avro's variable-length integers in it."""

from __future__ import annotations

from typing import BinaryIO

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
