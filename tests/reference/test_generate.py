"""docs/reference.md says what the code says, and the code has words for all of it."""

from __future__ import annotations

import re
from pathlib import Path

from braze_etl.engine.exits import EXIT_CODES
from braze_etl.engine.report import WARNINGS
from braze_etl.mapping.limits import REPAIRS
from tests.reference.generate import PAGE, commands, keys, reference

PACKAGE = Path(__file__).parents[2] / "braze_etl"


def written(counter: str) -> set[str]:
    """The names that the code counts under in *counter*, as far as they stand there as texts."""
    pattern = re.compile(rf'{counter}\["(\w+)"\]')
    return {name for path in PACKAGE.rglob("*.py") for name in pattern.findall(path.read_text())}


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == reference(), "run `make reference`"


def test_every_command_and_option_says_what_it_does() -> None:
    for path, command in commands():
        assert command.help, path


def test_every_key_of_the_configuration_says_what_it_does() -> None:
    bare = [
        ".".join((*path, key))
        for path, model, key in keys()
        if not any(
            field.description for name, field in model.model_fields.items() if key in (name, field.alias)
        )
    ]
    assert bare in ([], ["source.integrations", "source.event_types"])


def test_every_section_of_the_configuration_says_what_it_is() -> None:
    assert all(model.__doc__ for _, model, _ in keys())


def test_every_warning_that_the_code_counts_has_its_words() -> None:
    assert written("warnings") <= set(WARNINGS)
    assert len(written("warnings")) > 4


def test_every_repair_that_the_code_counts_has_its_words_and_no_other() -> None:
    assert written("repairs") == set(REPAIRS)


def test_every_exit_code_of_an_error_has_its_words() -> None:
    codes = {int(code) for code in re.findall(r"exit_code = (\d+)", (PACKAGE / "errors.py").read_text())}
    assert codes <= set(EXIT_CODES)
