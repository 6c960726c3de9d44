from __future__ import annotations

import pytest
from click.testing import CliRunner

from braze_etl.cli import cli


@pytest.mark.parametrize("command", [("run",), ("backfill",), ("quarantine", "replay")])
def test_what_sends_events_takes_form_and_level_of_its_log(command: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli, [*command, "--help"]).output
    assert "--log-format [text|json]" in shown
    assert "--log-level [debug|info|warning|error]" in shown


@pytest.mark.parametrize(
    ("words", "environ"),
    [(("--log-level", "loud"), {}), (("--log-format", "xml"), {}), ((), {"BRAZE_ETL_LOG_FORMAT": "xml"})],
)
def test_a_form_or_level_that_does_not_exist_is_bad_usage(
    words: tuple[str, ...], environ: dict[str, str]
) -> None:
    refused = CliRunner().invoke(cli, ["run", *words], env=environ)
    assert refused.exit_code == 2
    assert "is not one of" in refused.output
