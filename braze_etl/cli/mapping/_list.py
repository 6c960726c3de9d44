"""`braze-etl mapping list`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from braze_etl.cli._options import config_option, output_option
from braze_etl.cli._output import plain_table, print_json, stdout_console
from braze_etl.cli.mapping._force import mapping_in_force


@click.command(name="list")
@config_option
@output_option
def list_types(config_path: Path | None, output: str) -> int:
    """List every event type: its name in Amplitude, whether it is sent, how many properties it has."""
    from braze_etl.run.showing.inspecting import list_types as listed

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
