from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from braze_etl.clock import duration_text, parse_duration, parse_hour
from braze_etl.config.values import parse_count, parse_share, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("90s", 90), ("15m", 900), ("48h", 172_800), ("7d", 604_800), ("1.5h", 5400), (" 2 m ", 120)],
)
def test_durations_have_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["5", 5, "", "h", "-5m", "1w", "1h30m", None, True])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["7d", "48h", "15m", "90s", "0s", "1.5s"])
def test_a_duration_that_is_written_reads_as_the_same(text: str) -> None:
    assert parse_duration(duration_text(parse_duration(text))) == parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("18MB", 18_000_000), ("500kb", 500_000), ("1 GB", 10**9), ("1.5MB", 1_500_000), ("77", 77), (77, 77)],
)
def test_sizes_are_powers_of_ten(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "18MiB", "-1MB", True])
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="no size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("2026-10-01", datetime(2026, 10, 1, 0, tzinfo=UTC)),
        ("2026-10-01T05", datetime(2026, 10, 1, 5, tzinfo=UTC)),
        ("2026-10-01T05:59:59Z", datetime(2026, 10, 1, 5, tzinfo=UTC)),
        ("2026-10-01T05:30:00+02:00", datetime(2026, 10, 1, 3, tzinfo=UTC)),
        ("2024-02-29T23", datetime(2024, 2, 29, 23, tzinfo=UTC)),
        ("2026-12-31T23:30:00-01:00", datetime(2027, 1, 1, 0, tzinfo=UTC)),
    ],
)
def test_hours_are_utc_and_cut(text: str, hour: datetime) -> None:
    assert parse_hour(text) == hour


def test_a_day_as_an_end_is_its_last_hour() -> None:
    assert parse_hour("2026-10-01", last=True) == datetime(2026, 10, 1, 23, tzinfo=UTC)
    assert parse_hour("2026-10-01T05", last=True) == datetime(2026, 10, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-10-01T05:30:00", "2026-13-01", "2025-02-29", "yesterday", "", 5])
def test_what_is_no_hour_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="no UTC hour"):
        parse_hour(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("10M", 10_000_000),
        ("500k", 500_000),
        ("2.5M", 2_500_000),
        ("1 G", 10**9),
        ("1_000_000", 10**6),
        ("25", 25),
        (25, 25),
        ("1.1k", 1100),
    ],
)
def test_counts_are_powers_of_ten(text: object, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "M", "10m", "10K", "1.5", "-3", 1.5, None, True])
def test_what_is_no_count_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="no count"):
        parse_count(text)


@pytest.mark.parametrize(("text", "share"), [("80%", 0.8), ("100 %", 1.0), ("12.5%", 0.125), (0.5, 0.5)])
def test_shares_are_percentages(text: object, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["", "0%", "101%", 80, "high", None, True])
def test_what_is_no_share_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="no share"):
        parse_share(text)
