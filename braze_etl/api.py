"""The Python API: what the commands do, for notebooks, schedulers and other programs.

::

    from braze_etl import Pipeline, read_events

    with Pipeline.open("braze-etl.yaml") as pipeline:
        report = pipeline.run(max_runtime="50m")

Arguments have the names of the options of the commands, and take their values as text, too: a duration as
`50m`, an hour as `2026-10-01` or `2026-10-01T05`. Nothing here prints, configures logging, installs a handler
of signals or ends the process. What happens is told to the loggers below `braze_etl` of `logging`. Every
error is a `BrazeEtlError` with `message`, `remedy` and the `exit_code` that the command would end with.
"""

from __future__ import annotations

import os
import signal
import threading
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeAlias, TypeVar

from braze_etl.amplitude.export import AMPLITUDE
from braze_etl.clock import Clock, SystemClock, hour_of, parse_duration, parse_hour
from braze_etl.config.loading import Config
from braze_etl.config.values import parse_size
from braze_etl.deadline import WATCH
from braze_etl.engine.executors.fork_server import keep_fork_server, release_fork_server
from braze_etl.engine.executors.workers import Workers, parse_workers
from braze_etl.engine.exits import Stop
from braze_etl.engine.report import RunReport
from braze_etl.engine.run import new_run_id
from braze_etl.errors import BrazeEtlError, ConfigError, UsageError
from braze_etl.flows.currents_to_amplitude.explain.explanation import Explanation, explain
from braze_etl.flows.currents_to_amplitude.explain.presence import Presence, look_up
from braze_etl.flows.currents_to_amplitude.explain.search import RECENT, Watch, find_record
from braze_etl.flows.currents_to_amplitude.flow import Observers, Request, open_run
from braze_etl.flows.currents_to_amplitude.guards import require_types, selected_entries
from braze_etl.flows.currents_to_amplitude.mapping import mapping_mistakes
from braze_etl.flows.currents_to_amplitude.plan import Plan, make_plan
from braze_etl.flows.currents_to_amplitude.preview import preview_file
from braze_etl.flows.currents_to_amplitude.remapped import ChangePlan, changed_scope, plan_changes
from braze_etl.flows.currents_to_amplitude.settings import Settings, load_config
from braze_etl.flows.currents_to_amplitude.source import Scope, live_scope, stated_scope
from braze_etl.flows.currents_to_amplitude.status import PipelineStatus, pipeline_status
from braze_etl.flows.currents_to_amplitude.verification.findings import (
    MOST_BYTES,
    SETTLED_AFTER,
    Asked,
    Verification,
)
from braze_etl.flows.currents_to_amplitude.verification.verify import open_verifier
from braze_etl.flows.currents_to_amplitude.worker import executor_to_read
from braze_etl.flows.pipeline import open_quarantine
from braze_etl.logs import common_facts
from braze_etl.monitoring.run_log import RunLog

Hour: TypeAlias = str | datetime | date
"""A UTC `date=` hour: `2026-10-01`, `2026-10-01T05`, or a time with its zone, which is cut to its hour."""
Duration: TypeAlias = str | timedelta
"""`90s`, `50m`, `48h`, `7d`."""
_T = TypeVar("_T")


class Attend(Protocol):
    """Calls the *work* of a run, with who watches it; the *stop* asks the run to end."""

    def __call__(self, stop: Stop, work: Callable[[Observers], _T]) -> _T:
        """Give what comes of the work."""


_RETURNED: Final = frozenset({0, 3, 4, 130, 143})


