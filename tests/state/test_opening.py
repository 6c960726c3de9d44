from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from braze_etl.clock import ManualClock, hour_of
from braze_etl.errors import ConfigError, StateError
from braze_etl.state.ledger import LedgerMissingError
from braze_etl.state.opening import open_ledger
from braze_etl.state.sqlite import SqliteLedger
from braze_etl.storage.opening import open_store
from braze_etl.storage.settings import StoreAccess
from tests.s3_server import Bucket
from tests.state.ground import IDENTITY, NOON


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_three_slashes_are_relative_to_the_working_directory(here: Path, clock: ManualClock) -> None:
    ledger = open_ledger("sqlite:///state/a.db", IDENTITY, clock=clock)
    assert isinstance(ledger, SqliteLedger)
    assert (here / "state" / "a.db").is_file()


def test_four_slashes_are_absolute(here: Path, clock: ManualClock) -> None:
    path = here / "elsewhere" / "with space & 100%?#.db"
    open_ledger(f"sqlite:///{path}", IDENTITY, clock=clock).close()
    assert path.is_file()


def test_memory_is_a_fresh_ledger_each_time(clock: ManualClock) -> None:
    assert isinstance(open_ledger("memory://", IDENTITY, clock=clock), SqliteLedger)


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3:///state", "names no bucket"),
        ("postgres://host/db", "'postgres' is no kind of ledger"),
        ("state/braze-etl.db", "has no scheme"),
        ("sqlite://state/a.db", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///state/", "names no file"),
        ("sqlite:///:memory:", "names no file"),
    ],
)
def test_another_uri_is_the_configurations_mistake(uri: str, words: str, clock: ManualClock) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        open_ledger(uri, IDENTITY, clock=clock)
    assert caught.value.exit_code == 2
    assert "sqlite:///state/braze-etl.db" in caught.value.remedy


@pytest.mark.parametrize("uri", ["memory://", "sqlite:///state/a.db"])
class TestStart:
    def test_it_is_48_hours_ago_cut_to_the_hour(self, uri: str) -> None:
        clock = ManualClock(NOON + timedelta(minutes=59))
        assert open_ledger(uri, IDENTITY, clock=clock).start_at == NOON - timedelta(hours=48)

    def test_a_configured_one_is_cut_to_its_utc_hour(self, uri: str, clock: ManualClock) -> None:
        half_past = datetime(2026, 9, 1, 7, 30, tzinfo=timezone(timedelta(hours=2)))
        ledger = open_ledger(uri, IDENTITY, clock=clock, start_at=half_past)
        assert ledger.start_at == datetime(2026, 9, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize("uri", ["memory://", "sqlite:///state/a.db"])
class TestMissing:
    def test_never_creating_is_an_error_and_no_fresh_start(
        self, uri: str, here: Path, clock: ManualClock
    ) -> None:
        with pytest.raises(ConfigError, match=r"There is no ledger at .* `never`") as caught:
            open_ledger(uri, IDENTITY, clock=clock, create="never")
        assert "mounted" in caught.value.remedy
        assert list(here.iterdir()) == []

    def test_reading_only_says_that_there_is_none(self, uri: str, here: Path, clock: ManualClock) -> None:
        with pytest.raises(LedgerMissingError):
            open_ledger(uri, IDENTITY, clock=clock, read_only=True)
        assert list(here.iterdir()) == []


def test_an_existing_ledger_keeps_its_own_start(clock: ManualClock) -> None:
    uri = "sqlite:///a.db"
    first = open_ledger(uri, IDENTITY, clock=clock)
    clock.advance(86400)
    again = open_ledger(uri, IDENTITY, clock=clock, start_at=NOON, create="never")
    assert again.start_at == first.start_at != NOON
    assert open_ledger(uri, IDENTITY, clock=clock, read_only=True).start_at == first.start_at


@pytest.mark.parametrize("kind", ["memory", "sqlite", "an empty file", "s3"])
def test_no_ledger_is_made_whose_beginning_nobody_vouches_for(
    kind: str, here: Path, bucket: Bucket, clock: ManualClock
) -> None:
    uris = {"memory": "memory://", "s3": f"{bucket.uri}/state"}
    uri, access = uris.get(kind, "sqlite:///state/a.db"), StoreAccess(endpoint_url=bucket.endpoint_url)
    if kind == "an empty file":
        (here / "state").mkdir()
        (here / "state/a.db").touch()
    asked: list[datetime] = []

    def refuse(start_at: datetime) -> None:
        asked.append(start_at)
        raise StateError("the clock is wrong")

    with pytest.raises(StateError, match="clock"):
        open_ledger(uri, IDENTITY, clock=clock, access=access, vouch=refuse)
    assert asked == [hour_of(clock.now()) - timedelta(hours=48)]
    assert (here / "state").exists() is (kind == "an empty file")
    store, _ = open_store(bucket.uri, access=access)
    assert [page.objects for page in store.pages() if page.objects] == []
    open_ledger(uri, IDENTITY, clock=clock, access=access).close()
    if kind != "memory":
        open_ledger(uri, IDENTITY, clock=clock, access=access, vouch=refuse).close()
    assert len(asked) == 1, "nobody is asked about one that is there"
