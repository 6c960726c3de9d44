"""By which mappings the records of a file were judged, and which of them that has left unsent.

The ledger keeps this as one text: the versions of the mappings, `@block/record` behind each under which the
budget held what came from there on, with commas between. Of most files that is one version. A second one is
added when a mapping filters what the one before had sent: a record is unsent if *all* of them leave it so,
and what was ever accepted is never taken for unsent again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from braze_etl.model import Outcome, Reason

HeldFrom: TypeAlias = tuple[int, int] | None
"""Block and record; None where the budget held nothing."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One reading of a file, by the mapping of that version."""

    version: str
    held_from: HeldFrom = None

    def leaves(self, place: tuple[int, int], reason: Reason | None) -> bool:
        """Whether it leaves the record at *place* unsent, of which the mapping says *reason* (None: send)."""
        if reason is None:
            return self.held_from is not None and place >= self.held_from
        return reason.outcome is Outcome.FILTERED

    def __str__(self) -> str:
        return self.version if self.held_from is None else "{}@{}/{}".format(self.version, *self.held_from)


def judgements_of(mapping: str, held_from: HeldFrom) -> tuple[Judgement, ...]:
    """Read what the ledger keeps of a file; nothing where it does not know the mapping."""
    if not mapping:
        return ()
    *before, last = map(_judgement, mapping.split(","))
    return (*before, Judgement(last.version, held_from or last.held_from))


def followed_by(judgements: tuple[Judgement, ...], version: str) -> str:
    """Give the text of these and another one, in which the budget may hold something or not."""
    return ",".join(map(str, (*judgements, Judgement(version))))


def renamed(judgements: tuple[Judgement, ...], before: str, after: str) -> str:
    """Give the text of these, with *after* for a mapping that judges alike."""
    return ",".join(
        str(Judgement(after, each.held_from) if each.version == before else each) for each in judgements
    )


def _judgement(text: str) -> Judgement:
    version, _, place = text.partition("@")
    if not place:
        return Judgement(version)
    block, _, record = place.partition("/")
    return Judgement(version, (int(block), int(record)))