class Pipeline:
    """What one configuration moves; to be used as often as it is wanted, also from several threads.

    A `with` block ends the process that is kept for the workers of further runs; it ends with the program,
    too.
    """

    def __init__(self, config: Config[Settings], attend: Attend | None = None) -> None:
        self._config = config
        self._attend = attend or _interruptible
        self._stops: list[Stop] = []
        keep_fork_server()
        self._release = weakref.finalize(self, release_fork_server)
        self._release.atexit = False

    @classmethod
    def open(cls, config: str | os.PathLike[str] | Mapping[str, Any]) -> Pipeline:
        """Read and check a configuration: a YAML file, or a dict of what such a file holds.

        `${NAME}` is read from the environment; a variable that is not set is an error where its value is
        needed. Nothing else is opened. Raises `ConfigError`, which names every mistake.
        """
        source = config if isinstance(config, Mapping) else Path(config)
        return cls(load_config(source, examine=mapping_mistakes))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End what is kept for further runs."""
        self._release()

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        return self._config.settings.pipeline

    def run(
        self,
        *,
        max_runtime: Duration | None = None,
        workers: Workers | None = None,
        confirm_first_run: bool = False,
        accept_source: bool = False,
        allow_quarantine: bool = False,
    ) -> RunReport:
        """Send everything that is due, oldest hour first.

        Returns a report whose `exit_code` is 0, 3, 4, 130 or 143; what else a run ends with is raised, with
        the report as `report` of the error: `UsageError` (2) where nothing was touched, `LeaseHeldError` (11)
        where another run is at work, `FatalError` (1) with its cause. Ctrl-C, and whatever a handler of
        signals raises in the main thread meanwhile, stops the run cleanly and is then raised again; a second
        one at once.
        """
        return self._carry_out(
            Request(
                "run",
                scope=live_scope,
                covers_all=True,
                max_runtime=_duration(max_runtime, "max_runtime"),
                workers=_workers(workers),
                confirm_first_run=confirm_first_run,
                accept_source=accept_source,
                allow_quarantine=allow_quarantine,
            )
        )

    def backfill(
        self,
        *,
        from_: Hour | None = None,
        to: Hour | None = None,
        until: Hour | None = None,
        event_types: Collection[str] = (),
        resend: bool = False,
        changed_only: bool = False,
        over_budget: bool = False,
        confirm_first_run: bool = False,
        max_runtime: Duration | None = None,
        workers: Workers | None = None,
    ) -> RunReport:
        """Send a range of hours, however old, through `to` or up to `until`; what is done is skipped.

        Returns and raises as `run` does. A range that is missing or empty, and a glob of `event_types` that
        matches nothing, are a `UsageError` without a report.
        """
        if resend and changed_only:
            raise UsageError(
                "--resend and --changed-only exclude each other",
                remedy="--resend sends every record of the range again; --changed-only what was never sent.",
            )
        globs = tuple(event_types)
        if changed_only:
            scope = changed_scope(*_open_range(from_, to, until), globs)
        else:
            scope = stated_scope(_range(from_, to, until, globs), resend=resend)
        require_types(self._config.require(""), globs)
        return self._carry_out(
            Request(
                "backfill",
                scope=scope,
                max_runtime=_duration(max_runtime, "max_runtime"),
                workers=_workers(workers),
                resend=resend,
                changed_only=changed_only,
                over_budget=over_budget,
                confirm_first_run=confirm_first_run,
            )
        )

    def replay(
        self,
        *,
        ids: Collection[str] = (),
        reasons: Collection[str] = (),
        event_types: Collection[str] = (),
        files: Collection[str] = (),
        since: Hour | Duration | None = None,
        until: Hour | Duration | None = None,
        max_runtime: Duration | None = None,
        workers: Workers | None = None,
    ) -> RunReport:
        """Send entries of the quarantine again, through the mapping in force; without arguments, all of them.

        All that is given must hold. `since` and `until` say when an entry was set aside, as an hour or as an
        age (`7d`). Returns and raises as `run` does; what selects nothing that there is, is a `UsageError`.
        """
        now = SystemClock().now()
        where = selected_entries(
            open_quarantine(self._config.require("")),
            ids=tuple(ids),
            reasons=tuple(reasons),
            event_types=tuple(event_types),
            files=tuple(files),
            since=_moment(since, "since", now),
            until=_moment(until, "until", now),
        )
        max_time = _duration(max_runtime, "max_runtime")
        return self._carry_out(
            Request("quarantine replay", replay=where, max_runtime=max_time, workers=_workers(workers))
        )

    def stop(self) -> None:
        """Ask the runs of this pipeline, in whatever threads, to end cleanly; they return with code 143."""
        for stop in [*self._stops]:
            stop.request(signal.SIGTERM)

    def plan(
        self,
        *,
        from_: Hour | None = None,
        to: Hour | None = None,
        until: Hour | None = None,
        event_types: Collection[str] = (),
        exact: bool = False,
        workers: Workers | None = None,
    ) -> Plan:
        """Say what `run`, or with a range `backfill`, would do: what is sent, and what is not.

        From sizes, or `exact` by having workers read every file. Nothing is sent, nothing written.
        `as_dict()` has it as JSON values: times in seconds, sizes in bytes. Raises `UsageError`,
        `ConfigError`, `StoreError` and `StateError`.
        """
        settings, globs = self._readable(), tuple(event_types)
        require_types(settings, globs)
        stated = from_ or to or until or globs
        scope = _range(from_, to, until, globs) if stated else None
        return make_plan(self._config, scope, exact=exact, clock=SystemClock(), workers=_workers(workers))

    def plan_changes(
        self,
        *,
        from_: Hour | None = None,
        to: Hour | None = None,
        until: Hour | None = None,
        event_types: Collection[str] = (),
        workers: Workers | None = None,
    ) -> ChangePlan:
        """Say what `backfill` with `changed_only` would do: what a change of the mapping lets through now.

        Without a range, of all files that the ledger knows. Raises as `plan` does.
        """
        settings, globs = self._readable(), tuple(event_types)
        require_types(settings, globs)
        scope = changed_scope(*_open_range(from_, to, until), globs)
        return plan_changes(self._config, scope, SystemClock(), workers=_workers(workers))

    def verify(
        self,
        *,
        from_: Hour | None = None,
        to: Hour | None = None,
        until: Hour | None = None,
        event_types: Collection[str] = (),
        run: str | None = None,
        counts: bool = False,
        repair: bool = False,
        beyond_dedup: bool = False,
        export: str = AMPLITUDE,
        settle: Duration = SETTLED_AFTER,
        max_download: int | str = MOST_BYTES,
        list_to: str | os.PathLike[str] | None = None,
        workers: Workers | None = None,
    ) -> Verification:
        """Hold what was accepted, of a range of hours or of one *run*, against what Amplitude exports.

        Without both, of the last whole UTC day that ended *settle* ago: for a job that does it once a day.
        With *repair*, what is missing is sent again: what is older than 7 days only *beyond_dedup*, for
        Amplitude may count that twice. `exit_code` is 6 while anything is missing. *list_to* is a file for
        all that is missing, a JSON object a line. Raises `UsageError`, `ConfigError`, `ReadError`,
        `StoreError`, `StateError`, and what `run` raises.
        """
        globs = tuple(event_types)
        if run is not None and (from_ or to or until or globs):
            raise UsageError(
                "a run and a range of hours exclude each other",
                remedy="Give --from and --to (or --until), or --run ID, or neither for the last settled day.",
            )
        if counts and (repair or list_to is not None):
            raise UsageError(
                "--counts compares totals, and knows no single event that is missing",
                remedy="Leave --counts away to repair or to list what is missing.",
            )
        settled_after = _duration(settle, "settle")
        settled_after = SETTLED_AFTER if settled_after is None else settled_after
        if run is None and not (from_ or to or until):
            until = hour_of(SystemClock().now() - settled_after).replace(hour=0)
            from_ = until - timedelta(days=1)
        with _usage("max_download"):
            most = parse_size(max_download)
        asked = Asked(
            scope=_range(from_, to, until, globs) if run is None else None,
            run_id=run,
            export=export,
            settle=settled_after,
            max_download=most,
            list_to=None if list_to is None else Path(list_to),
            counts=counts,
            beyond_dedup=beyond_dedup,
        )
        needed = "amplitude" if export == AMPLITUDE or repair or counts else "amplitude.region"
        require_types(self._config.require("source", "state", "quarantine", "mapping", needed), globs)
        request = Request("verify", workers=_workers(workers))
        return self._attended(request, partial(self._verify, asked, repair=repair))

    def explain(
        self,
        id_: str,
        *,
        from_: Hour | None = None,
        to: Hour | None = None,
        until: Hour | None = None,
        event_types: Collection[str] = (),
        file: str | None = None,
        ask: bool = True,
        watch: Watch = lambda _: None,
    ) -> Explanation:
        """Say what became of one event, by its `insert_id` or its record's position `KEY#BLOCK#RECORD`.

        For an `insert_id`, files are read until it is found: *file*, those of the range, or of the last 48
        hours; *watch* is told of each. With *ask*, and a secret key, Amplitude is asked whether it has the
        event. `as_dict()` has all of it as JSON values, without a person's ids unless it is asked for them.
        Nothing is written. Raises `RecordNotFoundError`, `UsageError`, `StoreError` and `StateError`.
        """
        settings, clock, globs = self._readable(), SystemClock(), tuple(event_types)
        require_types(settings, globs)
        scope = None
        if from_ or to or until or globs:
            since, end = _open_range(from_, to, until)
            scope = Scope(since or hour_of(clock.now() - RECENT), end, globs)
        found = find_record(settings, id_, scope, file=file, clock=clock, watch=watch)
        found_out = explain(settings, found, clock)
        return replace(found_out, presence=self._presence(found_out, clock)) if ask else found_out

    def _presence(self, explained: Explanation, clock: Clock) -> Presence:
        try:
            amplitude = self._config.require("amplitude").amplitude
        except ConfigError as error:
            return Presence(None, f"not asked: {error.message}")
        return look_up(explained.identity, explained.record, amplitude, clock)

    def status(self, *, refresh: bool = False) -> PipelineStatus:
        """Say how the pipeline stands, from its state, or with *refresh* from a listing of its source.

        `exit_code` is 5 when the window is at risk; `as_dict()` has all of it as JSON values. Nothing is
        written, and no lease taken. Raises `ConfigError`, `StoreError` and `StateError`.
        """
        needed = ("state", "quarantine", "mapping", "amplitude.region", *(["source"] if refresh else []))
        return pipeline_status(self._config.require(*needed), SystemClock(), refresh=refresh)

    def _readable(self) -> Settings:
        return self._config.require("source", "state", "mapping", "amplitude.region")

    def _carry_out(self, request: Request) -> RunReport:
        report = self._attended(request, self._work)
        if report.error is not None and report.exit_code not in _RETURNED:
            report.error.report = report
            raise report.error
        return report

    def _attended(self, request: Request, work: Callable[[_Course], _T]) -> _T:
        settings, clock = self._config.settings, SystemClock()
        run_id = new_run_id(clock.now())
        timeout = settings.amplitude.timeout.total_seconds()
        stop = Stop(clock, max_runtime=request.max_runtime, timeout=timeout)
        self._stops.append(stop)
        try:
            with common_facts(pipeline=settings.pipeline, command=request.command, run_id=run_id):
                return self._attend(
                    stop, lambda observers: work(_Course(request, run_id, clock, stop, observers))
                )
        finally:
            self._stops.remove(stop)

    def _work(self, course: _Course) -> RunReport:
        request, run_id, clock, observers = course.request, course.run_id, course.clock, course.observers
        run_log = RunLog(clock)
        watched = replace(observers, watchers=(run_log, *observers.watchers), troubled=run_log.troubled)
        report = RunReport(run_id, self.name, request.command, clock.now())
        try:
            with (
                WATCH.obeying(course.stop.halt),
                open_run(self._config, request, clock, course.stop, watched, run_id=run_id) as run,
                run_log.entry(run.report),
            ):
                report = run.report
                observers.began(report)
                return run.run()
        except BrazeEtlError as error:
            report.error, report.exit_code, error.report = error, error.exit_code, report
            raise

    def _verify(self, asked: Asked, course: _Course, *, repair: bool) -> Verification:
        with (
            WATCH.obeying(course.stop.halt),
            open_verifier(
                self._config.settings, asked, course.clock, course.stop, course.observers.doing
            ) as verifier,
        ):
            verifier.verify(executor_to_read(self._config, course.request.workers))
            found = verifier.finish()
            if not (repair and found.result.total.missing):
                return found
            request = replace(course.request, missing=verifier.missing())
            found.repair = self._work(replace(course, request=request))
            return verifier.finish()


@dataclass(frozen=True, slots=True)
class _Course:
    """A request that is carried out: by which name and clock, what stops it, and who watches."""

    request: Request
    run_id: str
    clock: Clock
    stop: Stop
    observers: Observers


def read_events(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Give what each record of one Currents file becomes, in their order; without configuration or network.

    A record that is sent by default is its event, a dict as Amplitude gets it: `event_type`, `time` in
    milliseconds, `insert_id`, `user_id` or `device_id`, `event_properties`. One that is not sent is a dict
    with `not_sent`, the reason (`no_identity`, `redacted_identity`, ... as in a report), and `detail`, its
    words; so is a damaged block.

    Raises `UsageError` where there is no such file and `UnreadableFileError` where it is not Avro, both
    before the first event.
    """
    name = os.fspath(path)
    if "://" in name:
        raise UsageError(
            f"{name} is no file of this machine", remedy="Download it, or use `braze-etl preview`."
        )
    for record in preview_file(name, None):
        yield record.as_dict()


