"""What generated code calls for all that is not worth to be written out in it.

Generated code is sure of what it accepts. Bytes that Avro allows and its writers do not write (numbers longer
than they need to be, negative counts) raise `UnusualError` like damage does, and fastavro judges the block.
"""

from __future__ import annotations

from math import isfinite
from struct import Struct
from typing import Any

from braze_etl.braze.currents.values import shortest_float32
from braze_etl.mapping.choice import filter_first
from braze_etl.mapping.limits import MAX_INTEGER, too_many
from braze_etl.mapping.names import RESERVED
from braze_etl.model import Reason, Verdict

_FLOAT = Struct("<f")
_DOUBLE = Struct("<d")
_REMEMBERED = 10_000
_MOST_BITS = 63
"""Nine bytes; only a tenth could leave the range of 64 bits, where fastavro has its own way."""
_TWO_BYTES = 1 << 13
_LONGEST_TEXT = 8 << 20
"""Bytes; more than fastavro's side takes for a record (see `currents`)."""
_MOST_ITEMS = 1_000
"""Of an array; Currents has a handful. Each takes memory, and thousands of records are in memory at once."""
TIME_BYTES = 5
"""What epoch seconds take from 2004 on, as a number of Avro."""
_KELVIN = "\N{KELVIN SIGN}"
"""Alone of all beyond ASCII it is ASCII in lower case, and so could make a text equal a field's name."""

HALF: tuple[int | None, ...] = tuple(None if number & 1 else number >> 1 for number in range(128))
"""Length of a text by the one byte that tells it; None (which adds to nothing) where it would be negative."""
HALVES = tuple(None if number & 1 or number < 128 else number >> 1 for number in range(1 << 14))
"""The same for two bytes; None also where one byte would have done, which no writer writes."""
WHOLE = tuple((number >> 1) ^ -(number & 1) for number in range(128))
"""Integer by the one byte that it takes."""
BOOLEAN = (False, True)


class UnusualError(Exception):
    """Not what a writer of Currents files writes: fastavro has to look at the block."""


def read_whole(data: bytes, pos: int) -> tuple[int, int]:
    """Read an int or long at *pos*; return it, and the position behind it."""
    byte = data[pos]
    number = byte & 127
    shift = 7
    while byte > 127:
        if shift == _MOST_BITS:
            raise UnusualError("a number of more than nine bytes")
        pos += 1
        byte = data[pos]
        number |= (byte & 127) << shift
        shift += 7
    return (number >> 1) ^ -(number & 1), pos + 1


def long_text(data: bytes, pos: int) -> tuple[int, int]:
    """Where the text begins and ends whose length, of more than two bytes, stands at *pos*."""
    size, start = read_whole(data, pos)
    if not _TWO_BYTES <= size <= _LONGEST_TEXT:
        raise UnusualError(f"a text of {size} bytes")
    return start, start + size


def utf8(data: bytes, start: int, end: int) -> str:
    """Decode a text beyond ASCII."""
    value = data[start:end].decode()
    if _KELVIN in value:
        raise UnusualError("a text that lower() may turn into another one's letters")
    return value


def read_texts(data: bytes, pos: int, null: int | None) -> tuple[list[str | None], int]:
    """Read an array of text; with *null*, of text or null, where that is the number of the null branch."""
    values: list[str | None] = []
    count, pos = read_whole(data, pos)
    while count:
        if count < 0:
            raise UnusualError("an array with its size in bytes")
        if len(values) + count > _MOST_ITEMS:
            raise UnusualError(f"an array of more than {_MOST_ITEMS} items")
        for _ in range(count):
            value, pos = _item(data, pos, null)
            values.append(value)
        count, pos = read_whole(data, pos)
    return values, pos


def _item(data: bytes, pos: int, null: int | None) -> tuple[str | None, int]:
    if null is not None:
        branch, pos = read_whole(data, pos)
        if branch == null:
            return None, pos
        if branch != 1 - null:
            raise UnusualError(f"the branch {branch} of a union of two")
    size, start = read_whole(data, pos)
    if size < 0:
        raise UnusualError("a text of negative length")
    return data[start : start + size].decode(), start + size


def has_longer(texts: list[str | None], longest: int) -> bool:
    """Whether one of the texts has more characters than that."""
    return any(text is not None and len(text) > longest for text in texts)


def read_double(data: bytes, pos: int) -> float:
    """Read the double at *pos*."""
    (value,) = _DOUBLE.unpack_from(data, pos)
    if not isfinite(value):
        raise UnusualError("a number that JSON does not have")
    return float(value)


class Floats(dict[bytes, float]):
    """Four bytes -> the number that they were meant to be; prices and the like come again and again."""

    def __missing__(self, packed: bytes) -> float:
        (value,) = _FLOAT.unpack(packed)
        if not isfinite(value):
            raise UnusualError("a number that JSON does not have")
        if len(self) >= _REMEMBERED:
            self.clear()
        number = self[packed] = shortest_float32(value)
        return number


class Numbers(dict[bytes, int]):
    """Five bytes -> the int or long that they are: the times of a file are those of few hours."""

    __slots__ = ()

    def read(self, data: bytes, pos: int) -> tuple[int, int]:
        """Read an int or long like `read_whole`, and remember it if it takes five bytes."""
        number, end = read_whole(data, pos)
        if end - pos == TIME_BYTES:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[data[pos:end]] = number
        elif not -MAX_INTEGER <= number <= MAX_INTEGER:
            raise UnusualError("a number that JSON does not keep exactly")
        return number, end


NUMBERS = Numbers()
"""One for all functions, so that memory does not grow with the event types."""


def too_many_verdict(properties: dict[str, Any]) -> Verdict:
    """The verdict on an event with more properties than Amplitude takes."""
    return Verdict(Reason.INVALID_EVENT, too_many(properties))


def namespace() -> dict[str, Any]:
    """The global names of a generated function."""
    return {
        "BOOLEAN": BOOLEAN,
        "FLOATS": Floats(),
        "HALF": HALF,
        "HALVES": HALVES,
        "NUMBERS": NUMBERS,
        "RESERVED": RESERVED,
        "UnusualError": UnusualError,
        "WHOLE": WHOLE,
        "filter_first": filter_first,
        "has_longer": has_longer,
        "long_text": long_text,
        "read_double": read_double,
        "read_texts": read_texts,
        "too_many_verdict": too_many_verdict,
        "utf8": utf8,
    }
