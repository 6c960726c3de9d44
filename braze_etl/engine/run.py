"""One pass: discover what is due, hand tasks to workers, settle what comes back, report.

The parent is the only writer of the quarantine and of the ledger. It stores a settlement in three steps:

1. what was set aside is filed;
2. entries are closed for bytes that a file, delivered whole, has replaced;
3. the ledger is told.

A crash before the third leaves the files due. The next run files the same entries again under the same ids,
closes what is still to be closed, and sends the same events under the same ids: nothing is lost.
"""

from __future__ import annotations

import itertools
import os
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import takewhile
from types import TracebackType
from typing import Final, Protocol, Self

from braze_etl.braze.currents.listing import Listing
from braze_etl.clock import Clock
from braze_etl.delivery.batches import RequestCounts, Trouble
from braze_etl.delivery.destination import Probe, Standing
from braze_etl.engine.busy import BusyDays
from braze_etl.engine.clock_skew import WARNING as CLOCK_DIFFERS
from braze_etl.engine.dispatch import Dispatcher
from braze_etl.engine.due import Discovery, DueFile, DueFiles, by_hour, open_files
from braze_etl.engine.executors.local import WorkerPool
from braze_etl.engine.exits import Stop, exit_code
from braze_etl.engine.forecast import Outlook, Window, forecast_of_run, recent_reports
from braze_etl.engine.meter import Meter
from braze_etl.engine.quarantine_stop import Bound
from braze_etl.engine.report import RunReport, causes_of
from braze_etl.engine.source_health import (
    Familiarity,
    Freshness,
    Recognition,
    note_newest_hour,
    tell_of_silence,
)
from braze_etl.engine.suspects import Begun
from braze_etl.engine.tasks import RECORD_BYTES, Extras, NoExtras, Settlement, Task, group, shares
from braze_etl.engine.worklists.listed import BeforeStart, Reconcile
from braze_etl.engine.worklists.replayed import Replay
from braze_etl.errors import (
    AbandonedError,
    DeliveryError,
    FatalError,
    KeyRefusedError,
    LeaseHeldError,
    StoreError,
)
from braze_etl.flows.currents_to_amplitude.remapped import NOT_COMPARABLE, Changes
from braze_etl.logs import get_logger
from braze_etl.model import FileSettlement, FileState, Reason
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.state.ledger import Backlog, LeaseOwner, Ledger, Notes, OpenFile, RunRecord


class Progress(Protocol):
    """Who wants to see a pass advance."""

    def discovered(self, outlook: Outlook, warnings: Mapping[str, int]) -> None:
        """So much is due, with what there is to warn of; told again when a sweep has found more."""
        ...

    def settled(self, settlement: Settlement) -> None:
        """A task came back."""
        ...

    def in_flight(self, requests: int) -> None:
        """So many requests are under way, over all workers; told a few times a second."""
        ...

    def troubled(self, trouble: Trouble) -> None:
        """A request to Amplitude failed: each worker tells of the first of each kind."""
        ...


@dataclass(frozen=True)
class JobParts:
    """What a pass works with; the caller opens and closes them."""

    ledger: Ledger
    quarantine: Quarantine
    new_listing: Callable[[], Listing]
    """Makes the listing of what may be due; asked under the lease, for what it covers is in the ledger."""
    probe: Callable[[], Probe]
    new_pool: Callable[[], WorkerPool]
    clock: Clock
    stop: Stop
    progress: Progress
    replay: Replay | None = None
    """Where the due files come from instead of the listing."""
    changes: Changes | None = None
    """Finds what of the listing a change of the mapping lets through: nothing else is due then."""
    before_start: BeforeStart | None = None
    """Counts the files before `start_at`."""
    aftermath: Callable[[RunReport], None] = lambda _: None
    """Called when all is told and stored, under the lease: metrics, and who else wants to know."""
    sweep: Reconcile | None = None
    """Looks for files in the hours before those of the listing."""
    bound: Bound | None = None
    """Ends the pass when too much of it is set aside; a replay has none."""
    budget: Meter | None = None
    """Counts what is spent, and grants what is left."""
    busy: BusyDays | None = None
    """Counts what is sent by id."""
    extras: Extras = field(default_factory=NoExtras)
    """What the flow finds beside records; nothing so far."""
    clock_differs: Callable[[], bool] = lambda: False
    """Whether a server told another time than ours."""


