from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from braze_etl.clock import SystemClock
from braze_etl.commands.quarantine import drop_entries
from braze_etl.errors import LeaseHeldError
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.pipeline import open_quarantine, open_state
from braze_etl.model import Position, Reason, SetAside
from braze_etl.quarantine.entry import EVERYTHING, Selection
from braze_etl.state.ledger import LeaseOwner

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings.model_validate(
        {
            "source": {"uri": str(tmp_path)},
            "amplitude": {"region": "US"},
            "state": {"uri": f"sqlite:///{tmp_path}/ledger.db"},
            "quarantine": {"uri": str(tmp_path / "aside")},
        }
    )
    kinds = (Reason.REJECTED, Reason.REJECTED, Reason.SILENCED)
    aside = [
        SetAside(Position("a", "e", 1, number), "Open", kind, "bad") for number, kind in enumerate(kinds)
    ]
    open_quarantine(settings).file("r0", NOW, aside)
    return settings


def test_what_is_dropped_is_counted_and_gone(settings: Settings) -> None:
    silenced = Selection(reasons=frozenset({Reason.SILENCED}))
    assert drop_entries(settings, silenced, SystemClock()) == {("Open", Reason.SILENCED): 1}
    assert open_quarantine(settings).counts() == {("Open", Reason.REJECTED): 2}
    assert drop_entries(settings, silenced, SystemClock()) == {}
    assert drop_entries(settings, EVERYTHING, SystemClock()).total() == 2


def test_where_the_dropped_lay_stays_known_without_their_words(settings: Settings) -> None:
    drop_entries(settings, Selection(reasons=frozenset({Reason.REJECTED})), SystemClock())
    drop_entries(settings, EVERYTHING, SystemClock())
    quarantine = open_quarantine(settings)
    assert quarantine.depth() == 0
    dropped = sorted((entry.position.record, entry.reason, entry.detail) for entry in quarantine.dropped())
    assert dropped == [(0, Reason.REJECTED, ""), (1, Reason.REJECTED, ""), (2, Reason.SILENCED, "")]


def test_nothing_is_dropped_while_a_run_is_at_work(settings: Settings) -> None:
    ledger = open_state(settings, SystemClock())
    with ledger.lease(LeaseOwner("r1", "host", 1, "run")), pytest.raises(LeaseHeldError, match="r1"):
        drop_entries(settings, EVERYTHING, SystemClock())
    ledger.close()
    assert open_quarantine(settings).depth() == 3