def _interruptible(stop: Stop, work: Callable[[Observers], _T]) -> _T:
    """Have a thread do the work, where this one may be interrupted.

    1. Ctrl-C raises wherever the main thread is, and so does a scheduler's handler of SIGTERM. In a
       settlement that would be a crash. So the main thread does nothing but wait.
    2. What is raised there asks for a stop. The run settles what is under way and ends; then that is raised.
    3. A second one leaves at once; the run ends by itself behind it, in the time that a stop takes at most.
    """
    if threading.current_thread() is not threading.main_thread():
        return work(Observers())
    done: Future[_T] = Future()

    def carry_out() -> None:
        try:
            done.set_result(work(Observers()))
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            done.set_exception(error)

    context = copy_context()
    threading.Thread(target=context.run, args=(carry_out,), name="braze-etl run", daemon=True).start()
    try:
        wait([done])
    except BaseException as interruption:
        stop.request(signal.SIGINT if isinstance(interruption, KeyboardInterrupt) else signal.SIGTERM)
        wait([done])
        raise
    return done.result()


def _range(from_: Hour | None, to: Hour | None, until: Hour | None, globs: tuple[str, ...]) -> Scope:
    """The hours that are stated; raises `UsageError` where they are not."""
    since, end = _open_range(from_, to, until)
    if since is None:
        raise UsageError("--from is missing", remedy="Give the first UTC hour, such as --from 2026-10-01.")
    if end is None:
        raise _one_end()
    return Scope(since, end, globs)


