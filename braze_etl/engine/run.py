"""One run: find what is due, hand tasks to workers, settle what comes back, report; round by round.

The parent is the only writer of the quarantine and of the ledger. It stores a settlement in three steps:

1. what was set aside is filed;
2. entries are closed for bytes that a file, delivered whole, has replaced;
3. the ledger is told.

A crash before the third leaves the files due. The next run files the same entries again under the same ids,
closes what is still to be closed, and sends the same events under the same ids: nothing is lost.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from braze_etl.clock import Clock
from braze_etl.delivery.batches import RequestCounts
from braze_etl.delivery.destination import Probe, Standing
from braze_etl.engine.clock_skew import WARNING as CLOCK_DIFFERS
from braze_etl.engine.dispatch import Dispatcher, TaskSizes
from braze_etl.engine.due import Discovery, DueFile, open_files
from braze_etl.engine.exits import Stop, exit_code
from braze_etl.engine.flow import SharedExecutor, WorkList
from braze_etl.engine.forecast import Outlook, Window, forecast_of_run, recent_reports
from braze_etl.engine.meter import Meter
from braze_etl.engine.quarantine_stop import QuarantineStop
from braze_etl.engine.report import RunReport, causes_of
from braze_etl.engine.source_health import Freshness
from braze_etl.engine.suspects import Suspects
from braze_etl.engine.tasks import RECORD_BYTES, Extras, NoExtras, Settlement, Task, group
from braze_etl.errors import AbandonedError, DeliveryError, FatalError, KeyRefusedError, LeaseHeldError
from braze_etl.logs import get_logger
from braze_etl.model import FileSettlement, FileState
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.state.ledger import Backlog, LeaseOwner, Ledger, OpenFile, RunRecord
from braze_etl.state.retention import prune

_log = get_logger(__name__)


class Watcher:
    """Who wants to see a run advance. What fails in one is a line in the log, and nobody else's matter."""

    def discovered(self, outlook: Outlook, warnings: Mapping[str, int]) -> None:
        """So much is due, with what there is to warn of; said again when more has come to light."""

    def settled(self, settlement: Settlement) -> None:
        """A task came back."""

    def ended(self, report: RunReport) -> None:
        """All is stored; the lease is held, unless the report says `without_lease`."""


@dataclass(frozen=True)
class Flow:
    """What a flow gives a run. Nothing of it is started before something is due."""

    work: WorkList
    probe: Callable[[], Probe]
    """Asks the destination whether the key is good; it is asked before the first event."""
    executor: SharedExecutor
    extras: Extras = field(default_factory=NoExtras)
    """What the flow finds beside records; nothing so far."""
    clock_differs: Callable[[], bool] = lambda: False
    """Whether a server told another time than ours."""


@dataclass(frozen=True)
class RunOptions:
    """How this run differs from the plainest one; `run_id` is that of `new_run_id`."""

    run_id: str
    command: str
    pipeline: str
    objective: timedelta
    warn_at: timedelta
    workers: int = 1
    source_stale_after: timedelta = timedelta(hours=24)
    keep: timedelta = timedelta(days=400)
    """Until its hour is that old, the ledger keeps a row of a done file."""
    max_events: int = 2000
    """Events a request, for what is foretold of their number."""


