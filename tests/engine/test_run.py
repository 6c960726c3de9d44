"""A whole run in one process, without a socket: what it stores, in which order, and what a crash leaves."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from braze_etl.amplitude.destination import BatchApi
from braze_etl.amplitude.settings import Amplitude
from braze_etl.braze.currents.listing import Listing
from braze_etl.clock import SystemClock
from braze_etl.delivery.destination import Probe, Standing
from braze_etl.delivery.http import NoReply, Reply
from braze_etl.engine import dispatch
from braze_etl.engine import run as runs
from braze_etl.engine.due import DueFile
from braze_etl.engine.exits import Stop
from braze_etl.engine.flow import SharedExecutor, ShouldStop, WorkList
from braze_etl.engine.inspection import Inspector
from braze_etl.engine.report import RunReport
from braze_etl.engine.run import Flow, Run, RunOptions, Watcher, new_run_id
from braze_etl.engine.tasks import Settlement
from braze_etl.engine.worklists.listed import Listed
from braze_etl.errors import LeaseHeldError, StateError, StoreError
from braze_etl.flows.currents_to_amplitude.drift import Drift
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.flows.currents_to_amplitude.remapped import Mappings, Remapped
from braze_etl.logs import configure_logging
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import FileSettlement, FileState, OpenPositions, Reason, Tally
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.state.ledger import Ledger, LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.storage.folder import FolderStore
from fixtures.generate import ExportSpec, generate
from tests.engine.executors.inline import Direct, runner_over

SETTINGS = Amplitude(region="US", endpoint="https://amplitude.test/batch", api_key=SecretStr("k"), gzip=False)


class Crash(BaseException):
    """The process ends here."""


class ToProject:
    """A wire that ends in a project."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def send(self, body: bytes, *, gzip: bool) -> Reply | NoReply:
        answer = self.project.ingest("/batch", body)
        return Reply(answer.status, dict(answer.body))


class InlinePool(Direct):
    """One worker in this thread, over a project."""

    def __init__(self, folder: Path, project: Project, quarantine: Quarantine, mapping: EventMapping) -> None:
        runner = runner_over(
            ToProject(project),
            BatchApi(SETTINGS),
            SystemClock(),
            store=FolderStore(folder),
            reader=EventReader(mapping),
            quarantine=quarantine,
            judged_by=mapping.version,
        )
        super().__init__(runner.run)


