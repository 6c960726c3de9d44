"""Whatever is stored and however it is damaged: it is read, or told in words, and nothing else happens."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from braze_etl.clock import ManualClock
from braze_etl.errors import BrazeEtlError, StateError
from braze_etl.state.ledger import Ledger, RunRecord
from braze_etl.state.s3.compaction import Compactor
from braze_etl.state.s3.ledger import S3Ledger
from braze_etl.state.shapes import NOTES
from braze_etl.state.sqlite import SqliteLedger
from tests.monitoring.verified import note
from tests.state.bucket import MemoryBucket
from tests.state.ground import IDENTITY, NOON, OWNER, backlog, by_hand, done, positions, ref, still_open

LARGE = {"rules": "x" * 5000}
HOUR = "2026-10-01T00:00:00Z"
FACTS: dict[str, dict[str, Any]] = {
    "accepted_source": {"uri": "s3://a/b"},
    "before_start": {"next": "2026-10-01T00:00:00Z", "files": 3},
    "begun": {"files": "abc", "suspects": {"abc": [1, 0]}},
    "budget": {"month": "2026-10", "month_events": 5, "day": "2026-10-05", "day_events": 5},
    "quarantine_stop": {
        "run_id": "r",
        "at": "2026-10-01T00:00:00Z",
        "set_aside": 5,
        "read": 9,
        "share": "20%",
    },
    "reconcile": {"next": "2026-10-01T00:00:00Z"},
    "source": {"uri": "s3://a/b", "newest_hour": "2026-10-01T00:00:00Z"},
    "notify": {"failed": {"at": "2026-10-01T00:00:00Z", "active": True}},
    "erased": {"ids": ["ab"]},
    "repairs": {"repairs": [{"run": "r", **dict.fromkeys(("first", "last", "began", "ended"), HOUR)}]},
    "verification": note(),
    "mapping:ab": LARGE,
}
WRONG: tuple[Any, ...] = ("x", -1, 2**70, 1.5, None, [], {}, [["x"]], {"x": {}})


def lived(ledger: Ledger) -> None:
    ledger.note_key("aa")
    for name, fact in FACTS.items():
        ledger.put_note(name, fact)
    ledger.finish_run(RunRecord("run-1", "run", NOON, NOON, 3, {"events": {"read": 5}}))
    ledger.settle("run-1", [done(ref("a"), accepted=1), still_open(ref("b"), positions(1))], backlog())
    ledger.record_listing(NOON, backlog(), 3, complete=True)


def read_all(open_it: Callable[[], Ledger]) -> None:
    """All that a program reads of a ledger; each may be told as damage."""
    with suppress(BrazeEtlError), closing(open_it()) as ledger:
        reading: list[Callable[[], object]] = [
            lambda: [each.tally.read for each in ledger.known([ref("a"), ref("b")]).values()],
            lambda: [each.open[0].count + each.tally.read for each in ledger.open_files()],
            lambda: [(run.started_at, run.report.get("events")) for run in ledger.runs(5)],
            ledger.summary,
            ledger.oldest_day,
            ledger.pruned_through,
            ledger.holder,
            lambda: [list(each) for each in (ledger.contents().files, ledger.contents().runs)],
            *(partial(ledger.get_note, name) for name in FACTS),
        ]
        for read in reading:
            with suppress(StateError):
                read()
        with suppress(BrazeEtlError), ledger.lease(OWNER):
            ledger.settle("run-2", [done(ref("a"), accepted=1)], backlog())


def _mutations(value: Any) -> Iterator[Any]:
    """*value* with one part of it changed or missing, for each part."""
    yield from WRONG
    if isinstance(value, dict):
        for name, part in value.items():
            yield {key: each for key, each in value.items() if key != name}
            yield from ({**value, name: changed} for changed in _mutations(part))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from ([*value[:number], changed, *value[number + 1 :]] for changed in _mutations(part))


def _damages(data: bytes, *, packed: bool) -> Iterator[bytes]:
    yield from (b"", data[: len(data) // 2], b"\xff\x00" * 40, b"{}", b"[]")
    plain = orjson.loads(gzip.decompress(data) if packed else data)
    for changed in _mutations(plain):
        with suppress(TypeError):  # a number that orjson does not write
            written = orjson.dumps(changed)
            yield gzip.compress(written, 1) if packed else written


@pytest.mark.parametrize("kind", ["head", "lease", "journal", "days", "open", "runs", "notes", "catalogue"])
def test_objects_in_s3(kind: str) -> None:
    bucket = MemoryBucket()

    def open_it() -> S3Ledger:
        return S3Ledger.open(bucket, "state/", IDENTITY, clock=ManualClock(NOON), keeper=by_hand)

    ledger = open_it()
    lived(ledger)
    if kind not in {"head", "lease", "journal"}:
        for number in range(26 if kind == "catalogue" else 1):
            ledger.settle("run-1", [done(ref(f"c{number}", hour=-24 * number), accepted=1)], None)
        Compactor(ledger._parts).compact()
        ledger.settle("run-1", [still_open(ref("b"), positions(1, 2))], None)
    with ledger.lease(OWNER):
        found = next(key for key in bucket.objects if f"/{kind}" in key)
        objects = dict(bucket.objects)
        data, modified = objects[found]
        for damage in _damages(data, packed=found.endswith(".gz")):
            bucket.objects = {**objects, found: (damage, modified)}
            read_all(open_it)
        bucket.objects = objects


TABLES = ("ledger", "words", "files", "open_positions", "runs", "notes", "file_counts", "pruned")


def test_rows_in_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    def open_it() -> SqliteLedger:
        return SqliteLedger.open(path, IDENTITY, clock=ManualClock(NOON))

    with closing(open_it()) as ledger:
        lived(ledger)
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        columns = [
            (table, column)
            for table in TABLES
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})")
        ]
    for table, column in columns:
        for wrong in ("x", -1, 2**62, 1.5, None, b"\xff\x00", "{}", '{"x": [1]}', "[]"):
            path.write_bytes(whole)
            with closing(sqlite3.connect(path)) as connection, suppress(sqlite3.IntegrityError), connection:
                connection.execute(f"UPDATE {table} SET {column} = ?", (wrong,))
            read_all(open_it)


@pytest.mark.parametrize("name", NOTES)
def test_a_note_of_another_shape_is_told_with_what_where_and_what_to_do(name: str, tmp_path: Path) -> None:
    with closing(SqliteLedger.open(tmp_path / "l.db", IDENTITY, clock=ManualClock(NOON))) as ledger:
        names = ("at", "next", "uri", "files", "read", "month", "records", "ids", "repairs")
        ledger.put_note(name, {each: [7] for each in names})
        with pytest.raises(StateError, match=rf"l\.db is damaged: the note {name} can't be read") as caught:
            ledger.get_note(name)
        assert "copy" in caught.value.remedy
        assert "upgrade" in caught.value.remedy
