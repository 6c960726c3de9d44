"""Every name and property that differs between our tracking plan and a project's."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from typing import Any, Final

from braze_etl.braze.currents.catalogue import load_catalogue
from braze_etl.commands.mapping.taxonomy import Taxonomy, TaxonomyEvent
from braze_etl.commands.mapping.tracking_plan import ANY, PlannedEvent, TrackingPlan

_PREFIX = re.compile(r"^(?:\[[^\]]*\]\s*)+")
_WORD = re.compile(r"[^\W_]+")
_ALIKE: Final = 0.7
"""How much of two words must agree for one to be a spelling of the other: Receive, Received."""

_MARKS: Final = ("[Appboy]", "[Braze")
"""Begin the names of events that come from Braze (native-connector.md, 2)."""


def compare(ours: TrackingPlan, theirs: Taxonomy) -> Comparison:
    """Compare names; and the properties of events that both have and whose fields the catalogue knows."""
    pairs = {name: event for name in sorted(theirs.events) if (event := ours.find(name))}
    unmatched = [name for name in sorted(theirs.events) if name not in pairs]
    missing = [
        event.name
        for event in ours.events.values()
        if event.pattern is None and event.is_expected and event.name not in theirs.events
    ]
    near = nearest(missing, [name for name in unmatched if name not in ours.not_sent])
    like_ours = {each.theirs for each in near}
    brazes = {
        name
        for name in unmatched
        if name in like_ours
        or name in load_catalogue()
        or name.startswith(_MARKS)
        or theirs.events[name].is_brazes
    }
    only_theirs = tuple(name for name in unmatched if name in brazes and name not in ours.not_sent)
    return Comparison(
        is_complete=theirs.is_complete,
        names=Differences(tuple(sorted(missing)), only_theirs, tuple(near)),
        not_sent={name: ours.not_sent[name] for name in unmatched if name in ours.not_sent},
        others=tuple(name for name in unmatched if name not in brazes and name not in ours.not_sent),
        properties={
            name: found
            for name, event in pairs.items()
            if event.is_known and (found := _of_event(event, theirs.events[name]))
        },
    )


def _of_event(ours: PlannedEvent, theirs: TaxonomyEvent) -> Differences:
    only_ours = sorted(ours.properties.keys() - theirs.properties.keys())
    unmatched = theirs.properties.keys() - ours.properties.keys()
    only_theirs = sorted(name for name in unmatched if not name.startswith(ours.prefixes))
    return Differences(
        tuple(only_ours),
        tuple(only_theirs),
        tuple(nearest(only_ours, only_theirs)),
        {
            name: {"ours": own.kind, "theirs": "/".join(sorted(kinds))}
            for name, own in ours.properties.items()
            if (kinds := theirs.properties.get(name)) and own.kind != ANY and own.kind not in kinds
        },
    )


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs. `others` are events of theirs that do not look like Braze's, such as the product's own.

    `not_sent` are events of theirs that the configuration does not send, with the reason. Where nothing but
    exported events was read (not `is_complete`), what is only ours may simply not have happened.
    """

    is_complete: bool
    names: Differences
    not_sent: dict[str, str]
    others: tuple[str, ...]
    properties: dict[str, Differences]

    @property
    def differs(self) -> bool:
        return any(
            each.only_theirs or each.kinds or (self.is_complete and each.only_ours)
            for each in (self.names, *self.properties.values())
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "differs": self.differs,
            "complete": self.is_complete,
            **self.names.as_dict(),
            "events": {
                name: {**each.as_dict(), "types": each.kinds} for name, each in self.properties.items()
            },
            "not_sent": self.not_sent,
            "others": list(self.others),
        }


@dataclass(frozen=True, slots=True)
class Differences:
    """The names of events that differ, or of the properties of one.

    Of properties, `kinds` has the type with us (`ours`) and with them (`theirs`) where only that differs.
    """

    only_ours: tuple[str, ...] = ()
    only_theirs: tuple[str, ...] = ()
    near: tuple[Near, ...] = ()
    kinds: dict[str, dict[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.only_ours or self.only_theirs or self.kinds)

    def as_dict(self) -> dict[str, Any]:
        return {
            "only_ours": list(self.only_ours),
            "only_theirs": list(self.only_theirs),
            "near": [asdict(near) for near in self.near],
        }


@dataclass(frozen=True, slots=True)
class Near:
    """A name of ours and one of theirs that may mean the same, and what makes the difference."""

    ours: str
    theirs: str
    differs_in: str


def nearest(ours: Iterable[str], theirs: Iterable[str]) -> list[Near]:
    """For each of our names, the one of theirs that is nearest to it, if one is near at all."""
    candidates = sorted(theirs)
    found = []
    for name in sorted(ours):
        near = [(rank, other, words) for other in candidates for rank, words in _difference(name, other)]
        if near:
            _, other, words = min(near)
            found.append(Near(name, other, words))
    return found


def _difference(ours: str, theirs: str) -> list[tuple[int, str]]:
    """The difference with its rank, the smallest first; empty where names have little in common."""
    if ours.casefold() == theirs.casefold():
        return [(0, "upper and lower case")]
    if _letters(ours) == _letters(theirs):
        return [(1, "spaces and punctuation")]
    own, other = _PREFIX.sub("", ours), _PREFIX.sub("", theirs)
    if _letters(own) == _letters(other):
        return [(2, "the prefix")]
    return _in_one_word(_WORD.findall(own), _WORD.findall(other))


def _letters(name: str) -> str:
    return "".join(_WORD.findall(name)).casefold()


def _in_one_word(ours: list[str], theirs: list[str]) -> list[tuple[int, str]]:
    own_words, other_words = ([word.casefold() for word in words] for words in (ours, theirs))
    matcher = SequenceMatcher(None, own_words, other_words, autojunk=False)
    changes = [
        (ours[begin:end], theirs[start:stop])
        for tag, begin, end, start, stop in matcher.get_opcodes()
        if tag != "equal"
    ]
    match changes:
        case [([own], [])] if theirs:
            return [(4, f"the word {own!r}, which they do not have")]
        case [([], [other])] if ours:
            return [(4, f"the word {other!r}, which we do not have")]
        case [([own], [other])] if SequenceMatcher(None, own, other).ratio() >= _ALIKE:
            return [(3, f"{own!r}, which they spell {other!r}")]
    return []
