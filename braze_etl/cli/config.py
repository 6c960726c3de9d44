"""`braze-etl config check` and `config schema`."""

from __future__ import annotations

from pathlib import Path

import click

from braze_etl.cli._options import config_option, output_option, required_config
from braze_etl.cli._output import print_json, stdout_console
from braze_etl.config import json_schema
from braze_etl.errors import ConfigError


@click.group()
def config() -> None:
    """Check a configuration, or print its JSON Schema."""


@config.command()
@config_option
@output_option
def check(config_path: Path | None, output: str) -> int:
    """Validate a file: every mistake at once, each with its line."""
    from braze_etl.run.assembly import failed_tests

    checked = required_config(config_path)
    failed = failed_tests(checked)
    unset = sorted(set(checked.unset.values()))
    tests = len(checked.settings.mapping.tests)
    if failed:
        raise ConfigError(
            f"{checked.path}: {len(failed)} of {tests} tests of the mapping failed:\n" + "\n".join(failed),
            remedy="Correct the mapping, or what its tests state.",
        )
    if output == "json":
        facts = {"exit_code": 0, "config": str(checked.path), "valid": True, "tests": tests}
        print_json({**facts, "unset_variables": unset})
        return 0
    console = stdout_console()
    console.print(
        f"{checked.path} is valid" + (f", and its {tests} tests of the mapping pass" if tests else "")
    )
    for name in unset:
        console.print(f"not set here: {name} (needed by the commands that use its value)")
    return 0


@config.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="json", hidden=True)
def schema(output: str) -> int:  # noqa: ARG001 - a schema is JSON either way
    """Print the JSON Schema of the configuration, for editors."""
    print_json(json_schema())
    return 0
