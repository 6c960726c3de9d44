"""Every name and property that differs between our tracking plan and a project's."""

from __future__ import annotations

import re
from collections.abc import Iterable
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


def compare(ours: TrackingPlan, theirs: Taxonomy) -> dict[str, Any]:
    """Compare names; and the properties of events that both have and whose fields the catalogue knows.

    Returns JSON values. `differs`: something certainly does. Where nothing but exported events was read (not
    `complete`), what is only ours may simply not have happened. `not_sent` are events of theirs that the
    configuration does not send, with the reason; `others` those that do not look like Braze's, such as the
    product's own. `types` has the type with us and with them of properties where only that differs.
    """
    pairs = {name: event for name in sorted(theirs.events) if (event := ours.find(name))}
    unmatched = [name for name in sorted(theirs.events) if name not in pairs]
    not_sent = {name: ours.not_sent[name] for name in unmatched if name in ours.not_sent}
    rest = [name for name in unmatched if name not in not_sent]
    missing = sorted(
        event.name
        for event in ours.events.values()
        if event.pattern is None and event.is_expected and event.name not in theirs.events
    )
    near = nearest(missing, rest)
    like_ours = {each["theirs"] for each in near}
    others = [name for name in rest if name not in like_ours and not _is_brazes(name, theirs)]
    names = {"only_ours": missing, "only_theirs": [name for name in rest if name not in others], "near": near}
    events = {
        name: found
        for name, event in pairs.items()
        if event.is_known and any((found := _of_event(event, theirs.events[name])).values())
    }
    differs = any(
        each["only_theirs"] or each.get("types") or (theirs.is_complete and each["only_ours"])
        for each in (names, *events.values())
    )
    facts = {"differs": differs, "complete": theirs.is_complete, **names}
    return {**facts, "events": events, "not_sent": not_sent, "others": others}


def _is_brazes(name: str, theirs: Taxonomy) -> bool:
    return theirs.events[name].is_brazes or name.startswith(_MARKS) or name in load_catalogue()


def _of_event(ours: PlannedEvent, theirs: TaxonomyEvent) -> dict[str, Any]:
    only_ours = sorted(ours.properties.keys() - theirs.properties.keys())
    unmatched = theirs.properties.keys() - ours.properties.keys()
    only_theirs = sorted(name for name in unmatched if not name.startswith(ours.prefixes))
    types = {
        name: {"ours": own.kind, "theirs": "/".join(sorted(kinds))}
        for name, own in ours.properties.items()
        if (kinds := theirs.properties.get(name)) and own.kind != ANY and own.kind not in kinds
    }
    near = nearest(only_ours, only_theirs)
    return {"only_ours": only_ours, "only_theirs": only_theirs, "near": near, "types": types}


def nearest(ours: Iterable[str], theirs: Iterable[str]) -> list[dict[str, str]]:
    """For each of our names, the one of theirs that may mean the same, if one is near, and the difference."""
    candidates = sorted(theirs)
    found = []
    for name in sorted(ours):
        near = [(rank, other, words) for other in candidates for rank, words in _difference(name, other)]
        if near:
            _, other, words = min(near)
            found.append({"ours": name, "theirs": other, "differs_in": words})
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
