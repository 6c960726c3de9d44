"""`make bench`: everything measured in one run, printed, and written to docs/benchmarks.md."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from tests.bench import aims, page
from tests.bench.contenders import all_contenders, not_installed
from tests.bench.costs import measure_rules
from tests.bench.delivery import ROOT, Contender, Export, deliver, make_export
from tests.bench.figures import Figures, Say, take_turns
from tests.bench.machine import description, peers_python
from tests.bench.process import BenchError
from tests.bench.scenarios import FULL, Scale, measure_others

SHAPES = {"opens": "email opens of 30 fields", "custom": "custom events"}
_FILES = 10
_WIDTH = 140
_PAGE = ROOT / "docs/benchmarks.md"


@dataclass(frozen=True, slots=True)
class Contest:
    """All contenders over one export."""

    shape: str
    export: Export
    by_name: dict[str, Figures]


def warm_up(work: Path, contenders: Sequence[Contender]) -> None:
    """Let each contender deliver a few events, so that the modules of all are compiled, as when installed."""
    few = make_export(work / "warm-up", 10, 10)
    for contender in contenders:
        deliver(contender, few)


def compete(work: Path, contenders: Sequence[Contender], scale: Scale, say: Say) -> list[Contest]:
    """Let the *contenders* take turns over an export of each shape, made in *work*."""
    size = -(-scale.events // _FILES)
    exports = {shape: make_export(work / shape, scale.events, size, shape=shape) for shape in SHAPES}
    pairs = [(contender, export) for export in exports.values() for contender in contenders]
    figures = iter(take_turns(pairs, scale.rounds, say))
    return [
        Contest(shape, export, {contender.name: next(figures) for contender in contenders})
        for shape, export in exports.items()
    ]


def main() -> int:
    """Measure (`EVENTS`, `ROUNDS`, `ONLY` from the environment), print the tables, and write the page.

    The exit code is 0 whether or not the aims are reached, and 1 when something was not delivered.
    """
    console = Console(width=_WIDTH, highlight=False)
    scale = Scale(int(os.environ.get("EVENTS", FULL)), int(os.environ.get("ROUNDS", "3")))
    only = os.environ.get("ONLY", "")
    if only not in {"", "rules"}:
        console.print(f"ONLY={only}: there is no such part; the one that can be measured alone is rules")
        return 2
    try:
        _write(_PAGE, scale, console, only=only)
    except BenchError as error:
        console.print(str(error), markup=False, style="red")
        return 1
    return 0


def _write(path: Path, scale: Scale, console: Console, *, only: str) -> None:
    folder = ROOT / ".bench"
    folder.mkdir(exist_ok=True)
    if only:
        tables = [_rules(folder, scale, console.print)]
        path.write_text(page.with_table(path.read_text(), tables[0]))
    else:
        tables, machine, skipped = measure(folder, scale, console.print)
        path.write_text(page.document(tables, machine, skipped))
    for table in tables:
        page.show(table, console)


def _rules(folder: Path, scale: Scale, say: Say) -> page.Table:
    with TemporaryDirectory(dir=folder) as work:
        return page.rules(measure_rules(Path(work), scale, say))


def measure(folder: Path, scale: Scale, say: Say) -> tuple[list[page.Table], list[str], list[str]]:
    """Measure everything in *folder*: the tables, the machine, and the contenders that were left out."""
    machine = description()
    python = peers_python(folder) or Path(sys.executable)
    absent = not_installed(python)
    for name in sorted(absent):
        say(f"skipped, not installed: {name}")
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        return _tables(work, all_contenders(python, absent), scale, say), machine, sorted(absent)
    finally:
        shutil.rmtree(work)


def _tables(work: Path, contenders: Sequence[Contender], scale: Scale, say: Say) -> list[page.Table]:
    warm_up(work, contenders)
    contests = compete(work, contenders, scale, say)
    others = measure_others(work, scale, contests[0].export, say)
    reached = [aim for each in contests for aim in aims.aims_of_shape(each.shape, each.by_name)]
    return [
        *(page.contest(SHAPES[each.shape], scale.events, each.by_name) for each in contests),
        page.other_figures(others),
        page.aims_table([*reached, *aims.aims_of_others(others)]),
        _rules(work, scale, say),
    ]


if __name__ == "__main__":
    sys.exit(main())
