from __future__ import annotations

import json
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braze_etl.mapping.limits import read_json

LONG = "98765432109876543210"


@given(
    st.text("0123456789-.e\u0663 ", max_size=60),
    st.integers(-(10**60), 10**60),
    st.text(max_size=60),
)
def test_an_integer_keeps_its_digits_wherever_it_stands(before: str, number: int, after: str) -> None:
    value, _ = read_json(json.dumps({"before": before, "k": [{"n": number}], "after": after}))
    assert value == {"before": before, "k": [{"n": number}], "after": after}
    assert type(value["k"][0]["n"]) is int


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_are_what_they_were(number: float) -> None:
    text = json.dumps({"k": number, "id": LONG})
    assert read_json(text)[0] == orjson.loads(text)


@pytest.mark.parametrize("shift", range(20))
@pytest.mark.parametrize("digits", ["1000000000000000000", "9" * 19, LONG])
def test_nineteen_digits_are_seen_wherever_they_begin(shift: int, digits: str) -> None:
    assert read_json(" " * shift + digits) == (int(digits), False)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"price": 19.99, "at": 1790000123}',
        '{"id": "1790000123-1790000123-1790000123"}',
        "[" * 60 + "]" * 60,
    ],
)
def test_what_has_no_long_number_is_read_once(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braze_etl.mapping.limits._read_loosely", lambda _: pytest.fail("read again"))
    assert read_json(text) == (json.loads(text), True)


@pytest.mark.parametrize("text", [None, 12, "", "{bad", "[" * 5000, f'{{"k": {LONG}'])
def test_what_can_not_be_read_is_nothing(text: Any) -> None:
    assert read_json(text) == (None, False)


def test_depth_is_no_matter_beside_a_long_number() -> None:
    text = "[" * 600 + LONG + "]" * 600
    assert re.fullmatch(r"\[+" + LONG + r"\]+", json.dumps(read_json(text)[0]))
