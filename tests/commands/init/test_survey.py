from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from braze_etl.clock import ManualClock
from braze_etl.commands.init.survey import survey
from braze_etl.errors import AccessDeniedError, UsageError
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.storage.folder import FolderStore
from braze_etl.storage.store import Page, Store, StoredObject
from tests.commands.init.conftest import CONNECTOR, OTHER, WriteFile
from tests.volume import list_only_s3
from tests.volume.list_only_s3 import LAST

OPEN, CLICK = "users.messages.email.Open", "users.messages.email.Click"

TYPES = 20


def test_a_survey_tells_types_volumes_codecs_and_integrations(
    settings: Settings, clock: ManualClock, write_file: WriteFile
) -> None:
    for number in range(10):
        write_file(OPEN, f"2026-10-03-0{number}", 48)
    write_file(CLICK, "2026-10-03-05", 24, connector=OTHER, codec="deflate")
    write_file(CLICK, "2026-08-01-05", 24)
    facts = survey(settings, clock, days=2).as_dict()
    assert facts["looked_at"]["days"] == pytest.approx(13 / 24, rel=0.02), "nothing is older but what is gone"
    line = facts["by_event_type"][OPEN]
    assert line["files"] == 10
    assert line["events"] == pytest.approx(480, rel=0.05)
    assert line["events_per_day"] == pytest.approx(480 * 24 / 13, rel=0.05)
    assert line["events_per_month"] == pytest.approx(30 * 480 * 24 / 13, rel=0.05)
    assert (line["oldest_hour"], line["newest_hour"]) == ("2026-10-03T00:00:00Z", "2026-10-03T09:00:00Z")
    assert facts["codecs"] == {"null": 3, "deflate": 1}
    assert facts["integrations"] == {
        "0123456789abcdef01234567": [CLICK, OPEN],
        "f" * 24: [CLICK],
    }
    assert (facts["oldest_hour"], facts["newest_hour"]) == ("2026-08-01T05:00:00Z", "2026-10-03T09:00:00Z")


def test_shares_are_those_of_sampled_records(
    settings: Settings, clock: ManualClock, write_file: WriteFile
) -> None:
    write_file(OPEN, "2026-10-03-01", 30, external_user_id=None)
    write_file(CLICK, "2026-10-03-01", 10, external_user_id="null")
    facts = survey(settings, clock, days=2).as_dict()
    assert facts["without_identity"] == 0.75
    assert facts["refused"] == 0.25
    assert facts["by_event_type"][OPEN]["without_identity"] == 1.0
    assert facts["reasons"] == {"no_identity": 30, "invalid_user_id": 10}


def test_a_source_where_nothing_is_new_is_looked_at_where_it_ends(
    settings: Settings, clock: ManualClock, write_file: WriteFile
) -> None:
    write_file(OPEN, "2026-03-01-05", 24)
    found = survey(settings, clock, days=14)
    assert found.types[OPEN].files == 1
    assert found.until == datetime(2026, 3, 1, 6, tzinfo=UTC)


def test_a_young_source_is_measured_by_the_hours_that_it_has(
    settings: Settings, clock: ManualClock, write_file: WriteFile
) -> None:
    write_file(OPEN, "2026-10-03-06", 60)
    write_file(OPEN, "2026-10-03-12", 60)
    found = survey(settings, clock, days=14)
    assert found.days == pytest.approx(7 / 24)
    assert found.per_day(OPEN) == pytest.approx(120 / 7 * 24, rel=0.05)


def test_a_type_that_began_later_than_the_rest_has_a_span_of_its_own(
    settings: Settings, clock: ManualClock, write_file: WriteFile
) -> None:
    for day in range(20, 31):
        write_file(OPEN, f"2026-09-{day}-12", 24)
    for number in range(6):
        write_file(CLICK, f"2026-10-03-{number + 7:02}", 10)
    found = survey(settings, clock, days=14)
    assert found.days == pytest.approx(13, abs=0.1)
    assert found.per_day(OPEN) == pytest.approx(11 * 24 / 13, rel=0.1)
    assert found.per_day(CLICK) == pytest.approx(240, rel=0.05)


def test_one_lonely_file_is_not_taken_for_a_rate(
    settings: Settings, clock: ManualClock, write_file: WriteFile
) -> None:
    for day in range(20, 31):
        write_file(OPEN, f"2026-09-{day}-12")
    write_file(CLICK, "2026-10-03-12", 26)
    assert survey(settings, clock, days=14).per_day(CLICK) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("named", ["", "/currents", "/currents/eu"])
def test_the_source_is_the_nearest_folder_above_all_connectors(
    settings: Settings, clock: ManualClock, write_file: WriteFile, source: Path, named: str
) -> None:
    below = source / "currents/eu"
    for connector in (CONNECTOR, OTHER):
        path = write_file(OPEN, "2026-10-03-01", connector=connector)
        folder = below / path.relative_to(source)
        folder.parent.mkdir(parents=True)
        path.rename(folder)
    for left in source.glob("dataexport.*"):
        shutil.rmtree(left)
    asked = settings.source.model_copy(update={"uri": f"{source}{named}"})
    made = survey(settings.model_copy(update={"source": asked}), clock, days=2)
    assert made.source == f"{source}/currents/eu"


