"""`braze-etl config check` and `config schema`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from braze_etl.clock import SystemClock
from braze_etl.commands._options import config_option, output_option, required_config
from braze_etl.commands._output import print_json, stdout_console
from braze_etl.config.loading import json_schema
from braze_etl.config.yaml import dotted
from braze_etl.errors import ConfigError
from braze_etl.flows.currents_to_amplitude.settings import Settings

_WHY: Final = {
    "not_selected": "choose does not select it",
    "source.event_types": "source.event_types does not select it",
}


@click.group()
def config() -> None:
    """Check a configuration, or print its JSON Schema."""


@config.command()
@config_option
@output_option
def check(config_path: Path | None, output: str) -> int:
    """Validate a file: every mistake at once, each with its line."""
    from braze_etl.commands.mapping.inspect import sent_in_vain
    from braze_etl.flows.currents_to_amplitude.guards import doubtful_settings
    from braze_etl.flows.currents_to_amplitude.mapping import failed_tests, load_mapping
    from braze_etl.flows.currents_to_amplitude.source import selection

    checked = required_config(config_path)
    settings, tests = checked.settings, len(checked.settings.mapping.tests)
    if failed := failed_tests(checked):
        raise ConfigError(
            f"{checked.path}: {len(failed)} of {tests} tests of the mapping failed:\n" + "\n".join(failed),
            remedy="Correct the mapping, or what its tests state.",
        )
    facts = {
        "exit_code": 0,
        "config": str(checked.path),
        "valid": True,
        "tests": tests,
        "unset_variables": sorted(set(checked.unset.values())),
        "warnings": [
            {"key": dotted(path), "place": str(checked.place(path)), "message": words}
            for path, words in doubtful_settings(settings, SystemClock().now())
            if path not in checked.unset
        ],
        "sent_in_vain": sent_in_vain(load_mapping(settings), selection(settings.source).matches_event_type),
    }
    if output == "json":
        print_json(facts)
    else:
        _print(facts)
    return 0


def _print(facts: dict[str, Any]) -> None:
    console, tests = stdout_console(), facts["tests"]
    and_tests = f", and its {tests} tests of the mapping pass" if tests else ""
    console.print(f"{facts['config']} is valid{and_tests}", markup=False)
    for each in facts["warnings"]:
        console.print(f"warning: {each['place']}: {each['key']}: {each['message']}", markup=False)
    for name, why in facts["sent_in_vain"].items():
        words = f"warning: mapping.send names {name}, and no record of it is sent: {_WHY.get(why, why)}"
        console.print(words, markup=False)
    for name in facts["unset_variables"]:
        console.print(f"not set here: {name} (needed by the commands that use its value)", markup=False)


@config.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="json", hidden=True)
def schema(output: str) -> int:  # noqa: ARG001 - a schema is JSON either way
    """Print the JSON Schema of the configuration, for editors."""
    print_json(json_schema(Settings))
    return 0
