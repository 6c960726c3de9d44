from __future__ import annotations

import io
import math
import struct
import sys
from typing import Any

import pytest
from fastavro import schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from braze_etl.flows.currents_to_amplitude.compiled.runtime import (
    Floats,
    Numbers,
    UnusualError,
    long_text,
    read_double,
    read_texts,
    read_whole,
    utf8,
)


def written(schema: Any, value: object) -> bytes:
    stream = io.BytesIO()
    schemaless_writer(stream, schema, value)
    return stream.getvalue()


@given(st.integers(-(2**62), 2**62 - 1))
def test_integers_of_up_to_nine_bytes_are_read(number: int) -> None:
    data = written("long", number)
    assert read_whole(b"??" + data, 2) == (number, 2 + len(data))


@pytest.mark.parametrize("number", [2**62, -(2**63)])
def test_a_tenth_byte_is_left_to_fastavro(number: int) -> None:
    with pytest.raises(UnusualError):
        read_whole(written("long", number), 0)


def test_an_integer_that_is_cut_off_is_no_integer() -> None:
    with pytest.raises(IndexError):
        read_whole(b"\xff\xff", 0)


def test_only_numbers_of_five_bytes_are_remembered() -> None:
    numbers = Numbers()
    for number in (64, 1_790_000_123, -1_790_000_123, 1 << 40):
        data = written("long", number)
        assert numbers.read(b"?" + data, 1) == (number, 1 + len(data))
    assert numbers == {written("long", number): number for number in (1_790_000_123, -1_790_000_123)}


def test_numbers_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braze_etl.flows.currents_to_amplitude.compiled.runtime._REMEMBERED", 3)
    numbers = Numbers()
    for second in range(10):
        data = written("long", 1_790_000_000 + second)
        assert numbers.read(data, 0) == (1_790_000_000 + second, 5)
    assert 0 < len(numbers) <= 3


def test_a_long_text_lies_behind_its_length() -> None:
    data = written("string", "x" * 9000)
    assert long_text(data, 0) == (3, 9003)


@pytest.mark.parametrize("data", [b"\x8a\x00", b"\x81\x80\x80\x80\x01"])
def test_a_length_that_no_writer_writes_is_left_to_fastavro(data: bytes) -> None:
    with pytest.raises(UnusualError):
        long_text(data, 0)


def test_text_beyond_ascii_is_decoded_and_bad_text_is_not() -> None:
    data = "Größe".encode()
    assert utf8(b"?" + data, 1, 1 + len(data)) == "Größe"
    with pytest.raises(UnicodeDecodeError):
        utf8(b"\xff\xfe", 0, 2)


def test_no_other_character_than_the_kelvin_sign_has_ascii_letters_in_lower_case() -> None:
    strangers = [chr(code) for code in range(128, sys.maxunicode + 1) if chr(code).lower().isascii()]
    assert strangers == ["\N{KELVIN SIGN}"]
    with pytest.raises(UnusualError):
        utf8("\N{KELVIN SIGN}".encode(), 0, 3)


@pytest.mark.parametrize(
    ("items", "null", "values"),
    [
        ("string", None, []),
        ("string", None, ["a", "", "Größe"]),
        (["null", "string"], 0, [None, "a"]),
        (["string", "null"], 1, ["x" * 200, None]),
    ],
)
def test_arrays_of_text_are_read(items: object, null: int | None, values: list[str | None]) -> None:
    data = written({"type": "array", "items": items}, values)
    assert read_texts(b"?" + data, 1, null) == (values, 1 + len(data))


@pytest.mark.parametrize(
    ("data", "null"),
    [
        (b"\x01\x04\x02a\x00", None),
        (b"\x02\x01a\x00", None),
        (b"\x02\x04\x02a\x00", 0),
        (b"\xd2\x0f" + bytes(1001) + b"\x00", 0),
        ((b"\xe8\x07" + bytes(500)) * 2 + b"\x02\x00\x00", 0),
    ],
    ids=["count with a size", "negative length", "third branch", "too many", "too many by parts"],
)
def test_arrays_that_no_writer_writes_are_left_to_fastavro(data: bytes, null: int | None) -> None:
    with pytest.raises(UnusualError):
        read_texts(data, 0, null)


def test_floats_are_the_numbers_that_were_meant() -> None:
    floats = Floats()
    assert floats[struct.pack("<f", 19.99)] == 19.99
    assert math.copysign(1, floats[struct.pack("<f", -0.0)]) == -1
    assert floats[struct.pack("<f", 0.0)] == 0.0
    assert len(floats) == 3


def test_floats_do_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braze_etl.flows.currents_to_amplitude.compiled.runtime._REMEMBERED", 3)
    floats = Floats()
    for number in range(10):
        assert floats[struct.pack("<f", number)] == number
    assert len(floats) <= 3


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_have_are_left_to_the_mapper(value: float) -> None:
    with pytest.raises(UnusualError):
        Floats()[struct.pack("<f", value)]
    with pytest.raises(UnusualError):
        read_double(struct.pack("<d", value), 0)


def test_a_number_that_is_cut_off_is_no_number() -> None:
    with pytest.raises(struct.error):
        Floats()[b"\0\0\0"]
    with pytest.raises(struct.error):
        read_double(bytes(7), 0)
