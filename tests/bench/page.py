"""The tables: the same for the terminal and for docs/benchmarks.md."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table as RichTable

from tests.bench.aims import Aim
from tests.bench.contenders import NAIVE
from tests.bench.costs import Cost, Costs
from tests.bench.figures import Figures
from tests.bench.scenarios import IN_FLIGHT, LATENCY, Others

RULES = "What each rule of a mapping costs"
_HOW = """\
Every contender is a whole process, from its start to its end, over the same files. All take turns in
one run; a cell is the median (least-most). Each delivery goes to a sink process of its own on the same
machine, which afterwards names the ids that it got: every expected one, none missing, none else; a
delivery that is not complete ends the benchmark. CPU includes child processes, not the sink. Memory is
the peak of the largest process. The two scripts, the SDK and dlt share one hand-written mapping, which
gives the same events as this program. Before the first round each contender delivers ten events, so that
nobody's modules are compiled while it is measured. The SDK and dlt run once. Single differences under 25 %
mean nothing."""

_RULES_HOW = """\
CPU time of reading and mapping alone, in one process over a file in memory; nothing is sent. Each rule takes
turns with the plain native mapping, over {events:,} records of each type in {rounds} rounds: the median of
the ratios, and the nanoseconds a record took. The row below the plain mapping is that mapping against itself:
differences as small mean nothing. "same code": what is generated for that type is the same letter by
letter, with the rule and without it. `make bench ONLY=rules` writes this table alone."""


@dataclass(frozen=True, slots=True)
class Table:
    """Words in rows; the first column is text, the others are figures. `words` stand before it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: str = ""


def contest(shape: str, events: int, by_name: Mapping[str, Figures]) -> Table:
    """Who took what for one shape of data."""
    naive = by_name[NAIVE].wall.middle
    rows = [
        [
            name,
            figures.wall.text(),
            figures.cpu.text(),
            f"{figures.rate.middle:,.0f}",
            f"{naive / figures.wall.middle:.2f}",
            f"{figures.peak:,.0f}",
            f"{figures.of(lambda delivery: delivery.sink_cpu).middle:.2f}",
            str(len(figures.deliveries)),
        ]
        for name, figures in by_name.items()
    ]
    header = ["contender", "wall, s", "CPU, s", "events/s", "x naive", "peak MB", "sink's CPU, s", "runs"]
    return Table(f"{events:,} events, {shape}", header, rows)


def other_figures(others: Others) -> Table:
    """The other measurements, all with 2 workers."""
    on, off = others.gzip_on_and_off
    small, large = others.small_and_large_files
    slow = others.slow_answers
    flight = max(delivery.most_at_once for delivery in slow.deliveries)
    rows = [
        _row("files of 40 records", small),
        _row("files of 20,000 records", large),
        _row(f"{LATENCY * 1000:.0f} ms latency, {flight} of {IN_FLIGHT} requests in flight", slow),
        _row("gzip on", on),
        _row("gzip off", off),
        *_sized("records a file", others.few_and_many_records),
        *_sized("files", others.few_and_many_files),
        [f"nothing new, {others.ledger_files:,} files in the ledger", others.nothing_new.text(), "", "", ""],
    ]
    return Table("Other measurements, 2 workers", ["what", "wall, s", "CPU, s", "events/s", "peak MB"], rows)


def aims_table(aims: Sequence[Aim]) -> Table:
    """Each aim beside what was measured."""
    rows = [
        [
            aim.what,
            f"{'<=' if aim.at_most else '>='} {aim.shown(aim.target)}",
            aim.shown(aim.got),
            aim.verdict,
        ]
        for aim in aims
    ]
    return Table("Figures to reach, as ratios within this run", ["what", "aim", "measured", ""], rows)


def rules(costs: Costs) -> Table:
    """What each rule of a mapping costs a record, by type of event."""
    header = ["rule", *(word for name in costs.plain for word in (name, "ns"))]
    plain = [word for taken in costs.plain.values() for word in ("1.00", f"{taken:,.0f}")]
    rows = [
        [name, *(word for shape in costs.plain for word in _cost(by_shape[shape]))]
        for name, by_shape in costs.rules.items()
    ]
    words = f"{_RULES_HOW.format(events=costs.events, rounds=costs.rounds)} Measured on {_now()} UTC."
    return Table(RULES, header, [["the plain native mapping", *plain], *rows], words)


def _cost(cost: Cost | None) -> tuple[str, str]:
    return ("same code", "") if cost is None else (f"{cost.ratio:.2f}", f"{cost.nanoseconds:,.0f}")


def show(table: Table, console: Console) -> None:
    """Print the table, aligned."""
    rich = RichTable(title=table.title, title_justify="left")
    for index, name in enumerate(table.header):
        rich.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in table.rows:
        rich.add_row(*row)
    console.print(rich)


def document(tables: Sequence[Table], machine: Sequence[str], skipped: Sequence[str]) -> str:
    """docs/benchmarks.md."""
    notes = [*machine, *(f"not measured, as it could not be installed: {name}" for name in skipped)]
    parts = [
        "# Benchmarks",
        f"Written by `make bench` on {_now()} UTC.",
        "\n".join(f"- {line}" for line in notes),
        _HOW,
        *map(_section, tables),
    ]
    return "\n\n".join(parts) + "\n"


def with_table(document: str, table: Table) -> str:
    """The page with *table* in the place of the one of its title, or at its end."""
    parts = [part.strip() for part in re.split(r"(?m)^(?=## )", document)]
    titles = [part.partition("\n")[0] for part in parts]
    title = f"## {table.title}"
    place = titles.index(title) if title in titles else len(parts)
    return "\n\n".join([*parts[:place], _section(table), *parts[place + 1 :]]) + "\n"


def _section(table: Table) -> str:
    return "\n\n".join(filter(None, [f"## {table.title}", table.words, "\n".join(_markdown(table))]))


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M}"


def _markdown(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(table.header)} |"
    yield f"|---|{'--:|' * (len(table.header) - 1)}"
    for row in table.rows:
        yield f"| {' | '.join(row)} |"


def _row(what: str, figures: Figures) -> list[str]:
    rate = f"{figures.rate.middle:,.0f}"
    return [what, figures.wall.text(), figures.cpu.text(), rate, f"{figures.peak:,.0f}"]


def _sized(of_what: str, pair: tuple[Figures, Figures]) -> Iterator[list[str]]:
    for size, figures in zip(("few", "many"), pair, strict=True):
        yield _row(f"{size} {of_what} ({figures.deliveries[0].events:,} events)", figures)