@dataclass(frozen=True)
class JobOptions:
    """How this pass differs from the plainest one."""

    command: str
    pipeline: str
    objective: timedelta
    warn_at: timedelta
    workers: int = 1
    covers_all: bool = True
    """Whether the listing covers all that is due, as that of `run` does and that of `backfill` does not."""
    covers: Callable[[OpenFile], bool] = lambda _: True
    """Which of the ledger's open files belong to this pass."""
    resend: bool = False
    source: str = ""
    """Where the files lie, as the configuration says it."""
    accept_source: bool = False
    """Whether somebody says that a source which the ledger does not recognize is the one that is meant."""
    source_stale_after: timedelta = timedelta(hours=24)
    max_events: int = 2000
    """Events a request, for what is foretold of their number."""


GIVES_WAY: Final = "backfill"
TURN: Final = 120.0
"""Seconds that a backfill keeps the lease, and a little more: what is in flight is settled first."""
PATIENCE: Final = 300.0
"""Seconds that a run waits for a backfill to give way."""
_PAUSE: Final = 5.0
_GLANCE: Final = 1.0


class Turns:
    """The lease of a ledger as one pass holds it; use as a context manager.

    A backfill asks `is_over` between its tasks and, when its turn is over, calls `pass_on`. Any other pass
    that finds a backfill at work waits for that moment. Everybody else is told `LeaseHeldError` at once.
    """

    def __init__(
        self, ledger: Ledger, owner: LeaseOwner, clock: Clock, should_stop: Callable[[], bool]
    ) -> None:
        self._ledger = ledger
        self._owner = owner
        self._clock = clock
        self._should_stop = should_stop
        self._lease = ExitStack()
        self._ends = 0.0
        self.held = False
        self.passed_on = False

    def __enter__(self) -> Self:
        until = self._clock.monotonic() + PATIENCE
        while not self._taken():
            if not (self._is_giving_way() and self._clock.monotonic() < until) or self._should_stop():
                self._take()
                break
            self._clock.wait(_GLANCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def is_over(self) -> bool:
        """Whether this is a backfill that has held the lease for long enough."""
        return self._owner.command == GIVES_WAY and self._clock.monotonic() >= self._ends

    def pass_on(self) -> None:
        """Give the lease back for a moment, and take it again when whoever took it is done.

        Ends without the lease (see `held`) when it is time to stop meanwhile.
        """
        self._leave()
        self.passed_on = True
        until = self._clock.monotonic() + _PAUSE
        while self._clock.monotonic() < until and not self._should_stop():
            self._clock.wait(_GLANCE)
        while not self._should_stop():
            if self._taken():
                return
            self._clock.wait(_GLANCE)

    def _taken(self) -> bool:
        try:
            self._take()
        except LeaseHeldError:
            return False
        return True

    def _take(self) -> None:
        self._lease.enter_context(self._ledger.lease(self._owner))
        self._ends = self._clock.monotonic() + TURN
        self.held = True

    def _leave(self) -> None:
        self.held = False
        self._lease.close()

    def _is_giving_way(self) -> bool:
        holder = self._ledger.holder()
        if holder is None:
            return True  # it has just left
        return holder.owner.command == GIVES_WAY != self._owner.command


_MOST = 10_000
_EVERY = 5.0


class Reopening:
    """Remembers the files that this run left open, at most `_MOST` of them; the next run finds the others.

    Nobody waits here: a file comes back while the run is at work on others anyway.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._left_open: set[str] = set()
        self._others: set[str] = set()
        self._looked = clock.monotonic()

    def began(self, task: Task) -> None:
        """Leave files alone in which earlier runs left records open that still wait: those count there."""
        self._others.update(due.ref.key for due in task.files if due.later)

    def note(self, settlement: Settlement) -> None:
        """Remember what a task left open."""
        for file in settlement.files:
            fresh = file.ref.key not in self._others and len(self._left_open) < _MOST
            if file.state is FileState.OPEN and fresh:
                self._left_open.add(file.ref.key)

    def ready(self) -> Iterator[DueFile]:
        """The remembered files with open records that may be tried now; looks every few seconds."""
        now = self._clock.monotonic()
        if not self._left_open or now - self._looked < _EVERY:
            return
        self._looked = now
        moment = self._clock.now()
        for due in open_files(self._ledger.open_files(ready_by=moment), now=moment):
            if due.ref.key in self._left_open:
                self._left_open.remove(due.ref.key)
                yield due


def deferred_in(due: DueFile) -> Counter[Reason]:
    """How many records of *due* are taken up again, by the reason that they were deferred for."""
    counts: Counter[Reason] = Counter()
    for part in due.open:
        counts[part.reason] += part.count
    return counts


_log = get_logger(__name__)


class Job:
    """Runs one pass under the lease of its ledger; use once."""

    def __init__(self, parts: JobParts, options: JobOptions) -> None:
        self._parts = parts
        self._options = options
        self._reopening = Reopening(parts.ledger, parts.clock)
        self._begun = Begun(parts.ledger)
        self._listed_from = parts.ledger.start_at
        self._began = parts.clock.monotonic()
        self._now = parts.clock.now()
        run_id = f"{self._now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.report = RunReport(run_id, options.pipeline, options.command, self._now, extras=parts.extras)
        owner = LeaseOwner(run_id, socket.gethostname(), os.getpid(), options.command)
        self._turns = Turns(parts.ledger, owner, parts.clock, self._should_stop)

    def run(self) -> RunReport:
        """Do the pass and return its report; raises `LeaseHeldError` if another one is at work."""
        with self._turns, Discovery() as found:
            try:
                self._parts.ledger.begin_run(self._record())
                self._begun.read()
                if self._parts.bound:
                    self._parts.bound.admit()
                if self._parts.budget:
                    self._parts.budget.open()
                self._discover(found)
                self._deliver(found)
                self._sweep(found)
                self._try_suspects(found)
                self._count_before_start(found)
            except FatalError as error:
                self.report.error = self.report.error or error
            self._judge()
            self._finish()
            if self._turns.held:
                self._parts.aftermath(self.report)
            if self._parts.stop.signum is not None:  # perhaps only now
                self.report.exit_code = exit_code(self.report, self._parts.stop)
        return self.report

    def _judge(self) -> None:
        """Whether it failed as a whole; an interrupted run does not know what it would have done."""
        report, stop = self.report, self._parts.stop
        report.max_runtime, report.time_over = stop.max_runtime, stop.time_is_over
        if stop.signum is not None:
            return
        failure = report.nothing_readable or report.nothing_accepted
        if report.error is None or (failure and isinstance(report.error, AbandonedError)):
            report.error = failure

    def _discover(self, found: Discovery) -> None:
        if self._parts.changes is not None:
            self._find_changes(found, self._parts.changes)
        elif self._parts.replay is None:
            self._list(found)
        else:
            found.collect(self._parts.replay.due(self._parts.ledger, self._now), self._should_stop)
            self.report.warnings += self._parts.replay.warnings
        self.report.cut_short = not found.complete and found.error is None
        self._tell_discovered(found, self._overdue(found))

    def _overdue(self, found: Discovery) -> int:
        """Files that are due and older than the objective; a backfill's are old on purpose."""
        return (
            found.backlog.older_than(self._now - self._options.objective) if self._options.covers_all else 0
        )

    def _tell_discovered(self, found: Discovery, overdue: int) -> None:
        report = self.report
        report.error = report.error or found.error
        report.discovered, report.waiting, report.bytes = found.files, found.waiting, found.bytes
        if overdue:
            report.warnings["overdue_files"] += overdue
        self._parts.progress.discovered(self._outlook(found), report.warnings)

    def _outlook(self, found: Discovery) -> Outlook:
        past, most = recent_reports(self._parts.ledger), self._options.max_events
        changes = self._parts.changes
        records = None if changes is None else changes.found.to_send.total()
        return Outlook.of(found.backlog.backlog(), past, most, events=records)

    def _list(self, found: Discovery) -> None:
        ledger, listing = self._parts.ledger, self._parts.new_listing()
        self._listed_from = listing.since
        listed = takewhile(lambda _: not self._should_stop(), listing)
        expected = Familiarity.of(ledger.summary()) if self._options.covers_all else None
        due = DueFiles(listed, ledger, now=self._now, resend=self._options.resend, expected=expected)
        left_open = open_files(filter(self._options.covers, ledger.open_files()), now=self._now)
        found.collect(by_hour(due, left_open), self._should_stop)
        self.report.changed, self.report.archived = due.changed, due.archived
        if due.resent_late:
            self.report.warnings["resent_after_7_days"] = due.resent_late
        self.report.listing = {
            "requests": listing.requests,
            "foreign": listing.foreign,
            "unsettled": listing.unsettled,
        }
        self._recognize(listing, due, found)
        if backlog := self._backlog(found):
            ledger.record_listing(self._now, backlog, complete=True)
            note_newest_hour(ledger, self._options.source, due.newest_hour)
            tell_of_silence(self._freshness(), self._now)

    def _recognize(self, listing: Listing, due: DueFiles, found: Discovery) -> None:
        """Go on with a source that the ledger knows; raises `SourceError` for another one."""
        options = self._options
        recognition = Recognition(self._parts.ledger, options.source, accepted=options.accept_source)
        judged = recognition.judge(
            listing, due.familiarity, complete=found.complete, covers_all=options.covers_all
        )
        self.report.warnings += judged.warnings
        if judged.refusal is not None:
            found.complete = False  # what it found stands on no books: the next run is refused as well
            raise judged.refusal
        recognition.remember(judged, due.familiarity)

    def _freshness(self) -> Freshness:
        return Freshness.read(self._parts.ledger, self._options.source_stale_after)

    def _find_changes(self, found: Discovery, changes: Changes) -> None:
        """Find what a change of the mapping lets through, and say it before it is sent."""
        listing = self._parts.new_listing()
        found.collect(changes.due(listing, self._goes_on), self._should_stop)
        self.report.archived = changes.found.archived
        if files := changes.found.not_comparable.total():
            self.report.warnings[NOT_COMPARABLE] = files
        self.report.listing = {"requests": listing.requests, "foreign": listing.foreign}
        changes.found.tell()

    def _goes_on(self) -> bool:
        """Give way to another pass if it is time to; False when it is time to stop."""
        if self._turns.is_over():
            self._pass_on()
        return self._turns.held and not self._should_stop()

    def _deliver(self, found: Discovery) -> None:
        """Send what is pending; a backfill gives way to a scheduled run between its tasks."""
        if found.pending and not self._should_stop():
            self._work_on(self._tasks(found), found)

    def _try_suspects(self, found: Discovery) -> None:
        """Read what a run that was killed had begun: after all else, for it may end this one too."""
        if not self._begun.has_suspects or self._should_stop():
            return
        if given_up := self._begun.given_up():
            self._settle(given_up, found)
        if self._begun.has_suspects:
            self._work_on(self._begun.suspects(), found)

    def _work_on(self, work: Iterator[Task], found: Discovery) -> None:
        self._prepare_to_settle(found)
        with closing(self._parts.new_pool()) as pool:
            finding = self._parts.probe()
            self.report.requests.add(RequestCounts.of_probe(finding))
            if finding.standing is Standing.REFUSED:
                kind = KeyRefusedError if finding.key_refused else DeliveryError
                raise kind(finding.words, remedy=finding.remedy)
            tasks = Dispatcher(
                pool,
                work,
                self._should_stop,
                should_pause=self._turns.is_over,
                review=lambda task: self._still_due(task, found),
                gives_up=lambda: self._parts.stop.gives_up_workers,
                note=self._begun.note,
                passed=self._begun.passed,
                stuck=self._begun.stuck,
            )
            while self._turns.held:
                for settlements in tasks:
                    self._settle_or_stop(tasks, settlements, found)
                if not tasks.has_more():
                    return
                self._begun.note(())
                self._pass_on()
                self._begun.read()

    def _prepare_to_settle(self, found: Discovery) -> None:
        """Try before the first request what settling needs: what is sent and not settled is sent again."""
        self._parts.ledger.reserve(found.files)
        for key in self._parts.quarantine.prepare(found.bytes // RECORD_BYTES):
            self.report.warnings["damaged_segments"] += 1
            _log.warning(
                "a damaged segment of the quarantine was put beside: its entries are not listed any more",
                moved_to=key,
                remedy="restore it from a copy to where it lay, or look into it by hand",
            )

    def _settle_or_stop(self, tasks: Dispatcher, settlements: list[Settlement], found: Discovery) -> None:
        """Settle, or send nothing more; what is in flight is settled all the same, if that works again."""
        try:
            self._settle(settlements, found, tasks.take_begun())
        except FatalError as error:
            tasks.stop()
            self.report.error = self.report.error or error
            found.complete = False  # its backlog counts as delivered what is not on record

    def _pass_on(self) -> None:
        """Let another pass have the lease, with all that is in the ledger up to date."""
        budget = self._parts.budget
        if budget:
            budget.close()
        self._turns.pass_on()
        if self._turns.held:
            if self._parts.bound:
                self._parts.bound.admit()  # the other pass may have been stopped by it
            if budget:
                budget.open()

    def _sweep(self, found: Discovery) -> None:
        """Look for what came later than the listing goes back, and deliver it."""
        sweep, before = self._parts.sweep, found.files
        if sweep is None or self._backlog(found) is None or self.report.error or self._should_stop():
            return
        left = self._overdue(found)
        found.collect(sweep.due(self._listed_from, self._should_stop))
        self.report.changed += sweep.changed
        self.report.archived += sweep.archived
        self.report.error = found.error
        if late := found.files - before:
            self.report.warnings["late_files"] = late
            # From now on the ledger knows of them: the next listing goes back to their hours, come what may.
            self._parts.ledger.record_listing(self._now, found.backlog.backlog(), complete=True)
            self._tell_discovered(found, self._overdue(found) - left)
        self._deliver(found)
        sweep.note()

    def _tasks(self, found: Discovery) -> Iterator[Task]:
        numbers = itertools.count()
        target = shares(found.bytes, self._options.workers)
        for task in group(self._begun.others(found.due_files()), numbers, target=target):
            self._reopening.began(task)
            yield task
            yield from group(self._reopened(), numbers)

    def _still_due(self, task: Task, found: Discovery) -> Task:
        """The task without files that somebody else settled while the lease was passed on."""
        if not self._turns.passed_on:
            return task
        known = self._parts.ledger.known([due.ref for due in task.files])
        theirs = {
            key
            for key, file in known.items()
            if _moment(file.run_id) > _moment(self.report.run_id)  # a run that began after this one
        }
        for due in task.files:
            if due.ref.key in theirs:
                found.backlog.delivered(due.ref)
                self.report.discovered -= 1
        return replace(task, files=tuple(due for due in task.files if due.ref.key not in theirs))

    def _reopened(self) -> Iterator[DueFile]:
        for due in self._reopening.ready():
            self.report.take_back(due.ref.event_type, deferred_in(due))
            yield due

    def _count_before_start(self, found: Discovery) -> None:
        """Count the files before `start_at`: once in a ledger's life, and after all that is due."""
        ledger, count = self._parts.ledger, self._parts.before_start
        backlog = self._backlog(found)
        if count is None or backlog is None or self.report.error or ledger.summary().before_start is not None:
            return
        try:
            before = count.count(self._should_stop)
        except StoreError:
            self.report.warnings["before_start_not_counted"] += 1
            return
        if before is not None:
            ledger.record_listing(self._now, backlog, before, complete=False)

    def _backlog(self, found: Discovery) -> Backlog | None:
        """What is left, if all that is due was listed: with a part of it, older files would be forgotten."""
        return found.backlog.backlog() if self._options.covers_all and found.complete else None

    def _should_stop(self) -> bool:
        bound = self._parts.bound
        return self._parts.stop.asked or (bound is not None and bound.exceeded)

    def _settle(self, settlements: list[Settlement], found: Discovery, begun: Sequence[Task] = ()) -> None:
        """Store what came back, in one transaction: of what is not stored yet, a crash repeats the tasks."""
        report = self.report
        set_aside = [each for settlement in settlements for each in settlement.set_aside]
        report.newly_set_aside += self._parts.quarantine.file(report.run_id, self._now, set_aside)
        if self._parts.replay is None:  # which reads what the entries are about
            report.closed += self._parts.quarantine.close(_whole(settlements))
        for file in _files(settlements):
            if file.state in (FileState.DONE, FileState.FAILED):
                found.backlog.delivered(file.ref)
        if self._parts.budget:
            self._parts.budget.settled(settlements)
        if self._parts.busy:
            self._parts.busy.settled(settlement.busy for settlement in settlements)
        noting = self._begun.noting(begun, _files(settlements))
        self._settle_ledger(settlements, self._backlog(found), noting)
        for settlement in settlements:
            self._reopening.note(settlement)
            report.add(settlement)
            if self._options.covers_all:  # a backfill's files are old on purpose
                report.latency.note(settlement.files, self._parts.clock.now())
            report.error = report.error or settlement.fatal
            self._parts.progress.settled(settlement)
        if self._parts.bound:
            report.error = self._parts.bound.check(report, self._parts.clock.now()) or report.error

    def _settle_ledger(self, settlements: list[Settlement], backlog: Backlog | None, noting: Notes) -> None:
        replay, ledger = self._parts.replay, self._parts.ledger
        if replay is None:
            ledger.settle(self.report.run_id, list(_files(settlements)), backlog, noting)
            return
        for settlement in settlements:
            ledger.settle(self.report.run_id, replay.claim(settlement), None, noting)
            replay.release()

    def _finish(self) -> None:
        report = self.report
        report.finished_at = self._parts.clock.now()
        report.seconds = self._elapsed()
        report.extras.warn(report.records_read)
        self._tidy_up()
        try:
            self._tell_budget()
            summary = self._parts.ledger.summary()
            backlog = summary.backlog  # what is stored: a settlement that could not be is still due
            report.window = Window(
                self._options.objective, self._options.warn_at, backlog.oldest_hour, summary.last_listing
            )
            report.source = self._freshness()
            if self._parts.clock_differs():
                report.warnings[CLOCK_DIFFERS] = 1
            past = recent_reports(self._parts.ledger)
            report.forecast = forecast_of_run(report.as_dict(), past, backlog, self._options.objective)
            report.exit_code = exit_code(report, self._parts.stop)
            report.causes = causes_of(report)
            if self._turns.held:
                unbroken = not (report.error or report.cut_short or self._should_stop())
                noting = self._begun.at_end(all_seen=self._options.covers_all and unbroken)
                self._parts.ledger.finish_run(self._record(), noting)
        except FatalError as error:
            report.error = report.error or error
            report.exit_code = exit_code(report, self._parts.stop)

    def _tell_budget(self) -> None:
        budget = self._parts.budget
        if budget is None or not self._turns.held:
            return
        budget.close()
        if budget.terms.configured:
            self.report.account = budget.account

    def _tidy_up(self) -> None:
        """Bring quarantine and notes up to date; the run is on record whether or not that works."""
        try:
            if not self._turns.held:
                return
            if self._parts.replay is not None:
                self._parts.replay.finish()
            self._parts.quarantine.expire_payloads(self._now)
            if self._parts.busy and (above := self._parts.busy.remember()):
                self.report.warnings["busy_ids"] = above
        except FatalError as error:
            self.report.error = self.report.error or error

    def _elapsed(self) -> float:
        return self._parts.clock.monotonic() - self._began

    def _record(self) -> RunRecord:
        report = self.report
        return RunRecord(
            report.run_id,
            report.command,
            report.started_at,
            report.finished_at,
            report.exit_code,
            report.as_dict() if report.finished_at else {},
        )


def _moment(run_id: str) -> str:
    """The second in which a run began; what follows it in the id is chance, and no order."""
    return run_id.partition("-")[0]


def _whole(settlements: Iterable[Settlement]) -> list[tuple[str, str]]:
    """Key and etag of the files of which nothing is left to be sent."""
    done = (file.ref for file in _files(settlements) if file.state is FileState.DONE)
    return [(ref.key, ref.etag) for ref in done]


def _files(settlements: Iterable[Settlement]) -> Iterator[FileSettlement]:
    return (file for settlement in settlements for file in settlement.files)
