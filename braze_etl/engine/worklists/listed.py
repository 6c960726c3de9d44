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

Covers: TypeAlias = Callable[[OpenFile], bool]
"""Whether an open file of the ledger belongs to what is listed."""
_CHUNK = 1000


class Chunks:
    """A listing, cut into lists of up to *size* files; `over` when nothing more comes of it."""

    def __init__(self, listing: Iterable[FileRef], size: int) -> None:
        self._refs = iter(listing)
        self._size = size
        self.over = False

    def until(self, stop: ShouldStop) -> Iterator[list[FileRef]]:
        """Go on until *stop* says so. Where the listing breaks off, what came before is given first."""
        chunk: list[FileRef] = []
        broken: StoreError | None = None
        try:
            while not stop():
                if (ref := next(self._refs, None)) is None:
                    self.over = True
                    break
                chunk.append(ref)
                if len(chunk) == self._size:
                    yield chunk
                    chunk = []
        except StoreError as error:
            self.over, broken = True, error
        if chunk:
            yield chunk
        if broken is not None:
            raise broken


class DueFiles:
    """Iterates over the due files of a listing, lazily and in its order.

    The open files of the ledger that *covers* takes for its own come in between. `changed` counts done files
    whose content changed after Amplitude's de-duplication window: they are reported, and not sent again.
    `resent_late` counts files that are, because of *resend*. `archived` are files that would be due, and have
    to be restored first. `familiarity` expects what the ledger knows, if all that is due is listed.
    `newest_hour` is that of the files up to *now*, whatever the ledger knows of them.
    """

    def __init__(
        self,
        listing: Iterable[FileRef],
        ledger: Ledger,
        *,
        now: datetime,
        resend: bool = False,
        covers: Covers | None = None,
        covers_all: bool = False,
    ) -> None:
        self._chunks = Chunks(listing, _CHUNK)
        self._ledger = ledger
        self._now = now
        self._resend = resend
        self._covers = covers
        self._reached = (_EVER, "")
        self.changed = 0
        self.archived = BacklogLine()
        self.resent_late = 0
        self.familiarity = Familiarity.of(ledger.summary()) if covers_all else Familiarity(None)
        self.newest_hour: datetime | None = None

    def __iter__(self) -> Iterator[DueFile]:
        return self.until(lambda: False)

    @property
    def over(self) -> bool:
        """Whether the listing has come to its end, or broken off."""
        return self._chunks.over

    def until(self, stop: ShouldStop) -> Iterator[DueFile]:
        """Go on with the listing until *stop* says so; a `StoreError` of it comes after all else."""
        for due in by_hour(self._listed(stop), self._left_open()):
            if not self.over and _order(due) > self._reached:
                # Only an open file can lie there. It waits for the listing, which may give it as a new one.
                return
            yield due

    def _listed(self, stop: ShouldStop) -> Iterator[DueFile]:
        for chunk in self._chunks.until(stop):
            known = self._ledger.known(chunk)
            self.familiarity.note(chunk, known)
            begun = (ref.hour for ref in reversed(chunk) if ref.hour <= self._now)
            self.newest_hour = next(begun, self.newest_hour)
            self._reached = (chunk[-1].hour, chunk[-1].key)
            for ref in chunk:
                due = self._judge(ref, known.get(ref.key))
                if due is not None and ref.archived:
                    self.archived += BacklogLine(1, ref.size)
                elif due is not None:
                    yield due

    def _left_open(self) -> Iterator[DueFile]:
        """The open files that were not given yet: others may have settled some since the last call."""
        if self._covers is None:
            return iter(())
        covers, given = self._covers, self._reached
        files = (file for file in self._ledger.open_files() if covers(file) and _order(file) > given)
        return open_files(files, now=self._now)

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


def _order(due: DueFile | OpenFile) -> tuple[datetime, str]:
    return (due.ref.hour, due.ref.key)


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


class Reconcile:
    """One run's part of a sweep, with what it came upon: see `DueFiles` for `archived` and `changed`.

    A sweep begins *every* so often, and takes *budget* of the time of one run.
    """

    def __init__(
        self, ledger: Ledger, hours: Hours, clock: Clock, *, every: timedelta, budget: timedelta
    ) -> None:
        self._ledger = ledger
        self._hours = hours
        self._every = every
        self._budget = budget
        self._clock = clock
        self._walk: Walk | None = None
        self.archived = BacklogLine()
        self.changed = 0

    def due(self, until: datetime, should_stop: ShouldStop) -> Iterator[DueFile]:
        """Give what is due in the hours from the ledger's start to *until*, as far as the budget allows.

        Nothing when the last sweep is younger than `every`; one in the future was of a wrong clock.
        """
        since = self._since()
        if since is None or since >= until:
            return
        walk = self._walk = Walk(self._hours, since, until)
        files = walk.files(self._clock, self._budget, should_stop)
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
            and abs(self._clock.now() - datetime.fromisoformat(fact["finished_at"])) < self._every
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
        covers: Covers = lambda _: True,
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
        if self._listing is None:
            self._open(ledger, now)
        if not self._due.over:
            yield from self._go_on(ledger, now, stop)

    def _go_on(self, ledger: Ledger, now: datetime, stop: ShouldStop) -> Iterator[DueFile]:
        broken: StoreError | None = None
        try:
            yield from self._due.until(stop)
        except StoreError as error:
            broken = error
        complete = self._due.over and broken is None
        self._recognize(ledger, complete=complete)
        if broken is not None:
            raise broken
        if complete and self.covers_all:
            note_newest_hour(ledger, self._uri, self._due.newest_hour)
            report_silence(Freshness.read(ledger, self._stale_after), now)

    def _open(self, ledger: Ledger, now: datetime) -> None:
        """Begin the listing; `StateError` from the ledger, and then nothing has begun."""
        listing = self._new_listing()
        self._due = DueFiles(
            listing,
            ledger,
            now=now,
            resend=self._resend,
            covers=self._covers,
            covers_all=self.covers_all,
        )
        self._listing = listing

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
