"""Exported events, whatever they come from and whatever happens on the way: one suite for all sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import boto3
import pytest

from braze_etl.amplitude.export import AMPLITUDE, ExportSource, open_export, parse_time
from braze_etl.clock import ManualClock
from braze_etl.errors import NotLoadedError, ReadError
from braze_etl.storage.settings import StoreAccess
from tests.amplitude.exports import (
    Event,
    ExportServer,
    at,
    exported,
    name_of,
    packed,
    settings,
)
from tests.serving import serving, url_of

HOUR = timedelta(hours=1)
FIRST = at("2026-10-01T05")
LATER = at("2026-10-05T00")
Held: TypeAlias = dict[datetime, Sequence[Sequence[Event]]]
Open: TypeAlias = Callable[..., ExportSource]


def hours(count: int, *, events: int = 5, parts: int = 2) -> Held:
    """So many hours from FIRST on, each with its parts."""
    numbers = iter(range(count * parts * events))
    return {
        (hour := FIRST + index * HOUR): [
            [exported(next(numbers), hour) for _ in range(events)] for _ in range(parts)
        ]
        for index in range(count)
    }


def ids(source: ExportSource, since: datetime, until: datetime) -> list[str]:
    return sorted(event["$insert_id"] for batch in source.batches(since, until) for event in batch)


def ids_of(held: Held) -> list[str]:
    return sorted(event["$insert_id"] for parts in held.values() for part in parts for event in part)


def files(held: Held) -> dict[str, bytes]:
    return {
        name_of(hour, part): packed(events)
        for hour, parts in held.items()
        for part, events in enumerate(parts)
    }


@pytest.fixture(params=["api", "folder", "s3"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a source that holds these hours (and, where it is at rest, these files besides)."""
    clock = ManualClock(LATER)
    if request.param == "api":
        with serving(ExportServer({})) as server:

            def over_http(held: Held, _besides: dict[str, bytes] | None = None, **more: Any) -> ExportSource:
                server.held = held
                return open_export(AMPLITUDE, settings(url_of(server)), clock, **more)

            yield over_http
        return
    bucket = request.getfixturevalue("bucket") if request.param == "s3" else None

    def at_rest(held: Held, besides: dict[str, bytes] | None = None, **more: Any) -> ExportSource:
        for name, content in {**files(held), **(besides or {})}.items():
            if bucket is None:
                path = tmp_path / "raw" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            else:
                client = boto3.client("s3", endpoint_url=bucket.endpoint_url)
                client.put_object(Bucket=bucket.name, Key=f"exports/raw/{name}", Body=content)
        uri = str(tmp_path / "raw") if bucket is None else f"{bucket.uri}/exports"
        access = StoreAccess(endpoint_url=bucket.endpoint_url if bucket else None)
        return open_export(uri, settings(), clock, access=access, **more)

    yield at_rest


class TestEverySource:
    def test_gives_the_events_of_the_hours_between_and_including_both_ends(self, opened: Open) -> None:
        held = hours(12)
        source = opened(held)
        wanted = {hour: held[hour] for hour in list(held)[2:6]}
        assert ids(source, FIRST + 2 * HOUR, FIRST + 5 * HOUR + timedelta(minutes=59)) == ids_of(wanted)
        assert ids(source, FIRST + 7 * HOUR, FIRST + 7 * HOUR) == ids_of({0: held[FIRST + 7 * HOUR]})  # type: ignore[dict-item]
        assert source.downloaded > 0

    def test_gives_events_as_they_are(self, opened: Open) -> None:
        event = exported(7, FIRST)
        [[given]] = opened({FIRST: [[event]]}).batches(FIRST, FIRST)
        assert given == event

    def test_gives_nothing_for_hours_without_events(self, opened: Open) -> None:
        held = hours(3)
        assert ids(opened(held), FIRST - 9 * HOUR, FIRST - HOUR) == []
        assert ids(opened(held), FIRST - 9 * HOUR, FIRST) == ids_of({FIRST: held[FIRST]})

    def test_counts_what_it_takes_and_stops_at_the_bound(self, opened: Open) -> None:
        held = hours(6, events=2_000)
        whole = opened(held)
        ids(whole, FIRST, FIRST + 5 * HOUR)
        source = opened(held, max_download=whole.downloaded // 2)
        with pytest.raises(ReadError) as caught:
            ids(source, FIRST, FIRST + 5 * HOUR)
        assert "--max-download" in caught.value.remedy
        assert ids(opened(held, max_download=whole.downloaded), FIRST, FIRST + 5 * HOUR) == ids_of(held)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-10-01 05:00:01.123000", "2026-10-01T05:00:01.123000+00:00"),
        ("2022:05:01 10:00:00.000", "2022-05-01T10:00:00+00:00"),
        ("2022:05:01 10:00:00", "2022-05-01T10:00:00+00:00"),
        ("2026-10-01T05:00:01Z", "2026-10-01T05:00:01+00:00"),
        ("2026-10-01T05:00:01.5+02:00", "2026-10-01T03:00:01.500000+00:00"),
        ("2026-10-01T05:00:01.123456789Z", "2026-10-01T05:00:01.123456+00:00"),
        ("2026-13-01 05:00:01", None),
        ("0001-01-01 00:00:00+05:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (1_790_000_000, None),
    ],
)
def test_times_are_read_however_amplitude_writes_them(text: object, moment: str | None) -> None:
    found = parse_time(text)
    assert (found and found.isoformat()) == moment


def test_an_hour_that_is_not_over_for_long_is_not_known_to_be_empty() -> None:
    with serving(ExportServer(hours(2, parts=1))) as server:
        clock = ManualClock(FIRST + 5 * HOUR - timedelta(seconds=1))  # the hour 07 is loaded in a second
        source = open_export(AMPLITUDE, settings(url_of(server)), clock)
        given = source.batches(FIRST, FIRST + 9 * HOUR)
        assert len([next(given), next(given)]) == 2
        with pytest.raises(NotLoadedError, match="2026-10-01T07 yet") as caught:
            next(given)
        assert caught.value.remedy == "Try again after 2026-10-01T10:00:00Z."
        clock.advance(1)
        assert list(source.batches(FIRST + 2 * HOUR, FIRST + 2 * HOUR)) == []


def test_what_an_hour_has_before_it_is_over_is_given_to_who_asks_for_it() -> None:
    with serving(ExportServer(hours(3, parts=1))) as server:
        clock = ManualClock(FIRST + 2 * HOUR + timedelta(minutes=30))
        source = open_export(AMPLITUDE, settings(url_of(server)), clock, delay=timedelta(0))
        assert len(list(source.batches(FIRST - 2 * HOUR, FIRST + 2 * HOUR))) == 3
        with pytest.raises(NotLoadedError):
            list(source.batches(FIRST + 3 * HOUR, FIRST + 3 * HOUR))
