"""What a listing of the source finds, and the ledger does not have as done: the work of `run` and `backfill`.

A listing of `run` goes back by `source.lookback`. What comes later than that, or changes, is found by the
sweep: hours that the listing no longer covers are listed again, now and then. It runs after delivery, within
a budget of time, and goes on in the next run where it left off.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from braze_etl.clock import Clock, iso
from braze_etl.engine.due import DEDUPLICATED_FOR, DueFile, open_files
from braze_etl.engine.flow import Found, ShouldStop, WorkList
from braze_etl.engine.source_health import (
    Familiarity,
    Freshness,
    Listing,
    Recognition,
    note_newest_hour,
    report_silence,
)
from braze_etl.errors import StoreError
from braze_etl.model import FileRef, FileState
from braze_etl.state.ledger import BacklogLine, KnownFile, Ledger, OpenFile
from braze_etl.uri import S3Place, parse_uri

_CHUNK = 1000


class DueFiles:
    """Iterates over the due files of a listing, lazily and in its order.

    `changed` counts done files whose content changed after Amplitude's de-duplication window: they are
    reported, and not sent again. `resent_late` counts files that are, because of *resend*. `archived` are
    files that would be due, and have to be restored first. `familiarity` is *expected* of a listing of all
    that is due. `newest_hour` is that of the files up to *now*, whatever the ledger knows of them.
    """

    def __init__(
        self,
        listing: Iterable[FileRef],
        ledger: Ledger,
        *,
        now: datetime,
        resend: bool = False,
        expected: Familiarity | None = None,
    ) -> None:
        self._listing = iter(listing)
        self._ledger = ledger
        self._now = now
        self._resend = resend
        self.changed = 0
        self.archived = BacklogLine()
        self.resent_late = 0
        self.familiarity = expected or Familiarity(None)
        self.newest_hour: datetime | None = None

    def __iter__(self) -> Iterator[DueFile]:
        return self.until(lambda: False)

    def until(self, stop: ShouldStop) -> Iterator[DueFile]:
        """Go on with the listing until *stop* says so."""
        for chunk in _chunks(self._listing, stop):
            known = self._ledger.known(chunk)
            self.familiarity.note(chunk, known)
            begun = (ref.hour for ref in reversed(chunk) if ref.hour <= self._now)
            self.newest_hour = next(begun, self.newest_hour)
            for ref in chunk:
                due = self._judge(ref, known.get(ref.key))
                if due is not None and ref.archived:
                    self.archived += BacklogLine(1, ref.size)
                elif due is not None:
                    yield due

    def _judge(self, ref: FileRef, known: KnownFile | None) -> DueFile | None:
        if known is None:
            return DueFile(ref)
        if self._resend:
            self.resent_late += self._now - known.settled_at >= DEDUPLICATED_FOR
            return DueFile(ref)
        if known.etag == ref.etag:
            # Open files come from the ledger itself, wherever they lie.
            return None
        delivered = known.state is FileState.DONE or known.tally.accepted > 0
        if delivered and self._now - known.settled_at >= DEDUPLICATED_FOR:
            self.changed += 1
            return None
        return DueFile(ref)


def by_hour(*streams: Iterable[DueFile]) -> Iterator[DueFile]:
    """Merge sorted streams of due files into one, oldest hour first; a file to be read whole comes once.

    A `StoreError` that breaks off one of them is raised when the others are over.
    """
    errors: list[StoreError] = []
    merged = heapq.merge(*(_until_broken(stream, errors) for stream in streams), key=_order)
    for _, same in itertools.groupby(merged, key=_order):
        # An open file whose content changed is due as a whole; its old positions mean nothing any more.
        yield max(same, key=lambda due: due.whole)
    if errors:
        raise errors[0]


def _until_broken(stream: Iterable[DueFile], errors: list[StoreError]) -> Iterator[DueFile]:
    try:
        yield from stream
    except StoreError as error:
        errors.append(error)


def _order(due: DueFile) -> tuple[datetime, str]:
    return (due.ref.hour, due.ref.key)


def _chunks(refs: Iterator[FileRef], stop: ShouldStop) -> Iterator[list[FileRef]]:
    """Cut into lists. Where the listing breaks off, what came before is given first."""
    chunk: list[FileRef] = []
    try:
        while not stop() and (ref := next(refs, None)) is not None:
            chunk.append(ref)
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
    except StoreError:
        yield chunk
        raise
    yield chunk


Hours: TypeAlias = Callable[[datetime, datetime], Iterable[FileRef]]
"""Lists the files of the hours from the first (inclusive) to the second (exclusive), oldest first."""


class Walk:
    """Goes from hour to hour. `next` is the first hour that is not walked to its end; None when all are."""

    def __init__(self, hours: Hours, since: datetime, until: datetime) -> None:
        self._hours = hours
        self._since = since
        self._until = until
        self.next: datetime | None = since

    def files(self, clock: Clock, budget: timedelta, should_stop: ShouldStop) -> Iterator[FileRef]:
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

    def due(self, until: datetime, should_stop: ShouldStop) -> Iterator[DueFile]:
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

    def count(self, should_stop: ShouldStop) -> int | None:
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


class Listed(WorkList):
    """The due files of a listing, and the ledger's open files.

    *new_listing* is asked under the lease, for what it covers is in the ledger; *covers* says which open
    files belong to it. *uri* is where the files lie, as the configuration says it; *accept_source*: somebody
    says that this source is the one that is meant. A list of all that is due may have a *sweep*, and count
    the files *before_start*.
    """

    def __init__(
        self,
        new_listing: Callable[[], Listing],
        uri: str = "",
        *,
        covers_all: bool = True,
        covers: Callable[[OpenFile], bool] = lambda _: True,
        accept_source: bool = False,
        resend: bool = False,
        stale_after: timedelta = timedelta(hours=24),
        sweep: Reconcile | None = None,
        before_start: BeforeStart | None = None,
    ) -> None:
        self.covers_all = covers_all
        self._new_listing = new_listing
        self._covers = covers
        self._uri = uri
        self._accept_source = accept_source
        self._resend = resend
        self._stale_after = stale_after
        self._sweep = sweep
        self._before_start = before_start
        self._listing: Listing | None = None
        self._due: DueFiles
        self._warnings = Counter[str]()

    def find(self, ledger: Ledger, now: datetime, stop: ShouldStop) -> Iterator[DueFile]:
        """List; raises `SourceError` at the end where the ledger does not recognize the source."""
        streams = [] if self._listing else [self._opened(ledger, now)]
        broken: StoreError | None = None
        try:
            yield from by_hour(self._due.until(stop), *streams)
        except StoreError as error:
            broken = error
        complete = broken is None and not stop()
        self._recognize(ledger, complete=complete)
        if broken is not None:
            raise broken
        if complete and self.covers_all:
            note_newest_hour(ledger, self._uri, self._due.newest_hour)
            report_silence(Freshness.read(ledger, self._stale_after), now)

    def _opened(self, ledger: Ledger, now: datetime) -> Iterator[DueFile]:
        """Begin the listing, and give the open files that come with it."""
        self._listing = self._new_listing()
        expected = Familiarity.of(ledger.summary()) if self.covers_all else None
        self._due = DueFiles(self._listing, ledger, now=now, resend=self._resend, expected=expected)
        return open_files(filter(self._covers, ledger.open_files()), now=now)

    def _recognize(self, ledger: Ledger, *, complete: bool) -> None:
        """Go on with a source that the ledger knows; raises `SourceError` for another one."""
        assert self._listing is not None
        recognition, seen = (
            Recognition(ledger, self._uri, accepted=self._accept_source),
            self._due.familiarity,
        )
        judged = recognition.judge(self._listing, seen, complete=complete, covers_all=self.covers_all)
        self._warnings |= judged.warnings
        if judged.refusal is not None:
            raise judged.refusal
        recognition.remember(judged, seen)

    def later(self, ledger: Ledger, now: datetime, stop: ShouldStop) -> Iterator[DueFile]:
        """Look for what came later than the listing goes back, and count the files before the start."""
        if self._sweep is not None and self._listing is not None:
            for due in self._sweep.due(self._listing.since, stop):
                self._warnings["late_files"] += 1
                yield due
        if self._before_start is not None and ledger.summary().before_start is None:
            self._count_before_start(self._before_start, ledger, now, stop)

    def _count_before_start(
        self, count: BeforeStart, ledger: Ledger, now: datetime, stop: ShouldStop
    ) -> None:
        try:
            before = count.count(stop)
        except StoreError:
            self._warnings["before_start_not_counted"] += 1
            return
        if before is not None:
            ledger.record_listing(now, ledger.summary().backlog, before, complete=False)

    def found(self) -> Found:
        """What the listing and the sweep have met."""
        if self._listing is None:
            return Found()
        late = {"resent_after_7_days": self._due.resent_late} if self._due.resent_late else {}
        listing = self._listing
        return Found(
            archived=self._due.archived + (self._sweep.archived if self._sweep else BacklogLine()),
            changed=self._due.changed + (self._sweep.changed if self._sweep else 0),
            warnings=self._warnings + Counter(late),
            listing={
                "requests": listing.requests,
                "foreign": listing.foreign,
                "unsettled": listing.unsettled,
            },
        )

    def finish(self, *, in_order: bool) -> None:
        """Remember how far the sweep came, once what it found is on the books."""
        if in_order and self._sweep is not None:
            self._sweep.note()


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