@pytest.fixture
def looking_at(source: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has the source be a prefix of a store, as in S3."""

    def look(prefix: str) -> None:
        opened = FolderStore(source), prefix
        monkeypatch.setattr("braze_etl.commands.init.survey.open_source", lambda _: opened)

    return look


@pytest.mark.parametrize("prefix", [f"{CONNECTOR}/", f"{CONNECTOR}/event_type={OPEN}/"])
def test_a_source_that_was_named_more_narrowly_stays_as_it_is(
    settings: Settings,
    clock: ManualClock,
    write_file: WriteFile,
    looking_at: Callable[[str], None],
    prefix: str,
) -> None:
    write_file(OPEN, "2026-10-03-01")
    looking_at(prefix)
    found = survey(settings, clock, days=2)
    assert (found.source, found.types[OPEN].files) == (settings.source.uri, 1)


def test_a_type_that_is_misspelt_in_the_source_is_told(
    settings: Settings, clock: ManualClock, write_file: WriteFile, looking_at: Callable[[str], None]
) -> None:
    write_file(OPEN, "2026-10-03-01")
    looking_at(f"{CONNECTOR}/event_type=users.Opne/")
    with pytest.raises(UsageError, match="no Currents files below"):
        survey(settings, clock, days=2)


def test_files_that_may_not_be_read_are_told_from_those_at_fault(
    settings: Settings, clock: ManualClock, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(OPEN, "2026-10-03-01")
    write_file(CLICK, "2026-10-03-01").write_bytes(b"no Avro")
    real = FolderStore.open

    def guarded(self: FolderStore, key: str, **how: Any) -> BinaryIO:
        if OPEN in key:
            raise AccessDeniedError(f"{key} can't be read", remedy="allow it")
        return real(self, key, **how)

    monkeypatch.setattr(FolderStore, "open", guarded)
    found = survey(settings, clock, days=2)
    assert (found.asked, len(found.sample.denied), len(found.sample.faults)) == (2, 1, 1)
    assert OPEN in found.as_dict()["denied"][0]


def test_a_type_that_was_not_seen_lately_is_listed_with_nothing(
    settings: Settings, clock: ManualClock, write_file: WriteFile
) -> None:
    write_file(OPEN, "2026-10-03-06")
    write_file(CLICK, "2026-01-03-06")
    line = survey(settings, clock, days=14).as_dict()["by_event_type"][CLICK]
    assert (line["files"], line["events"], line["oldest_hour"]) == (0, 0, "2026-01-03T06:00:00Z")


def test_where_there_is_no_currents_file_the_error_tells_where_to_point(
    settings: Settings, clock: ManualClock, source: Path
) -> None:
    (source / "other").mkdir(parents=True)
    with pytest.raises(UsageError) as caught:
        survey(settings, clock, days=14)
    assert "dataexport." in caught.value.remedy


class LargeBucket:
    """200,000 keys that nobody had to write; every object is the same file."""

    uri = "s3://acme"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.lists: list[str] = []
        self.reads: list[int] = []

    def pages(self, prefix: str = "", *, start_after: str = "", delimiter: str = "") -> Iterator[Page]:
        after = start_after
        while True:
            self.lists.append(prefix)
            keys, prefixes, after = list_only_s3.page(prefix, after, delimiter)
            yield Page(tuple(self._object(key) for key in keys), tuple(prefixes))
            if not after:
                return

    def _object(self, key: str) -> StoredObject:
        return StoredObject(key, "e", len(self.data), LAST)

    def open(
        self, key: str, *, offset: int = 0, length: int | None = None, etag: str = "", size: int | None = None
    ) -> BinaryIO:
        self.reads.append(length or 0)
        return io.BytesIO(self.data[offset : offset + (length or 0)])

    def put(self, key: str, data: bytes) -> None:
        raise AssertionError(key)

    def delete(self, keys: Iterable[str]) -> None:
        raise AssertionError(keys)

    def check_access(self, prefix: str = "", room: int = 0) -> None:
        raise AssertionError(prefix)

    def lifetime(self, prefix: str = "") -> timedelta | None:
        return None


@pytest.mark.parametrize(("days", "lists"), [(14, 2 + 2 * TYPES), (60, 2 + 29 * TYPES)])
def test_of_a_large_bucket_few_keys_are_asked_for(
    settings: Settings,
    write_file: WriteFile,
    monkeypatch: pytest.MonkeyPatch,
    days: int,
    lists: int,
) -> None:
    monkeypatch.setattr(list_only_s3, "TYPES", TYPES)
    bucket = LargeBucket(write_file(OPEN, "2026-10-01-00").read_bytes())
    opened: tuple[Store, str] = (bucket, "currents/")
    monkeypatch.setattr("braze_etl.commands.init.survey.open_source", lambda _: opened)
    found = survey(settings, ManualClock(LAST + timedelta(minutes=40)), days=days)
    assert found.lists <= len(bucket.lists) <= lists
    assert len(bucket.reads) <= 300
    assert max(bucket.reads) <= 512 * 1024
    assert len(found.types) == TYPES
    assert sum(each.files for each in found.types.values()) == pytest.approx(days * 24 * TYPES, rel=0.01)
    assert all(found.per_day(name) == pytest.approx(240, rel=0.05) for name in found.types)
