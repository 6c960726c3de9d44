"""A preset with a project's options: the mapping in force, and its plan for each event type."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

import orjson

from braze_etl.globs import is_glob, matches, selects
from braze_etl.mapping.choice import Choice, choose, guard
from braze_etl.mapping.groups import PII, Groups
from braze_etl.mapping.identity import IdentityRules, People
from braze_etl.mapping.names import Naming
from braze_etl.mapping.placeholders import PlaceholderRules
from braze_etl.mapping.presets import Preset, TypeEntry, preset_data
from braze_etl.mapping.privacy import Change, Hashed, PrivateFields, WithoutQuery
from braze_etl.mapping.rules import Explosion, PropertyRules, Target, TypeRules
from braze_etl.mapping.settings import MappingSection
from braze_etl.model import Reason, Verdict

MIN_ID_LENGTH: Final = 5
"""Characters of an id: what Amplitude asks for where a project says nothing else (amplitude.md, 1.1)."""

_NOT_IN_NATIVE = Verdict(
    Reason.NOT_IN_NATIVE, "no customer event; name its type in mapping.send to have it sent"
)
_HELD = Verdict(Reason.HELD, "the preset does not list this type, and mapping.unknown_types is hold")
_REVENUE = frozenset({"price", "productId"})


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """The earliest time of an event in epoch seconds, and how far it may lie behind its file's hour."""

    earliest: int = 0
    max_future: timedelta | None = None


@dataclass(frozen=True, slots=True)
class TypePlan:
    """The plan for one Currents event type under one mapping; complete without the preset and the options.

    The event is built in this order: `identity` (user_id, device_id), event_type, `time` in milliseconds,
    insert_id from `id`, `constants`, `lifted`, `lifted_groups`, `advertising_ids`, event_properties. Nulls
    are left out.
    """

    event_type: str
    """The Currents name."""
    listed: bool
    """Whether the preset lists the type."""
    documented: bool
    """Whether its properties are documented; all else goes by rule."""
    naming: Naming
    """The Amplitude name."""
    filter: Verdict | None
    """The filter that every record of the type meets, if any."""
    choice: Choice | None
    """Which of its records are sent, if not all."""
    loop_guard: Choice | None
    """Which of its records came from Amplitude, if any can."""
    constants: Mapping[str, str]
    """Top-level key -> value."""
    lifted: Mapping[str, str]
    """Field -> top-level key."""
    lifted_groups: tuple[Mapping[str, str], ...]
    """Groups of field -> top-level key; each is sent whole, or not at all."""
    advertising_ids: Mapping[str, str]
    """Value of ad_id_type -> top-level key of ad_id, which stays a property too."""
    explosions: tuple[Explosion, ...]
    """Fields with a JSON object as text, whose keys become properties."""
    fixed: Mapping[str, Any]
    """Properties that every event gets; they win over fields."""
    rules: PropertyRules
    """What each field becomes."""
    identity: IdentityRules
    placeholders: PlaceholderRules | None
    """How test events are told; None where they are sent."""
    time: TimeBounds = TimeBounds()

    @property
    def name(self) -> str:
        """The Amplitude name for people: `[Appboy] [Custom Event] {name}` where a field completes it."""
        return str(self.naming)

    @property
    def withheld(self) -> Reason | None:
        """Why no record of the type is sent, if none is."""
        return self.filter.reason if self.filter else None

    def targets(self, field: str) -> tuple[Target, ...]:
        """The properties that *field* becomes, each with the change of its value."""
        return self.rules.targets(field)

    def property_name(self, field: str) -> str | None:
        """Name the property that *field* becomes; None where it becomes none."""
        targets = self.targets(field)
        return targets[0][0] if targets else None

    def change(self, field: str) -> Change | None:
        """How privacy changes the value of *field*, wherever it goes."""
        rules = self.rules
        is_private, change = rules.private.find(field)
        # A field that is no property is one that the preset knows: the name of a custom event is no JSON.
        is_known = field in rules.known or field in rules.dropped
        return change if is_private else rules.private.within(field, is_known=is_known)


