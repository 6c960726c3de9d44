"""The table of event fields against amplitude.md, 1.4."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from braze_etl.sandbox.amplitude.events import FIELDS, RESERVED_IDS, depth_within

REFERENCE = Path(__file__).parents[4] / "shared" / "reference" / "amplitude.md"


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"inner": value}
    return value


def section_1_4() -> str:
    if not REFERENCE.exists():
        pytest.skip("../shared/reference/amplitude.md is not there to compare with")
    return REFERENCE.read_text(encoding="utf-8").split("### 1.4 Event fields")[1].split("### 1.5")[0]


def test_every_documented_key_is_known_and_no_other() -> None:
    rows = re.findall(r"^\| (`.*?) \|", section_1_4(), flags=re.MULTILINE)
    documented = {key for row in rows for key in re.findall(r"`([^`]+)`", row)}
    assert set(FIELDS) == documented - {"extra", "delay"}  # the two that are not to be sent


def test_every_documented_reserved_id_is_refused() -> None:
    line = next(line for line in section_1_4().splitlines() if line.startswith("Invalid IDs"))
    named = set(re.findall(r"`([^`]+)`", line))
    assert named | {""} == RESERVED_IDS


def test_depth_counts_objects_and_arrays_from_the_value_itself() -> None:
    assert depth_within(nested(40), 40)
    assert not depth_within(nested(41), 40)
    assert not depth_within({"list": [[1]]}, 2)
    assert depth_within({"list": [[1]]}, 3)
