from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from braze_etl.braze.currents.container import AvroFile
from braze_etl.engine.due import DueFile
from braze_etl.engine.worker import Life, blocks_of
from braze_etl.flows.currents_to_amplitude.reader import EventReader
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import FileRef, OpenPositions, Reason
from braze_etl.storage.folder import FolderStore
from fixtures.generate import sample_record, write_avro
from tests.engine.due_files import deferred, replayed

NOW = datetime(2026, 10, 5, 12, tzinfo=UTC)
KIND = "users.messages.email.Open"


class CountingStore(FolderStore):
    reads = 0

    def open(self, *arguments: Any, **named: Any) -> BinaryIO:
        self.reads += 1
        return super().open(*arguments, **named)


class Setting:
    def __init__(self, folder: Path) -> None:
        path = folder / "a.avro"
        write_avro(path, KIND, [sample_record(KIND, seed) for seed in range(300)])
        with path.open("rb") as stream:
            self.offsets = [block.offset for block in AvroFile(stream).blocks()]
        self.store = CountingStore(folder)
        (stored,) = next(self.store.pages()).objects
        self.ref = FileRef("a.avro", stored.etag, stored.size, stored.modified, KIND, NOW)

    def read(self, due: DueFile) -> list[tuple[int, Any]]:
        reader = EventReader(EventMapping.load(MappingSection()))
        return [(block.offset, wanted) for block, wanted in blocks_of(due, self.store, reader)]


class SlowStore(FolderStore):
    """A store that takes its time: whoever looks meanwhile, and again, sees a sign of life."""

    life: Life

    def open(self, *arguments: Any, **named: Any) -> BinaryIO:
        assert all(self.life.gets_on() for _ in range(3))
        return cast("BinaryIO", SlowStream(super().open(*arguments, **named), self.life))


class SlowStream:
    def __init__(self, stream: BinaryIO, life: Life) -> None:
        self._stream = stream
        self._life = life
        self.close = stream.close

    def read(self, size: int) -> bytes:
        assert all(self._life.gets_on() for _ in range(3))
        return self._stream.read(size)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def test_a_whole_file_is_one_stream(setting: Setting) -> None:
    assert setting.read(DueFile(setting.ref)) == [(offset, None) for offset in setting.offsets]
    assert setting.store.reads == 1


@pytest.mark.parametrize("whole", [True, False])
def test_a_store_that_is_waited_for_is_no_silence_of_the_worker(setting: Setting, *, whole: bool) -> None:
    store, life = SlowStore(setting.store.uri), Life()
    store.life = life
    part = OpenPositions(Reason.THROTTLED, NOW, {setting.offsets[-1]: (0, 3)})
    due = DueFile(setting.ref) if whole else deferred(setting.ref, part)
    assert list(blocks_of(due, store, EventReader(EventMapping.load(MappingSection())), life))
    life.gets_on()
    assert not life.gets_on()


def test_open_records_cost_a_read_for_each_of_their_blocks_and_one_for_the_header(setting: Setting) -> None:
    last = setting.offsets[-1]
    part = OpenPositions(Reason.THROTTLED, NOW, {last: (0, 3)})
    assert setting.read(deferred(setting.ref, part)) == [(last, frozenset({0, 3}))]
    assert setting.store.reads == 2


def test_of_a_damaged_stretch_that_is_replayed_every_record_counts(setting: Setting) -> None:
    first = setting.offsets[0]
    again = replayed(setting.ref, {(first, None): (Reason.DAMAGED_BLOCK,), (first, 1): (Reason.REJECTED,)})
    assert setting.read(again) == [(first, None)]
