"""The figures to reach, as ratios within one run, and whether they were reached."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.bench.contenders import DECODE, DLT, NAIVE, ONE, POOL, SDK, TWO
from tests.bench.figures import Figures
from tests.bench.scenarios import Others

MOST_MB = 130
_FLAT_MB = 35  # allocators are noisy


@dataclass(frozen=True, slots=True)
class Aim:
    """What is aimed at: to reach `target`, or with `at_most` to stay below it."""

    what: str
    target: float
    got: float
    unit: str = "x"
    at_most: bool = False

    @property
    def reached(self) -> bool:
        """Whether the aim was reached."""
        return self.got <= self.target if self.at_most else self.got >= self.target

    @property
    def verdict(self) -> str:
        """`reached`, or by which share of the target it was missed."""
        if self.reached:
            return "reached"
        return f"missed by {abs(self.got - self.target) / self.target:.0%}"

    def shown(self, value: float) -> str:
        """A value with its unit."""
        digits = 0 if self.unit in {"MB", "events/s"} else 2
        return f"{value:,.{digits}f}{'' if self.unit == 'x' else ' '}{self.unit}"


def aims_of_shape(shape: str, by_name: Mapping[str, Figures]) -> Iterator[Aim]:
    """The ratios between the contenders for one shape of data; those who did not take part have none."""
    one, two = by_name[ONE], by_name[TWO]
    yield Aim(f"{shape}: 1 worker / naive, CPU", 2.0, by_name[NAIVE].cpu.middle / one.cpu.middle)
    ratios = (
        ("1 worker / naive, wall", NAIVE, one, 2.0),
        ("1 worker / fastavro decoding alone, wall", DECODE, one, 1.0),
        ("2 workers / naive, wall", NAIVE, two, 3.5),
        ("2 workers / careful pool, wall", POOL, two, 1.75),
        ("2 workers / Amplitude SDK, wall", SDK, two, 10.0),
        ("2 workers / dlt, wall", DLT, two, 10.0),
    )
    for what, other, mine, target in ratios:
        if other in by_name:
            yield Aim(f"{shape}: {what}", target, by_name[other].wall.middle / mine.wall.middle)
    first = max(figures.of(lambda delivery: delivery.first).middle for figures in (one, two))
    yield Aim(f"{shape}: start to first request", 1.0, first, "s", at_most=True)


def aims_of_others(others: Others) -> Iterator[Aim]:
    """The aims that the other measurements answer."""
    small, large = others.small_and_large_files
    yield Aim("rate of files of 40 / files of 20,000 records", 0.6, small.rate.middle / large.rate.middle)
    yield Aim(
        "200 ms latency, up to 16 requests in flight", 50_000, others.slow_answers.rate.middle, "events/s"
    )
    memory = {"records a file": others.few_and_many_records, "files": others.few_and_many_files}
    for what, (few, many) in memory.items():
        yield Aim(f"peak memory, more {what}", MOST_MB, max(few.peak, many.peak), "MB", at_most=True)
        yield Aim(f"growth of it, more {what}", _FLAT_MB, many.peak - few.peak, "MB", at_most=True)
    yield Aim(
        f"nothing new, {others.ledger_files:,} files in the ledger",
        2.0,
        others.nothing_new.middle,
        "s",
        at_most=True,
    )
