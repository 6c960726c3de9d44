from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest

from braze_etl.mapping.rules import Explosion, exploder


def explode(text: Any, repairs: Counter[str] | None = None) -> dict[str, Any]:
    counts: Counter[str] = Counter() if repairs is None else repairs
    return exploder(Explosion("properties", "[P] "), counts)(text)


def test_each_key_of_a_json_object_becomes_a_property_under_the_prefix() -> None:
    text = '{"size": "M", "gift": false, "count": 0, "tags": ["a", null], "deep": {"x": null}, "gone": null}'
    assert explode(text) == {
        "[P] size": "M",
        "[P] gift": False,
        "[P] count": 0,
        "[P] tags": ["a", None],
        "[P] deep": {"x": None},
    }


@pytest.mark.parametrize("text", [None, "{}", '{"gone": null}'])
def test_null_and_empty_objects_give_nothing(text: str | None) -> None:
    assert explode(text) == {}


@pytest.mark.parametrize("text", ["plain words", "[1, 2]", "12", "null", '"text"', '{"a": 1', "", 12])
def test_what_is_no_json_object_goes_whole(text: Any) -> None:
    assert explode(text) == {"properties": text}


@pytest.mark.parametrize(("depth", "whole"), [(40, False), (41, True), (300, True), (2000, True)])
def test_objects_deeper_than_amplitude_takes_go_whole(depth: int, whole: bool) -> None:
    text = '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"
    found = explode(text)
    assert ("properties" in found) is whole
    orjson.dumps(found)


def test_many_brackets_side_by_side_are_no_depth() -> None:
    text = '{"a": [' + ",".join(["{}"] * 60) + "]}"
    assert explode(text) == {"[P] a": [{}] * 60}


@pytest.mark.parametrize(
    ("text", "properties", "repair"),
    [
        ('{"a": 1, "b": NaN, "c": [Infinity, 2]}', {"[P] a": 1, "[P] c": [2]}, "number_left_out"),
        ('{"a": "half \\ud83d pair"}', {"[P] a": "half \ufffd pair"}, "surrogates_replaced"),
        (orjson.dumps({"a": "x" * 1025}).decode(), {"[P] a": "x" * 1024}, "text_cut"),
    ],
)
def test_what_is_nearly_json_is_mended_and_counted(
    text: str, properties: dict[str, Any], repair: str
) -> None:
    repairs: Counter[str] = Counter()
    assert explode(text, repairs) == properties
    assert repairs[repair]
    orjson.dumps(explode(text))


def test_a_long_text_that_is_no_json_is_cut() -> None:
    repairs: Counter[str] = Counter()
    assert explode("x" * 2000, repairs) == {"properties": "x" * 1024}
    assert repairs == {"text_cut": 1, "json_left_whole": 1}


@pytest.mark.parametrize("text", ["", "{bad", "[1]", "[" * 60])
def test_what_goes_whole_is_counted(text: str) -> None:
    repairs: Counter[str] = Counter()
    assert explode(text, repairs) == {"properties": text}
    assert repairs == {"json_left_whole": 1}
