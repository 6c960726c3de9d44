"""Between the ledger's values and what SQLite stores: times are microseconds since 1970, the rest is JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias

import orjson

from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason, Tally
from braze_etl.state.ledger import Backlog, KnownFile, RunRecord

Row: TypeAlias = Sequence[Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STATES = {state.value: state for state in FileState}


def micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=1024)  # rows have few of them: hours, and the moments of transactions
def moment(value: int) -> datetime:
    return _EPOCH + value * _MICROSECOND


def micros_or_none(when: datetime | None) -> int | None:
    return None if when is None else micros(when)


def moment_or_none(value: int | None) -> datetime | None:
    return None if value is None else moment(value)


def held_text(held_from: tuple[int, int] | None) -> str | None:
    return None if held_from is None else "{}/{}".format(*held_from)


def held_of(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    block, _, record = text.partition("/")
    return int(block), int(record)


def file_row(settlement: FileSettlement, run_id: str, now: datetime) -> Row:
    """Give the columns of `files` in their order."""
    ref, tally = settlement.ref, settlement.tally
    not_before = min((micros(each.not_before) for each in settlement.open), default=None)
    return (
        *(ref.key, ref.etag, ref.size, micros(ref.modified), ref.event_type, micros(ref.hour)),
        *(settlement.state, micros(now), run_id, not_before),
        *(tally.accepted, tally.filtered, tally.quarantined, tally.deferred),
        *(settlement.mapping, held_text(settlement.held_from)),
    )


def known_of(row: Row) -> KnownFile:
    """From etag, state, settled_at, run_id, the four counts, mapping and held_from."""
    etag, state, settled_at, run_id, *counts, mapping, held = row
    return KnownFile(etag, _STATES[state], moment(settled_at), Tally(*counts), run_id, mapping, held_of(held))


def ref_of(row: Row) -> FileRef:
    """From key, etag, size, modified, event_type, hour."""
    key, etag, size, modified, event_type, hour = row
    return FileRef(key, etag, size, moment(modified), event_type, moment(hour))


def position_rows(settlement: FileSettlement) -> list[Row]:
    """Give the columns of `open_positions` in their order."""
    return [
        (
            *(settlement.ref.key, number, each.reason, micros(each.not_before), each.count),
            orjson.dumps(each.blocks, option=orjson.OPT_NON_STR_KEYS).decode(),
        )
        for number, each in enumerate(settlement.open)
    ]


def positions_of(row: Row) -> OpenPositions:
    """From reason, not_before, blocks."""
    reason, not_before, blocks = row
    by_offset = {int(offset): tuple(indexes) for offset, indexes in orjson.loads(blocks).items()}
    return OpenPositions(Reason(reason), moment(not_before), by_offset)


def run_row(run: RunRecord) -> Row:
    """Give the columns of `runs` in their order, but for the number."""
    times = (micros(run.started_at), micros_or_none(run.finished_at))
    return (run.run_id, run.command, *times, run.exit_code, orjson.dumps(run.report).decode())


def run_of(row: Row) -> RunRecord:
    run_id, command, started_at, finished_at, exit_code, report = row
    times = (moment(started_at), moment_or_none(finished_at))
    return RunRecord(run_id, command, *times, exit_code, orjson.loads(report))


def backlog_text(backlog: Backlog) -> str:
    return orjson.dumps(backlog.as_dict()).decode()


def backlog_of(text: str) -> Backlog:
    return Backlog.from_dict(orjson.loads(text))