def _open_range(
    from_: Hour | None, to: Hour | None, until: Hour | None
) -> tuple[datetime | None, datetime | None]:
    """The first hour and the one behind the last, each None where it is open."""
    if to is not None and until is not None:
        raise _one_end()
    since, last, end = _hour(from_, "from"), _hour(to, "to", last=True), _hour(until, "until")
    end = last + timedelta(hours=1) if last is not None else end
    if since is not None and end is not None and end <= since:
        raise UsageError("the range is empty: it ends before it begins", remedy="Swap its ends.")
    return since, end


def _one_end() -> UsageError:
    return UsageError(
        "give one of --to (inclusive) and --until (exclusive)", remedy="For example --to 2026-10-31."
    )


def _hour(value: Hour | None, name: str, *, last: bool = False) -> datetime | None:
    with _usage(name):
        return None if value is None else parse_hour(value, last=last)


def _duration(value: Duration | None, name: str) -> timedelta | None:
    with _usage(name):
        return None if value is None else parse_duration(value)


def _moment(value: Hour | Duration | None, name: str, now: datetime) -> datetime | None:
    """A time with its zone, an hour, or that long before now."""
    with _usage(name):
        if value is None or (isinstance(value, datetime) and value.tzinfo):
            return value
        try:
            return now - parse_duration(value)
        except (ValueError, OverflowError):
            return parse_hour(value)


def _workers(value: Workers | None) -> Workers | None:
    with _usage("workers"):
        return None if value is None else parse_workers(value)


@contextmanager
def _usage(name: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UsageError(
            f"--{name.replace('_', '-')}: {error}", remedy="`braze-etl --help` names the forms."
        ) from None
