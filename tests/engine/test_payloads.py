from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from braze_etl.braze.currents.container import AvroFile
from braze_etl.clock import ManualClock
from braze_etl.delivery.destination import Destination
from braze_etl.engine.due import DueFile
from braze_etl.engine.flow import WorkerParts
from braze_etl.engine.worker import Payloads
from braze_etl.errors import StoreError
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import FileRef, Position, Reason, SetAside
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.storage.folder import FolderStore
from braze_etl.storage.read_ahead import NOTHING_AHEAD, ReadAhead
from fixtures.generate import sample_record, write_avro
from tests.engine.due_files import replayed

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
KIND = "users.messages.email.Open"


class Setting:
    """One file of one block of three records, and a quarantine."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "source" / "a.avro"
        self.path.parent.mkdir()
        self.records = [sample_record(KIND, seed) for seed in range(3)]
        write_avro(self.path, KIND, self.records)
        self.store = FolderStore(self.path.parent)
        (stored,) = next(self.store.pages()).objects
        self.ref = FileRef("a.avro", stored.etag, stored.size, stored.modified, KIND, NOW)
        with self.path.open("rb") as stream:
            self.block = next(AvroFile(stream).blocks()).offset
        self.clock = ManualClock(NOW)
        self.quarantine = Quarantine(FolderStore(folder / "aside", must_exist=False))

    def payloads(self, *, keep: bool = True) -> Payloads:
        parts = WorkerParts(
            clock=self.clock,
            store=ReadAhead(self.store, NOTHING_AHEAD),
            lasting=self.store,
            reader=EventReader(EventMapping.load(MappingSection())),
            destination=cast("Destination", None),
            quarantine=self.quarantine,
            keeps_payloads=keep,
            stops=None,
            judged_by="",
        )
        return Payloads(parts)

    def aside(self, record: int | None, reason: Reason = Reason.REJECTED) -> SetAside:
        return SetAside(Position(self.ref.key, self.ref.etag, self.block, record), KIND, reason)

    def replayed(self, record: int) -> DueFile:
        return replayed(self.ref, {(self.block, record): (Reason.REJECTED,)}, days=frozenset({NOW.date()}))


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def test_what_is_set_aside_gets_its_record_where_payloads_are_kept(setting: Setting) -> None:
    aside = [setting.aside(2), setting.aside(None, Reason.DAMAGED_BLOCK), setting.aside(99)]
    attached = setting.payloads().attach(aside, [DueFile(setting.ref)])
    assert attached == aside
    first, *others = (each.payload for each in attached)
    assert first is not None
    assert first["id"] == setting.records[2]["id"]
    assert others == [None, None]


def test_nothing_is_read_where_payloads_are_not_kept(setting: Setting) -> None:
    setting.path.unlink()
    assert setting.payloads(keep=False).attach([setting.aside(2)], [DueFile(setting.ref)]) == [
        setting.aside(2)
    ]


def test_an_outcome_is_not_lost_for_want_of_its_payload(setting: Setting) -> None:
    setting.path.unlink()
    (attached,) = setting.payloads().attach([setting.aside(2)], [DueFile(setting.ref)])
    assert attached.payload is None


def test_a_store_that_is_away_costs_the_payload_alone(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise StoreError("away")

    monkeypatch.setattr(setting.store, "open", away)
    (attached,) = setting.payloads().attach([setting.aside(2)], [DueFile(setting.ref)])
    assert attached.payload is None


def test_a_kept_record_is_found_for_a_replay_until_it_expires(setting: Setting) -> None:
    kept = replace(setting.aside(1), payload={"id": "kept"})
    setting.quarantine.file("r0", NOW, [kept])
    due, place = setting.replayed(1), (setting.block, 1)
    assert setting.payloads().stored(due, [place]) == {place: {"id": "kept"}}
    assert setting.payloads().stored(due, [(setting.block, 2)]) == {}
    assert setting.payloads().stored(DueFile(setting.ref), [place]) == {}
    setting.clock.advance(timedelta(days=31).total_seconds())
    assert setting.payloads().stored(due, [place]) == {}


def test_the_payload_goes_on_to_a_new_entry_when_the_source_is_gone(setting: Setting) -> None:
    setting.quarantine.file("r0", NOW, [replace(setting.aside(1), payload={"id": "kept"})])
    setting.path.unlink()
    refused_anew = setting.aside(1, Reason.SILENCED)
    (attached,) = setting.payloads().attach([refused_anew], [setting.replayed(1)])
    assert attached.payload == {"id": "kept"}
