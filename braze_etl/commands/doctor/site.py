"""The context of the checks: what several of them need, read once, and only when one asks for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from braze_etl.amplitude.probe import ask
from braze_etl.braze.currents.listing import EventFolder, event_folders
from braze_etl.braze.currents.volumes import Lists, spread
from braze_etl.clock import Clock
from braze_etl.config.loading import Config
from braze_etl.delivery.destination import Probe, Standing
from braze_etl.delivery.http import NoReply, Reply
from braze_etl.engine import quarantine_stop as bound
from braze_etl.engine.budget import Account
from braze_etl.engine.executors.workers import Scheduler, Workers, scheduler_of
from braze_etl.engine.forecast import RECENT_RUNS
from braze_etl.flows.currents_to_amplitude.mapping import load_mapping
from braze_etl.flows.currents_to_amplitude.sampling import Sample, Sampler, total
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import open_source, selection
from braze_etl.flows.currents_to_amplitude.worker import worker_spec
from braze_etl.flows.pipeline import open_state
from braze_etl.mapping.mapping import EventMapping
from braze_etl.model import FileRef
from braze_etl.state.ledger import LeaseHolder, LedgerMissingError, LedgerSummary, RunRecord
from braze_etl.storage.settings import Quarantine, SourceSection, State, StoreAccess
from braze_etl.storage.store import Store

if TYPE_CHECKING:
    from braze_etl.engine.executors.machines import Survey
    from braze_etl.engine.executors.shipment import Shipment

_MOUNTS = Path("/proc/self/mounts")
_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_GROUPS = Path("/proc/1/cgroup")
_GROUP_WORDS = ("docker", "containerd", "kubepods", "libpod")

_PROOF: Final = 120.0
"""Seconds that machines have to prove themselves; the copy of a large list takes minutes, once."""
_FOLDERS: Final = 40
"""Event types of which the newest file is looked for; two LISTs each."""


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What the ledger says."""

    start_at: datetime
    summary: LedgerSummary
    holder: LeaseHolder | None
    runs: list[RunRecord]
    account: Account | None
    quarantine_stop: dict[str, Any]


