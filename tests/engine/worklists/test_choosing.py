from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from braze_etl.engine.due import WHOLE_FILE
from braze_etl.engine.worklists.replayed import choose
from braze_etl.model import Position, Reason, SetAside
from braze_etl.quarantine.entry import EVERYTHING, Selection
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.storage.folder import FolderStore

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
OF_A = ("a", "e1")


def aside(block: int, record: int | None, reason: Reason = Reason.REJECTED, key: str = "a") -> SetAside:
    return SetAside(Position(key, "e1", block, record), "users.messages.email.Open", reason)


def of_reason(reason: Reason) -> Selection:
    return Selection(reasons=frozenset({reason}))


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(FolderStore(tmp_path / "aside", must_exist=False))


def test_entries_are_grouped_by_file_and_the_rest_of_it_is_left(quarantine: Quarantine) -> None:
    silenced = aside(100, 2, Reason.SILENCED)
    quarantine.file("run", NOON, [aside(100, 1), silenced, aside(100, 1, key="b")])
    chosen = choose(quarantine, of_reason(Reason.SILENCED))
    assert set(chosen) == {OF_A}
    assert chosen[OF_A].left == {(100, 1)}
    assert chosen[OF_A].reasons == {(100, 2): {Reason.SILENCED}}
    assert set(choose(quarantine, EVERYTHING)) == {OF_A, ("b", "e1")}


def test_a_record_with_two_entries_is_taken_up_with_both(quarantine: Quarantine) -> None:
    quarantine.file("run", NOON, [aside(100, 1), aside(100, 1, Reason.SILENCED)])
    (again,) = choose(quarantine, of_reason(Reason.SILENCED))[OF_A].wanted()
    assert (again.blocks, again.reasons) == ({100: (1,)}, (Reason.REJECTED, Reason.SILENCED))


def test_a_file_that_is_read_whole_takes_all_its_entries_with_it(quarantine: Quarantine) -> None:
    quarantine.file("run", NOON, [aside(100, 1), aside(0, None, Reason.UNREADABLE_FILE)])
    chosen = choose(quarantine, of_reason(Reason.UNREADABLE_FILE))[OF_A]
    assert set(chosen.reasons) == {WHOLE_FILE, (100, 1)}
    assert not chosen.left


def test_a_damaged_stretch_that_is_left_keeps_the_file_failed(quarantine: Quarantine) -> None:
    quarantine.file("run", NOON, [aside(100, 1), aside(900, None, Reason.DAMAGED_BLOCK)])
    assert choose(quarantine, of_reason(Reason.REJECTED))[OF_A].still_failed
