"""A source under another prefix, through the real program: who asks is told before all is sent again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workplace import Workplace, open_workplace

SOURCE = {"uri": "export", "start_at": "2026-10-01", "lookback": "36500d"}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    with open_workplace(tmp_path) as place:
        yield place


def test_the_same_files_under_another_prefix_are_told_by_plan_and_by_run(place: Workplace) -> None:
    place.configure(source=SOURCE)
    place.export(events=400, hours=6)
    place.run("--ok-exit", "3")
    assert place.do("plan", "--output", "json").json["unfamiliar_files"] == 0
    (place.folder / "elsewhere").mkdir()
    place.source.rename(place.folder / "elsewhere/export")
    place.configure(source={**SOURCE, "uri": "elsewhere"})
    plan = place.do("plan", "--output", "json").json
    assert plan["unfamiliar_files"] == plan["files"] >= 10
    assert "another prefix" in place.do("plan").out
    result = place.do("run", "--output", "json")
    assert result.json["warnings"]["unfamiliar_files"] == plan["files"]
    assert "another prefix" in result.err
    backfill = place.do("plan", "--from", "2026-10-01", "--to", "2026-10-02", "--output", "json").json
    assert backfill["unfamiliar_files"] == 0, "a backfill is for files that the ledger does not know"
