from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from braze_etl.mapping.mapper import milliseconds


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1_790_000_123, 1_790_000_123_000),
        (1_790_000_123.4567, 1_790_000_123_457),
        (0, 0),
        (253_402_300_799, 253_402_300_799_000),
    ],
)
def test_seconds_become_whole_milliseconds(seconds: float, expected: int) -> None:
    assert milliseconds(seconds) == expected
    assert isinstance(milliseconds(seconds), int)


@pytest.mark.parametrize("value", [None, True, "1790000123", nan, inf, -inf, -1, 253_402_300_800, 2**63, [1]])
def test_what_is_no_sensible_number_of_seconds_gives_none(value: Any) -> None:
    assert milliseconds(value) is None
