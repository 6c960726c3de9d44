"""The commands in the documents exist, with each of their options; those of the first days run."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from braze_etl.cli import cli
from tests.docs.pages import PAGES, ROOT, command_lines, name, resolved
from tests.workplace import KEY, Workplace

_PLACEHOLDER = re.compile(r"[A-Z]{2,}|\.\.\.")


def options(command: click.Command) -> set[str]:
    """Every option that a command takes."""
    context = click.Context(command)
    return {option for parameter in command.get_params(context) for option in parameter.opts} | {
        "-h",
        "--help",
    }


def parsed(words: list[str]) -> None:
    """Let click read a command line without running it."""
    command, rest = resolved(words)
    assert not isinstance(command, click.Group) or set(rest) <= options(command), f"no such command: {words}"
    unknown = [
        word for word in rest if word.startswith("-") and word.partition("=")[0] not in options(command)
    ]
    assert [word for word in unknown if word != "-"] == [], words
    if rest and not any(_PLACEHOLDER.fullmatch(word) for word in rest):
        command.make_context(
            command.name, [word for word in rest if word != "--help"], resilient_parsing=True
        )


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_and_option_on_the_page_exists(page: Path) -> None:
    for words in command_lines(page, "braze-etl"):
        parsed(words)


def test_the_documents_show_every_command() -> None:
    shown = {resolved(words)[0].name for page in PAGES for words in command_lines(page, "braze-etl")}
    assert set(cli.list_commands(click.Context(cli))) - {"mapping", "quarantine", "state", "config"} <= shown


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_target_on_the_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in command_lines(page, "make"):
        assert {word for word in words if "=" not in word} <= targets, words


def lines_of(page: str) -> list[list[str]]:
    """The lines of `braze-etl` that stand with a prompt on a page."""
    found = re.findall(r"^\$ (?:\w+=\w+ )?braze-etl ([^#\n]+)", (ROOT / page).read_text(), re.MULTILINE)
    return [line.split() for line in found]


def test_the_first_day_goes_as_the_page_says(workplace: Workplace) -> None:
    """init, doctor, plan, run, status: on a folder, against the sandbox."""
    workplace.export(events=300, hours=2, start=datetime.now(UTC) - timedelta(hours=4))
    configuration, codes = workplace.folder / "braze-etl.yaml", {}
    for words in lines_of("docs/getting-started.md"):
        local = ["export" if word.startswith("s3://") else word for word in words]
        codes[words[0]] = workplace.do(*local, AMPLITUDE_API_KEY=KEY, BRAZE_ETL_STATE_CREATE="auto").code
        if words[0] == "init":
            here = f"amplitude:\n  endpoint: {workplace.amplitude.url}\n"
            configuration.write_text(configuration.read_text().replace("amplitude:\n", here, 1))
    assert codes == {"init": 0, "doctor": 0, "plan": 0, "run": 0, "status": 0}
    assert list(workplace.project.events())


def test_the_ten_lines_of_the_readme_run(workplace: Workplace) -> None:
    workplace.export(events=300, hours=2)
    workplace.configure()
    (workplace.folder / "braze-etl.yaml").write_bytes((workplace.folder / "config.yaml").read_bytes())
    for words in lines_of("README.md"):
        result = workplace.do(*words)
        assert result.code in ({0, 5} if words[0] == "status" else {0}), (words, result.err)
