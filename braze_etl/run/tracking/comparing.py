"""Every name and property that differs between our tracking plan and a project's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from braze_etl.currents import load_catalogue
from braze_etl.run.tracking.likeness import Near, nearest
from braze_etl.run.tracking.plan import ANY, PlannedEvent, TrackingPlan
from braze_etl.run.tracking.theirs import TheirEvent, Theirs

_MARKS: Final = ("[Appboy]", "[Braze")
"""Begin the names of events that come from Braze (native-connector.md, 2)."""


@dataclass(frozen=True, slots=True)
class PropertyDifferences:
    """The properties of one event that differ; `kinds` has ours and theirs where only the type does."""

    only_ours: tuple[str, ...] = ()
    only_theirs: tuple[str, ...] = ()
    near: tuple[Near, ...] = ()
    kinds: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.only_ours or self.only_theirs or self.kinds)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "only_ours": list(self.only_ours),
            "only_theirs": list(self.only_theirs),
            "near": [near.as_dict() for near in self.near],
            "types": {name: {"ours": own, "theirs": other} for name, (own, other) in self.kinds.items()},
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs. `others` are events of theirs that do not look like Braze's, such as the product's own.

    `not_sent` are events of theirs that the configuration does not send, with the reason. Where nothing but
    exported events was read (not `is_complete`), what is only ours may simply not have happened.
    """

    is_complete: bool
    only_ours: tuple[str, ...]
    only_theirs: tuple[str, ...]
    near: tuple[Near, ...]
    not_sent: dict[str, str]
    others: tuple[str, ...]
    properties: dict[str, PropertyDifferences]

    @property
    def differs(self) -> bool:
        """Whether something certainly differs."""
        if self.only_theirs or (self.is_complete and self.only_ours):
            return True
        return any(
            each.only_theirs or each.kinds or (self.is_complete and each.only_ours)
            for each in self.properties.values()
        )

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "differs": self.differs,
            "complete": self.is_complete,
            "only_ours": list(self.only_ours),
            "only_theirs": list(self.only_theirs),
            "near": [near.as_dict() for near in self.near],
            "events": {name: each.as_dict() for name, each in self.properties.items()},
            "not_sent": self.not_sent,
            "others": list(self.others),
        }


def compare(ours: TrackingPlan, theirs: Theirs) -> Comparison:
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
    brazes = {name for name in unmatched if name in like_ours or _is_brazes(name, theirs.events[name])}
    return Comparison(
        is_complete=theirs.is_complete,
        only_ours=tuple(sorted(missing)),
        only_theirs=tuple(name for name in unmatched if name in brazes and name not in ours.not_sent),
        near=tuple(near),
        not_sent={name: ours.not_sent[name] for name in unmatched if name in ours.not_sent},
        others=tuple(name for name in unmatched if name not in brazes and name not in ours.not_sent),
        properties=dict(_differences(pairs, theirs)),
    )


def _is_brazes(name: str, event: TheirEvent) -> bool:
    return event.is_brazes or name.startswith(_MARKS) or name in load_catalogue()


def _differences(pairs: dict[str, PlannedEvent], theirs: Theirs) -> Iterator[tuple[str, PropertyDifferences]]:
    for name, event in pairs.items():
        if event.is_known and (found := _of_event(event, theirs.events[name])):
            yield name, found


def _of_event(ours: PlannedEvent, theirs: TheirEvent) -> PropertyDifferences:
    only_ours = sorted(ours.properties.keys() - theirs.properties.keys())
    only_theirs = sorted(name for name in theirs.properties if not _is_ours(name, ours))
    return PropertyDifferences(
        tuple(only_ours),
        tuple(only_theirs),
        tuple(nearest(only_ours, only_theirs)),
        {
            name: (own.kind, "/".join(sorted(kinds)))
            for name, own in ours.properties.items()
            if (kinds := theirs.properties.get(name)) and own.kind != ANY and own.kind not in kinds
        },
    )


def _is_ours(name: str, event: PlannedEvent) -> bool:
    return name in event.properties or name.startswith(event.prefixes)
