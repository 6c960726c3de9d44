"""`braze-etl mapping show EVENT_TYPE`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import orjson
from rich.console import Console
from rich.markup import escape

from braze_etl.cli._options import config_option, output_option
from braze_etl.cli._output import plain_table, print_json, stdout_console
from braze_etl.cli.mapping._force import mapping_in_force


@click.command()
@click.argument("event_type")
@config_option
@output_option
def show(event_type: str, config_path: Path | None, output: str) -> int:
    """Show what becomes of each field of one Currents event type, and by which rule.

    Of a type that this release does not know, what the configuration makes of it.
    """
    from braze_etl.run.showing.inspecting import show_type

    shown = show_type(*_with(event_type, config_path))
    if output == "json":
        print_json({"exit_code": 0, **shown})
        return 0
    console = stdout_console()
    _print_facts(console, shown)
    if shown["fields"]:
        _print_fields(console, shown["fields"])
    else:
        console.print("\nNo schema of this type is known: its fields go by the rule for unknown fields.")
    return 0


def _with(event_type: str, config_path: Path | None) -> tuple[Any, str, Any]:
    mapping, is_selected = mapping_in_force(config_path)
    return mapping, event_type, is_selected


def _print_facts(console: Console, shown: dict[str, Any]) -> None:
    table = plain_table("", "")
    table.show_header = False
    for name, value in _facts(shown):
        table.add_row(name, escape(value))
    console.print(table)


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
