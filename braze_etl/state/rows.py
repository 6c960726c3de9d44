"""Between the ledger's values and what is stored: times are microseconds since 1970, the rest is JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, TypeAlias, TypeVar

import orjson

from braze_etl.model import FileRef, FileState, OpenPositions, Reason, Tally
from braze_etl.state.ledger import Backlog, KnownFile, OpenFile, RunRecord
from braze_etl.state.shapes import EACH, NOTES, REPORT, checked

_T = TypeVar("_T")

Row: TypeAlias = Sequence[Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_STATES = {state.value: state for state in FileState}
_MICROS = ("modified", "hour", "settled_at")
_TEXTS = ("key", "etag", "event_type", "state", "run_id", "mapping")
_KINDS: dict[str, frozenset[type]] = {
    **dict.fromkeys(_TEXTS, frozenset({str})),
    **dict.fromkeys((*_MICROS, "size", "accepted", "filtered", "quarantined", "deferred"), frozenset({int})),
    "held_from": frozenset({str, type(None)}),
    **dict.fromkeys(("sent_from", "sent_to"), frozenset({int, type(None)})),
}


def rows_of(stored: Iterable[Row]) -> list[FileRow]:
    """Give the rows of files; `ValueError` or `OverflowError` where values are of another kind."""
    rows = list(map(FileRow._make, stored))
    columns = dict(zip(FileRow._fields, zip(*rows, strict=True), strict=False))
    for name, values in columns.items():
        if not _KINDS[name].issuperset(map(type, values)):
            raise ValueError(f"`{name}` is of another kind")
        if name in _MICROS:
            moment(min(values)), moment(max(values))
    if not _STATES.keys() >= set(columns.get("state", ())):
        raise ValueError("`state` is none that is known")
    for held in set(columns.get("held_from", ())):
        held_of(held)
    return rows


def batches(rows: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Give all *rows*, so many at a time."""
    rest = iter(rows)
    while batch := list(islice(rest, size)):
        yield batch


def micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=1024)  # rows have few of them: hours, and the moments of transactions
def moment(value: int) -> datetime:
    return _EPOCH + value * _MICROSECOND


def micros_or_none(when: datetime | None) -> int | None:
    return None if when is None else micros(when)


def moment_or_none(value: int | None) -> datetime | None:
    return None if value is None else moment(value)


def seconds_or_none(when: datetime | None) -> int | None:
    return None if when is None else micros(when) // 1_000_000


def moment_of_second(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + timedelta(seconds=value)  # there are too many to be kept


def held_text(held_from: tuple[int, int] | None) -> str | None:
    return None if held_from is None else "{}/{}".format(*held_from)


def held_of(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    block, _, record = text.partition("/")
    return int(block), int(record)


class FileRow(NamedTuple):
    """What both stores keep of a file; `sent_from` and `sent_to` are seconds since 1970."""

    key: str
    etag: str
    size: int
    modified: int
    event_type: str
    hour: int
    state: str
    settled_at: int
    run_id: str
    accepted: int
    filtered: int
    quarantined: int
    deferred: int
    mapping: str
    held_from: str | None
    sent_from: int | None
    sent_to: int | None

    @classmethod
    def of(cls, ref: FileRef, known: KnownFile) -> FileRow:
        """Make the row of a file that is known so."""
        tally = known.tally
        return cls(
            *(ref.key, ref.etag, ref.size, micros(ref.modified), ref.event_type, micros(ref.hour)),
            *(known.state.value, micros(known.settled_at), known.run_id),
            *(tally.accepted, tally.filtered, tally.quarantined, tally.deferred),
            *(known.mapping, held_text(known.held_from)),
            *(seconds_or_none(known.sent_from), seconds_or_none(known.sent_to)),
        )

    @property
    def known(self) -> KnownFile:
        """What the ledger says of it."""
        return KnownFile(
            *(self.etag, _STATES[self.state], moment(self.settled_at), self.tally, self.run_id, self.mapping),
            held_of(self.held_from),
            moment_of_second(self.sent_from),
            moment_of_second(self.sent_to),
        )

    @property
    def ref(self) -> FileRef:
        """The file as a listing found it."""
        found = (self.key, self.etag, self.size, moment(self.modified))
        return FileRef(*found, self.event_type, moment(self.hour))

    @property
    def tally(self) -> Tally:
        """Its books."""
        return Tally(self.accepted, self.filtered, self.quarantined, self.deferred)

    def open_file(self, positions: tuple[OpenPositions, ...]) -> OpenFile:
        """The file with what of it is open."""
        return OpenFile(self.ref, self.tally, positions, self.mapping, held_of(self.held_from))


def position_rows(key: str, positions: Iterable[OpenPositions]) -> list[Row]:
    """Give the columns of `open_positions` in their order."""
    return [
        (
            *(key, number, each.reason, micros(each.not_before), each.count),
            orjson.dumps(each.blocks, option=orjson.OPT_NON_STR_KEYS).decode(),
        )
        for number, each in enumerate(positions)
    ]


def positions_of(row: Row) -> OpenPositions:
    """From reason, not_before, blocks."""
    reason, not_before, blocks = row
    plain = checked(orjson.loads(blocks), {EACH: [int]}, "blocks")
    by_offset = {int(offset): tuple(indexes) for offset, indexes in plain.items()}
    return OpenPositions(Reason(reason), moment(not_before), by_offset)


def run_row(run: RunRecord) -> Row:
    """Give the columns of `runs` in their order, but for the number."""
    times = (micros(run.started_at), micros_or_none(run.finished_at))
    return (run.run_id, run.command, *times, run.exit_code, orjson.dumps(run.report).decode())


def run_of(row: Row) -> RunRecord:
    run_id, command, started_at, finished_at, exit_code, report = row
    times = (moment(started_at), moment_or_none(finished_at))
    plain: dict[str, Any] = checked(orjson.loads(report), REPORT, "its report")
    of_run = (checked(run_id, str, "run_id"), checked(command, str, "command"))
    return RunRecord(*of_run, *times, checked(exit_code, int | None, "exit_code"), plain)


def note_of(name: str, fact: dict[str, Any]) -> dict[str, Any]:
    """Give a note as it was stored, if it has the shape that its readers rely on; else `ValueError`."""
    note: dict[str, Any] = checked(fact, NOTES.get(name, dict))
    return note


def backlog_text(backlog: Backlog) -> str:
    return orjson.dumps(backlog.as_dict()).decode()


def backlog_of(text: str) -> Backlog:
    return Backlog.from_dict(orjson.loads(text))
