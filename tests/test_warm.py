"""A command that is forked from the imported program does what one does that starts by itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from braze_etl.sandbox.amplitude.project import Project
from tests.warm import can_be_forked, carry_out
from tests.workplace import KEY, Workplace, balanced, ended


@pytest.mark.parametrize("words", [("--version",), ("config", "show"), ("status",), ("no-such-command",)])
def test_a_forked_command_ends_as_a_started_one(workplace: Workplace, words: tuple[str, ...]) -> None:
    forked = workplace.do(*words, BRAZE_ETL_LOG_FORMAT="text")  # a line of JSON has the time
    assert forked == ended(workplace.start(*words, BRAZE_ETL_LOG_FORMAT="text"))


def test_a_command_that_takes_too_long_is_killed_and_the_next_one_goes_on(tmp_path: Path) -> None:
    words = ["sandbox", "--port", "0"]
    with pytest.raises(TimeoutError):
        carry_out(words, tmp_path, os.environ, timeout=0.5)
    code, out, err = carry_out(["--version"], tmp_path, os.environ, timeout=60)
    assert (code, out.split()[0], err) == (0, "braze-etl,", "")


def test_what_only_the_start_of_an_interpreter_looks_at_needs_one() -> None:
    assert can_be_forked(dict(os.environ) | {"AMPLITUDE_API_KEY": "k"})
    assert not can_be_forked(dict(os.environ) | {"PYTHONPATH": "elsewhere"})


def test_a_forked_run_delivers_as_a_started_one(workplace: Workplace) -> None:
    workplace.export(events=150, hours=1, awkward=0.1)
    forked = workplace.run()
    sent = workplace.accepted_ids()
    shutil.rmtree(workplace.ledger.parent)
    workplace.become(Project(api_key=KEY))
    started = balanced(ended(workplace.start("run", "--output", "json")).json)
    assert workplace.accepted_ids() == sent
    for told in ("exit_code", "events", "by_event_type", "reasons", "files", "warnings"):
        assert forked[told] == started[told]
