from __future__ import annotations

from pathlib import Path

import pytest

from braze_etl.errors import UsageError
from braze_etl.storage.opening import lies_below, places

POINT = "arn:aws:s3:eu-west-1:123456789012:accesspoint/currents"
SOURCE = "s3://acme/currents"


@pytest.mark.parametrize(
    ("state", "quarantine"),
    [
        ("s3://acme-state/braze-etl/ledger", "s3://acme-state/braze-etl/quarantine"),
        ("s3://acme-state/ledger/", "s3://acme-state/quarantine"),
        ("s3://acme-state/x", "s3://acme-state/x-quarantine"),
        ("sqlite:////data/ledger.db", "/data/web-quarantine"),
        ("sqlite:///ledger.db", "web-quarantine"),
        ("memory://", "state/web-quarantine"),
        ("s3://acme-state//ledger", "s3://acme-state//quarantine"),
        (f"s3://{POINT}/etl/x", f"s3://{POINT}/etl/x-quarantine"),
    ],
)
def test_the_quarantine_goes_beside_the_ledger(state: str, quarantine: str) -> None:
    assert places(SOURCE, "web", state) == (state, quarantine)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (SOURCE, ("s3://acme/braze-etl/web/ledger", "s3://acme/braze-etl/web/quarantine")),
        ("export", ("sqlite:///state/web.db", "state/web-quarantine")),
        (f"s3://{POINT}/a", tuple(f"s3://{POINT}/braze-etl/web/{name}" for name in ("ledger", "quarantine"))),
    ],
)
def test_without_a_place_both_go_beside_the_source(source: str, expected: tuple[str, str]) -> None:
    assert places(source, "web", None) == expected


@pytest.mark.parametrize(
    ("source", "state"),
    [
        (SOURCE, "s3://acme/currents/state"),
        (SOURCE, "s3://acme/currents"),
        ("s3://acme", None),
        ("export", "sqlite:///export/state/x.db"),
        (".", None),
    ],
)
def test_a_place_below_the_source_is_refused(source: str, state: str | None) -> None:
    with pytest.raises(UsageError, match="lies below") as caught:
        places(source, "web", state)
    assert "--state" in caught.value.remedy


def test_a_whole_bucket_is_no_place_for_a_ledger_and_a_quarantine() -> None:
    for state in ("s3://acme-state", f"s3://{POINT}"):
        with pytest.raises(UsageError, match="whole bucket"):
            places(SOURCE, "web", state)


def test_a_name_that_begins_alike_lies_not_below(tmp_path: Path) -> None:
    assert not lies_below("s3://acme/currents-state", SOURCE)
    assert not lies_below(f"{tmp_path}/exported", f"file://{tmp_path}/export")
    assert lies_below(f"{tmp_path}/export/../export/x", f"file://{tmp_path}/export")


def test_a_prefix_that_begins_with_a_slash_is_another() -> None:
    assert not lies_below("s3://acme//currents/state", SOURCE)
    assert lies_below("s3://acme//currents/state", "s3://acme//currents")
