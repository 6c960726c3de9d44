"""ACCEPTANCE.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
_NAMED = re.compile(r"`(?:(?P<file>[\w/]+\.py)(?:::)?)?(?P<name>[\w:]*?)(?:_?\.\.\.)?`")


def named() -> list[tuple[str, str]]:
    """Each file and test that the table names; a test without a file stands in the file before it."""
    found, file = [], ""
    for match in _NAMED.finditer((_TESTS / "ACCEPTANCE.md").read_text()):
        file = match["file"] or file
        if match["file"] or match["name"].startswith("test_"):
            found.append((file, match["name"]))
    return found


def test_the_table_names_tests() -> None:
    assert len(named()) > 30


@pytest.mark.parametrize(("file", "name"), named())
def test_every_test_that_is_named_is_there(file: str, name: str) -> None:
    text = (_TESTS / file).read_text()
    for part in name.split("::"):
        assert re.search(rf"(def|class) {part}", text) or not part
