from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from braze_etl.commands.quarantine import moment
from braze_etl.errors import UsageError
from braze_etl.flows.currents_to_amplitude.guards import selected_entries
from braze_etl.model import Reason
from braze_etl.quarantine.entry import EVERYTHING, Selection
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.storage.folder import FolderStore

NOTHING: dict[str, Any] = {
    "ids": (),
    "reasons": (),
    "event_types": (),
    "files": (),
    "since": None,
    "until": None,
}


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(FolderStore(tmp_path))


def test_no_option_means_every_entry(quarantine: Quarantine) -> None:
    assert selected_entries(quarantine, **NOTHING) is EVERYTHING


def test_options_become_what_an_entry_must_fulfil(quarantine: Quarantine) -> None:
    chosen = selected_entries(quarantine, **{**NOTHING, "reasons": ("rejected",), "files": ("a*",)})
    assert chosen == Selection(reasons=frozenset({Reason.REJECTED}), files=("a*",))


def test_an_id_that_is_no_entrys_is_the_callers_mistake(quarantine: Quarantine) -> None:
    with pytest.raises(UsageError, match="No entry with the id"):
        selected_entries(quarantine, **{**NOTHING, "ids": ("0123456789",)})


def test_a_moment_is_an_age_or_an_hour() -> None:
    before = datetime.now(UTC)
    assert before <= moment("7d") + timedelta(days=7) <= datetime.now(UTC)
    assert moment("2026-10-01T05") == datetime(2026, 10, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["soon", "7", "99999999999d", "2026-13-01"])
def test_what_is_neither_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="or an age such as 7d"):
        moment(text)