class Setting:
    """Everything of a run that outlives it."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "export"
        self.clock = SystemClock()
        self.project = Project(api_key="k")
        self.ledger: Any = SqliteLedger.in_memory(LedgerIdentity("p", "default", "US"), clock=self.clock)
        self.quarantine: Any = Quarantine(FolderStore(folder / "aside", must_exist=False))
        self.finding = Probe(Standing.FINE)
        self.mapping = EventMapping.load(MappingSection())

    def run(self, command: str = "run", *, changed_only: bool = False, **options: Any) -> RunReport:
        spec = ExportSpec()
        mappings = Mappings(self.ledger, self.mapping)
        mappings.keep()
        covers_all = options.pop("covers_all", True)

        def new_listing() -> Listing:
            return Listing(FolderStore(self.source), since=spec.start)

        work: WorkList = options.pop("work", None) or Listed(new_listing, covers_all=covers_all)
        executor = SharedExecutor(
            lambda: InlinePool(self.source, self.project, self.quarantine, self.mapping)
        )
        if changed_only:
            inspector = Inspector(executor)
            work = Remapped(new_listing, mappings, inspector, sends=True)
        return Run(
            Flow(work, lambda: self.finding, executor, Drift()),
            self.ledger,
            self.quarantine,
            clock=self.clock,
            stop=options.pop("stop", Stop()),
            options=RunOptions(
                new_run_id(self.clock.now()), command, "p", timedelta(hours=48), timedelta(hours=24)
            ),
            **options,
        ).run()

    def ids(self) -> list[str]:
        return sorted(event["insert_id"] for event in self.project.events())


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    generate(tmp_path / "export", ExportSpec(events=600, hours=2, awkward=0.05, duplicates=0))
    return Setting(tmp_path)


def crashing_at(calls: int, *targets: tuple[Any, str]) -> Callable[[], int]:
    """Have the *calls*-th of all calls to these methods crash before it does anything."""
    made = 0

    def wrap(method: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal made
            made += 1
            if made == calls:
                raise Crash
            return method(*arguments, **named)

        return wrapped

    for target, name in targets:
        setattr(target, name, wrap(getattr(target, name)))
    return lambda: made


def test_a_run_delivers_files_and_says_so(setting: Setting) -> None:
    report = setting.run()
    assert report.exit_code == 3
    assert report.done == report.discovered > 0
    assert len(setting.ids()) == report.events.accepted
    assert setting.quarantine.depth() == report.events.quarantined
    assert setting.ledger.runs(1)[0].report == report.as_dict()
    assert setting.run().discovered == 0


class Broken(Watcher):
    """A watcher that fails at whatever it is told."""

    def discovered(self, outlook: Any, warnings: Any) -> None:
        raise OSError("full")

    def settled(self, settlement: Settlement) -> None:
        raise OSError("full")

    def ended(self, report: RunReport) -> None:
        raise OSError("full")


class Attentive(Watcher):
    def __init__(self) -> None:
        self.told: list[str] = []

    def discovered(self, outlook: Any, warnings: Any) -> None:
        self.told.append("discovered")

    def settled(self, settlement: Settlement) -> None:
        self.told.append("settled")

    def ended(self, report: RunReport) -> None:
        self.told.append("ended")


def test_a_watcher_that_fails_is_nobody_elses_matter(setting: Setting) -> None:
    other, log = Attentive(), io.StringIO()
    configure_logging("json", log)
    report = setting.run(watchers=(Broken(), other))
    configure_logging("text")
    assert report.exit_code == 3
    assert (other.told[0], set(other.told[1:-1]), other.told[-1]) == ("discovered", {"settled"}, "ended")
    lines = [line for line in log.getvalue().splitlines() if "Broken" in line]
    assert len(lines) == len(other.told)
    assert all("full" in line for line in lines)


@pytest.mark.parametrize("step", range(1, 6))
def test_a_crash_before_any_write_loses_nothing(setting: Setting, step: int, tmp_path: Path) -> None:
    whole = Setting(tmp_path / "other")
    whole.source = setting.source
    whole.run()

    store = setting.quarantine._store
    writes = [(setting.ledger, name) for name in ("begin_run", "record_listing", "settle", "finish_run")]
    crashing_at(step, *writes, (store, "put"))
    try:
        setting.run()
    except Crash:
        for target, name in [*writes, (store, "put")]:
            delattr(target, name)
        setting.ledger._holder = None  # the lease of a process that is dead
    report = setting.run()
    assert report.remaining == 0
    assert setting.ids() == whole.ids()
    assert sorted(entry.id for entry in setting.quarantine.entries()) == sorted(
        entry.id for entry in whole.quarantine.entries()
    )


def cut_off(setting: Setting) -> tuple[Path, bytes]:
    """Have a run find a file cut off, and then put the whole one there; gives the file and what is in it."""
    path = max(setting.source.rglob("*.avro"), key=lambda path: path.stat().st_size)
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    assert setting.run().failed == 1
    path.write_bytes(content)
    return path, content


def unread(setting: Setting) -> int:
    return sum(entry.position.record is None for entry in setting.quarantine.entries())


@pytest.mark.parametrize("target", ["put", "delete", "settle", "finish_run"])
def test_a_crash_around_the_closing_of_replaced_entries_loses_nothing(
    setting: Setting, target: str, tmp_path: Path
) -> None:
    whole = Setting(tmp_path / "other")
    whole.source = setting.source
    cut_off(setting)
    whole.run()
    assert unread(setting) == 1

    setting.quarantine = Quarantine(FolderStore(tmp_path / "aside", must_exist=False))
    owner = setting.quarantine._store if target in ("put", "delete") else setting.ledger
    crashing_at(1, (owner, target))
    with pytest.raises(Crash):
        setting.run()
    delattr(owner, target)
    setting.ledger._holder = None  # the lease of a process that is dead
    setting.quarantine = Quarantine(FolderStore(tmp_path / "aside", must_exist=False))
    report = setting.run()
    assert report.remaining == 0
    assert setting.run().discovered == 0
    assert setting.ids() == whole.ids()
    assert unread(setting) == 0
    assert setting.ledger.summary().files == whole.ledger.summary().files


def test_entries_stay_while_the_file_that_came_instead_is_not_whole(setting: Setting, tmp_path: Path) -> None:
    path, content = cut_off(setting)
    setting.quarantine = Quarantine(FolderStore(tmp_path / "aside", must_exist=False))
    path.write_bytes(content[:-200])
    report = setting.run()
    assert (report.failed, report.closed, unread(setting)) == (1, 0, 2)
    setting.quarantine = Quarantine(FolderStore(tmp_path / "aside", must_exist=False))
    path.write_bytes(content)
    report = setting.run()
    assert (report.done, report.closed, unread(setting)) == (1, 2, 0)
    assert report.as_dict()["closed"] == 2


def change_mind(setting: Setting) -> None:
    """Deliver all under one mapping, and decide for another that lets more through."""
    setting.run()
    everything = {"send": ["*"], "identity": {"anonymous": "braze_id"}}
    setting.mapping = EventMapping.load(MappingSection.model_validate(everything))


def run_changed(setting: Setting, **options: Any) -> RunReport:
    return setting.run("backfill", changed_only=True, **options)


def test_what_a_changed_mapping_lets_through_is_delivered_and_the_books_go_on(setting: Setting) -> None:
    change_mind(setting)
    before, aside = setting.ids(), setting.quarantine.depth()
    report = run_changed(setting)
    assert report.events.accepted > 0
    assert report.events.read == report.events.accepted + report.events.quarantined
    assert len(setting.ids()) == len(before) + report.events.accepted
    assert setting.quarantine.depth() == aside + report.events.quarantined
    assert run_changed(setting).discovered == 0
    summary = setting.ledger.summary()
    assert summary.files.get(FileState.OPEN, 0) == 0


@pytest.mark.parametrize("step", range(1, 6))
def test_a_crash_after_a_change_of_the_mapping_loses_nothing_and_repeats_nothing(
    setting: Setting, step: int, tmp_path: Path
) -> None:
    whole = Setting(tmp_path / "other")
    whole.source = setting.source
    for each in (whole, setting):
        change_mind(each)
    run_changed(whole)

    writes = [(setting.ledger, name) for name in ("begin_run", "note_mappings", "settle", "finish_run")]
    crashing_at(step, *writes)
    try:
        run_changed(setting)
    except Crash:
        setting.ledger._holder = None  # the lease of a process that is dead
    for target, name in writes:
        delattr(target, name)
    assert run_changed(setting).remaining == 0
    assert setting.ids() == whole.ids()
    refs = list(Listing(FolderStore(setting.source), since=ExportSpec().start))
    told, expected = setting.ledger.known(refs), whole.ledger.known(refs)
    assert {key: (known.tally, known.mapping) for key, known in told.items()} == {
        key: (known.tally, known.mapping) for key, known in expected.items()
    }


def test_a_run_that_waits_comes_before_the_files_that_are_still_to_be_compared(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_mind(setting)
    monkeypatch.setattr(runs, "_PAUSE", 0.0)
    monkeypatch.setattr(runs.Rounds, "is_over", lambda rounds: rounds.number == 1)
    leases: list[int] = []
    lease, known = setting.ledger.lease, setting.ledger.known

    def taken(owner: Any) -> Any:
        leases.append(0)
        return lease(owner)

    def asked(files: Any) -> Any:
        leases[-1] += 1
        return known(files)

    setting.ledger.lease, setting.ledger.known = taken, asked
    report = run_changed(setting)
    assert report.events.accepted > 0
    assert leases[0] == 0 < leases[1], "nothing is compared before the lease was passed on"


def test_a_stop_between_rounds_that_only_compared_leaves_work_and_says_so(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_mind(setting)
    monkeypatch.setattr(runs.Rounds, "is_over", lambda _: True)
    stop = Stop()
    monkeypatch.setattr(runs.Rounds, "_retaken", lambda *_: False)
    report = run_changed(setting, stop=stop)
    assert (report.exit_code, report.cut_short, report.without_lease) == (4, True, True)


class Later(Listed):
    """A list of which more comes to light when it is time to stop."""

    def __init__(self, *arguments: Any, stop: Stop) -> None:
        super().__init__(*arguments)
        self.stop = stop
        self.in_order: bool | None = None

    def later(self, ledger: Ledger, now: datetime, stop: ShouldStop) -> Iterator[DueFile]:
        self.stop.request(15)
        assert stop()
        yield from super().later(ledger, now, stop)

    def finish(self, *, in_order: bool) -> None:
        self.in_order = in_order


def test_a_stop_does_not_take_back_how_far_the_sweep_has_come(setting: Setting) -> None:
    stop = Stop()
    work = Later(lambda: Listing(FolderStore(setting.source), since=ExportSpec().start), stop=stop)
    assert setting.run(work=work, stop=stop).exit_code == 143
    assert work.in_order


def test_nothing_is_marked_done_when_the_quarantine_cannot_be_written(setting: Setting) -> None:
    def full(*_: Any) -> None:
        raise StateError("disk full", remedy="Make room.")

    setting.quarantine._store.put = full
    report = setting.run()
    assert report.exit_code == 1
    assert report.error is not None
    assert report.done == 0
    assert setting.ledger.summary().files.get(FileState.DONE, 0) == 0


def test_tasks_that_come_back_together_are_stored_in_one_transaction(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "_SMALL_TASK_BYTES", 1)
    settle, stored = setting.ledger.settle, list[int]()

    def counted(run_id: str, files: list[FileSettlement], *more: Any) -> None:
        stored.append(len(files))
        settle(run_id, files, *more)

    setting.ledger.settle = counted
    report = setting.run()
    assert report.done > 1
    assert stored == [report.discovered]


def test_a_refused_key_ends_the_run_before_any_event(setting: Setting) -> None:
    setting.finding = Probe(Standing.REFUSED, "the key was refused", "Check it.")
    report = setting.run()
    assert (report.exit_code, report.events.read) == (1, 0)
    assert report.remaining == report.discovered
    assert setting.ids() == []


def test_a_second_run_meets_the_lease_of_the_first(setting: Setting) -> None:
    settle = setting.ledger.settle

    def meanwhile(run_id: str, files: list[FileSettlement], *more: Any) -> None:
        with pytest.raises(LeaseHeldError):
            setting.run()
        settle(run_id, files, *more)

    setting.ledger.settle = meanwhile
    assert setting.run().remaining == 0


def test_a_backfill_leaves_the_backlog_of_the_live_job_alone(setting: Setting) -> None:
    setting.finding = Probe(Standing.REFUSED, "not now", "Wait.")
    owed = setting.run().discovered
    setting.finding = Probe(Standing.FINE)
    setting.run(covers_all=False)
    assert setting.ledger.summary().backlog.files == owed


def test_a_quarantine_out_of_reach_ends_the_run_before_anything_is_sent(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_reach(_: Quarantine, _records: int) -> None:
        raise StoreError("The quarantine is out of reach")

    with monkeypatch.context() as patched:
        patched.setattr(Quarantine, "prepare", out_of_reach)
        report = setting.run()
    assert report.exit_code == 1
    assert "out of reach" in str(report.error)
    assert (setting.ids(), report.done) == ([], 0)
    assert setting.run().remaining == 0


def test_after_one_settlement_that_failed_nothing_more_is_sent(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("braze_etl.engine.tasks.MAX_FILES", 1)
    submit = InlinePool.submit
    monkeypatch.setattr(InlinePool, "submit", lambda pool, task: not pool.busy and submit(pool, task))
    settle = setting.ledger.settle

    def full(*_: Any) -> None:
        raise StateError("the disk is full")

    setting.ledger.settle = full
    report = setting.run()
    assert (report.exit_code, report.done) == (1, 0)
    assert report.remaining == report.discovered > 2
    assert "disk is full" in str(report.error)
    sent = len(setting.ids())
    setting.ledger.settle = settle
    last = setting.run()
    assert last.remaining == 0
    assert sent < len(setting.ids()) / 2
    assert setting.ledger.summary().backlog.files == 0


def test_a_run_with_nothing_to_send_asks_nothing_of_the_quarantine(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting.run()
    monkeypatch.setattr(Quarantine, "prepare", lambda *_: pytest.fail("nothing is to be sent"))
    assert setting.run().exit_code == 0


def test_a_run_that_is_stopped_at_once_reads_nothing(setting: Setting) -> None:
    stop = Stop()
    stop.request(15)
    report = setting.run(stop=stop)
    assert (report.exit_code, report.events.read) == (143, 0)
    assert setting.ledger.summary().last_listing is None


def test_a_time_limit_leaves_the_rest_for_the_next_run(setting: Setting) -> None:
    report = setting.run(stop=Stop(max_runtime=timedelta(0)))
    assert report.events.read == 0
    assert setting.run().remaining == 0


def test_a_ledger_that_fails_when_the_listing_begins_is_told_and_nothing_else(setting: Setting) -> None:
    summary, failed = setting.ledger.summary, list[bool]()

    def failing_once() -> Any:
        if not failed:
            failed.append(True)
            raise StateError("the disk is gone", remedy="Mount it.")
        return summary()

    setting.ledger.summary = failing_once
    report = setting.run()
    assert (report.exit_code, report.discovered) == (1, 0)
    assert report.error is not None
    assert report.error.message == "the disk is gone"
    assert report.as_dict()["exit_code"] == 1


def test_a_file_that_is_open_and_was_replaced_counts_once_however_often_its_listing_pauses(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_, last = Listing(FolderStore(setting.source), since=ExportSpec().start)
    still = (OpenPositions(Reason.THROTTLED, setting.clock.now(), {100: (0,)}),)
    open_files = [
        FileSettlement(ref, FileState.OPEN, Tally(deferred=1), still)
        for ref in (first, replace(last, etag="before"))
    ]
    setting.ledger.settle("20260101T000000Z-before", open_files, None)
    monkeypatch.setattr(runs, "_PAUSE", 0.0)
    monkeypatch.setattr(runs.Rounds, "is_over", lambda rounds: rounds.number == 1)
    files = sum(1 for _ in setting.source.rglob("*.avro"))
    report = setting.run("backfill", covers_all=False)
    assert (report.discovered, report.remaining) == (files, 0)
