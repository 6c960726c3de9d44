"""One file of the ledger as a row, and many rows as columns: what compresses to some 40 bytes a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from braze_etl.checkpoint._rows import held_of, held_text, micros, moment
from braze_etl.checkpoint.facts import KnownFile, OpenFile, SettledFile
from braze_etl.model import FileRef, FileSettlement, FileState, OpenPositions, Reason, Tally

Positions: TypeAlias = tuple[OpenPositions, ...]


class FileRow(NamedTuple):
    """What is kept of a file; times are microseconds since 1970."""

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
    mapping: str = ""
    held_from: str | None = None

    @property
    def known(self) -> KnownFile:
        return KnownFile(
            self.etag,
            FileState(self.state),
            moment(self.settled_at),
            self.tally,
            self.run_id,
            self.mapping,
            held_of(self.held_from),
        )

    @property
    def ref(self) -> FileRef:
        return FileRef(
            self.key, self.etag, self.size, moment(self.modified), self.event_type, moment(self.hour)
        )

    @property
    def tally(self) -> Tally:
        return Tally(self.accepted, self.filtered, self.quarantined, self.deferred)


_CODED = {"event_type", "hour", "state", "settled_at", "run_id", "mapping", "held_from"}
"""Columns of few different values: these are written, and read, once."""


def day_of(hour: datetime) -> str:
    """The day that a file belongs to, by its `date=` hour."""
    return hour.date().isoformat()


def day_of_row(row: FileRow) -> str:
    return day_of(moment(row.hour))


def row_of(settlement: FileSettlement, run_id: str, now: datetime) -> FileRow:
    """Make the row of a settlement that makes a claim."""
    assert settlement.state is not None
    known = KnownFile(
        settlement.ref.etag,
        settlement.state,
        now,
        settlement.tally,
        run_id,
        settlement.mapping,
        settlement.held_from,
    )
    return _row(settlement.ref, known)


def row_of_settled(file: SettledFile) -> FileRow:
    """Make the row of a file that comes from another ledger."""
    # A changed file is known by the etag that was settled.
    return _row(file.ref, file.known)


def _row(ref: FileRef, known: KnownFile) -> FileRow:
    tally = known.tally
    return FileRow(
        *(ref.key, ref.etag, ref.size, micros(ref.modified), ref.event_type, micros(ref.hour)),
        *(known.state.value, micros(known.settled_at), known.run_id),
        *(tally.accepted, tally.filtered, tally.quarantined, tally.deferred),
        *(known.mapping, held_text(known.held_from)),
    )


def as_open_file(row: FileRow, positions: Positions) -> OpenFile:
    return OpenFile(row.ref, row.tally, positions, row.mapping, held_of(row.held_from))


def columns(rows: Iterable[FileRow]) -> dict[str, Any]:
    """Turn rows into columns, as JSON values."""
    by_column = list(zip(*sorted(rows), strict=True)) or [()] * len(FileRow._fields)
    return {
        name: _coded(values) if name in _CODED else values
        for name, values in zip(FileRow._fields, by_column, strict=True)
    }


def from_columns(value: Mapping[str, Any]) -> dict[str, FileRow]:
    """Turn columns back into rows, by key; what an older program has not written is as it was then."""
    names = [name for name in FileRow._fields if name in value]
    by_column = [_decoded(value[name]) if name in _CODED else value[name] for name in names]
    return {row[0]: FileRow(*row) for row in zip(*by_column, strict=True)}


def _coded(values: tuple[Any, ...]) -> list[Any]:
    numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
    return [list(numbers), [numbers[value] for value in values]]


def _decoded(coded: list[list[Any]]) -> list[Any]:
    values, numbers = coded
    return [values[number] for number in numbers]


def positions_json(positions: Positions) -> list[Any]:
    """Write open positions as JSON values."""
    return [
        [each.reason.value, micros(each.not_before), [[o, list(i)] for o, i in each.blocks.items()]]
        for each in positions
    ]


def positions_from(value: Iterable[Any]) -> Positions:
    """Read open positions."""
    return tuple(
        OpenPositions(Reason(reason), moment(not_before), {offset: tuple(of) for offset, of in blocks})
        for reason, not_before, blocks in value
    )
