"""`--event-type` that matches nothing is a mistake, and never an empty success."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workplace import Workplace, open_workplace

RANGE = ("--from", "2026-10-01", "--to", "2026-10-02")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    with open_workplace(tmp_path) as place:
        place.export(events=60, hours=1)
        yield place


def test_a_type_that_nobody_knows_is_refused_with_the_nearest(place: Workplace) -> None:
    for words in (("backfill", *RANGE), ("plan", *RANGE), ("backfill", "--changed-only")):
        result = place.do(*words, "--event-type", "users.mesages.email.*", "--output", "json")
        assert result.code == 2, result
        assert "--event-type users.mesages.email.* matches no event type" in result.error["message"]
        assert "The nearest is users.messages.email." in result.error["remedy"]
    assert not place.ledger.exists()


def test_a_new_type_that_the_source_has_is_known(place: Workplace) -> None:
    folder = next(place.source.rglob("event_type=*"))
    folder.rename(folder.with_name("event_type=users.pigeon.Send"))
    result = place.do("backfill", *RANGE, "--event-type", "users.pigeon.*", "--output", "json")
    assert result.code in (0, 3), result
    assert result.json["files"]["discovered"] == 1


def test_a_type_that_the_configuration_leaves_out_is_refused(place: Workplace) -> None:
    place.configure(source={"event_types": ["users.behaviors.*"]})
    result = place.do("plan", *RANGE, "--event-type", "users.messages.email.*", "--output", "json")
    assert result.code == 2
    assert "source.event_types selects nothing" in result.error["message"]


def test_an_entry_of_a_type_that_nobody_knows_is_refused_with_the_nearest(place: Workplace) -> None:
    folder = next(place.source.rglob("event_type=*"))
    folder = folder.rename(folder.with_name("event_type=users.pigeon.Send"))
    next(folder.rglob("*.avro")).write_bytes(b"no Avro")
    assert place.do("run").code == 3
    listed = place.do("quarantine", "list", "--event-type", "users.pigeon.*", "--output", "json")
    assert listed.json["total"] == 1
    for command in ("list", "drop"):
        result = place.do("quarantine", command, "--event-type", "users.pigeons.Send", "--output", "json")
        assert result.code == 2, result
        assert "The nearest is users.pigeon.Send" in result.error["remedy"]
