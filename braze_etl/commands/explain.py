"""`braze-etl explain`: the life of one event."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import orjson
from rich.markup import escape

from braze_etl.commands._options import config_option, output_option, range_options, required_config
from braze_etl.commands._output import facts_table, plain_table, print_json, stdout_console
from braze_etl.commands.mapping.inspect import field_mapping

if TYPE_CHECKING:
    from braze_etl.flows.currents_to_amplitude.explain.explanation import Explanation
    from braze_etl.flows.currents_to_amplitude.explain.search import Searched

_LONGEST = 60


@click.command()
@click.argument("id_", metavar="ID")
@config_option
@output_option
@range_options
@click.option("--file", "key", metavar="KEY", help="Look for an insert_id in this file alone.")
@click.option("--record", "shows_record", is_flag=True, help="Show the record as it is: personal data.")
@click.option("--no-ask", is_flag=True, help="Do not ask Amplitude whether it has the event.")
@click.option("--show-ids", is_flag=True, help="Show the ids of the person.")
def explain(
    id_: str,
    config_path: Path | None,
    output: str,
    since: datetime | None,
    to: datetime | None,
    until: datetime | None,
    event_types: tuple[str, ...],
    key: str | None,
    shows_record: bool,
    no_ask: bool,
    show_ids: bool,
) -> int:
    """Tell the life of one event: its file, the mapping's verdict, its outcome, and whether Amplitude has it.

    ID is an insert_id, which is Braze's id of the event, or a record's position KEY#BLOCK#RECORD. The ledger
    knows files and no ids: for an insert_id, the files of a range of hours are read until it is found, by
    default those of the last 48 hours.
    """
    from braze_etl.api import Pipeline

    pipeline = Pipeline(required_config(config_path))
    with _bar() as watch:
        found = pipeline.explain(
            id_,
            from_=since,
            to=to,
            until=until,
            event_types=event_types,
            file=key,
            ask=not no_ask,
            watch=watch,
        )
    facts = found.as_dict(ids=show_ids, record=shows_record)
    fields = _fields(found)
    if output == "json":
        print_json({"exit_code": 0, **facts, "fields": fields})
    else:
        _print(facts, fields)
    return 0


@contextmanager
def _bar() -> Iterator[Callable[[Searched], None]]:
    """Show on a terminal how far a search has come."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from braze_etl.commands._console import new_console

    with new_console(stderr=True).status("searching") as status:
        yield lambda searched: status.update(f"searched {searched}")


def _fields(found: Explanation) -> dict[str, dict[str, Any]]:
    """What becomes of each field that is not null, by which rule of the mapping in force."""
    return {
        name: field_mapping(name, found.plan, found.preset)
        for name, value in (found.record or {}).items()
        if value is not None
    }


def _print(facts: dict[str, Any], fields: dict[str, dict[str, Any]]) -> None:
    console = stdout_console()
    shown = [
        ("insert_id", facts["insert_id"] or "not known: nobody can read the record"),
        ("position", facts["position"]),
        ("event type", f"{facts['event_type']}, hour {facts['file']['hour']}"),
        ("person", facts["identity"] or "nobody that Amplitude could know"),
        ("file", _file(facts["file"])),
        ("by the mapping", _verdict(facts["verdict"])),
        ("outcome", _outcome(facts)),
        *(("", note) for note in facts["outcome"]["notes"]),
        ("in Amplitude", _presence(facts["amplitude"])),
    ]
    console.print(facts_table((name, escape(value)) for name, value in shown))
    if not fields:
        return
    table = plain_table("field", "in Currents", "becomes", "by")
    for name, field in fields.items():
        value = _short(facts["record"][name])
        table.add_row(escape(name), escape(value), escape(", ".join(field["becomes"])), escape(field["rule"]))
    console.print()
    console.print(table)


def _file(file: dict[str, Any]) -> str:
    if file["state"] is None:
        return "never settled"
    by = f"run {file['run_id']}" + (f" ({file['command']})" if file["command"] else "")
    books = ", ".join(f"{records:,} {name}" for name, records in file["books"].items())
    return f"{file['state']}, first settled at {file['settled_at']}, last by {by}; {books}"


def _verdict(verdict: dict[str, Any] | None) -> str:
    if verdict is None:
        return "can't be told: nobody can read the record"
    if verdict["sent"]:
        return f"sent as {verdict['name']}, by {verdict['rule']}"
    return f"not sent: {_why(verdict)}"


def _outcome(facts: dict[str, Any]) -> str:
    outcome, file = facts["outcome"], facts["file"]
    parts = [outcome["ending"].replace("_", " ")]
    if why := _why(outcome):
        parts.append(f": {why}")
    if outcome["ending"] == "accepted" and file["sent_from"]:
        parts.append(
            f" as {outcome['sent_as']}; its file was sent from {file['sent_from']} to {file['sent_to']}"
        )
    if outcome["not_before"]:
        parts.append(f"; sent again from {outcome['not_before']} on")
    if outcome["entry"]:
        parts.append(f"; entry {outcome['entry']} of the quarantine")
    return "".join(parts)


def _presence(asked: dict[str, Any]) -> str:
    answer = {True: "yes: ", False: "no: ", None: ""}[asked["has_it"]]
    return f"{answer}{asked['words']}"


def _why(said: dict[str, Any]) -> str:
    words = [
        said["reason"] or "",
        f"({said['detail']})" if said["reason"] and said["detail"] else said["detail"],
    ]
    rule = f"by {said['rule']}" if said["rule"] else ""
    return " ".join(each for each in (*words, rule) if each)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
