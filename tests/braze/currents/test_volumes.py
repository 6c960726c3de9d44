from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from braze_etl.braze.currents.listing import EventFolder
from braze_etl.braze.currents.volumes import Lists, spread
from braze_etl.storage.folder import FolderStore
from tests.commands.init.conftest import CONNECTOR, NOW, WriteFile

OPEN = "users.messages.email.Open"
FOLDER = EventFolder(OPEN, f"{CONNECTOR}/event_type={OPEN}/", f"{CONNECTOR}/event_type={OPEN}/")
SINCE = NOW - timedelta(days=1)


def hour(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_quiet_type_is_counted_exactly_in_two_requests(write_file: WriteFile, source: Path) -> None:
    write_file(OPEN, "2026-09-01-03")
    paths = [write_file(OPEN, f"2026-10-03-0{number}") for number in range(3)]
    lists = Lists(FolderStore(source))
    volume = lists.volume(FOLDER, SINCE)
    assert (volume.files, volume.exact, lists.requests) == (3, True, 2)
    assert volume.bytes == sum(path.stat().st_size for path in paths)
    assert volume.oldest == hour("2026-09-01T03")
    assert sorted(volume.hours) == [hour(f"2026-10-03T0{number}") for number in range(3)]
    assert volume.hours.total() == volume.bytes
    assert volume.integration == "0123456789abcdef01234567"


def busy(source: Path, hours: int, files: int) -> None:
    for number in range(hours):
        moment = SINCE + timedelta(hours=1 + number)
        folder = source / FOLDER.folder / f"date={moment:%Y-%m-%d-%H}" / "version=12/us-01"
        folder.mkdir(parents=True)
        for offset in range(files):
            (folder / f"{CONNECTOR}+0+{offset:05}.avro").write_bytes(b"0123456789")


def test_a_busy_type_is_estimated_from_some_of_its_hours(source: Path) -> None:
    busy(source, hours=20, files=60)
    lists = Lists(FolderStore(source))
    volume = lists.volume(FOLDER, SINCE, hours=4)
    assert (volume.files, volume.bytes, volume.exact) == (1200, 12_000, False)
    assert len(volume.found) == 240
    assert lists.requests <= 3 + 1 + 4
    assert len(volume.hours) == 20
    assert max(volume.hours) == hour((SINCE + timedelta(hours=20)).strftime("%Y-%m-%dT%H"))
    assert volume.hours.total() == 12_000


def test_objects_that_are_no_currents_files_do_not_count(write_file: WriteFile, source: Path) -> None:
    path = write_file(OPEN, "2026-10-03-01")
    path.with_name("_SUCCESS").write_bytes(b"")
    assert Lists(FolderStore(source)).volume(FOLDER, SINCE).files == 1


def test_of_a_source_where_nothing_is_new_the_newest_hour_is_found(
    write_file: WriteFile, source: Path
) -> None:
    write_file(OPEN, "2025-01-01-03")
    write_file(OPEN, "2025-06-01-03")
    lists = Lists(FolderStore(source))
    assert lists.newest_hour([FOLDER], NOW) == hour("2025-06-01T03")
    assert lists.requests < 10


def test_an_empty_source_has_no_newest_hour(source: Path) -> None:
    source.mkdir()
    lists = Lists(FolderStore(source))
    assert lists.newest_hour([FOLDER], NOW) is None
    assert lists.newest_file(FOLDER, SINCE) is None


def test_the_newest_file_is_one_of_the_newest_hour(write_file: WriteFile, source: Path) -> None:
    write_file(OPEN, "2026-10-03-01")
    path = write_file(OPEN, "2026-10-03-05")
    ref = Lists(FolderStore(source)).newest_file(FOLDER, SINCE)
    assert ref is not None
    assert ref.key == path.relative_to(source).as_posix()


def test_a_spread_has_the_first_and_the_last() -> None:
    assert spread(range(100), 4) == [0, 33, 66, 99]
    assert spread([1, 2], 4) == [1, 2]
    assert spread([1, 2], 1) == [2]