class EventMapping:
    """Plans by event type."""

    def __init__(
        self, data: dict[str, Any], options: MappingSection, people: People, min_id_length: int
    ) -> None:
        self.data = data
        """The preset, as plain data."""
        self.options = options
        self.people = people
        """The lists and tables that it goes by."""
        self.min_id_length = min_id_length
        self.fingerprint = _fingerprint(data, self.decisive)
        """SHA-256 over the preset's data and the options, as hex digits: equal for equal outcomes."""
        self._preset = preset = Preset.model_validate(data)
        self._private = _private_fields(options, preset.groups)
        self._identity = _identity(preset, options, self._private, people, min_id_length)
        self._placeholders = preset.test_events if options.test_events == "filter" else None
        self._plans: dict[str, TypePlan] = {}

    @classmethod
    def load(
        cls,
        options: MappingSection,
        people: People | None = None,
        *,
        min_id_length: int = MIN_ID_LENGTH,
        data: dict[str, Any] | None = None,
    ) -> EventMapping:
        """Put *options* over the preset that they name, or over that of another release, if *data* is one.

        *min_id_length* is that of the project in Amplitude, in characters.
        *people* are the lists and tables that the options name, read by whoever may read files. Raises
        `ValueError` for data that this release can't read.
        """
        return cls(
            preset_data(options.preset) if data is None else data, options, people or People(), min_id_length
        )

    @property
    def decisive(self) -> dict[str, Any]:
        """All beside the preset that decides an outcome, as plain JSON."""
        length = {} if self.min_id_length == MIN_ID_LENGTH else {"min_id_length": self.min_id_length}
        return {**self.options.as_dict(), **length}

    @property
    def version(self) -> str:
        """The name of this mapping in the ledger: the beginning of the fingerprint.

        Where a table of people decides what is filtered, `~` and a digest of its version follow: another
        content of the table judges otherwise.
        """
        table = self.people.decisive_version
        name = self.fingerprint[:16]
        return f"{name}~{hashlib.sha256(table.encode()).hexdigest()[:8]}" if table else name

    @property
    def event_types(self) -> tuple[str, ...]:
        return self._preset.event_types

    @property
    def named_types(self) -> list[str]:
        return [name for name in self.options.send if not is_glob(name) and not name.startswith("!")]

    def plan(self, event_type: str) -> TypePlan:
        """Give the plan for a Currents event type, listed or never seen before; made once."""
        plan = self._plans.get(event_type)
        if plan is None:
            plan = self._plans[event_type] = self._make(event_type)
        return plan

    def _make(self, event_type: str) -> TypePlan:
        preset, listed = self._preset, self._preset.entry(event_type)
        entry = listed or TypeEntry()
        title = self._title(event_type, entry)
        rules = TypeRules(self.options.rules, event_type, self._private, preset.groups)
        properties = self._properties(entry, title, rules)
        chosen = choose(self.options.choose, event_type, preset.groups)
        earliest = self.options.time.min
        return TypePlan(
            event_type=event_type,
            listed=listed is not None,
            documented=event_type in preset.documented,
            naming=rules.naming(title, Naming.of(preset.prefix, *title.parts)),
            filter=self._filter(event_type, listed, chosen),
            choice=chosen if isinstance(chosen, Choice) else None,
            loop_guard=guard(self.options.loop_guard, event_type),
            constants=preset.constants,
            lifted=self._lifted(entry, rules),
            lifted_groups=rules.lifted_groups,
            advertising_ids={} if rules.touches("ad_id") else preset.advertising_ids,
            explosions=tuple(
                Explosion(field, prefix, properties if properties.reaches_into(field) else None)
                for field, prefix in {**entry.explode, **rules.parsed}.items()
                if field not in self._private
            ),
            fixed=rules.fixed,
            rules=properties,
            identity=self._identity,
            placeholders=self._placeholders,
            time=TimeBounds(int(earliest.timestamp()) if earliest else 0, self.options.time.max_future),
        )

    def _properties(self, entry: TypeEntry, title: Naming, rules: TypeRules) -> PropertyRules:
        preset = self._preset
        taken_apart = (field for field in (*entry.explode, *rules.parsed) if field not in self._private)
        common = preset.drop - preset.named_fields(entry)
        own_name = (part.field for part in title.fields)
        return PropertyRules(
            never=preset.never_properties,
            dropped=preset.never_properties.union(
                common, entry.drop, self._lifted(entry, rules), taken_apart, own_name
            ),
            renamed=preset.rename,
            known=preset.known_fields(entry).union(self.options.fields),
            unknown_fields=self.options.unknown_fields,
            edits=rules.edits,
            private=self._private,
        )

    def _title(self, event_type: str, entry: TypeEntry) -> Naming:
        title = self._preset.title(event_type, entry)
        # Only the preset's own titles have a place for a field; a type's name may hold any character.
        return Naming.parse(title) if entry.title else Naming.of(title)

    def _lifted(self, entry: TypeEntry, rules: TypeRules) -> dict[str, str]:
        counts = self.options.purchase.revenue or self._preset.revenue
        return {
            field: key
            for field, key in entry.lift.items()
            if not rules.touches(field) and (counts == "count" or key not in _REVENUE)
        }

    def _filter(
        self, event_type: str, listed: TypeEntry | None, chosen: Verdict | Choice | None
    ) -> Verdict | None:
        is_wanted = selects(event_type, self.options.send)
        if not is_wanted and matches(event_type, self._preset.withheld):
            return _NOT_IN_NATIVE
        if isinstance(chosen, Verdict):
            return chosen
        held = listed is None and not is_wanted and self.options.unknown_types == "hold"
        return _HELD if held else None


def _private_fields(options: MappingSection, groups: Groups) -> PrivateFields:
    """What hides most comes first: of a field that is named twice, as little as possible is sent."""
    privacy = options.privacy
    hashed = Hashed(privacy.salt.get_secret_value())
    rules = (*_expanded(privacy.drop, None, groups), *_expanded(privacy.hash, hashed, groups))
    in_order = sorted(rules, key=lambda rule: (isinstance(rule[1], WithoutQuery), rule[1] is not None))
    parsed = (field for rule in options.rules for field in rule.parse)
    return PrivateFields(tuple(in_order), groups.json_texts.union(parsed))


def _expanded(
    globs: tuple[str, ...], change: Change | None, groups: Groups
) -> Iterator[tuple[str, Change | None]]:
    for glob in globs:
        if glob == PII:
            yield from ((each, change) for each in groups.pii)
            yield from ((each, WithoutQuery()) for each in groups.urls)
        else:
            yield glob, change


def _identity(
    preset: Preset, options: MappingSection, private: PrivateFields, people: People, min_length: int
) -> IdentityRules:
    section = options.identity
    return IdentityRules(
        **asdict(preset.identity),
        min_length=min_length,
        anonymous=section.anonymous,
        user_prefix=section.user_prefix,
        device_prefix=section.device_prefix,
        lower_case=section.lower_case,
        shared=frozenset(section.shared),
        hash_user=private.find("external_user_id")[1],
        hash_device=private.find("device_id")[1],
        people=people,
    )


def _fingerprint(data: Any, decisive: dict[str, Any]) -> str:
    text = orjson.dumps([data, decisive], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()
