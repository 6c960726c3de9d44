"""`braze-etl mapping`: the mapping in force, and its difference to what a project has."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson
from rich.console import Console
from rich.markup import escape

from braze_etl.commands._options import checked_config, config_option, output_option
from braze_etl.commands._output import facts_table, plain_table, print_json, stdout_console
from braze_etl.errors import UsageError
from braze_etl.quoting import visible

_DIFFERS = 3
_NOT_SEEN = "not seen in the events"


if TYPE_CHECKING:
    from braze_etl.mapping.mapping import EventMapping


def mapping_in_force(config_path: Path | None) -> tuple[EventMapping, Callable[[str], bool]]:
    """Load it, and with it whether the source has files of an event type."""
    from braze_etl.flows.currents_to_amplitude.mapping import load_mapping
    from braze_etl.flows.currents_to_amplitude.source import selection
    from braze_etl.mapping.mapping import EventMapping
    from braze_etl.mapping.settings import MappingSection

    if config_path is None:
        return EventMapping.load(MappingSection()), lambda _: True
    settings = checked_config(config_path).require("mapping", "source.event_types")
    return load_mapping(settings), selection(settings.source).matches_event_type


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
    from braze_etl.commands.mapping.compare import compare
    from braze_etl.commands.mapping.taxonomy import read_taxonomy
    from braze_etl.commands.mapping.tracking_plan import planned

    theirs = read_taxonomy(files)
    comparison = compare(planned(*mapping_in_force(config_path)), theirs)
    code = _DIFFERS if strict and comparison["differs"] else 0
    if output == "json":
        facts = {"files": [str(path) for path in files], "events_read": theirs.events_read}
        print_json({"exit_code": code, **facts, **comparison})
    else:
        _print(stdout_console(), comparison, theirs.events_read)
    return code


def _print(console: Console, found: dict[str, Any], events_read: int) -> None:
    only_ours = "only ours" if found["complete"] else _NOT_SEEN
    table = plain_table("difference", "name", "")
    # What exported events merely do not show comes last: it may be no difference at all.
    for kind, name, words in sorted(_rows(found, only_ours), key=lambda row: row[0].startswith(_NOT_SEEN)):
        table.add_row(kind, escape(name), escape(words))
    if table.row_count:
        console.print(table)
        console.print()
    counts = (
        f"{len(found['only_ours'])} names {only_ours}, {len(found['only_theirs'])} only theirs, "
        f"{len(found['events'])} events with other properties"
    )
    others = f"; {len(found['others'])} events of theirs do not look like Braze's" if found["others"] else ""
    read = f" ({events_read:,} events read)" if events_read else ""
    verdict = counts if found["differs"] or found["only_ours"] else "no difference"
    console.print(f"{verdict}{others}{read}")


def _rows(found: dict[str, Any], only_ours: str) -> Iterator[tuple[str, str, str]]:
    yield from _differences(found, only_ours)
    for name, reason in found["not_sent"].items():
        yield "theirs, not sent by us", name, reason
    for event, differences in found["events"].items():
        for kind, name, words in _differences(differences, only_ours):
            yield f"{kind}, property", f"{event}: {name}", words


def _differences(found: dict[str, Any], only_ours: str) -> Iterator[tuple[str, str, str]]:
    near = {
        each["ours"]: f"near theirs {each['theirs']!r}: differs in {each['differs_in']}"
        for each in found["near"]
    }
    for name in found["only_ours"]:
        yield only_ours, name, near.get(name, "")
    for name in found["only_theirs"]:
        yield "only theirs", name, ""
    for name, kind in found.get("types", {}).items():
        yield "another type", name, f"{kind['ours']} with us, {kind['theirs']} with them"


@click.command()
@config_option
@click.option(
    "-o", "target", type=click.Path(path_type=Path, dir_okay=False), help="A file; by default stdout."
)
def export(config_path: Path | None, target: Path | None) -> int:
    """Write the tracking plan as the CSV that Amplitude imports (Data, Events, the import icon).

    Sends, deliveries, aborts and bounces are marked inactive, so that they do not make users active.
    """
    from braze_etl.commands.mapping.taxonomy import write_taxonomy
    from braze_etl.commands.mapping.tracking_plan import planned

    plan = planned(*mapping_in_force(config_path))
    if target is None:
        write_taxonomy(plan, sys.stdout)
        return 0
    try:
        with target.open("w", encoding="utf-8", newline="") as stream:
            events = write_taxonomy(plan, stream)
    except OSError as error:
        raise UsageError(
            f"{target} can't be written: {error.strerror}", remedy="Name another file."
        ) from None
    click.echo(f"{events} events written to {visible(str(target))}")
    return 0


@click.command(name="list")
@config_option
@output_option
def list_types(config_path: Path | None, output: str) -> int:
    """List every event type: its name in Amplitude, whether it is sent, how many properties it has."""
    from braze_etl.commands.mapping.inspect import list_types as listed

    mapping, is_selected = mapping_in_force(config_path)
    types = listed(mapping, is_selected)
    if output == "json":
        preset, fingerprint = mapping.options.preset, mapping.fingerprint
        print_json({"exit_code": 0, "preset": preset, "fingerprint": fingerprint, "event_types": types})
        return 0
    table = plain_table("event type", "in Amplitude", "sent", "properties", "status", numbers=(3,))
    for event_type, facts in types.items():
        status = "" if facts["status"] == "current" else facts["status"]
        table.add_row(
            escape(event_type), escape(facts["name"]), _sent(facts), str(facts["properties"] or ""), status
        )
    console = stdout_console()
    console.print(table)
    sent = sum(facts["outcome"] == "sent" for facts in types.values())
    console.print(f"\npreset {mapping.options.preset}: {sent} of {len(types)} event types are sent")
    return 0


def _sent(facts: dict[str, Any]) -> str:
    if facts["outcome"] != "sent":
        return f"no: {facts['outcome']}"
    return "on conditions" if facts["conditional"] else "yes"


@click.command()
@click.argument("event_type")
@config_option
@output_option
def show(event_type: str, config_path: Path | None, output: str) -> int:
    """Show what becomes of each field of one Currents event type, and by which rule.

    Of a type that this release does not know, what the configuration makes of it.
    """
    from braze_etl.commands.mapping.inspect import show_type

    in_force, is_selected = mapping_in_force(config_path)
    shown = show_type(in_force, event_type, is_selected)
    if output == "json":
        print_json({"exit_code": 0, **shown})
        return 0
    console = stdout_console()
    console.print(facts_table((name, escape(value)) for name, value in _facts(shown)))
    if shown["fields"]:
        _print_fields(console, shown["fields"])
    else:
        console.print("\nNo schema of this type is known: its fields go by the rule for unknown fields.")
    return 0


def _facts(shown: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "event type", shown["event_type"]
    yield "in Amplitude", shown["name"]
    outcome = shown["outcome"]
    yield "sent", "yes" if outcome == "sent" else f"no: {outcome}{': ' * bool(shown['why'])}{shown['why']}"
    if shown["note"]:
        yield "note", shown["note"]
    for title, name in (("conditions", "conditions"), ("loop guard", "loop_guard")):
        for kind, clauses in shown[name].items():
            for clause in clauses:
                yield f"{title}, {kind}", f"{_json(clause['where'])} ({clause['by']})"
    if shown["top_level"]:
        yield "at the top", _json(shown["top_level"])
    if shown["set"]:
        yield "properties set", _json(shown["set"])
    if shown["time"]:
        yield "time", _json(shown["time"])
    yield "test events", shown["test_events"]
    yield "unknown fields", shown["unknown_fields"]


def _print_fields(console: Console, fields: dict[str, dict[str, Any]]) -> None:
    table = plain_table("field", "type", "becomes", "rule")
    for name, facts in fields.items():
        kind = f"{facts['type']}{', personal' if facts['personal'] else ''}"
        becomes = ", ".join(facts["becomes"]) or "nothing"
        table.add_row(escape(name), escape(kind), escape(becomes), escape(facts["rule"]))
    console.print()
    console.print(table)


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


@click.group()
def mapping() -> None:
    """Look at the mapping in force, and compare it with an Amplitude project."""


for _command in (list_types, show, check, export):
    mapping.add_command(_command)
