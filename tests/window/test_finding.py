"""Every file is found, whenever it comes and whatever comes in between; a job in one thread, time by hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from braze_etl.errors import AccessDeniedError, FileUnavailableError, SourceGoneError, StoreError
from braze_etl.model import Reason
from braze_etl.storage.store import Page, Store
from tests.faults.world import CONNECTOR, EVENT_TYPE, NOON, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, sqlite=True)
    yield world
    world.close()


def everything(world: World) -> set[str]:
    return {id_ for ids in world.expected.values() for id_ in ids}


def test_a_source_that_selects_nothing_is_told_in_every_run(world: World) -> None:
    assert world.run().warnings == {"nothing_selected": 1}
    (world.export / f"{CONNECTOR}/event_type={EVENT_TYPE}/date=2020-01-01-00").mkdir(parents=True)
    assert world.run().warnings == {}


def test_files_in_hours_that_nobody_can_read_are_told(world: World) -> None:
    key = world.key(1, 0)
    world.write(key, ["user-anna"])
    world.run()
    odd = world.export / key.replace("date=", "date=hour-")
    odd.parent.mkdir(parents=True)
    odd.write_bytes((world.export / key).read_bytes())
    assert world.run().warnings == {"misnamed_files": 1}


def test_files_that_come_out_of_order_are_found(world: World) -> None:
    for hours_ago in (1, 30, 3, 47, 2):
        world.write(world.key(hours_ago, 0), ["user-anna", "user-ben"])
        assert world.run().exit_code == 0
    assert world.held() == everything(world)


def test_a_file_of_the_same_second_as_the_last_one_is_found(world: World) -> None:
    first, second = world.key(1, 0), world.key(1, 1)
    world.write(first, ["user-anna"])
    world.run()
    world.write(second, ["user-ben"])
    moment = (world.export / first).stat().st_mtime_ns
    os.utime(world.export / second, ns=(moment, moment))
    world.run()
    assert world.held() == everything(world)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_hides_no_file(world: World, hours: int) -> None:
    key = world.key(1, 0)
    world.write(key, ["user-anna"])
    moment = (NOON + timedelta(hours=hours)).timestamp()
    os.utime(world.export / key, (moment, moment))
    world.run()
    assert world.held() == everything(world)


def test_an_overwritten_file_is_read_again_while_amplitude_keeps_one_of_two(world: World) -> None:
    key = world.key(1, 0)
    world.write(key, ["user-anna"])
    world.run()
    world.clock.advance(6 * 86400)
    world.write(key, ["user-ben"])
    report = world.run()
    assert report.done == 1
    assert world.held() == everything(world)
    world.clock.advance(7 * 86400)
    world.write(key, ["user-carl"])
    report = world.run()
    assert (report.discovered, report.changed) == (0, 1)


@pytest.mark.parametrize(
    "hour",
    [
        datetime(2026, 12, 31, 23, tzinfo=UTC),
        datetime(2027, 1, 1, 0, tzinfo=UTC),
        datetime(2028, 2, 29, 5, tzinfo=UTC),
        datetime(2028, 2, 29, 23, tzinfo=UTC),
        datetime(2027, 10, 31, 2, tzinfo=UTC),  # when clocks go back in Europe
    ],
)
def test_hours_at_the_edges_of_the_calendar_are_hours(world: World, hour: datetime) -> None:
    world.clock.advance((hour - NOON).total_seconds() + 3700)
    hours_before_noon = int((NOON - hour) / timedelta(hours=1))
    for offset in (-1, 0, 1):
        world.write(world.key(hours_before_noon + offset, 0), ["user-anna"])
    report = world.run()
    assert report.done == 3
    assert world.held() == everything(world)


def test_after_ten_days_without_a_run_all_of_them_are_delivered_oldest_first(world: World) -> None:
    world.write(world.key(0, 0), ["user-anna"])
    world.run()
    world.clock.advance(10 * 86400)
    for day in range(1, 11):
        world.write(world.key(-24 * day + 5, 0), ["user-ben"])
    order = [due.ref.hour for due in _due(world)]
    assert order == sorted(order)
    report = world.run()
    assert report.done == 10
    assert world.held() == everything(world)


def _due(world: World) -> list[Any]:
    from braze_etl.engine.worklists.listed import DueFiles

    return list(DueFiles(world.listing(), world.ledger, now=world.clock.now()))


@dataclass
class Faulty:
    """A store on which something fails: the listing behind so many pages' objects, or the read of one key."""

    inner: Store
    list_fails_after: int | None = None
    read_fails: dict[str, Exception] | None = None
    on_open: dict[str, Callable[[Path], object]] | None = None
    """What happens to a file right before it is opened for the first time."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def pages(self, prefix: str = "", *, start_after: str = "", delimiter: str = "") -> Iterator[Page]:
        for page in self.inner.pages(prefix, start_after=start_after, delimiter=delimiter):
            if self.list_fails_after is not None and not delimiter:
                yield Page(page.objects[: self.list_fails_after], ())
                raise StoreError("S3 kept answering that s3://acme is too busy", remedy="wait")
            yield page

    def open(self, key: str, **options: Any) -> Any:
        if self.read_fails and key in self.read_fails:
            raise self.read_fails[key]
        if self.on_open and key in self.on_open:
            self.on_open.pop(key)(Path(self.inner.uri, key))
        return self.inner.open(key, **options)


@pytest.mark.parametrize("found", [0, 1, 2])
def test_a_listing_that_breaks_off_fails_the_run_and_what_it_found_arrives(world: World, found: int) -> None:
    for number in range(3):
        world.write(world.key(3 - number, number), ["user-anna"])
    whole = world.source
    world.source = Faulty(whole, list_fails_after=found)  # type: ignore[assignment]  # a store like another
    report = world.run()
    assert report.exit_code == 1
    assert report.error is not None
    assert "too busy" in report.error.message
    assert report.done == found
    assert world.ledger.summary().last_listing is None
    world.source = whole
    assert world.run().exit_code == 0
    assert world.held() == everything(world)


@pytest.mark.parametrize("kind", [AccessDeniedError, FileUnavailableError])
def test_a_file_that_the_store_does_not_give_stays_due_and_stops_no_other(
    world: World, kind: type[FileUnavailableError]
) -> None:
    keys = [world.key(3 - number, number) for number in range(3)]
    whole = world.source
    error = kind("access denied: s3:GetObject on s3://acme/file", remedy="allow it")
    world.source = Faulty(whole, read_fails={keys[1]: error})  # type: ignore[assignment]  # a store like another
    for key in keys:
        world.write(key, ["user-anna"])
    first = world.run()
    assert (first.exit_code, first.done, first.failed, first.remaining) == (4, 2, 0, 1)
    assert (first.newly_set_aside, first.warnings["out_of_reach_files"]) == (0, 1)
    assert first.unavailable.as_dict()[kind.kind] == {
        "files": 1,
        "message": error.message,
        "remedy": error.remedy,
    }
    assert world.held() == {*world.expected[keys[0]], *world.expected[keys[2]]}
    later = [world.run() for _ in range(3)]
    assert {(report.exit_code, report.remaining, report.newly_set_aside) for report in later} == {(1, 1, 0)}
    assert all(report.error and error.message in report.error.message for report in later)
    assert {report.error.remedy for report in later if report.error} == {"allow it"}
    world.source = whole
    assert (world.run().exit_code, world.held()) == (0, everything(world))


def test_where_nothing_may_be_read_the_run_fails_and_settles_nothing(world: World) -> None:
    keys = [world.key(40 - number, number) for number in range(30)]
    for key in keys:
        world.write(key, ["user-anna"])
    whole = world.source
    denied = AccessDeniedError("access denied: s3:GetObject on s3://acme/file", remedy="allow it")
    world.source = Faulty(whole, read_fails=dict.fromkeys(keys, denied))  # type: ignore[assignment]  # as above
    report = world.run()
    assert (report.exit_code, report.done, report.failed, report.remaining) == (1, 0, 0, 30)
    assert report.error is not None
    assert "30 due files" in report.error.message
    assert denied.message in report.error.message
    assert world.ledger.summary().backlog.files == 30
    world.source = whole
    assert world.run().done == 30
    assert world.held() == everything(world)


def test_a_file_that_a_new_listing_does_not_have_is_gone(world: World) -> None:
    keys = [world.key(3 - number, number) for number in range(3)]
    for key in keys:
        world.write(key, ["user-anna"])
    world.source = Faulty(world.source, on_open={keys[1]: lambda path: path.unlink()})  # type: ignore[assignment]  # as above
    report = world.run()
    assert (report.exit_code, report.done, report.failed) == (3, 2, 1)
    assert report.counts.by_reason == {Reason.SOURCE_GONE: 1}
    assert world.held() == {*world.expected[keys[0]], *world.expected[keys[2]]}


def test_a_file_that_is_replaced_between_list_and_get_is_read_anew_by_the_next_run(world: World) -> None:
    key = world.key(1, 0)
    world.write(key, ["user-anna"])
    whole = world.source
    world.source = Faulty(whole, on_open={key: lambda _: world.write(key, ["user-ben"])})  # type: ignore[assignment]  # as above
    report = world.run()
    assert (report.exit_code, report.remaining, report.newly_set_aside) == (4, 1, 0)
    assert report.unavailable.files == {"replaced": 1}
    world.source = whole
    assert world.run().exit_code == 0
    assert world.held() == everything(world)


@pytest.mark.parametrize("error", [SourceGoneError("is no longer there"), SourceGoneError("was replaced")])
def test_a_file_that_is_listed_as_before_is_not_gone_whatever_reading_it_says(
    world: World, error: Exception
) -> None:
    keys = [world.key(3 - number, number) for number in range(3)]
    for key in keys:
        world.write(key, ["user-anna"])
    whole = world.source
    world.source = Faulty(whole, read_fails=dict.fromkeys(keys[1:], error))  # type: ignore[assignment]  # as above
    report = world.run()
    assert (report.exit_code, report.done, report.remaining, report.newly_set_aside) == (4, 1, 2, 0)
    assert report.unavailable.files == {"not_as_listed": 2}
    world.source = whole
    assert (world.run().exit_code, world.held()) == (0, everything(world))
