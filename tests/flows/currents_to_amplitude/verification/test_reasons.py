from __future__ import annotations

import pytest

from braze_etl.flows.currents_to_amplitude.verification.comparison import Result, Tally
from braze_etl.flows.currents_to_amplitude.verification.reasons import likely_reasons


def result(persons: int = 0, of_persons: int = 0, **by_name: Tally) -> Result:
    """What a comparison says of types that have the same name in Amplitude."""
    found = Result(persons=persons, of_persons=of_persons)
    for name, tally in by_name.items():
        found.tallies[f"users.{name}", name] = tally
    return found


BLOCKED = Tally(9, present=2, missing=7)
WHOLE = Tally(5, missing=5)
FEW = Tally(2, missing=2)
SOME = Tally(90, present=80, missing=10)
THERE = Tally(4, present=4)


@pytest.mark.parametrize(
    ("found", "reasons"),
    [
        (result(there=THERE), []),
        (result(blocked=BLOCKED, there=THERE), [("type_blocked", 7, "blocked")]),
        (result(whole=WHOLE), [("type_missing", 5, "whole")]),
        (result(few=FEW), [("late_or_repeated", 2, None)]),
        (result(2, 6, some=SOME), [("persons", 6, None), ("late_or_repeated", 4, None)]),
        (result(1, 10, some=SOME), [("persons", 10, None)]),
        (
            result(blocked=BLOCKED, whole=WHOLE, some=SOME),
            [
                ("type_blocked", 7, "blocked"),
                ("type_missing", 5, "whole"),
                ("late_or_repeated", 10, None),
            ],
        ),
    ],
)
def test_each_missing_event_has_a_likely_reason(
    found: Result, reasons: list[tuple[str, int, str | None]]
) -> None:
    told = list(likely_reasons(found, {"blocked", "there"}))
    assert [(each.reason, each.events, each.name) for each in told] == reasons
