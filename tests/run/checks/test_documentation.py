"""docs/troubleshooting.md and docs/getting-started.md say what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from braze_etl.cli._main import cli
from braze_etl.run.checks import CHECKS, SEND_TEST

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "troubleshooting.md").read_text()
NAMES = {check.name for check in (*CHECKS, SEND_TEST)}


def first_column(text: str) -> set[str]:
    return {
        name
        for row in re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    }


def test_every_check_is_documented_and_no_other() -> None:
    assert first_column(PAGE.partition("## All checks")[2]) == NAMES


def test_every_check_comes_behind_those_that_it_needs() -> None:
    seen: set[str] = set()
    for check in (*CHECKS, SEND_TEST):
        assert seen >= set(check.needs), check.name
        seen.add(check.name)


@pytest.mark.parametrize("page", ["troubleshooting.md", "getting-started.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)", (DOCS / page).read_text()):
        assert (DOCS / target).exists(), target


def test_every_option_of_the_first_day_is_known() -> None:
    lines = re.findall(
        r"^\$ (?:\w+=\w+ )?braze-etl (.+)$", (DOCS / "getting-started.md").read_text(), re.MULTILINE
    )
    assert len(lines) == 5
    for line in lines:
        command = line.split()[0]
        shown = CliRunner().invoke(cli, [command, "--help"]).output
        assert all(option in shown for option in re.findall(r" (--?[a-z-]+)", line)), line
