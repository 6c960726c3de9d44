"""The other measurements: small files, latency, memory, gzip, and a run with nothing new."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.bench.contenders import TWO, ours, run_command, settings
from tests.bench.delivery import ROOT, Contender, Export, ask, make_export, prove
from tests.bench.figures import Figures, Say, Series, take_turns
from tests.bench.process import background, run

FULL = 500_000
"""Events of a contest: so many that the start of a process, which is measured apart, hides nothing."""
LATENCY = 0.2
IN_FLIGHT = 16
_LINKS = 10_000  # of one file: file systems have a limit


@dataclass(frozen=True, slots=True)
class Scale:
    """How large everything is: a contest of *events*, and the other sizes in full from `FULL` events on."""

    events: int
    rounds: int

    def of(self, size: int) -> int:
        """That size, or with fewer events a part of it."""
        return max(1, size * min(self.events, FULL) // FULL)


@dataclass(frozen=True, slots=True)
class Others:
    """What the other measurements gave; each pair stands for its two cases in the order of its name."""

    small_and_large_files: tuple[Figures, Figures]
    slow_answers: Figures
    few_and_many_records: tuple[Figures, Figures]
    few_and_many_files: tuple[Figures, Figures]
    gzip_on_and_off: tuple[Figures, Figures]
    nothing_new: Series
    ledger_files: int


def measure_others(work: Path, scale: Scale, opens: Export, say: Say) -> Others:
    """Make the exports in *work*, and run this program with 2 workers over each."""
    two = ours(TWO, 2)
    small, large = _small_and_large_files(work, scale)
    known = scale.of(100_000)
    return Others(
        small_and_large_files=_pair([(two, small), (two, large)], scale.rounds, say),
        slow_answers=_slow_answers(work, scale, say),
        few_and_many_records=_pair([(two, export) for export in _by_records(work, scale)], 1, say),
        few_and_many_files=_pair([(two, export) for export in _by_files(work, scale)], 1, say),
        gzip_on_and_off=_pair(
            [(ours(f"{TWO}, gzip {on}", 2, gzip=on), opens) for on in (True, False)], scale.rounds, say
        ),
        nothing_new=_nothing_new(work, known, scale.rounds, say),
        ledger_files=known,
    )


def _pair(pairs: Sequence[tuple[Contender, Export]], rounds: int, say: Say) -> tuple[Figures, Figures]:
    one, other = take_turns(pairs, rounds, say)
    return one, other


def _small_and_large_files(work: Path, scale: Scale) -> tuple[Export, Export]:
    events = scale.of(200_000)
    return make_export(work / "files-of-40", events, 40), make_export(work / "files-of-20000", events, 20_000)


def _by_records(work: Path, scale: Scale) -> Iterator[Export]:
    for records in (scale.of(10_000), scale.of(100_000)):
        yield make_export(work / f"records-{records}-a-file", 4 * records, records)


def _by_files(work: Path, scale: Scale) -> Iterator[Export]:
    for files in (10, scale.of(10_000)):
        yield make_export(work / f"files-{files}", 40 * files, 40)


def _slow_answers(work: Path, scale: Scale, say: Say) -> Figures:
    export = make_export(work / "slow-answers", scale.of(400_000), 10_000)
    contender = ours(f"{TWO}, {LATENCY * 1000:.0f} ms", 2, concurrency=IN_FLIGHT)
    return take_turns([(contender, export)], scale.rounds, say, latency=LATENCY)[0]


def _nothing_new(work: Path, files: int, rounds: int, say: Say) -> Series:
    """Seconds of a run that lists *files* files, all of which the ledger has as done."""
    begin = datetime.now(UTC) - timedelta(hours=25)
    export = make_export(work / "known", 1, 1, start=begin)
    _multiply(export.folder, begin, files)
    place = work / "known-place"
    place.mkdir()
    sink = [sys.executable, "-m", "tests.bench.sink"]
    with background(sink, cwd=ROOT) as url:
        configuration = settings(export, url)
        configuration["source"]["start_at"] = f"{begin:%Y-%m-%dT%H}"
        command = run_command(place, configuration, 2)
        filling = run(command, cwd=place).wall
        (event,) = export.expected()
        prove("filling the ledger", Counter({event: files}), Counter(ask(f"{url}/ids").decode().split()))
        say(f"{files:,} files into the ledger: {filling:.1f} s")
        before = json.loads(ask(f"{url}/facts"))["requests"]
        walls = tuple(run(command, cwd=place).wall for _ in range(rounds))
        assert json.loads(ask(f"{url}/facts"))["requests"] == before, "there was something new"
    shutil.rmtree(export.folder)
    return Series(walls)


def _multiply(folder: Path, begin: datetime, files: int) -> None:
    """Put the one file of *folder* under *files* keys over 24 hours, as hard links: cheap to make."""
    (original,) = folder.rglob("*.avro")
    hour = f"date={begin:%Y-%m-%d-%H}"
    source = original
    for number in range(1, files):
        hours = timedelta(hours=number % 24)
        text = str(original.parent).replace(hour, f"date={begin + hours:%Y-%m-%d-%H}")
        path = Path(text) / original.name.replace("+0.avro", f"+{number}.avro")
        path.parent.mkdir(parents=True, exist_ok=True)
        if number % _LINKS == 0:
            shutil.copyfile(original, path)
            source = path
        else:
            os.link(source, path)
