from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest

from braze_etl.clock import ManualClock
from braze_etl.flows.currents_to_amplitude.settings import Settings
from braze_etl.flows.currents_to_amplitude.source import live_scope, source_lifetime
from braze_etl.flows.pipeline import keeps_payloads
from braze_etl.state.ledger import Backlog, LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {"source": {"uri": str(tmp_path), "lookback": "7d"}, "amplitude": {"region": "US"}}
    )


@pytest.mark.parametrize(
    ("days", "asked", "kept"),
    [(None, "auto", False), (14, "auto", True), (90, "auto", False), (14, False, False), (None, True, True)],
)
def test_records_are_kept_where_it_is_asked_for_or_their_source_goes_first(
    bucket: Any, days: int | None, asked: str | bool, kept: bool
) -> None:
    if days:
        rule: Any = {"Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": days}}
        boto3.client("s3", endpoint_url=bucket.endpoint_url).put_bucket_lifecycle_configuration(
            Bucket=bucket.name, LifecycleConfiguration={"Rules": [rule]}
        )
    source = {"uri": bucket.uri, "endpoint_url": bucket.endpoint_url}
    settings = Settings.model_validate(
        {"source": source, "amplitude": {"region": "US"}, "quarantine": {"payload": asked}}
    )
    assert keeps_payloads(settings, source_lifetime(settings.source)) is kept


def test_a_lifetime_that_can_not_be_asked_for_keeps_no_run_from_its_work(s3_server: str) -> None:
    source = {"uri": "s3://no-such-bucket/currents", "endpoint_url": s3_server}
    settings = Settings.model_validate({"source": source, "amplitude": {"region": "US"}})
    assert source_lifetime(settings.source) is None


def new_ledger(now: datetime, start: datetime) -> SqliteLedger:
    return SqliteLedger.in_memory(
        LedgerIdentity("p", "default", "US"), clock=ManualClock(now), start_at=start
    )


def test_the_first_run_lists_from_the_start_and_later_ones_from_a_look_back_ago(
    settings: Settings, now: datetime
) -> None:
    start = (now - timedelta(days=90)).replace(minute=0)
    ledger = new_ledger(now, start)
    assert live_scope(settings.source, ledger).since == start
    ledger.record_listing(now, Backlog(), complete=True)
    assert live_scope(settings.source, ledger).since == (now - timedelta(days=7)).replace(minute=0)


def test_what_an_earlier_run_left_undelivered_is_listed_again_however_old_it_is(
    settings: Settings, now: datetime
) -> None:
    ledger = new_ledger(now, (now - timedelta(days=90)).replace(minute=0))
    oldest = (now - timedelta(days=40)).replace(minute=0)
    ledger.record_listing(now, Backlog(3, 300, {}, oldest), complete=True)
    assert live_scope(settings.source, ledger).since == oldest
