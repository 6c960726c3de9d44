"""docs/modules.md: every module of the package in a line, which is the first one of its docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "braze_etl"
PAGE = PACKAGE.parent / "docs/modules.md"
_INTRODUCTION = """# Every module

Written by `make reference` from the docstrings; a test fails when the two differ. How the rooms hang
together: [architecture](architecture.md).
"""


def modules() -> str:
    """The whole page."""
    paths = sorted(PACKAGE.rglob("*.py"), key=lambda path: (path.parent.parts, path.name))
    return "\n".join([_INTRODUCTION, *(_room(room, list(files)) for room, files in groupby(paths, _folder))])


def _folder(path: Path) -> Path:
    return path.parent


def _room(room: Path, files: list[Path]) -> str:
    own = room / "__init__.py"
    rows = (f"| `{path.stem}` | {_first_line(path)} |" for path in files if path != own)
    name = room.relative_to(PACKAGE.parent).as_posix()
    return "\n".join([f"## {name}/\n", f"{_first_line(own)}\n", *_table(rows)]) + "\n"


def _table(rows: Iterator[str]) -> list[str]:
    return ["| module | is |", "|---|---|", *rows]


def _first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.partition("\n")[0].replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    PAGE.write_text(modules())