class Site:
    """One pipeline and the machine that it is to run on.

    `server_times` are clocks of others, beside ours at that moment, by the name of
    the other; checks that hear of one add it.
    """

    def __init__(
        self,
        config: Config[Settings],
        clock: Clock,
        *,
        machine: Machine | None = None,
        workers: Workers | None = None,
        token: str,
    ) -> None:
        self.config = config
        self.settings: Settings = config.settings
        self.clock = clock
        self.machine = machine or Machine()
        self.workers = workers or self.settings.workers
        self.token = token
        self.server_times: dict[str, tuple[datetime, datetime]] = {}

    def at(self, section: str) -> tuple[str, StoreAccess]:
        """The URI of `source`, `state` or `quarantine`, and how to reach it."""
        chosen: SourceSection | State | Quarantine = getattr(self.settings, section)
        return chosen.uri, chosen.access(self.settings.source)

    @cached_property
    def mapping(self) -> EventMapping:
        """The mapping by its rules alone."""
        return load_mapping(self.settings)

    @cached_property
    def source(self) -> tuple[Store, str]:
        """Where the Currents files are."""
        return open_source(self.settings.source)

    @cached_property
    def lists(self) -> Lists:
        """Looks at the event folders of the source."""
        return Lists(self.source[0])

    @cached_property
    def folders(self) -> list[EventFolder]:
        """The selected event folders of the source."""
        source = self.settings.source
        return list(event_folders(self.lists.level, self.source[1], selection(source), source.uri))

    @cached_property
    def recent(self) -> list[FileRef]:
        """The newest file of some event types, of those sent, if any are: of the look-back, or the last hour.

        Oldest hour first.
        """
        folders, now = spread(self._sent_folders, _FOLDERS), self.clock.now()
        found = list(self.newest(folders))
        if not found and (newest := self.lists.newest_hour(folders, now)) is not None:
            found = list(self.newest(folders, newest))
        return sorted(found, key=lambda ref: (ref.hour, ref.modified))

    @property
    def doubles(self) -> dict[str, list[EventFolder]]:
        """The event types, of those sent, if any are, that have more than one folder."""
        folders: dict[str, list[EventFolder]] = {}
        for each in self._sent_folders:
            folders.setdefault(each.event_type, []).append(each)
        return {name: several for name, several in folders.items() if len(several) > 1}

    def newest(self, folders: Iterable[EventFolder], since: datetime | None = None) -> Iterator[FileRef]:
        """The newest file of each folder that has one since then (of the look-back); two LISTs each."""
        since = since or self.clock.now() - max(self.settings.source.lookback, timedelta(days=1))
        found = (self.lists.newest_file(each, since) for each in folders)
        return (ref for ref in found if ref is not None)

    @cached_property
    def _sent_folders(self) -> list[EventFolder]:
        sent = [each for each in self.folders if self.mapping.plan(each.event_type).withheld is None]
        return sent or self.folders

    @cached_property
    def sample(self) -> Sample:
        """The beginnings of the recent files."""
        sampler = Sampler(self.source[0], self.mapping)
        return total(sampler.read(ref) for ref in self.recent if not ref.archived)

    @cached_property
    def ledger(self) -> LedgerView | None:
        """What the ledger says; None where there is none yet."""
        terms, now = self.settings.terms, self.clock.now()
        try:
            ledger = open_state(self.settings, self.clock, read_only=True)
        except LedgerMissingError:
            return None
        with closing(ledger):
            account = Account.read(ledger, terms, now) if terms.configured else None
            runs = ledger.runs(RECENT_RUNS)
            stop = ledger.get_note(bound.NOTE)
            return LedgerView(ledger.start_at, ledger.summary(), ledger.holder(), runs, account, stop)

    @property
    def scheduler(self) -> Scheduler | None:
        """The scheduler that knows other machines; None where there are to be none."""
        return scheduler_of(self.workers)

    @cached_property
    def shipment(self) -> Shipment:
        """What machines would get; `ConfigError` where Dask is missing, or a secret would travel."""
        from braze_etl.engine.executors import dask, machine

        assert self.scheduler is not None
        dask.check_installed(self.scheduler)
        unresolved = self.config.unresolved
        spec = worker_spec(unresolved, keep_payloads=False, rationed=False)
        return machine.ship(spec, unresolved)

    @cached_property
    def surveyed(self) -> Survey:
        """What the scheduler and its machines say; `FatalError` where no scheduler answers."""
        from braze_etl.engine.executors.dask import Cluster
        from braze_etl.engine.executors.machines import survey

        assert self.scheduler is not None
        shipment, file = self.shipment, next(iter(self.recent), None)
        return survey(Cluster(self.scheduler), shipment, file, self.clock, seconds=_PROOF)

    @cached_property
    def probed(self) -> tuple[Reply | NoReply, Probe]:
        """What Amplitude answers, and what that says of key and endpoint."""
        return ask(self.settings.amplitude, self.clock)

    def is_taken_at(self, region: str) -> bool:
        """Whether the key is good in that region."""
        other = self.settings.amplitude.model_copy(update={"region": region, "gzip": False})
        return ask(other, self.clock)[1].standing is Standing.FINE


class Machine:
    """Facts that the kernel tells; tests put others in their place."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def container(self) -> str:
        """By what a container is known here; empty where it is none. A heuristic: none has to tell."""
        if self._environ.get("KUBERNETES_SERVICE_HOST"):
            return "KUBERNETES_SERVICE_HOST is set"
        for mark in _MARKS:
            if mark.exists():
                return f"{mark} is there"
        text = _text_of(_GROUPS)
        return next((f"/proc/1/cgroup names {word}" for word in _GROUP_WORDS if word in text), "")

    def filesystem(self, path: Path) -> str:
        """The file system that *path* lies on, or will: `ext4`, `overlay`, `tmpfs`; empty if unknown."""
        place = existing(path).resolve()
        mounts = [(target, kind) for target, kind in self._mounts() if place.is_relative_to(target)]
        # A later mount on the same place hides the earlier one.
        return max(enumerate(mounts), key=lambda each: (len(each[1][0]), each[0]))[1][1] if mounts else ""

    def free(self, path: Path) -> int:
        """Bytes that are free where *path* lies, or will."""
        return shutil.disk_usage(existing(path)).free

    def _mounts(self) -> Iterator[tuple[str, str]]:
        for line in _text_of(_MOUNTS).splitlines():
            _, target, kind, *_ = line.split(" ")
            yield target.replace("\\040", " "), kind


def existing(path: Path) -> Path:
    """The path, or the nearest folder above that is there."""
    path = path.expanduser().absolute()
    return next(each for each in (path, *path.parents) if each.exists())


def is_writable(path: Path) -> bool:
    """Whether this user may change a file that is there, or list a folder and make something in it."""
    return os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0))


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
