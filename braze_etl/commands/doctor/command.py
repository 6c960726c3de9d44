"""`braze-etl doctor`: every prerequisite, one by one, each with its remedy."""

from __future__ import annotations

import secrets
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from braze_etl.clock import SystemClock
from braze_etl.commands._options import config_option, output_option, required_config, workers_option
from braze_etl.commands._output import plain_table, print_json, stdout_console
from braze_etl.engine.executors.workers import Workers

if TYPE_CHECKING:
    from braze_etl.commands.doctor.check import Check, Examined

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}
_FAILED = 1


@click.command()
@config_option
@click.option(
    "--send-test",
    is_flag=True,
    help="Also send one marked event to Amplitude; each makes a new device there.",
)
@workers_option
@output_option
def doctor(config_path: Path | None, send_test: bool, workers: Workers | None, output: str) -> int:
    """Check every prerequisite one by one, each with its remedy; exit 1 if one fails.

    Reads only, but for a small object that it writes below the prefixes of state and quarantine in S3, and
    removes again. Where workers names a Dask scheduler, each of its machines proves what it needs for work.
    """
    from braze_etl.commands.doctor.amplitude import SEND_TEST
    from braze_etl.commands.doctor.check import examine
    from braze_etl.commands.doctor.site import Site

    config = required_config(config_path)
    site = Site(config, SystemClock(), workers=workers, token=secrets.token_hex(4))
    asked = [check for check in all_checks() if site.scheduler or not check.name.startswith("machines.")]
    found = list(examine((*asked, *([SEND_TEST] if send_test else [])), site))
    counts = Counter(each.finding.status.value for each in found)
    code = _FAILED if counts["fail"] else 0
    if output == "json":
        facts = {
            "exit_code": code,
            "config": str(config.path),
            "counts": {name: counts[name] for name in _STYLES},
        }
        print_json({**facts, "checks": [each.as_dict() for each in found]})
    else:
        _print(found, counts)
    return code


def all_checks() -> tuple[Check, ...]:
    """Every check but `SEND_TEST`, in their order; those of machines are left out where there are to be none.

    They read, with one exception: an object `probe/...` below the prefixes of state and quarantine, where
    these are in S3, which is removed again.
    """
    from braze_etl.commands.doctor import amplitude, ledger, machines, monitoring, setup, source, stores

    rooms = (setup, source, stores, ledger, amplitude, machines, monitoring)
    return tuple(check for room in rooms for check in room.CHECKS)


def _print(found: list[Examined], counts: Counter[str]) -> None:
    console, table = stdout_console(), plain_table("", "check", "seen, and what to do")
    for each in found:
        finding = each.finding
        status = finding.status.value
        if status == "skipped":
            continue
        table.add_row(f"[{_STYLES[status]}]{status}[/]", each.name, escape(finding.seen))
        if finding.remedy:
            table.add_row("", "", f"[bold]->[/] {escape(finding.remedy)}")
    console.print(table)
    left = ", ".join(
        f"{each.name} ({each.finding.seen})" for each in found if each.finding.status == "skipped"
    )
    if left:
        console.print(f"\nskipped: {left}", markup=False)
    words = ("ok", "warnings", "failed", "skipped")
    numbers = (f"{counts[name]} {word}" for name, word in zip(_STYLES, words, strict=True))
    console.print(f"\n{len(found)} checks: {', '.join(numbers)}")
