"""docs/modules.md lists every module, and docs/architecture.md every room."""

from __future__ import annotations

import re

from tests.reference.modules import PACKAGE, PAGE, modules

ARCHITECTURE = (PAGE.parent / "architecture.md").read_text()


def test_the_page_is_what_the_docstrings_say() -> None:
    assert PAGE.read_text() == modules(), "run `make reference`"


def test_every_module_says_what_it_is() -> None:
    assert re.findall(r"^\| `(\w+)` \|  \|$", modules(), re.MULTILINE) == []


def test_every_room_stands_in_the_architecture() -> None:
    rooms = {path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*/__init__.py")} - {"."}
    missing = {room for room in rooms if f"{room.rpartition('/')[2]}/" not in ARCHITECTURE}
    assert missing == set()


def test_every_module_that_the_architecture_names_is_there() -> None:
    folders = {path.name for path in PACKAGE.rglob("*") if path.is_dir()}
    dotted = re.findall(r"`((?:\w+\.)+\w+)`", ARCHITECTURE)
    named = {name for name in dotted if name.partition(".")[0] in folders and not name.endswith(".uri")}
    assert len(named) > 10
    for name in named:
        first, second, *_ = name.split(".")
        places = [folder / second for folder in PACKAGE.rglob(first) if folder.is_dir()]
        exported = [(place.parent / "__init__.py").read_text() for place in places]
        assert any(
            place.with_suffix(".py").exists() or place.is_dir() or second in text
            for place, text in zip(places, exported, strict=True)
        ), name
