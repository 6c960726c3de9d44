from __future__ import annotations

import base64
from typing import Any

import pytest

from braze_etl.braze.currents.values import logical_converter, without_logical_types


@pytest.mark.parametrize(
    ("kind", "logical", "raw", "plain"),
    [
        ("int", "date", 20727, "2026-10-01"),
        ("int", "date", -1, "1969-12-31"),
        ("int", "date", 2**31 - 1, 2**31 - 1),
        ("int", "time-millis", 3_723_004, "01:02:03.004000"),
        ("long", "time-micros", 1, "00:00:00.000001"),
        ("long", "time-micros", -1, -1),
        ("long", "timestamp-millis", 1_790_812_800_123, "2026-10-01T00:00:00.123000Z"),
        ("long", "timestamp-micros", 0, "1970-01-01T00:00:00Z"),
        ("long", "timestamp-micros", 2**63 - 1, 2**63 - 1),
        ("long", "local-timestamp-millis", 0, "1970-01-01T00:00:00"),
        ("fixed", "uuid", bytes(16), "00000000-0000-0000-0000-000000000000"),
    ],
)
def test_a_logical_type_becomes_text_and_stays_a_number_out_of_its_range(
    kind: str, logical: str, raw: Any, plain: Any
) -> None:
    convert = logical_converter(kind, {"type": kind, "logicalType": logical})
    assert convert is not None
    assert convert(raw) == plain


@pytest.mark.parametrize(
    ("raw", "scale", "plain"),
    [(b"\x07\xcf", 2, "19.99"), (b"\xff", 0, "-1"), (b"", 3, "0.000"), (b"\x01", 30, "0." + "0" * 29 + "1")],
)
def test_a_decimal_becomes_the_text_of_the_number(raw: bytes, scale: int, plain: str) -> None:
    convert = logical_converter("bytes", {"type": "bytes", "logicalType": "decimal", "scale": scale})
    assert convert is not None
    assert convert(raw) == plain


def test_a_decimal_of_more_digits_than_anything_counts_stays_bytes() -> None:
    convert = logical_converter("bytes", {"type": "bytes", "logicalType": "decimal", "scale": 2})
    assert convert is not None
    assert convert(b"\x7f" * 3_000_000) == base64.b64encode(b"\x7f" * 3_000_000).decode()


@pytest.mark.parametrize("scale", [10**9, -(10**9), "2", None, 401])
def test_a_scale_that_makes_no_number_makes_no_decimal(scale: Any) -> None:
    assert logical_converter("bytes", {"type": "bytes", "logicalType": "decimal", "scale": scale}) is None


@pytest.mark.parametrize(
    ("kind", "logical"), [("string", "uuid"), ("long", "date"), ("int", "new"), ("int", None)]
)
def test_what_needs_no_change_has_no_converter(kind: str, logical: str | None) -> None:
    assert logical_converter(kind, {"type": kind, "logicalType": logical}) is None


def test_logical_types_are_taken_out_at_any_depth() -> None:
    schema = {"type": "array", "items": ["null", {"type": "int", "logicalType": "date"}]}
    assert without_logical_types(schema) == {"type": "array", "items": ["null", {"type": "int"}]}
