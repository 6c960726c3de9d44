"""What comes later than the look-back, or changes behind it, is found by the sweep; time by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from braze_etl.clock import iso
from braze_etl.engine import tasks
from braze_etl.errors import StateError
from braze_etl.state.ledger import LeaseOwner
from tests.faults.world import NOON, World

DAY = 86_400


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Ten days after the ledger began, with a look-back of two: the first sweep was a day ago."""
    world = World(tmp_path, sqlite=True)
    world.lookback = timedelta(days=2)
    world.clock.advance(9 * DAY)
    world.run()
    world.clock.advance(DAY + 60)
    yield world
    world.close()


def everything(world: World) -> set[str]:
    return {id_ for ids in world.expected.values() for id_ in ids}


def test_a_file_that_comes_later_than_the_look_back_is_delivered_by_the_next_sweep(world: World) -> None:
    world.write(world.key(20, 0), ["user-anna"])
    report = world.run()
    assert report.done == report.discovered == 1
    assert report.warnings == {"late_files": 1, "overdue_files": 1}
    assert world.held() == everything(world)
    assert world.ledger.summary().backlog.files == 0


def test_a_sweep_begins_no_sooner_than_it_should(world: World) -> None:
    world.run()
    world.write(world.key(20, 0), ["user-anna"])
    world.clock.advance(DAY - 120)
    assert world.run().discovered == 0
    world.clock.advance(120)
    assert world.run().done == 1


def test_after_a_sweep_by_a_clock_that_was_ahead_the_next_one_does_not_wait_for_that_day(
    world: World,
) -> None:
    world.ledger.put_note("reconcile", {"finished_at": iso(world.clock.now() + timedelta(days=500))})
    world.write(world.key(20, 0), ["user-anna"])
    assert world.run().warnings["late_files"] == 1
    assert world.held() == everything(world)


def test_a_file_that_changed_behind_the_look_back_is_read_again(world: World) -> None:
    key = world.key(-6 * 24, 0)
    world.write(key, ["user-anna"])
    world.run()
    world.clock.advance(3 * DAY)
    world.write(key, ["user-ben"])
    assert world.run().done == 1
    assert world.held() == everything(world)


class Slow:
    """A store on which each page of a listing takes a while."""

    def __init__(self, world: World, seconds: float) -> None:
        self._inner, self._clock, self._seconds = world.source, world.clock, seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def pages(self, prefix: str = "", **options: Any) -> Any:
        for page in self._inner.pages(prefix, **options):
            for item in page.objects:
                self._clock.advance(self._seconds)
                yield replace(page, objects=(item,))
            if not page.objects:
                yield page


def test_a_sweep_that_takes_long_goes_on_in_the_next_run_where_it_was(world: World) -> None:
    world.source = Slow(world, 10)  # type: ignore[assignment]  # a store like another
    world.sweep["budget"] = timedelta(seconds=35)
    for number in range(10):
        world.write(world.key(40 - number, 0), ["user-anna"])
    done = []
    for _ in range(6):
        done.append(world.run().done)
        world.clock.advance(600)
    assert sum(done) == 10
    assert max(done) <= 4
    assert done[-1] == 0
    assert world.held() == everything(world)


def test_what_a_sweep_found_is_not_forgotten_when_it_can_not_be_delivered(world: World) -> None:
    world.write(world.key(20, 0), ["user-anna"])
    world.wire.failures = 10_000
    report = world.run()
    assert report.exit_code == 1
    assert world.ledger.summary().backlog.oldest_hour == _hour_of(world.key(20, 0))
    world.wire.failures = 0


def _hour_of(key: str) -> datetime:
    from braze_etl.braze.currents.keys import parse_key

    found = parse_key(key)
    assert found is not None
    return found.hour


def test_a_backfill_gives_way_to_a_run_and_sends_nothing_a_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, sqlite=False)
    for hours_ago in range(30, 0, -1):
        world.write(world.key(hours_ago, 0), ["user-anna"] * 400)
    reports: list[Any] = []

    def wait(_seconds: float, _wake: object = None) -> bool:
        if not reports:
            reports.append(world.run())
        return False

    monkeypatch.setattr(world.clock, "wait", wait)
    send = world.wire.send

    def send_slowly(body: bytes, *, gzip: bool) -> Any:
        world.clock.advance(2)
        return send(body, gzip=gzip)

    monkeypatch.setattr(world.wire, "send", send_slowly)
    report = world.run(command="backfill")
    (scheduled,) = reports
    assert scheduled.done > 0
    assert report.done > 0
    assert report.discovered == report.done
    assert scheduled.done + report.done == 30
    assert world.held() == everything(world)
    assert world.clock.now() > NOON


