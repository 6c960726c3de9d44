"""Why events that Amplitude took with a 200 may not be there, as far as that can be told."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from braze_etl.flows.currents_to_amplitude.verification.comparison import Result, Tally

_A_SIGN: Final = 3
"""So many events of one type, and none of them there, are no accident."""


@dataclass(frozen=True, slots=True)
class Likely:
    """A likely reason for so many missing events; `name` is their event type in Amplitude, if it is one."""

    reason: str
    events: int
    words: str
    name: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """It as JSON values."""
        return asdict(self)


def likely_reasons(result: Result, blocked: Collection[str]) -> Iterator[Likely]:
    """Say what the missing events have in common; *blocked* are the types that Amplitude drops."""
    by_name: defaultdict[str, Tally] = defaultdict(Tally)
    for (_, name), tally in result.tallies.items():
        by_name[name].add(tally)
    left = result.total.missing
    for name, tally in sorted(by_name.items()):
        if tally.missing and name in blocked:
            words = f"{name} is blocked or deleted in Amplitude, which drops such events"
            yield Likely("type_blocked", tally.missing, words, name)
        elif tally.missing >= _A_SIGN and not tally.present:
            words = f"nothing of {name} is there: look in Amplitude's Data section whether it is blocked"
            yield Likely("type_missing", tally.missing, words, name)
        else:
            continue
        left -= tally.missing
    if result.persons:
        words = f"nothing is there of {result.persons:,} persons: Amplitude may block or have deleted them"
        yield Likely("persons", result.of_persons, words)
        left -= result.of_persons
    if left > 0:
        words = (
            "Amplitude may load them in later hours: verify again tomorrow. Or it took them for repeats of "
            "events of up to 7 days before: begin with --from a week earlier"
        )
        yield Likely("late_or_repeated", left, words)
