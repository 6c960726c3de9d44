"""The budget in a whole run: what the state remembers when a settlement can't be stored."""

from __future__ import annotations

from typing import Any

import pytest

from braze_etl.clock import SystemClock
from braze_etl.engine.budget import NOTE
from braze_etl.engine.exits import Stop
from braze_etl.errors import StateError
from braze_etl.flows.currents_to_amplitude.flow import Request, open_run
from braze_etl.flows.currents_to_amplitude.settings import load_config
from braze_etl.flows.pipeline import open_state
from braze_etl.state.sqlite import SqliteLedger
from tests.workplace import Workplace


@pytest.mark.parametrize("stop", [[], ["*"]], ids=["warns", "stops"])
def test_what_was_sent_is_remembered_even_if_it_cannot_be_settled(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, stop: list[str]
) -> None:
    workplace.export(events=60, hours=1, duplicates=0)
    workplace.configure(budget={"per_month": "1M", "stop": stop}, workers=1)
    monkeypatch.chdir(workplace.folder)
    config = load_config(workplace.folder / "config.yaml")

    def full(*_: Any) -> None:
        raise StateError("disk full", remedy="Make room.")

    monkeypatch.setattr(SqliteLedger, "settle", full)
    clock = SystemClock()
    with open_run(config, Request("run"), clock, Stop(), run_id="r1") as run:
        report = run.run()
    assert (report.exit_code, report.events.accepted) == (1, 0)
    ledger = open_state(config.settings, clock, read_only=True)
    assert ledger.get_note(NOTE)["month_events"] >= len(workplace.accepted_ids()) > 0
    ledger.close()