def throttle_anna_at_first(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each request take 40 s, and Amplitude take nothing of a user until she has been refused once."""
    world.wire.throttled["user-anna"] = "throttled_users"
    send = world.wire.send

    def send_slowly(body: bytes, *, gzip: bool) -> Any:
        world.clock.advance(40)
        answer = send(body, gzip=gzip)
        if b"user-anna" in body:
            world.wire.throttled.clear()
        return answer

    monkeypatch.setattr(world.wire, "send", send_slowly)


def where_anna_waits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Nine files, a task each; the oldest holds a record of a user who is throttled at first."""
    world = World(folder, sqlite=False)
    world.write(world.key(9, 0), ["user-anna"])
    for hours_ago in range(8, 0, -1):
        world.write(world.key(hours_ago, 0), ["user-ben"] * 3)
    throttle_anna_at_first(world, monkeypatch)
    monkeypatch.setattr(tasks, "MAX_FILES", 1)
    return world


def test_a_run_leaves_what_was_deferred_to_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = where_anna_waits(tmp_path, monkeypatch)
    report = world.run()
    assert (report.exit_code, report.done, report.events.deferred) == (4, 8, 1)
    assert world.run().exit_code == 0
    assert world.held() == everything(world)


def test_a_backfill_takes_up_between_its_rounds_what_it_has_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = where_anna_waits(tmp_path, monkeypatch)
    report = world.run(command="backfill")
    assert (report.exit_code, report.done, report.events.deferred) == (0, 9, 0)
    assert report.events.read == report.events.accepted == 25
    assert world.held() == everything(world)


class Leases:
    """Counts the leases of a ledger, and can have one fail."""

    def __init__(self, world: World) -> None:
        self.taken = 0
        self.fails_at = 0
        self._lease = world.ledger.lease
        world.ledger.lease = self._take  # type: ignore[method-assign]

    def _take(self, owner: LeaseOwner) -> AbstractContextManager[None]:
        self.taken += 1
        if self.taken == self.fails_at:
            raise StateError("the ledger is gone", remedy="Bring it back.")
        return self._lease(owner)


def takes(world: World, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have each request take so long."""
    send = world.wire.send

    def send_slowly(body: bytes, *, gzip: bool) -> Any:
        world.clock.advance(seconds)
        return send(body, gzip=gzip)

    monkeypatch.setattr(world.wire, "send", send_slowly)


def test_a_ledger_that_is_gone_between_rounds_ends_a_backfill_with_the_books_of_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, sqlite=False)
    for hours_ago in range(8, 0, -1):
        world.write(world.key(hours_ago, 0), ["user-anna"] * 3)
    takes(world, monkeypatch, 40)
    monkeypatch.setattr(tasks, "MAX_FILES", 1)
    leases = Leases(world)
    leases.fails_at = 2
    report = world.run(command="backfill")
    assert report.exit_code == 1
    assert "the ledger is gone" in str(report.error)
    assert 0 < report.done < 8
    assert report.discovered == 8
    assert len(world.held()) == report.events.accepted == 3 * report.done


def test_a_backfill_that_has_nothing_left_asks_for_no_other_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, sqlite=False)
    world.write(world.key(9, 0), ["user-anna"])
    takes(world, monkeypatch, 130)
    leases = Leases(world)
    assert world.run(command="backfill").exit_code == 0
    assert leases.taken == 1
    assert world.ledger.runs(1)[0].exit_code == 0


def test_a_run_between_rounds_may_send_what_a_backfill_has_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = where_anna_waits(tmp_path, monkeypatch)
    reports: list[Any] = []

    def wait(_seconds: float, _wake: object = None) -> bool:
        if not reports:
            reports.append(world.run())
        world.clock.advance(1)
        return False

    monkeypatch.setattr(world.clock, "wait", wait)
    sent = world.wire.sent
    report = world.run(command="backfill")
    (scheduled,) = reports
    assert scheduled.done > 0
    assert min(report.events.deferred, report.events.accepted, scheduled.events.accepted) >= 0
    assert world.held() == everything(world)
    assert world.wire.sent > sent
    assert world.run().discovered == 0
