from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from braze_etl.clock import ManualClock
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import Scope, covering, due_now
from braze_etl.flows.pipeline import ledger_to_read
from braze_etl.model import FileRef, Tally
from braze_etl.state.ledger import OpenFile


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "export").mkdir()
    source = {"uri": "export", "event_types": ["users.messages.*", "!*.Click"]}
    return Settings.model_validate({"source": source, "amplitude": {"region": "US"}})


def test_before_the_first_run_nothing_is_made_and_two_days_are_due(
    settings: Settings, now: datetime, tmp_path: Path
) -> None:
    with closing(ledger_to_read(settings, ManualClock(now))) as ledger:
        assert ledger.start_at == now.replace(minute=0) - timedelta(hours=48)
        due, _ = due_now(settings.source, ledger, None, now)
        assert list(due) == []
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_a_run_takes_up_open_files_of_any_age_and_a_backfill_those_of_its_range(
    settings: Settings, now: datetime, make_ref: Callable[..., FileRef]
) -> None:
    old, new, other = (
        OpenFile(ref, Tally(), ())
        for ref in (
            make_ref("old", hours_ago=500),
            make_ref("new", hours_ago=2),
            make_ref("other", hours_ago=2, kind="Click"),
        )
    )
    scope = Scope(now - timedelta(hours=5))
    run, backfill = (covering(settings.source, scope, covers_all=covers_all) for covers_all in (True, False))
    assert [run(old), run(new), run(other)] == [True, True, False]
    assert [backfill(old), backfill(new), backfill(other)] == [False, True, False]