def new_run_id(now: datetime) -> str:
    """A name for a run that begins *now*; names are in the order of their seconds."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


class Run:
    """Does the work that a flow finds, under the lease of its ledger; use once."""

    def __init__(
        self,
        flow: Flow,
        ledger: Ledger,
        quarantine: Quarantine,
        *,
        clock: Clock,
        stop: Stop,
        options: RunOptions,
        watchers: Sequence[Watcher] = (),
        quarantine_stop: QuarantineStop | None = None,
        budget: Meter | None = None,
    ) -> None:
        self._flow = flow
        self._work = flow.work
        self._ledger = ledger
        self._quarantine = quarantine
        self._clock = clock
        self._stop = stop
        self._options = options
        self._watchers = watchers
        self._quarantine_stop = quarantine_stop
        self._budget = budget
        self._due = Discovery()
        self._suspects = Suspects(ledger)
        self._sizes = TaskSizes()
        self._left_open = LeftOpen()
        self._reopened: set[int] = set()
        """The numbers of tasks for what was left open, until it is their turn."""
        self._numbers = flow.executor.numbers
        self._began = clock.monotonic()
        self._now = clock.now()
        run_id = options.run_id
        self.report = RunReport(run_id, options.pipeline, options.command, self._now, extras=flow.extras)
        owner = LeaseOwner(run_id, socket.gethostname(), os.getpid(), options.command)
        self._rounds = Rounds(ledger, owner, clock, self._should_stop)

    def run(self) -> RunReport:
        """Do all of it and return the report; raises `LeaseHeldError` if another run is at work."""
        with self._due, closing(self._flow.executor), closing(self._all_work()) as work:
            goes_on = True
            while goes_on:
                with self._rounds.next() as held:
                    goes_on = held and self._one_round(work)
                    if not goes_on:
                        self._end(held=held)
        return self.report

    def _all_work(self) -> Generator[None, None, None]:
        """Find, deliver, look again. It pauses where a round is over: nothing is in flight then."""
        yield from self._discover()
        yield from self._deliver()
        yield from self._deliver_late()
        yield from self._try_suspects()

    def _one_round(self, work: Generator[None, None, None]) -> bool:
        """Go on with the work until the round is over; False when there is no other to come.

        What ends it is in the report, and so is what was found and done before that.
        """
        try:
            if self._rounds.number == 1:
                self._ledger.begin_run(self._record())
            self._suspects.read()
            if self._quarantine_stop:
                self._quarantine_stop.admit()
            if self._budget:
                self._budget.open()
            for _ in work:
                if self._should_stop():
                    work.close()
                    break
                self._suspects.note(())
                if self._budget:
                    self._budget.close()
                return True
        except FatalError as error:
            self.report.error = self.report.error or error
        return False

    def _should_stop(self) -> bool:
        return self._stop.asked or bool(self._quarantine_stop and self._quarantine_stop.exceeded)

    def _should_pause(self) -> bool:
        return self._should_stop() or self._rounds.is_over()

    # What is due

    def _discover(self) -> Iterator[None]:
        """Find what is due, which may take several rounds, and say so before anything is sent."""
        due = self._due
        self._collect_due()
        while not (due.complete or due.error or self._should_stop()):
            yield
            self._collect_due()
        if backlog := self._backlog():
            self._ledger.record_listing(self._now, backlog, complete=True)
        self._report_discovered(self._overdue())

    def _deliver_late(self) -> Iterator[None]:
        """Find what came to light after that, and deliver it."""
        due, files, overdue = self._due, self._due.files, self._overdue()
        if not due.complete or self.report.error or self._should_stop():
            return
        self._collect(self._work.later(self._ledger, self._now, self._should_stop), _never)
        self.report.error = due.error
        if due.files > files:
            due.complete = False  # until the ledger knows of them
            self._ledger.record_listing(self._now, due.backlog.backlog(), complete=True)
            self._report_discovered(self._overdue() - overdue)
        due.complete = True  # the next listing goes back to their hours, come what may
        yield from self._deliver()

    def _collect_due(self) -> None:
        try:
            self._collect(self._work.find(self._ledger, self._now, self._should_pause), self._should_pause)
        finally:
            self.report.cut_short = not self._due.complete and self._due.error is None

    def _collect(self, files: Iterable[DueFile], should_stop: Callable[[], bool]) -> None:
        """Take *files*, and have the report say what there is so far: the run may end with that."""
        report, due = self.report, self._due
        try:
            due.collect(files, should_stop)
        finally:
            found = self._work.found()
            report.archived, report.changed, report.listing = found.archived, found.changed, found.listing
            report.warnings |= found.warnings
            report.discovered, report.waiting, report.bytes = due.files, due.waiting, due.bytes

    def _report_discovered(self, overdue: int) -> None:
        report, due = self.report, self._due
        report.error = report.error or due.error
        if overdue:
            report.warnings["overdue_files"] += overdue
        outlook = Outlook.of(
            due.backlog.backlog(),
            recent_reports(self._ledger),
            self._options.max_events,
            events=self._work.found().records,
        )
        self._notify(lambda watcher: watcher.discovered(outlook, report.warnings))

    def _overdue(self) -> int:
        """Files that are due and older than the objective; a backfill's are old on purpose."""
        if not self._work.covers_all:
            return 0
        return self._due.backlog.older_than(self._now - self._options.objective)

    def _backlog(self) -> Backlog | None:
        """What is left, if all that is due was listed: with a part of it, older files would be forgotten."""
        return self._due.backlog.backlog() if self._work.covers_all and self._due.complete else None

    # Delivery

    def _deliver(self) -> Iterator[None]:
        if self._due.pending and not self._should_stop():
            target = self._sizes.targets(self._due.bytes, self._options.workers)
            files = self._suspects.filter(self._due.due_files())
            yield from self._work_on(group(files, self._numbers, target=target))

    def _try_suspects(self) -> Iterator[None]:
        """Read what a run that was killed had begun: after all else, for it may end this one too."""
        if not self._suspects.held_back or self._should_stop():
            return
        if given_up := self._suspects.given_up():
            self._settle(given_up)
        if self._suspects.held_back:
            yield from self._work_on(self._suspects.tasks(self._numbers))

    def _work_on(self, tasks: Iterator[Task]) -> Iterator[None]:
        """Have workers do *tasks*, round by round."""
        self._prepare_to_settle()
        executor = self._flow.executor()
        self._probe()
        dispatcher = Dispatcher(
            executor,
            self._with_reopened(tasks),
            self._should_stop,
            should_pause=self._rounds.is_over,
            review=self._still_due,
            gives_up=lambda: self._stop.gives_up_workers,
            note=self._suspects.note,
            passed=self._suspects.passed,
            stuck=self._suspects.stuck,
            numbers=self._numbers,
        )
        self._settle_all(dispatcher)
        while dispatcher.has_more():
            yield
            self._settle_all(dispatcher)
        if dispatcher.stopping:
            self._flow.executor.close()

    def _settle_all(self, dispatcher: Dispatcher) -> None:
        for settlements in dispatcher:
            try:
                self._settle(settlements, dispatcher.take_begun())
            except FatalError as error:
                # What is in flight is settled all the same, if that works again.
                dispatcher.stop()
                self.report.error = self.report.error or error
                self._due.complete = False  # its backlog counts as delivered what is not on record

    def _with_reopened(self, tasks: Iterator[Task]) -> Iterator[Task]:
        """Give the tasks, and with those of each further round what was left open and is ready now."""
        number = self._rounds.number
        for task in tasks:
            yield task
            if self._rounds.number > number:
                number = self._rounds.number
                for again in group(self._left_open.ready(self._ledger, self._clock.now()), self._numbers):
                    self._reopened.add(again.number)
                    yield again

    def _still_due(self, task: Task) -> Task | None:
        """What is left of a task whose turn has come: somebody else may have settled files of it."""
        theirs = self._settled_by_others(task) if self._rounds.number > 1 else frozenset()
        left = tuple(due for due in task.files if due.ref.key not in theirs)
        if task.number in self._reopened:
            # Its records were deferred by this run. Now their outcome is open once more.
            self._reopened.remove(task.number)
            for due in left:
                self.report.take_back(due.ref.event_type, due.deferred())
        else:
            self._left_open.began(task)
            for due in task.files:
                if due.ref.key in theirs:
                    self._due.backlog.delivered(due.ref)
                    self._due.files -= 1
            self.report.discovered = self._due.files
        return replace(task, files=left) if left else None

    def _settled_by_others(self, task: Task) -> Collection[str]:
        known = self._ledger.known([due.ref for due in task.files])
        return {key for key, file in known.items() if _began_after(file.run_id, self.report.run_id)}

    def _probe(self) -> None:
        finding = self._flow.probe()
        self.report.requests.add(RequestCounts.of_probe(finding))
        if finding.standing is Standing.REFUSED:
            kind = KeyRefusedError if finding.key_refused else DeliveryError
            raise kind(finding.words, remedy=finding.remedy)

    # Settlement

    def _prepare_to_settle(self) -> None:
        """Try before the first request what settling needs: what is sent and not settled is sent again."""
        self._ledger.reserve(self._due.files)
        for key in self._quarantine.prepare(self._due.bytes // RECORD_BYTES):
            self.report.warnings["damaged_segments"] += 1
            _log.warning(
                "a damaged segment of the quarantine was put beside: its entries are not listed any more",
                moved_to=key,
                remedy="restore it from a copy to where it lay, or look into it by hand",
            )

    def _settle(self, settlements: Sequence[Settlement], begun: Sequence[Task] = ()) -> None:
        """Store what came back, in one transaction: of what is not stored yet, a crash repeats the tasks."""
        report = self.report
        claimed = self._work.claim(settlements)
        set_aside = [each for settlement in settlements for each in settlement.set_aside]
        report.newly_set_aside += self._quarantine.file(report.run_id, self._now, set_aside)
        report.closed += self._quarantine.close(_whole(self._work.replaces(claimed)))
        files = [file for settlement in settlements for file in settlement.files]
        for file in files:
            if file.state in (FileState.DONE, FileState.FAILED):
                self._due.backlog.delivered(file.ref)
        if self._budget:
            self._budget.settled(settlements)
        self._ledger.settle(report.run_id, claimed, self._backlog(), self._suspects.noting(begun, files))
        self._work.settled()
        self._left_open.settled(files)
        for settlement in settlements:
            self._sizes.note(settlement)
            self._count(settlement)
        if self._quarantine_stop:
            report.error = self._quarantine_stop.check(report, self._clock.now()) or report.error

    def _count(self, settlement: Settlement) -> None:
        self.report.add(settlement)
        if self._work.covers_all:  # a backfill's files are old on purpose
            self.report.latency.note(settlement.files, self._clock.now())
        self.report.error = self.report.error or settlement.fatal
        self._notify(lambda watcher: watcher.settled(settlement))

    # The end

    def _end(self, *, held: bool) -> None:
        """Judge, store and report how it ended. Without the lease, nothing is stored."""
        self._flow.executor.close()
        report = self.report
        report.without_lease = not held
        report.error = report.error or self._rounds.failure
        self._judge()
        report.finished_at, report.seconds = self._clock.now(), self._clock.monotonic() - self._began
        report.extras.warn(report.records_read)
        try:
            if held:
                self._tidy_up()
            self._look_ahead()
            report.exit_code = exit_code(report, self._stop)
            report.causes = causes_of(report)
            if held:
                unbroken = not (report.error or report.cut_short or self._should_stop())
                noting = self._suspects.at_end(all_seen=self._work.covers_all and unbroken)
                self._ledger.finish_run(self._record(), noting)
        except FatalError as error:
            report.error = report.error or error
            report.exit_code = exit_code(report, self._stop)
        self._notify(lambda watcher: watcher.ended(report))
        if self._stop.signum is not None:  # perhaps only now
            report.exit_code = exit_code(report, self._stop)

    def _judge(self) -> None:
        """Whether it failed as a whole; an interrupted run does not know what it would have done."""
        report, stop = self.report, self._stop
        report.max_runtime, report.time_over = stop.max_runtime, stop.time_is_over
        if stop.signum is not None:
            return
        failure = report.nothing_readable or report.nothing_accepted
        if report.error is None or (failure and isinstance(report.error, AbandonedError)):
            report.error = failure

    def _tidy_up(self) -> None:
        """Bring quarantine, notes and budget up to date; the run is on record whether or not that works."""
        report = self.report
        try:
            self._work.finish(in_order=self._due.complete)
            self._quarantine.expire_payloads(self._now)
            newest_hour = Freshness.read(self._ledger, self._options.source_stale_after).newest_hour
            keep, clock = self._options.keep, self._clock
            prune(self._ledger, keep, clock, self._should_stop, newest_hour=newest_hour)
        except FatalError as error:
            report.error = report.error or error
        if self._budget:
            self._budget.close()
            if self._budget.terms.configured:
                report.account = self._budget.account

    def _look_ahead(self) -> None:
        report, options = self.report, self._options
        summary = self._ledger.summary()
        backlog = summary.backlog  # what is stored: a settlement that could not be is still due
        report.window = Window(options.objective, options.warn_at, backlog.oldest_hour, summary.last_listing)
        report.source = Freshness.read(self._ledger, options.source_stale_after)
        if self._flow.clock_differs():
            report.warnings[CLOCK_DIFFERS] = 1
        past = recent_reports(self._ledger)
        report.forecast = forecast_of_run(report.as_dict(), past, backlog, options.objective)

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

    def _notify(self, notify: Callable[[Watcher], None]) -> None:
        for watcher in self._watchers:
            try:
                notify(watcher)
            except Exception as error:  # noqa: BLE001 - whatever fails in who watches, the run goes on
                _log.warning("who watches the run failed", watcher=type(watcher).__name__, error=str(error))


def _never() -> bool:
    return False


def _began_after(theirs: str, ours: str) -> bool:
    """Whether that run began after ours: in another second, for what follows in an id is chance."""
    return theirs.partition("-")[0] > ours.partition("-")[0]


def _whole(files: Iterable[FileSettlement]) -> list[tuple[str, str]]:
    """Key and etag of the files of which nothing is left to be sent."""
    return [(file.ref.key, file.ref.etag) for file in files if file.state is FileState.DONE]


GIVES_WAY: Final = "backfill"
ROUND: Final = 120.0
"""Seconds that a round of a backfill takes, and a little more: what is in flight is settled first."""
PATIENCE: Final = 300.0
"""Seconds that a run waits for a backfill to give way."""
_PAUSE: Final = 5.0
_GLANCE: Final = 1.0


class Rounds:
    """The rounds of one run, each with the lease of its ledger: a backfill makes way for the scheduled run.

    1. A backfill works in rounds. After `ROUND` seconds it settles what is in flight, and gives the lease
       back.
    2. The lease is free for a moment. A run that found the backfill at work has waited for that: it takes it.
    3. The backfill takes the lease when it is free again, asks the ledger anew, and goes on: first with the
       files that it left open itself, and of which a record may be tried again now.

    Every other run is one round. Who meets a run that makes no way is told `LeaseHeldError` at once.
    """

    def __init__(
        self, ledger: Ledger, owner: LeaseOwner, clock: Clock, should_stop: Callable[[], bool]
    ) -> None:
        self._ledger = ledger
        self._owner = owner
        self._clock = clock
        self._should_stop = should_stop
        self._ends = math.inf
        self.number = 0
        self.failure: FatalError | None = None
        """Why the lease could not be had for another round; what the rounds before did stands."""

    @contextmanager
    def next(self) -> Iterator[bool]:
        """Hold the lease for the length of a round.

        The first raises `LeaseHeldError` when the lease can't be had. Between rounds others are waited for;
        False when it is time to stop before they are done, or with a `failure` of the ledger.
        """
        with ExitStack() as lease:
            held = self._retaken(lease) if self.number else self._taken_first(lease)
            self.number += 1
            if self._owner.command == GIVES_WAY:
                self._ends = self._clock.monotonic() + ROUND
            yield held

    def is_over(self) -> bool:
        """Whether this round has taken long enough."""
        return self._clock.monotonic() >= self._ends

    def _taken_first(self, lease: ExitStack) -> bool:
        until = self._clock.monotonic() + PATIENCE
        while not self._taken(lease):
            if not (self._is_giving_way() and self._clock.monotonic() < until) or self._should_stop():
                lease.enter_context(self._ledger.lease(self._owner))
                break
            self._clock.wait(_GLANCE)
        return True

    def _retaken(self, lease: ExitStack) -> bool:
        until = self._clock.monotonic() + _PAUSE
        try:
            while not self._should_stop():
                if self._clock.monotonic() >= until and self._taken(lease):
                    return True
                self._clock.wait(_GLANCE)
        except FatalError as error:
            self.failure = error
        return False

    def _taken(self, lease: ExitStack) -> bool:
        try:
            lease.enter_context(self._ledger.lease(self._owner))
        except LeaseHeldError:
            return False
        return True

    def _is_giving_way(self) -> bool:
        holder = self._ledger.holder()
        if holder is None:
            return True  # it has just left
        return holder.owner.command == GIVES_WAY != self._owner.command


_MOST: Final = 10_000


class LeftOpen:
    """The files that a run has left open, for its next round; beyond `_MOST`, they wait for a later run."""

    def __init__(self) -> None:
        self._keys: set[str] = set()
        self._others: set[str] = set()

    def began(self, task: Task) -> None:
        """Leave files alone in which earlier runs left records open that still wait: those count there."""
        self._others.update(due.ref.key for due in task.files if due.later)

    def settled(self, files: Iterable[FileSettlement]) -> None:
        """Remember what was left open."""
        for file in files:
            fresh = file.ref.key not in self._others and len(self._keys) < _MOST
            if file.state is FileState.OPEN and fresh:
                self._keys.add(file.ref.key)

    def ready(self, ledger: Ledger, now: datetime) -> list[DueFile]:
        """The remembered files with open records that may be tried now; each is given once."""
        ready = list(open_files(filter(self._is_ours, ledger.open_files(ready_by=now)), now=now))
        self._keys.difference_update(due.ref.key for due in ready)
        return ready

    def _is_ours(self, file: OpenFile) -> bool:
        return file.ref.key in self._keys
