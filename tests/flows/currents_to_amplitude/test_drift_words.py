"""The words of drift, from the report of a run on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
import pytest

from braze_etl.engine.report import RunReport
from braze_etl.engine.tasks import Settlement
from braze_etl.flows.currents_to_amplitude.drift import (
    Drift,
    FieldDrift,
    UnknownType,
    field_words,
    past_drift,
)
from braze_etl.model import Counts, FileRef, Tally

OPEN = "users.messages.email.Open"
NAP = "users.behaviors.Nap"


def found(**fields: FieldDrift) -> Drift:
    drift = Drift()
    for name, field in fields.items():
        kind = "unknown_fields" if field.was is None else "changed_types" if field.now else "vanished_fields"
        drift.note_field(kind, OPEN, name, field)
    return drift


NEW = FieldDrift(None, "string?", "sent", "mood")


def test_a_report_joins_what_its_tasks_found_with_the_records_read(
    make_ref: Callable[..., FileRef], now: datetime
) -> None:
    report = RunReport("r1", "p", "run", now, extras=Drift())
    second = found(verse=NEW)
    second.note_type(NAP, UnknownType("sent", "[Appboy] Nap", 3))
    report.add(Settlement(1, counts=Counts({NAP: Tally(accepted=5)}), extras=found(mood=NEW)))
    report.add(Settlement(2, counts=Counts({NAP: Tally(filtered=2)}), extras=second))
    drift = report.as_dict()["drift"]
    assert drift["unknown_event_types"][NAP]["records"] == 7
    assert list(drift["unknown_fields"][OPEN]) == ["mood", "verse"]
    assert (drift["vanished_fields"], drift["changed_types"]) == ({}, {})
    assert orjson.loads(orjson.dumps(drift)) == drift


def test_people_get_two_lines_at_most() -> None:
    drift = found(
        mood=NEW,
        verse=FieldDrift(None, "int", "dropped", None),
        send_id=FieldDrift("string?", None, "sent", "send_id"),
        time=FieldDrift("int", "long", "dropped", None),
    )
    drift.note_type(NAP, UnknownType("held", "[Appboy] Nap", 3))
    assert list(drift.lines({NAP: 1200})) == [
        ("unknown types", f"{NAP} (1,200 read, held)"),
        (
            "schema drift",
            (
                f"2 unknown: {OPEN}.mood (sent as mood), {OPEN}.verse (dropped); "
                f"1 vanished: {OPEN}.send_id; 1 changed: {OPEN}.time (int to long)"
            ),
        ),
    ]
    assert list(Drift().lines({})) == []


def test_of_many_findings_the_first_are_named_and_all_are_counted() -> None:
    words = field_words(found(**{f"f{n}": NEW for n in range(9)}).facts({}))
    assert words.startswith("9 unknown: ")
    assert words.endswith(" and 6 more")


def test_drift_is_one_warning_and_none_is_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="braze_etl"):
        Drift().warn({})
        assert not caplog.records
        found(mood=NEW).warn({})
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    facts: dict[str, Any] = record.facts  # type: ignore[attr-defined] # set by our logger
    assert facts["unknown_fields"] == 1
    assert "mood" in facts["found"]
    assert "docs/drift.md" in facts["remedy"]


def test_of_several_runs_the_newest_has_the_last_word() -> None:
    newest = {"drift": found(mood=FieldDrift(None, "int", "sent", "mood")).facts({})}
    older = {"drift": found(mood=NEW, verse=NEW).facts({})}
    told = past_drift([newest, {}, older])
    assert told["unknown_fields"][OPEN]["mood"]["now"] == "int"
    assert set(told["unknown_fields"][OPEN]) == {"mood", "verse"}
    assert past_drift([]) == {
        kind: {} for kind in ("unknown_event_types", "unknown_fields", "vanished_fields", "changed_types")
    }
