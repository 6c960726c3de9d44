from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from braze_etl.clock import ManualClock
from braze_etl.commands.doctor.check import Finding
from fixtures.generate import sample_record, write_avro
from tests.commands.doctor.conftest import MakeSite, look
from tests.workplace import Workplace

OPEN = "users.messages.email.Open"
CONNECTOR = "dataexport.prod-01.S3.integration.0123456789abcdef01234567"
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)


@pytest.fixture
def found_in(make_site: MakeSite, workplace: Workplace) -> Any:
    def find(check: str, *people: str | None, **sections: Any) -> Finding:
        """What a check finds in a file with a record for each of these external ids."""
        folder = workplace.source / CONNECTOR / f"event_type={OPEN}/date=2026-10-01-10/version=12/us-01"
        records = [sample_record(OPEN, number) for number in range(len(people))]
        for number, (record, person) in enumerate(zip(records, people, strict=True)):
            record |= {"id": f"id-{number}", "external_user_id": person}
        write_avro(folder / f"{CONNECTOR}+0+1.avro", OPEN, records)
        site = make_site(clock=ManualClock(NOON), **sections)
        return look(site, "source.list", "source.read", check)

    return find


def test_good_ids_are_fine(found_in: Any) -> None:
    assert found_in("records.identity", "user-1", "user-2").status == "ok"
    seen = found_in("records.ids", "user-1", "user-2")
    assert (seen.status, "all 2 sampled records of 1 files; few to judge by" in seen.seen) == ("ok", True)
    assert "few" not in found_in("records.ids", *(f"user-{number}" for number in range(100))).seen


@pytest.mark.parametrize(
    ("people", "status"),
    [
        ((None, "user-1", "user-2", "user-3", "user-4"), "ok"),
        ((None, "user-1"), "warn"),
        ((None, None), "fail"),
    ],
)
def test_records_of_nobody_are_told(found_in: Any, people: tuple[str | None, ...], status: str) -> None:
    found = found_in("records.identity", *people)
    assert found.status == status
    assert "belong to nobody" in found.seen


def test_short_ids_come_with_the_length_that_would_help(found_in: Any) -> None:
    found = found_in("records.ids", "17", "123", "user-1", "user-2", "user-3")
    assert found.status == "warn"
    assert "2 invalid_user_id" in found.seen
    assert "amplitude.min_id_length: 2" in found.remedy
    assert found_in("records.ids", "17", "123", amplitude={"min_id_length": 2}).status == "ok"


def test_redacted_ids_come_with_their_remedy(found_in: Any) -> None:
    found = found_in("records.ids", "[REDACTED]", "[REDACTED]")
    assert found.status == "fail"
    assert "field transformation" in found.remedy


def test_words_that_are_no_ids_are_told(found_in: Any) -> None:
    assert "no ids" in found_in("records.ids", "null", "user-1", "user-2").remedy


def test_test_events_are_filtered_unless_the_mapping_sends_them(found_in: Any) -> None:
    assert found_in("records.test_events", "user-1").status == "ok"
    assert found_in("records.test_events", "user-1", mapping={"test_events": "send"}).status == "warn"
