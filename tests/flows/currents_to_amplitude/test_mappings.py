from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from braze_etl.clock import ManualClock
from braze_etl.flows.currents_to_amplitude.remapped import Mappings
from braze_etl.mapping.identity import People
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.presets import preset_data
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Reason
from braze_etl.state.ledger import LedgerIdentity
from braze_etl.state.sqlite import SqliteLedger

RULES: dict[str, Any] = {
    "send": ["users.UserOrphan"],
    "choose": {"exclude": [{"events": "*.Open", "where": {"machine_open": True}}]},
    "privacy": {"hash": ["pii", "external_user_id"], "salt": "never-to-be-kept"},
    "identity": {"anonymous": "drop", "lower_case": True},
    "unknown_types": "hold",
}


@pytest.fixture
def ledger() -> SqliteLedger:
    clock = ManualClock(datetime(2026, 10, 5, tzinfo=UTC))
    return SqliteLedger.in_memory(LedgerIdentity("default", "shop", "EU"), clock=clock)


def mapping(people: People | None = None, **options: Any) -> EventMapping:
    return EventMapping.load(MappingSection.model_validate(options), people)


@pytest.mark.parametrize("options", [{}, RULES, {"preset": "raw"}], ids=["plain", "rules", "raw"])
def test_a_mapping_is_made_again_from_what_the_ledger_keeps(
    ledger: SqliteLedger, options: dict[str, Any]
) -> None:
    then = mapping(**options)
    Mappings(ledger, then).keep()
    again = Mappings(ledger, mapping(test_events="send")).of(then.version)
    assert again is not None
    assert again.version == then.version
    assert again.plan("users.UserOrphan").withheld == then.plan("users.UserOrphan").withheld


def test_it_is_kept_once_without_a_secret_and_small(ledger: SqliteLedger) -> None:
    then = mapping(**RULES)
    Mappings(ledger, then).keep()
    note = ledger.get_note(f"mapping:{then.version}")
    assert len(orjson.dumps(note)) < 400
    assert b"never-to-be-kept" not in orjson.dumps(note)
    ledger.put_note(f"mapping:{then.version}", {"mine": 1})
    Mappings(ledger, then).keep()
    assert ledger.get_note(f"mapping:{then.version}") == {"mine": 1}


def test_what_was_never_kept_can_not_be_had(ledger: SqliteLedger) -> None:
    assert Mappings(ledger, mapping()).of("0123456789abcdef") is None


NEW = "users.messages.landingpage.Click"


def test_the_mapping_of_an_earlier_release_is_that_of_its_preset(ledger: SqliteLedger) -> None:
    """After an upgrade the preset lists a type that was held: what it held can still be told."""
    data = preset_data("native")
    undocumented = {name: entry for name, entry in data["undocumented"].items() if name != NEW}
    options = MappingSection(unknown_types="hold")
    earlier = EventMapping.load(options, data={**data, "undocumented": undocumented})
    Mappings(ledger, earlier).keep()
    now = EventMapping.load(options)
    again = Mappings(ledger, now).of(earlier.version)
    assert again is not None
    assert again.plan(NEW).withheld is Reason.HELD
    assert now.plan(NEW).withheld is None


def test_a_preset_is_kept_once_for_all_mappings_over_it(ledger: SqliteLedger) -> None:
    for options in (MappingSection(), MappingSection(unknown_types="hold")):
        Mappings(ledger, EventMapping.load(options)).keep()
    presets = [name for name in ledger.contents().notes if name.startswith("preset:")]
    assert len(presets) == 1


def test_a_mapping_that_comes_out_as_another_one_today_can_not_be_had(ledger: SqliteLedger) -> None:
    then = mapping()
    Mappings(ledger, then).keep()
    ledger.put_note("mapping:0123456789abcdef", ledger.get_note(f"mapping:{then.version}"))
    assert Mappings(ledger, mapping(unknown_types="hold")).of("0123456789abcdef") is None


def test_options_that_this_program_does_not_have_are_no_error(ledger: SqliteLedger) -> None:
    ledger.put_note("mapping:0123456789abcdef", {"options": {"colour": "red"}})
    assert Mappings(ledger, mapping()).of("0123456789abcdef") is None


class Suppressed:
    def covers(self, *ids: object) -> bool:
        return True


class Table:
    def find(self, key: str) -> str | None:
        return None


LOOKUP = {"uri": "people.csv"}


@pytest.mark.parametrize("lookup", [None, LOOKUP, {**LOOKUP, "missing": "filter"}])
def test_people_are_those_of_today_and_what_is_done_with_them_is_as_it_was(
    ledger: SqliteLedger, lookup: dict[str, Any] | None
) -> None:
    then = mapping(identity={"lookup": lookup})
    Mappings(ledger, then).keep()
    today = People(Suppressed(), Table(), "external_user_id", "quarantine")
    now = mapping(today, identity={"lookup": {**LOOKUP, "missing": "quarantine"}})
    again = Mappings(ledger, now).of(then.version)
    assert again is not None
    people = again.people
    assert people.suppressed is today.suppressed
    assert people.table is (today.table if lookup else None)
    assert people.missing == (lookup or {}).get("missing", "pass")


FILTERING = {"identity": {"lookup": {**LOOKUP, "missing": "filter"}}}


def test_a_mapping_is_had_only_with_the_content_of_the_table_that_decided(ledger: SqliteLedger) -> None:
    monday, tuesday = (
        mapping(People(None, Table(), missing="filter", table_version=day), **FILTERING)
        for day in ("monday", "tuesday")
    )
    Mappings(ledger, monday).keep()
    Mappings(ledger, tuesday).keep()
    assert Mappings(ledger, tuesday).of(monday.version) is None
    again = Mappings(ledger, mapping(monday.people, test_events="send", **FILTERING)).of(monday.version)
    assert again is not None
    assert again.version == monday.version


def test_all_contents_of_a_table_share_one_note(ledger: SqliteLedger) -> None:
    for day in ("monday", "tuesday"):
        people = People(None, Table(), missing="filter", table_version=day)
        Mappings(ledger, mapping(people, **FILTERING)).keep()
    notes = [name for name in ledger.contents().notes if name.startswith("mapping:")]
    assert len(notes) == 1


def test_what_was_judged_before_versions_of_tables_were_kept_can_not_be_had(ledger: SqliteLedger) -> None:
    now = mapping(People(None, Table(), missing="filter", table_version="monday"), **FILTERING)
    Mappings(ledger, now).keep()
    assert Mappings(ledger, now).of(now.fingerprint[:16]) is None


def test_a_mapping_with_a_table_that_is_no_longer_in_use_can_not_be_had(ledger: SqliteLedger) -> None:
    then = mapping(identity={"lookup": LOOKUP})
    Mappings(ledger, then).keep()
    assert Mappings(ledger, mapping()).of(then.version) is None
    other = mapping(identity={"lookup": {"uri": "others.csv"}})
    assert Mappings(ledger, other).of(then.version) is None
