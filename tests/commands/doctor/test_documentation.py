"""docs/troubleshooting.md says what is checked."""

from __future__ import annotations

import re
from pathlib import Path

from braze_etl.commands.doctor.amplitude import SEND_TEST
from braze_etl.commands.doctor.command import all_checks

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "troubleshooting.md").read_text()
NAMES = {check.name for check in (*all_checks(), SEND_TEST)}


def first_column(text: str) -> set[str]:
    return {
        name
        for row in re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    }


def test_every_check_is_documented_and_no_other() -> None:
    assert first_column(PAGE.partition("## All checks")[2]) == NAMES


def test_every_check_comes_behind_those_that_it_needs() -> None:
    seen: set[str] = set()
    for check in (*all_checks(), SEND_TEST):
        assert seen >= set(check.needs), check.name
        seen.add(check.name)
