"""The sweep: hours that the listing of a run no longer covers are listed again, now and then, for late files.

A listing goes back by `source.lookback`; what comes later than that, or changes, is found here. It runs after
delivery, within a budget of time, and goes on in the next run where it left off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from braze_etl.clock import Clock, iso
from braze_etl.engine.due import DueFile, DueFiles
from braze_etl.model import FileRef
from braze_etl.state.ledger import BacklogLine, Ledger
from braze_etl.uri import S3Place, parse_uri

Hours: TypeAlias = Callable[[datetime, datetime], Iterable[FileRef]]
"""Lists the files of the hours from the first (inclusive) to the second (exclusive), oldest first."""


class Walk:
    """Goes from hour to hour. `next` is the first hour that is not walked to its end; None when all are."""

    def __init__(self, hours: Hours, since: datetime, until: datetime) -> None:
        self._hours = hours
        self._since = since
        self._until = until
        self.next: datetime | None = since

    def files(self, clock: Clock, budget: timedelta, should_stop: Callable[[], bool]) -> Iterator[FileRef]:
        """Give the files until *budget* is used up, but those of one hour at least, or until a stop."""
        end = clock.monotonic() + budget.total_seconds()
        reached, walked = self._since, False
        for ref in self._hours(self._since, self._until):
            if ref.hour > reached:
                # Hours come in order: all before this one are done.
                self.next = reached = ref.hour
                if walked and clock.monotonic() >= end:
                    return
                walked = True
            if should_stop():
                return
            yield ref
        self.next = None


_SWEEP_NOTE = "reconcile"


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a sweep begins, and how much time of one run it may take."""

    every: timedelta
    budget: timedelta


class Reconcile:
    """One run's part of a sweep, with what it came upon: see `DueFiles` for `archived` and `changed`."""

    def __init__(self, ledger: Ledger, hours: Hours, pace: Pace, clock: Clock) -> None:
        self._ledger = ledger
        self._hours = hours
        self._pace = pace
        self._clock = clock
        self._walk: Walk | None = None
        self.archived = BacklogLine()
        self.changed = 0

    def due(self, until: datetime, should_stop: Callable[[], bool]) -> Iterator[DueFile]:
        """Give what is due in the hours from the ledger's start to *until*, as far as the budget allows.

        Nothing when the last sweep is younger than `every`.
        """
        since = self._since()
        if since is None or since >= until:
            return
        walk = self._walk = Walk(self._hours, since, until)
        files = walk.files(self._clock, self._pace.budget, should_stop)
        due = DueFiles(files, self._ledger, now=self._clock.now())
        try:
            yield from due
        finally:
            self.archived, self.changed = due.archived, due.changed

    def note(self) -> None:
        """Remember how far it came; to be called when what it found is on the ledger's books."""
        if self._walk is None:
            return
        onward = self._walk.next
        fact = {"finished_at": iso(self._clock.now())} if onward is None else {"next": iso(onward)}
        self._ledger.put_note(_SWEEP_NOTE, fact)

    def _since(self) -> datetime | None:
        fact = self._ledger.get_note(_SWEEP_NOTE)
        if "next" in fact:
            return datetime.fromisoformat(fact["next"])
        if (
            "finished_at" in fact
            and self._clock.now() - datetime.fromisoformat(fact["finished_at"]) < self._pace.every
        ):
            return None
        return self._ledger.start_at


_BEFORE_NOTE = "before_start"
_EVER = datetime(2000, 1, 1, tzinfo=UTC)
"""Before Braze was founded."""
_BUDGET = timedelta(minutes=1)


class BeforeStart:
    """Counts for about a minute of a run, and goes on in the next where it left off."""

    def __init__(self, ledger: Ledger, hours: Hours, clock: Clock, budget: timedelta = _BUDGET) -> None:
        self._ledger = ledger
        self._hours = hours
        self._clock = clock
        self._budget = budget

    def count(self, should_stop: Callable[[], bool]) -> int | None:
        """Give the number of files, or None when it is not known yet."""
        fact = self._ledger.get_note(_BEFORE_NOTE)
        since = hour = datetime.fromisoformat(fact["next"]) if fact else _EVER
        before, of_hour = int(fact.get("files", 0)), 0
        walk = Walk(self._hours, since, self._ledger.start_at)
        for ref in walk.files(self._clock, self._budget, should_stop):
            if ref.hour > hour:
                before, of_hour, hour = before + of_hour, 0, ref.hour
            of_hour += 1
        if walk.next is None:
            return before + of_hour
        whole = before + of_hour if walk.next > hour else before
        self._ledger.put_note(_BEFORE_NOTE, {"next": iso(walk.next), "files": whole})
        return None


_ARCHIVED = "Contents[?StorageClass=='GLACIER' || StorageClass=='DEEP_ARCHIVE'].Key"
_REQUEST = '{"Days":7,"GlacierJobParameters":{"Tier":"Bulk"}}'


def restore_command(source: str, archived: BacklogLine) -> str | None:
    """A command line that restores the archived files below *source* for 7 days, at the lowest price.

    None when there are none. A restore in bulk takes up to 48 hours (Amazon S3 User Guide, "Archive retrieval
    options"); it costs by file and by GB.
    """
    place = parse_uri(source)
    if not archived.files or not isinstance(place, S3Place):
        return None
    bucket = place.bucket
    return (
        f"aws s3api list-objects-v2 --bucket {bucket} --prefix '{place.prefix}' --query \"{_ARCHIVED}\""
        " --output text | tr '\\t' '\\n' | while read -r key; do"
        f" aws s3api restore-object --bucket {bucket} --key \"$key\" --restore-request '{_REQUEST}'; done"
    )
