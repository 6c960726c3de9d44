from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from braze_etl.braze.currents.container import EndOfData, Window, read_varint


def test_a_window_holds_what_was_asked_for_and_tells_its_place() -> None:
    window = Window(io.BytesIO(bytes(range(256)) * 1000), offset=10)
    assert window.fill(5) >= 5
    window.drop(3)
    assert window.offset == 13
    assert window.data[0] == 3
    assert window.fill(200_000) >= 200_000
    assert window.fill(10**15) == 256_000 - 3


def test_an_absurd_length_reads_no_more_than_there_is() -> None:
    asked: list[int] = []

    class Stream(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            asked.append(size or 0)
            return super().read(size)

    assert Window(Stream(b"abc")).fill(1 << 60) == 3
    assert max(asked) <= 1 << 20


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_long_is_read_back(number: int) -> None:
    data = _varint(number)
    assert read_varint(b"x" + data + b"y", 1) == (number, 1 + len(data))


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 9])
def test_a_number_that_breaks_off_is_told(data: bytes) -> None:
    with pytest.raises(EndOfData):
        read_varint(data, 0)


def test_a_number_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        read_varint(b"\xff" * 20, 0)


def _varint(number: int) -> bytes:
    rest, out = (number << 1) ^ (number >> 63), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])
