"""Conditions on fields: which records of a type are chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from braze_etl.globs import glob
from braze_etl.mapping.groups import Groups
from braze_etl.mapping.limits import read_json
from braze_etl.mapping.settings import Choose as ChooseSection
from braze_etl.mapping.settings import LoopGuard, Scalar, Selector
from braze_etl.model import Outcome, Reason, Verdict

Test: TypeAlias = Callable[[Any], bool]
Chooser: TypeAlias = Callable[..., Verdict | None]

CUSTOM_EVENT = "users.behaviors.CustomEvent"


@dataclass(frozen=True, slots=True)
class Clause:
    """Conditions that hold together, by field or `field.key` of a JSON text; `words` tell whose they are."""

    conditions: Mapping[str, tuple[Scalar, ...]]
    words: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A record is chosen if some clause of `include` holds, where there is one, and none of `exclude`."""

    reason: Reason
    include: tuple[Clause, ...]
    exclude: tuple[Clause, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        clauses = (*self.include, *self.exclude)
        return tuple(dict.fromkeys(name.partition(".")[0] for each in clauses for name in each.conditions))


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


def chooser(choice: Choice) -> Chooser:
    """Make the function of a choice: from the values of its `fields` to a verdict, or None for the chosen."""
    places = {field: place for place, field in enumerate(choice.fields)}
    include = [_clause(clause, places) for clause in choice.include]
    exclude = [
        (_clause(clause, places), Verdict(choice.reason, f"excluded by {clause.words}"))
        for clause in choice.exclude
    ]
    names = ", ".join(dict.fromkeys(clause.words for clause in choice.include))
    missed = Verdict(choice.reason, f"meets no condition of {names}")

    def choose(*values: Any) -> Verdict | None:
        if include and not any(holds(values) for holds in include):
            return missed
        for holds, verdict in exclude:
            if holds(values):
                return verdict
        return None

    return choose


def filter_first(identity: Verdict, choice: Verdict | None) -> Verdict:
    """The verdict on an identity, or that of a choice behind it: a filter wins over what can't be sent."""
    return choice if choice and identity.reason.outcome is not Outcome.FILTERED else identity


def _clause(clause: Clause, places: Mapping[str, int]) -> Callable[[tuple[Any, ...]], bool]:
    parts = [
        (places[name.partition(".")[0]], name.partition(".")[2], condition(wanted))
        for name, wanted in clause.conditions.items()
    ]

    def holds(values: tuple[Any, ...]) -> bool:
        for place, key, test in parts:  # noqa: SIM110 - for each record; a generator takes twice the time
            if not test(_key(values[place], key) if key else values[place]):
                return False
        return True

    return holds


def _key(text: Any, key: str) -> Any:
    """The value of *key* in a JSON object; None where there is none."""
    parsed, _ = read_json(text)
    return parsed.get(key) if isinstance(parsed, dict) else None


def condition(wanted: tuple[Scalar, ...]) -> Test:
    """Make the test of a value: one of *wanted* has to be met, and no `!glob` of them.

    A text is a glob on the value as text; true and false also match the texts; null is an absent value. Of an
    array, one item has to match.
    """
    forbidden = [_one(text[1:]) for text in wanted if isinstance(text, str) and text.startswith("!")]
    allowed = [_one(each) for each in wanted if not (isinstance(each, str) and each.startswith("!"))]

    def test(value: Any) -> bool:
        values = value if isinstance(value, list) else (value,)
        return not _meets(values, forbidden) and (not allowed or _meets(values, allowed))

    return test


def _meets(values: Iterable[Any], tests: Iterable[Test]) -> bool:
    for test in tests:
        for value in values:
            if test(value):
                return True
    return False


def _one(wanted: Scalar) -> Test:
    if wanted is None:
        return lambda value: value is None
    if isinstance(wanted, bool):
        return lambda value: value is wanted or (isinstance(value, str) and value.lower() == text_of(wanted))
    if isinstance(wanted, int | float):
        return lambda value: value == wanted if _is_number(value) else value == str(wanted)
    pattern = glob(wanted)
    return lambda value: value is not None and pattern.fullmatch(text_of(value)) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def text_of(value: Any) -> str:
    """A value as the text that conditions and names see: true, 3, 2.5."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)
