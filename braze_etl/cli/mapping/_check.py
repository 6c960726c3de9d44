"""`braze-etl mapping check FILE...`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape

from braze_etl.cli._options import config_option, output_option
from braze_etl.cli._output import plain_table, print_json, stdout_console
from braze_etl.cli.mapping._force import mapping_in_force

if TYPE_CHECKING:
    from braze_etl.run.tracking import Comparison, Near, PropertyDifferences, Theirs

_DIFFERS = 3
_NOT_SEEN = "not seen in the events"


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@config_option
@output_option
@click.option("--strict", is_flag=True, help="Exit 3 if something differs.")
def check(files: tuple[Path, ...], config_path: Path | None, output: str, *, strict: bool) -> int:
    """Compare the mapping with FILES of a project: a taxonomy as CSV, or events of the Export API.

    Lists the names and properties that only one side has. A difference is an answer and no failure: exit 0.
    """
    from braze_etl.run.tracking import compare, planned, read_theirs

    theirs = read_theirs(files)
    comparison = compare(planned(*mapping_in_force(config_path)), theirs)
    code = _DIFFERS if strict and comparison.differs else 0
    if output == "json":
        facts = {"files": [str(path) for path in files], "events_read": theirs.events_read}
        print_json({"exit_code": code, **facts, **comparison.as_dict()})
    else:
        _print(stdout_console(), comparison, theirs)
    return code


def _print(console: Console, found: Comparison, theirs: Theirs) -> None:
    table = plain_table("difference", "name", "")
    # What exported events merely do not show comes last: it may be no difference at all.
    for kind, name, words in sorted(_rows(found), key=lambda row: row[0].startswith(_NOT_SEEN)):
        table.add_row(kind, escape(name), escape(words))
    if table.row_count:
        console.print(table)
        console.print()
    console.print(_summary(found, theirs))


def _rows(found: Comparison) -> Iterator[tuple[str, str, str]]:
    near = {each.ours: each for each in found.near}
    only_ours = "only ours" if found.is_complete else _NOT_SEEN
    for name in found.only_ours:
        yield only_ours, name, _near_words(near.get(name))
    for name in found.only_theirs:
        yield "only theirs", name, ""
    for name, reason in found.not_sent.items():
        yield "theirs, not sent by us", name, reason
    for event, differences in found.properties.items():
        for kind, name, words in _property_rows(differences, only_ours):
            yield kind, f"{event}: {name}", words


def _property_rows(found: PropertyDifferences, only_ours: str) -> Iterator[tuple[str, str, str]]:
    near = {each.ours: each for each in found.near}
    for name in found.only_ours:
        yield f"{only_ours}, property", name, _near_words(near.get(name))
    for name in found.only_theirs:
        yield "only theirs, property", name, ""
    for name, (own, other) in found.kinds.items():
        yield "another type, property", name, f"{own} with us, {other} with them"


def _near_words(near: Near | None) -> str:
    return "" if near is None else f"near theirs {near.theirs!r}: differs in {near.differs_in}"


def _summary(found: Comparison, theirs: Theirs) -> str:
    only_ours = "only ours" if found.is_complete else _NOT_SEEN
    counts = (
        f"{len(found.only_ours)} names {only_ours}, {len(found.only_theirs)} only theirs, "
        f"{len(found.properties)} events with other properties"
    )
    others = f"; {len(found.others)} events of theirs do not look like Braze's" if found.others else ""
    read = f" ({theirs.events_read:,} events read)" if theirs.events_read else ""
    verdict = counts if found.differs or found.only_ours else "no difference"
    return f"{verdict}{others}{read}"
