from __future__ import annotations

import math
import struct
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from braze_etl.braze.currents.values import shortest_float32


def _float32(number: float) -> float:
    value: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return value


def _packs_to(number: float, packed: bytes) -> bool:
    try:
        return struct.pack("<f", number) == packed
    except OverflowError:
        return False


def _digits(number: float) -> int:
    return len(Decimal(repr(number)).normalize().as_tuple().digits)


def _fewest_digits(value: float) -> int:
    """The fewest digits of any number that packs to the same bytes: the two nearest of each length tried."""
    packed = struct.pack("<f", value)
    with localcontext(prec=200):
        exact = Decimal(value)
        for digits in range(1, 10):
            unit = Decimal(1).scaleb(exact.adjusted() - digits + 1)
            for rounding in (ROUND_FLOOR, ROUND_CEILING):
                if _packs_to(float(exact.quantize(unit, rounding)), packed):
                    return digits
    raise AssertionError


@pytest.mark.parametrize(
    "meant",
    [0.0, 0.1, 3.14, 19.99, 123456.78, 1e-45, 1.1754944e-38, 3.4028235e38, 16777216.0, 5.0, 52.520008, -0.07],
)
def test_the_number_that_was_meant_comes_back(meant: float) -> None:
    assert shortest_float32(_float32(meant)) == meant


@settings(max_examples=2000, deadline=None)
@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@example(2.0**-96)
@example(2.0**87)
@example(-(2.0**90))
@example(2.0**-149)
def test_it_packs_to_the_same_bytes_and_no_shorter_number_does(value: float) -> None:
    short = shortest_float32(value)
    assert struct.pack("<f", short) == struct.pack("<f", value)
    if value:
        assert _digits(short) == _fewest_digits(value)


def test_every_power_of_two_is_as_short_as_can_be() -> None:
    for exponent in range(-149, 128):
        value = math.ldexp(1.0, exponent)
        assert _digits(shortest_float32(value)) == _fewest_digits(value)


def test_what_is_no_number_stays_as_it_is() -> None:
    assert math.isnan(shortest_float32(math.nan))
    assert shortest_float32(-math.inf) == -math.inf
    assert math.copysign(1, shortest_float32(-0.0)) == -1
