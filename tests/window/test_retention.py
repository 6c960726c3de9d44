"""Files that the ledger has pruned, through the real program: none of them is sent again unasked."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

from braze_etl.clock import SystemClock
from braze_etl.model import FileState
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.opening import open_ledger
from tests.workplace import Workplace

SOURCE = {"uri": "export", "start_at": "2026-10-01", "reconcile_every": "0s"}
RANGE = ("--from", "2026-10-01T00", "--to", "2026-10-01T23")


def age(place: Workplace) -> None:
    """Let the settlements be of long ago, and the last pruning as well."""
    with closing(sqlite3.connect(place.ledger)) as connection, connection:
        connection.execute("UPDATE files SET settled_at = 0")
        connection.execute("UPDATE ledger SET created_at = 0")
        connection.execute("DELETE FROM notes WHERE name = 'prune'")


def rows(place: Workplace) -> int:
    with closing(sqlite3.connect(place.ledger)) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM files").fetchone()[0])


def files(place: Workplace) -> dict[FileState, int]:
    identity = LedgerIdentity("default", "default", "US")
    with closing(open_ledger(f"sqlite:///{place.ledger}", identity, clock=SystemClock())) as ledger:
        return ledger.summary().files


def test_pruned_files_are_counted_and_left_alone_until_somebody_has_them_sent_again(
    workplace: Workplace,
) -> None:
    written = workplace.export(events=500, hours=2, duplicates=0)
    workplace.configure(source=SOURCE, state={"keep": "30d"})
    first = workplace.run()
    known, counted = rows(workplace), files(workplace)
    assert known == first["files"]["done"] == written.summary.files
    age(workplace)
    assert workplace.run()["files"]["discovered"] == 0
    assert rows(workplace) == known, "they are no older than the newest hour of the source"

    newer = workplace.export(events=20, hours=1, start=datetime.now(UTC), duplicates=0).summary.files
    age(workplace)
    assert workplace.run()["files"]["done"] == newer
    counted[FileState.DONE] += newer
    assert (rows(workplace), files(workplace)) == (newer, counted)
    again = workplace.run()
    assert (again["files"]["discovered"], again["exit_code"]) == (0, 0)

    for command in (("backfill", *RANGE), ("plan", *RANGE)):
        refused = workplace.do(*command, "--output", "json")
        assert refused.code == 2
        assert "state.keep" in refused.error["message"]
        assert "--resend" in refused.error["remedy"]
    changed = workplace.do("plan", "--changed-only", *RANGE, "--output", "json").json
    assert changed["not_comparable_because"] == {"pruned": known}
    assert workplace.do("status", "--output", "json").json["runs"][0]["command"] == "run"
    resent = workplace.do("backfill", *RANGE, "--resend", "--output", "json").json
    assert resent["files"]["done"] == known
    assert resent["warnings"]["resent_after_7_days"] == known
