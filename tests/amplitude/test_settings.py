from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest

from braze_etl.amplitude.destination import BatchApi
from braze_etl.amplitude.settings import Amplitude, endpoint_url, gzip_default
from braze_etl.engine.due import DEDUPLICATED_FOR
from braze_etl.errors import UsageError
from tests.delivery.conftest import KEY, settings


@pytest.mark.parametrize(
    ("region", "endpoint", "url"),
    [
        ("US", None, "https://api2.amplitude.com/batch"),
        ("EU", None, "https://api.eu.amplitude.com/batch"),
        ("EU", "http://localhost:8099", "http://localhost:8099/batch"),
        ("EU", "http://localhost:8099/", "http://localhost:8099/batch"),
        ("EU", "http://proxy/amplitude", "http://proxy/amplitude/batch"),
        ("EU", "http://proxy/amplitude/batch", "http://proxy/amplitude/batch"),
        ("EU", "http://proxy/batch/", "http://proxy/batch"),
        ("US", "https://api2.amplitude.com/2/httpapi", "https://api2.amplitude.com/2/httpapi"),
        ("US", "http://proxy/in?tenant=7", "http://proxy/in/batch?tenant=7"),
    ],
)
def test_an_endpoint_gets_the_batch_path_unless_it_names_one(
    region: str, endpoint: str | None, url: str
) -> None:
    assert endpoint_url(region, endpoint) == url


def test_another_region_is_the_users_mistake() -> None:
    with pytest.raises(UsageError) as caught:
        endpoint_url("APAC")
    assert "amplitude.region" in caught.value.remedy


@pytest.mark.parametrize(
    ("url", "on"),
    [
        ("https://api2.amplitude.com/batch", True),
        ("https://api.eu.amplitude.com/2/httpapi", True),
        ("http://localhost:8099/batch", False),
        ("https://api2.amplitude.com.example.com/batch", False),
    ],
)
def test_gzip_is_on_for_amplitudes_own_hosts_only(url: str, on: bool) -> None:
    assert gzip_default(url) is on


def test_the_key_and_the_proxys_password_are_never_shown() -> None:
    secret = settings(endpoint="https://ann:pass@proxy/batch?token=t")
    assert KEY not in repr(secret)
    assert "pass" not in repr(secret)
    assert BatchApi(secret).address == "https://proxy/batch"


def test_the_secret_key_and_the_way_to_read_are_never_shown() -> None:
    secret = settings(secret_key="s" * 32, read_endpoint="https://ann:pass@proxy")
    assert "s" * 32 not in repr(secret)
    assert "pass" not in repr(secret)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (None, "https://amplitude.com/api/2/export"),
        ("http://localhost:8099/", "http://localhost:8099/api/2/export"),
        ("https://proxy/amplitude?tenant=7", "https://proxy/amplitude/api/2/export?tenant=7"),
    ],
)
def test_paths_for_reading_are_added_to_the_read_endpoint(endpoint: str | None, url: str) -> None:
    assert settings(read_endpoint=endpoint).read_url("/api/2/export") == url


def test_a_time_zone_is_one_that_there_is() -> None:
    summer = datetime(2026, 7, 1, tzinfo=UTC)
    assert settings().zone.utcoffset(summer) == timedelta(0)
    assert settings(time_zone="Europe/Berlin").zone.utcoffset(summer) == timedelta(hours=2)
    for name in ("Europe/Nowhere", "CEST+2", "", "../etc/passwd", "Europe"):
        with pytest.raises(ValueError, match="is no time zone"):
            settings(time_zone=name)


def test_settings_travel_to_worker_processes() -> None:
    copy = pickle.loads(pickle.dumps(settings()))
    assert copy.api_key.get_secret_value() == KEY


@pytest.mark.parametrize(
    ("url", "configured", "limit"),
    [
        ("https://api2.amplitude.com/batch", 18_000_000, 18_000_000),
        ("https://api2.amplitude.com/batch", 20_000_000, 20_000_000),
        ("https://api2.amplitude.com/2/httpapi", 18_000_000, 1_000_000),
        ("https://api2.amplitude.com/2/httpapi", 5_000, 5_000),
    ],
)
def test_a_request_is_never_longer_than_its_endpoint_takes(url: str, configured: int, limit: int) -> None:
    assert settings(endpoint=url, max_bytes=configured).limits.bytes == limit


def test_a_request_never_holds_more_events_than_amplitude_takes() -> None:
    assert settings().limits.items == 2000
    with pytest.raises(ValueError, match="less than or equal to 2000"):
        settings(max_events=2001)


def test_events_may_be_sent_again_for_as_long_as_a_run_relies_on_it() -> None:
    assert BatchApi(settings()).repeatable_for == DEDUPLICATED_FOR


@pytest.mark.parametrize("processes", [1, 4])
def test_processes_share_the_least_that_any_plan_allows(processes: int) -> None:
    assert settings().limits.share(processes).least_rate == 500 / processes


def test_a_secret_key_may_be_left_empty() -> None:
    for given in ({}, {"secret_key": None}, {"secret_key": ""}):
        assert Amplitude.model_validate({"region": "US", **given}).secret_key.get_secret_value() == ""
