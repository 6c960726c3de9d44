"""One delivery, measured and proved: a contender, an export, a fresh sink."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from urllib.request import urlopen

from fixtures.generate import ExportSpec, generate
from tests.bench.process import BenchError, Ran, background, run

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Export:
    """A folder of Currents files; `ids` is a file with the id of each record, one a line."""

    folder: Path
    events: int
    ids: Path = field(repr=False)

    def expected(self) -> Counter[str]:
        """How often each id was written."""
        return Counter(self.ids.read_text().split())


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that delivers an export: its command for a folder to work in, an export and a URL."""

    name: str
    command: Callable[[Path, Export, str], Sequence[str]]
    sends: bool = True
    slow: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What it took to deliver `events`, proved; `first` is seconds from start to the first request."""

    ran: Ran
    events: int
    first: float
    most_at_once: int
    sink_cpu: float

    @property
    def rate(self) -> float:
        """Events per second of wall time."""
        return self.events / self.ran.wall


def make_export(folder: Path, events: int, records_per_file: int, **options: Any) -> Export:
    """Generate *events* distinct records, each to be sent."""
    lines = folder.with_suffix(".ndjson")
    usual: dict[str, Any] = {"hours": 1, "shape": "opens", "anonymous": 0.0, "duplicates": 0.0}
    generate(
        folder,
        ExportSpec(events=events, records_per_file=records_per_file, ids_out=lines, **{**usual, **options}),
    )
    ids = folder.with_suffix(".ids")
    with lines.open() as source, ids.open("w") as out:
        out.writelines(f"{json.loads(line)['id']}\n" for line in source)
    lines.unlink()
    return Export(folder, events, ids)


def deliver(contender: Contender, export: Export, *, latency: float = 0.0) -> Delivery:
    """Let *contender* deliver *export* to a sink of its own; raises `BenchError` when an event is missing."""
    sink = [sys.executable, "-m", "tests.bench.sink", "--latency", str(latency)]
    place = Path(mkdtemp(dir=export.folder.parent))
    try:
        with background(sink, cwd=ROOT) as url:
            ran = run(
                contender.command(place, export, url),
                cwd=place,
                environ={"PYTHONPATH": str(ROOT), **contender.environ},
            )
            facts = json.loads(ask(f"{url}/facts"))
            if contender.sends:
                prove(contender.name, export.expected(), Counter(ask(f"{url}/ids").decode().split()))
    finally:
        shutil.rmtree(place)
    first = (facts["first"] or ran.started) - ran.started
    return Delivery(ran, export.events, first, facts["most_at_once"], facts["cpu"])


def prove(name: str, expected: Counter[str], arrived: Counter[str]) -> None:
    """Check that the sink got each expected event as often as it was written, and no other one."""
    missing, strange = expected - arrived, arrived - expected
    if missing or strange:
        raise BenchError(
            f"{name} did not deliver what it should: of {expected.total():,} events {missing.total():,} are"
            f" missing at the sink (such as {next(iter(missing), 'none')}), and {strange.total():,} too many"
            f" came (such as {next(iter(strange), 'none')})."
        )


def ask(url: str) -> bytes:
    """The answer of the sink to a question."""
    with urlopen(url, timeout=60) as answer:
        content: bytes = answer.read()
    return content
