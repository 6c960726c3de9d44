"""What is looked at, by several checks each: asked for once, and only when somebody wants to know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final

from braze_etl.checkpoint import LeaseHolder, LedgerMissingError, LedgerSummary, RunRecord
from braze_etl.clock import Clock
from braze_etl.config import Config, Settings
from braze_etl.currents import EventFolder, event_folders
from braze_etl.delivery import DeliverySettings, NoReply, Reply, Standing, endpoint_url
from braze_etl.delivery import Finding as Answer
from braze_etl.model import FileRef
from braze_etl.run.assembly import delivery_settings, load_mapping, open_source, open_state, selection
from braze_etl.run.budget import Account, Terms
from braze_etl.run.checks.asking import ask
from braze_etl.run.checks.machine import Machine
from braze_etl.run.foresight.forecast import RECENT_RUNS
from braze_etl.run.setaside import bound
from braze_etl.run.starting.sampling import Sample, Sampler
from braze_etl.run.starting.volumes import newest_file, newest_hour, spread
from braze_etl.storage import Page, Store
from braze_etl.transform import Mapping

_FOLDERS: Final = 40
"""Event types of which the newest file is looked for; two LISTs each."""


@dataclass(frozen=True, slots=True)
class Books:
    """What the ledger says."""

    start_at: datetime
    summary: LedgerSummary
    holder: LeaseHolder | None
    runs: list[RunRecord]
    account: Account | None
    quarantine_stop: dict[str, Any]


class Site:
    """One pipeline and the machine that it is to run on.

    *url_of* gives the URL for a region. `server_times` are clocks of others, beside ours at that moment, by
    the name of the other; checks that hear of one add it.
    """

    def __init__(
        self,
        config: Config,
        clock: Clock,
        *,
        machine: Machine | None = None,
        url_of: Callable[[str], str] = endpoint_url,
        token: str,
    ) -> None:
        self.config = config
        self.settings: Settings = config.settings
        self.clock = clock
        self.machine = machine or Machine()
        self.url_of = url_of
        self.token = token
        self.server_times: dict[str, tuple[datetime, datetime]] = {}

    @cached_property
    def mapping(self) -> Mapping:
        """The mapping by its rules alone."""
        return load_mapping(self.settings)

    @cached_property
    def source(self) -> tuple[Store, str]:
        """Where the Currents files are."""
        return open_source(self.settings)

    @cached_property
    def folders(self) -> list[EventFolder]:
        """The selected event folders of the source."""
        store, prefix = self.source

        def level(below: str) -> Iterator[Page]:
            return store.pages(below, delimiter="/")

        return list(event_folders(level, prefix, selection(self.settings), self.settings.source.uri))

    @cached_property
    def recent(self) -> list[FileRef]:
        """The newest file of some event types, of those sent, if any are: of the look-back, or the last hour.

        Oldest hour first.
        """
        folders, now = spread(self._looked_at, _FOLDERS), self.clock.now()
        found = list(self.newest(folders))
        if not found and (newest := newest_hour(self.source[0], folders, now)[0]) is not None:
            found = list(self.newest(folders, newest))
        return sorted(found, key=lambda ref: (ref.hour, ref.modified))

    @property
    def doubles(self) -> dict[str, list[EventFolder]]:
        """The event types, of those sent, if any are, that have more than one folder."""
        folders: dict[str, list[EventFolder]] = {}
        for each in self._looked_at:
            folders.setdefault(each.event_type, []).append(each)
        return {name: several for name, several in folders.items() if len(several) > 1}

    def newest(self, folders: Iterable[EventFolder], since: datetime | None = None) -> Iterator[FileRef]:
        """The newest file of each folder that has one since then (of the look-back); two LISTs each."""
        since = since or self.clock.now() - max(self.settings.source.lookback, timedelta(days=1))
        found = (newest_file(self.source[0], each, since) for each in folders)
        return (ref for ref in found if ref is not None)

    @cached_property
    def _looked_at(self) -> list[EventFolder]:
        sent = [each for each in self.folders if self.mapping.plan(each.event_type).withheld is None]
        return sent or self.folders

    @cached_property
    def sample(self) -> Sample:
        """The beginnings of the recent files."""
        sampler, whole = Sampler(self.source[0], self.mapping), Sample()
        for ref in self.recent:
            if not ref.archived:
                whole.add(sampler.read(ref))
        return whole

    @cached_property
    def books(self) -> Books | None:
        """What the ledger says; None where there is none yet."""
        terms, now = Terms.of(self.settings), self.clock.now()
        try:
            ledger = open_state(self.settings, self.clock, read_only=True)
        except LedgerMissingError:
            return None
        with closing(ledger):
            account = Account.read(ledger, terms, now) if terms.configured else None
            runs = ledger.runs(RECENT_RUNS)
            stop = ledger.recall(bound.NOTE)
            return Books(ledger.start_at, ledger.summary(), ledger.holder(), runs, account, stop)

    @cached_property
    def delivery(self) -> DeliverySettings:
        """Where events go."""
        return delivery_settings(self.settings)

    @cached_property
    def asked(self) -> tuple[Reply | NoReply, Answer]:
        """What Amplitude answers, and what that says of key and endpoint."""
        return ask(self.delivery, self.clock)

    def is_taken_at(self, region: str) -> bool:
        """Whether the key is good in that region."""
        other = DeliverySettings(url=self.url_of(region), api_key=self.delivery.api_key, gzip=False)
        return ask(other, self.clock)[1].standing is Standing.FINE
