from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from braze_etl.clock import ManualClock
from braze_etl.config.loading import Config
from braze_etl.errors import ConfigError, UsageError
from braze_etl.flows.currents_to_amplitude import plan as planning
from braze_etl.flows.currents_to_amplitude.plan import Intent, admit
from braze_etl.flows.currents_to_amplitude.settings import Settings, load_config
from braze_etl.flows.currents_to_amplitude.source import Scope, due_now
from braze_etl.flows.pipeline import open_state
from braze_etl.model import FileSettlement, FileState, Tally
from braze_etl.state.ledger import Ledger
from fixtures.generate import sample_record, write_avro

PURCHASE = "users.behaviors.Purchase"
CLOCK = ManualClock(datetime(2026, 10, 1, 12, tzinfo=UTC))
SINCE = datetime(2026, 10, 1, tzinfo=UTC)
BACKFILL = Intent(scope=lambda _settings, _ledger: Scope(SINCE), asks_budget=True, asks_first_run=True)

Configure: TypeAlias = Callable[..., Config[Settings]]


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    monkeypatch.chdir(tmp_path)
    folder = (
        f"export/dataexport.prod-01.S3.integration.ab/event_type={PURCHASE}/date=2026-10-01-05/version=12"
    )
    path = tmp_path / folder / "us-01/dataexport.prod-01.S3.integration.ab+0+1.avro"
    write_avro(path, PURCHASE, [sample_record(PURCHASE, seed) for seed in range(40)])

    def make(**budget: Any) -> Config[Settings]:
        plain = {"source": {"uri": "export"}, "amplitude": {"region": "US"}, "budget": budget}
        return load_config(plain)

    return make


def deliver(config: Config[Settings]) -> None:
    """Have the ledger know the file as delivered."""
    settings = config.settings
    ledger: Ledger = open_state(settings, CLOCK)
    ((due,), _) = due_now(settings.source, ledger, Scope(SINCE), CLOCK.now())
    ledger.settle("r1", [FileSettlement(due.ref, FileState.DONE, Tally(accepted=40))], None)
    ledger.close()


def test_without_bounds_nothing_is_listed(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "make_plan", None)
    admit(configure(), BACKFILL, CLOCK)


def test_a_first_run_is_asked_about_and_a_later_one_is_not(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configure(first_run_events=1)
    with pytest.raises(UsageError, match="first run against the project 'default'"):
        admit(settings, Intent(asks_first_run=True), CLOCK)
    deliver(settings)
    monkeypatch.setattr(planning, "make_plan", None)
    admit(settings, Intent(asks_first_run=True), CLOCK)


def test_a_ledger_that_is_lost_is_told_as_that_and_never_as_a_first_run(configure: Configure) -> None:
    made = configure(first_run_events=1)
    settings = made.settings
    state = settings.state.model_copy(update={"create": "never"})
    config = replace(made, settings=settings.model_copy(update={"state": state}))
    with pytest.raises(ConfigError, match="There is no ledger at"):
        admit(config, Intent(asks_first_run=True), CLOCK)


def test_a_small_first_run_goes_on(configure: Configure) -> None:
    admit(configure(first_run_events="1M"), Intent(asks_first_run=True), CLOCK)


def test_a_backfill_that_fits_needs_no_leave(configure: Configure) -> None:
    admit(configure(per_day="1M"), BACKFILL, CLOCK)


def test_a_run_is_never_refused_for_its_budget(configure: Configure) -> None:
    admit(configure(per_day=1), Intent(asks_first_run=True), CLOCK)


def test_what_is_sent_again_counts_against_the_budget(configure: Configure) -> None:
    settings = configure(per_day=1)
    deliver(settings)
    admit(settings, BACKFILL, CLOCK)
    with pytest.raises(UsageError, match=r"budget\.per_day leaves"):
        admit(settings, Intent(BACKFILL.scope, resend=True, asks_budget=True), CLOCK)
