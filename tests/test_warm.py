"""A command that is forked from the imported program does what one does that starts by itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.warm import can_be_forked, carry_out
from tests.workplace import Workplace, ended


@pytest.mark.parametrize("words", [("--version",), ("config", "show"), ("status",), ("no-such-command",)])
def test_a_forked_command_ends_as_a_started_one(workplace: Workplace, words: tuple[str, ...]) -> None:
    assert workplace.do(*words) == ended(workplace.start(*words))


def test_a_command_that_takes_too_long_is_killed_and_the_next_one_goes_on(tmp_path: Path) -> None:
    words = ["sandbox", "--port", "0"]
    with pytest.raises(TimeoutError):
        carry_out(words, tmp_path, os.environ, timeout=0.5)
    code, out, err = carry_out(["--version"], tmp_path, os.environ, timeout=60)
    assert (code, out.split()[0], err) == (0, "braze-etl,", "")


def test_what_only_the_start_of_an_interpreter_looks_at_needs_one() -> None:
    assert can_be_forked(dict(os.environ) | {"AMPLITUDE_API_KEY": "k"})
    assert not can_be_forked(dict(os.environ) | {"PYTHONPATH": "elsewhere"})
