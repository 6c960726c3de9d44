"""A whole ledger out of S3, and into it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby

from braze_etl.checkpoint._rules import not_empty
from braze_etl.checkpoint.facts import LedgerContents, SettledFile
from braze_etl.checkpoint.s3.head import Head
from braze_etl.checkpoint.s3.opens import OpenMap
from braze_etl.checkpoint.s3.parts import Parts
from braze_etl.checkpoint.s3.rows import FileRow, day_of, row_of_settled
from braze_etl.checkpoint.s3.runs import IN_ONE, OLDER_KEPT
from braze_etl.checkpoint.s3.settling import records
from braze_etl.model import FileState, Reason


class Transfer:
    """Reads and writes a ledger day by day: one of them is in memory at a time."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def contents(self) -> LedgerContents:
        """See `Ledger.contents`."""
        head = self._parts.heads.fresh()
        runs = self._parts.heads.reading(
            lambda found: self._parts.runs.last(found, IN_ONE * (OLDER_KEPT + 1))
        )
        return LedgerContents(
            identity=head.identity,
            start_at=head.start_at,
            created_at=head.created_at,
            key_fingerprint=head.key_fingerprint,
            notes=self._parts.heads.reading(self._parts.notes.all),
            summary=head.summary,
            runs=reversed(runs),
            files=self._files(),
        )

    def _files(self) -> Iterator[SettledFile]:
        for day in self._parts.heads.reading(self.all_days):
            rows, open_files = self._parts.heads.reading(partial(self._day, day))
            for row in sorted(rows.values(), key=lambda row: (row.hour, row.key)):
                _, positions = open_files.get(row.key, (row, ()))
                yield SettledFile(row.ref, row.known, positions)

    def _day(self, day: str, head: Head) -> tuple[dict[str, FileRow], OpenMap]:
        return self._parts.days.merged(head, day), self._parts.opens.current(head)

    def all_days(self, head: Head) -> list[str]:
        """The days of all files, oldest first."""
        touched = {day for entry in head.journal for day in entry.days}
        return sorted(touched | set(self._parts.catalogue.all_days(head)))

    def take_over(self, contents: LedgerContents) -> None:
        """See `Ledger.take_over`: everything is written first, and counts with one head."""
        head, place = self._parts.heads.fresh(), self._parts.objects.place
        _refuse_used(head, place)
        taken = self._written(head, contents)

        def change(found: Head, _: str) -> Head:
            _refuse_used(found, place)
            return replace(taken, generation=found.generation, checked=found.checked)

        self._parts.heads.commit(change)

    def _written(self, head: Head, contents: LedgerContents) -> Head:
        stamp = self._parts.heads.new_stamp()
        days: dict[str, str] = {}
        states: Counter[FileState] = Counter()
        deferred: Counter[Reason] = Counter()
        open_files: OpenMap = {}
        for day, files in groupby(contents.files, key=lambda file: day_of(file.ref.hour)):
            rows = {}
            for file in files:
                rows[file.ref.key] = row = row_of_settled(file)
                states[file.known.state] += 1
                if file.open:
                    deferred.update(records(file.open))
                    open_files[row.key] = (row, file.open)
            self._parts.days.write(stamp, day, rows)
            days[day] = stamp
        summary = contents.summary
        taken = replace(
            head,
            start_at=contents.start_at,
            created_at=contents.created_at,
            key_fingerprint=contents.key_fingerprint,
            last_delivery=summary.last_delivery,
            last_listing=summary.last_listing,
            before_start=summary.before_start,
            backlog=summary.backlog,
            files=states,
            deferred=deferred,
            days=days,
            open=self._parts.opens.write(stamp, open_files),
            runs=self._parts.runs.write_all(stamp, contents.runs),
        )
        noted = self._parts.notes.written(taken, stamp, contents.notes)
        return self._parts.catalogue.trimmed(noted, stamp)


def _refuse_used(head: Head, place: str) -> None:
    if head.files or head.runs or head.last_listing:
        raise not_empty(place)
