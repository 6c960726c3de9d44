"""Which records of a type a project chose: the configuration's selectors, cut down to one event type."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from braze_etl.config import Choose as ChooseSection
from braze_etl.config import LoopGuard, Selector
from braze_etl.model import Reason, Verdict
from braze_etl.transform.choice import Choice, Clause
from braze_etl.transform.groups import Groups

CUSTOM_EVENT = "users.behaviors.CustomEvent"


def choose(section: ChooseSection, event_type: str, groups: Groups) -> Verdict | Choice | None:
    """A verdict on all records of the type, a choice among them, or None: all are chosen."""
    exclude = tuple(_clauses(section.exclude, event_type, groups, "choose.exclude"))
    include = tuple(_clauses(section.include, event_type, groups, "choose.include"))
    for clause in exclude:
        if not clause.conditions:
            return Verdict(Reason.NOT_SELECTED, f"excluded by {clause.words}")
    if section.include and not include:
        return Verdict(Reason.NOT_SELECTED, "no choose.include names this type")
    if any(not clause.conditions for clause in include):
        include = ()
    return Choice(Reason.NOT_SELECTED, include, exclude) if include or exclude else None


def guard(section: LoopGuard, event_type: str) -> Choice | None:
    """What tells a custom event that came from Amplitude; None for other types, and without a guard."""
    if event_type != CUSTOM_EVENT:
        return None
    clauses = []
    if section.names:
        clauses.append(Clause({"name": section.names}, "loop_guard.names"))
    for key, wanted in section.properties.items():
        clauses.append(Clause({f"properties.{key}": wanted}, f"loop_guard.properties.{key}"))
    return Choice(Reason.FROM_AMPLITUDE, (), tuple(clauses)) if clauses else None


def _clauses(selectors: Sequence[Selector], event_type: str, groups: Groups, words: str) -> Iterator[Clause]:
    for number, selector in enumerate(selectors, 1):
        if groups.select(selector.events, event_type):
            yield Clause(selector.where, f"{words} {number}{_told(selector)}")


def _told(selector: Selector) -> str:
    conditions = ", ".join(
        f"{field}: {' or '.join(map(str, wanted))}" for field, wanted in selector.where.items()
    )
    return f" ({conditions})" if conditions else f" ({', '.join(selector.events)})"
