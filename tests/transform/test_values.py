from __future__ import annotations

from math import inf, nan
from typing import Any

import orjson
import pytest

from braze_etl.transform import explode, milliseconds


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


def test_each_key_of_a_json_object_becomes_a_property_under_the_prefix() -> None:
    text = '{"size": "M", "gift": false, "count": 0, "tags": ["a", null], "deep": {"x": null}, "gone": null}'
    assert explode(text, "[P] ") == {
        "[P] size": "M",
        "[P] gift": False,
        "[P] count": 0,
        "[P] tags": ["a", None],
        "[P] deep": {"x": None},
    }


@pytest.mark.parametrize("text", [None, "{}", '{"gone": null}'])
def test_null_and_empty_objects_give_nothing(text: str | None) -> None:
    assert explode(text, "[P] ") == {}


@pytest.mark.parametrize(
    "text", ["plain words", "[1, 2]", "12", "null", '"text"', '{"a": 1', '{"a": NaN}', "", 12]
)
def test_what_is_no_json_object_goes_whole(text: Any) -> None:
    assert explode(text, "[P] ") == {"properties": text}


@pytest.mark.parametrize(("depth", "whole"), [(40, False), (41, True), (300, True), (2000, True)])
def test_objects_deeper_than_amplitude_takes_go_whole(depth: int, whole: bool) -> None:
    text = '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    found = explode(text, "[P] ")
    assert ("properties" in found) is whole
    orjson.dumps(found)


def test_many_brackets_side_by_side_are_no_depth() -> None:
    text = '{"a": [' + ",".join(["{}"] * 60) + "]}"
    assert explode(text, "[P] ") == {"[P] a": [{}] * 60}
