"""docs/architecture.md draws what is there."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/architecture.md").read_text()
LIFE = PAGE.partition("## The life of an event")[2].partition("## ")[0]
TREE = PAGE.partition("## The tree")[2].partition("## ")[0]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([a-z_]+/[a-z_/]*)`", LIFE))))
def test_every_module_that_an_event_passes_is_there(path: str) -> None:
    name = path.rstrip("/") + ("" if path.endswith("/") else ".py")
    assert any((ROOT / "braze_etl").rglob(name))


def test_the_tree_has_every_room_and_no_other() -> None:
    rooms = {path.name for path in (ROOT / "braze_etl").iterdir() if (path / "__init__.py").is_file()}
    assert set(re.findall(r"^  ([a-z]+)/", TREE, re.MULTILINE)) == rooms


def test_the_tree_has_every_module_of_the_engine() -> None:
    engine = TREE.partition("  engine/")[2].partition("\n  mapping/")[0]
    modules = {path.stem for path in (ROOT / "braze_etl/engine").glob("[a-z]*")}
    assert modules - set(re.findall(r"[a-z_]+", engine)) == set()
