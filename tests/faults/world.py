"""A whole job in one thread: real files, ledger and run; Amplitude without a socket, time by hand."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr

from braze_etl.amplitude.destination import BatchApi
from braze_etl.amplitude.settings import Amplitude
from braze_etl.braze.currents.keys import date_folder
from braze_etl.braze.currents.listing import Listing
from braze_etl.clock import ManualClock, hour_of
from braze_etl.delivery.destination import Probe, Standing
from braze_etl.delivery.http import Kind, NoReply, Reply
from braze_etl.engine.exits import Stop
from braze_etl.engine.flow import SharedExecutor
from braze_etl.engine.report import RunReport
from braze_etl.engine.run import Flow, Run, RunOptions, new_run_id
from braze_etl.engine.tasks import Work
from braze_etl.engine.worklists.listed import Listed, Reconcile
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import FileRef
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.state.ledger import Ledger, LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.storage.folder import FolderStore
from fixtures.generate import sample_record, write_avro
from tests.engine.executors.inline import Direct, runner_over
from tests.workplace import KEY

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
EVENT_TYPE = "users.messages.email.Open"
CONNECTOR = "dataexport.prod-01.S3.integration.0123456789abcdef01234567"
_BATCH = 3


class Crash(BaseException):
    """The process ends here, in the middle of what it does."""


@dataclass
class Wire:
    """Amplitude as delivery meets it: users it throttles, requests that fail, one that is the last."""

    project: Project
    throttled: dict[str, str] = field(default_factory=dict)
    """The list of the reply that names a user, by user."""
    failures: int = 0
    crash_at: int | None = None
    crash_after_taking: bool = False
    sent: int = 0

    def send(self, body: bytes, *, gzip: bool) -> Reply | NoReply:
        self.sent += 1
        if self.sent == self.crash_at and not self.crash_after_taking:
            raise Crash
        if self.failures:
            self.failures -= 1
            return NoReply(Kind.RESET, "the connection broke")
        answer = self._refusal(orjson.loads(body)["events"]) or self._take(body)
        if self.sent == self.crash_at:
            raise Crash
        return answer

    def _take(self, body: bytes) -> Reply:
        reply = self.project.ingest("/batch", body)
        return Reply(reply.status, dict(reply.body))

    def _refusal(self, events: list[dict[str, Any]]) -> Reply | None:
        names = {event["user_id"] for event in events} & self.throttled.keys()
        lists: dict[str, dict[str, int]] = {}
        for name in names:
            lists.setdefault(self.throttled[name], {})[name] = 31
        return Reply(429, {"code": 429, "error": "Too many requests", **lists}) if lists else None


class InlinePool(Direct):
    """One worker in this thread, which has a task when the one before was settled."""

    processes = 1

    def __init__(self, world: World) -> None:
        stop = threading.Event()
        runner = runner_over(
            world.wire, world.delivery, world.clock, store=world.source, reader=world.reader, stop=stop
        )
        super().__init__(runner.run, stop)

    def submit(self, task: Work) -> bool:
        return not self.busy and super().submit(task)


class CrashingLedger:
    """A ledger whose process ends before or after the commit number *at*."""

    def __init__(self, ledger: Ledger, at: int, *, after: bool) -> None:
        self._ledger = ledger
        self._left = at
        self._after = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def settle(self, *arguments: Any) -> None:
        # Nothing is settled after a trial; to be killed again and again at just that moment makes guilty.
        self._left -= bool(arguments[1])
        if self._left == 0 and not self._after:
            raise Crash
        self._ledger.settle(*arguments)
        if self._left == 0:
            raise Crash


class World:
    """Files, a ledger and Amplitude; `expected` holds the insert_ids of each file as it is now."""

    def __init__(self, folder: Path, *, sqlite: bool) -> None:
        self.clock = ManualClock(NOON)
        self.export = folder / "export"
        self.export.mkdir()
        self.source = FolderStore(self.export)
        self.expected: dict[str, list[str]] = {}
        self.reader = EventReader(EventMapping.load(MappingSection()))
        self.wire = Wire(Project(clock=lambda: self.clock.now().timestamp(), api_key=KEY))
        self.delivery = BatchApi(
            Amplitude(
                region="US",
                endpoint="http://localhost/batch",
                api_key=SecretStr(KEY),
                gzip=False,
                max_events=_BATCH,
                give_up_after=timedelta(minutes=1),
            )
        )
        self.lookback: timedelta | None = None
        self.sweep = {"every": timedelta(hours=24), "budget": timedelta(minutes=1)}
        self._path = folder / "ledger.db" if sqlite else None
        self._folder = folder
        self._identity = LedgerIdentity("default", "shop", "US")
        self.ledger = self._open_ledger()
        self._numbers = itertools.count()
        self._owners: dict[str, list[str]] = {}

    def _open_ledger(self) -> Ledger:
        start = NOON - timedelta(days=2)
        if self._path is None:
            return SqliteLedger.in_memory(self._identity, clock=self.clock, start_at=start)
        return SqliteLedger.open(self._path, self._identity, clock=self.clock, start_at=start)

    def write(self, key: str, users: Sequence[str]) -> None:
        """Write a file with one record for each of *users*, or more of them into one that is there."""
        ids = self.expected[key] = self.expected.get(key, []) + [
            f"event-{next(self._numbers)}" for _ in users
        ]
        owners = self._owners[key] = [*self._owners.get(key, []), *users]
        records = [
            {**sample_record(EVENT_TYPE, number), "id": id_, "external_user_id": user}
            for number, (id_, user) in enumerate(zip(ids, owners, strict=True))
        ]
        write_avro(self.export / key, EVENT_TYPE, records, sync_interval=500)

    def key(self, hours_ago: int, number: int) -> str:
        hour = NOON - timedelta(hours=hours_ago)
        return (
            f"{CONNECTOR}/event_type={EVENT_TYPE}/{date_folder(hour)}/version=12/us-01/"
            f"{CONNECTOR}+0+{number}.avro"
        )

    def run(self, ledger: Ledger | None = None, command: str = "run") -> RunReport:
        """One run over all that is due: a scheduled one, which may sweep, or a backfill."""
        ledger, scheduled = ledger or self.ledger, command == "run"
        flow = Flow(
            work=Listed(self.listing, covers_all=scheduled, sweep=self._sweep(ledger) if scheduled else None),
            probe=lambda: Probe(Standing.FINE),
            executor=SharedExecutor(lambda: InlinePool(self)),
        )
        return Run(
            flow,
            ledger,
            Quarantine(FolderStore(self._folder, must_exist=False), "quarantine/"),
            clock=self.clock,
            stop=Stop(),
            options=RunOptions(
                new_run_id(self.clock.now()), command, "default", timedelta(hours=48), timedelta(hours=24)
            ),
        ).run()

    def crash(self, ledger: Ledger | None = None) -> None:
        """One run that may end in the middle; what it had not stored is forgotten."""
        with suppress(Crash):
            self.run(ledger)
        self.wire.crash_at = None
        if self._path is not None:
            self.ledger.close()
            self.ledger = self._open_ledger()

    def _sweep(self, ledger: Ledger) -> Reconcile:
        def hours(since: datetime, until: datetime) -> Listing:
            return Listing(self.source, since=since, until=until)

        return Reconcile(ledger, hours, self.clock, **self.sweep)

    def listing(self) -> Listing:
        """All from the start on or, with a look-back, so far back."""
        start = self.ledger.start_at
        back = None if self.lookback is None else hour_of(self.clock.now() - self.lookback)
        return Listing(self.source, since=start if back is None else max(start, back))

    def files(self) -> list[FileRef]:
        """What lies in the export now."""
        return list(self.listing())

    def held(self) -> set[str]:
        """The insert_ids that Amplitude holds."""
        return {event["insert_id"] for event in self.wire.project.events()}

    def close(self) -> None:
        self.ledger.close()
