"""What the outside world relies on stays as it is while the house is rebuilt: any difference here is meant.

To write the files anew after an intended change: `BRAZE_ETL_UPDATE_FROZEN=1 pytest tests/architecture`
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from copy import copy
from pathlib import Path

import click
import pytest

from braze_etl.config.loading import json_schema
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.monitoring.metrics import METRICS
from fixtures.generate import ExportSpec, generate
from tests.engine.test_run import Setting
from tests.reference.generate import commands

FROZEN = Path(__file__).parent / "frozen"
UPDATE = bool(os.environ.get("BRAZE_ETL_UPDATE_FROZEN"))


def _help(_: Setting) -> str:
    """The help of every command, on a screen of one width."""
    pages = []
    for words, each in commands():
        command = copy(each)
        command._help_option = None  # a test that has run the command left its own option there
        context = click.Context(command, info_name=" ".join(("braze-etl", *words)), max_content_width=100)
        context.terminal_width = 100
        pages.append(command.get_help(context))
    return "\n\n".join(pages) + "\n"


def _schema(_: Setting) -> str:
    return json.dumps(json_schema(Settings), indent=1, sort_keys=True) + "\n"


def _report(setting: Setting) -> str:
    """The fields of a run report, each with its kind."""
    return "\n".join(_fields(setting.run().as_dict())) + "\n"


def _metrics(_: Setting) -> str:
    return "\n".join(f"{metric.name} {metric.kind}" for metric in METRICS) + "\n"


def _fields(value: object, path: str = "") -> list[str]:
    named = isinstance(value, dict) and path not in _BY_NAME
    if not named:
        return [f"{path} {'number' if isinstance(value, int | float) else type(value).__name__}"]
    assert isinstance(value, dict)
    return [line for name, inner in value.items() for line in _fields(inner, f"{path}.{name}".lstrip("."))]


_BY_NAME = {"by_event_type", "reasons", "bytes_read", "repairs", "warnings", "drift", "requests.by_status"}
"""Fields whose keys are data."""


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    generate(tmp_path / "export", ExportSpec(events=100, hours=1))
    return Setting(tmp_path)


@pytest.mark.parametrize(
    ("name", "now"),
    [("help.txt", _help), ("schema.json", _schema), ("report.txt", _report), ("metrics.txt", _metrics)],
)
def test_the_interface_is_as_it_was(name: str, now: Callable[[Setting], str], setting: Setting) -> None:
    found = now(setting)
    if UPDATE:
        (FROZEN / name).write_text(found)
    assert found == (FROZEN / name).read_text()
