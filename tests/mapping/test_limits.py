"""What Amplitude can't take, value by value; the whole way is in the test_limits of the compiled reader."""

from __future__ import annotations

from collections import Counter
from math import inf, nan
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from braze_etl.mapping.limits import MAX_DEPTH, depth_of, fit, mend, mend_event

VALUES = [
    ("x" * 1024, "x" * 1024, {}),
    ("x" * 1025, "x" * 1024, {"text_cut": 1}),
    ("ö" * 1025, "ö" * 1024, {"text_cut": 1}),
    ("a\0b\0", "ab", {"nul_removed": 1}),
    ("half \ud83d pair", "half \ufffd pair", {"surrogates_replaced": 1}),
    ("whole \U0001f600 pair", "whole \U0001f600 pair", {}),
    ("\0" + "x" * 1025, "x" * 1024, {"nul_removed": 1, "text_cut": 1}),
    (2**53 - 1, 2**53 - 1, {}),
    (1 - 2**53, 1 - 2**53, {}),
    (2**53, "9007199254740992", {"integer_as_text": 1}),
    (-(2**63), "-9223372036854775808", {"integer_as_text": 1}),
    (True, True, {}),
    (1e300, 1e300, {}),
    (nan, None, {"number_left_out": 1}),
    (-inf, None, {"number_left_out": 1}),
    (None, None, {}),
    ([nan, 1, None, "x" * 1025], [1, None, "x" * 1024], {"number_left_out": 1, "text_cut": 1}),
    ({"a": inf, "b": None, "c": [{"d": 2**60}]}, {"b": None, "c": [{"d": str(2**60)}]},
     {"number_left_out": 1, "integer_as_text": 1}),
    ({"k\0" + "y" * 1024: 1}, {"k" + "y" * 1023: 1}, {"nul_removed": 1, "text_cut": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("value", "mended", "repairs"), VALUES, ids=repr)
def test_a_value_is_mended_and_each_repair_is_counted(
    value: Any, mended: Any, repairs: dict[str, int]
) -> None:
    counted: Counter[str] = Counter()
    assert mend(value, counted) == mended
    assert counted == repairs
    orjson.dumps(mended, option=orjson.OPT_STRICT_INTEGER)


@pytest.mark.parametrize("value", ["short", "x" * 1025, 7, 2**60, 2.5, True, None, ["x" * 1025, 2**60]])
def test_what_is_looked_at_in_every_value_comes_out_as_if_it_were_mended(value: Any) -> None:
    fitted, mended = Counter[str](), Counter[str]()
    assert fit(value, fitted) == mend(value, mended)
    assert fitted == mended


def test_an_event_is_mended_in_its_place_with_its_keys_in_order() -> None:
    event = {"user_id": "a\0nna", "time": 1, "event_properties": {"b\0": 2**60, "c": {"d": "\ud800"}}}
    repairs: Counter[str] = Counter()
    mend_event(event, repairs)
    assert event == {
        "user_id": "anna",
        "time": 1,
        "event_properties": {"b": str(2**60), "c": {"d": "\ufffd"}},
    }
    assert list(event) == ["user_id", "time", "event_properties"]
    assert repairs == {"nul_removed": 2, "integer_as_text": 1, "surrogates_replaced": 1}
    mend_event(event, repairs)
    assert sum(repairs.values()) == 4


@pytest.mark.parametrize(
    ("value", "depth"), [(1, 0), ([], 1), ({"a": 1}, 1), ({"a": [1, {"b": 2}], "c": {}}, 3), ([[[]]], 3)]
)
def test_depth_counts_objects_and_lists(value: Any, depth: int) -> None:
    assert depth_of(value) == depth


TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(["x" * 1025, "\0", "\ud800", "\udfff"])
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(ANYTHING)
def test_whatever_is_mended_is_json_that_every_reader_keeps_and_is_mended_once(value: Any) -> None:
    repairs: Counter[str] = Counter()
    mended = mend(value, repairs)
    assert orjson.loads(orjson.dumps(mended, option=orjson.OPT_STRICT_INTEGER)) == mended
    assert b"\\u0000" not in orjson.dumps(mended)
    again: Counter[str] = Counter()
    assert mend(mended, again) == mended
    assert not again
    if not repairs:
        assert mended == value
    assert depth_of(mended) <= max(depth_of(value), MAX_DEPTH)
