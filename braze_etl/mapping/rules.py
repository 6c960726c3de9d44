"""The rules of a mapping as they concern one event type."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from braze_etl.globs import is_glob, matches
from braze_etl.mapping.groups import Groups
from braze_etl.mapping.limits import MAX_DEPTH, MAX_TEXT, depth_of, mend, mend_text, read_json
from braze_etl.mapping.names import FieldText, Naming
from braze_etl.mapping.privacy import NOTHING_PRIVATE, Change, PrivateFields, Translated, one_after_other
from braze_etl.mapping.settings import Rule

Target: TypeAlias = tuple[str, Change | None]
"""A property, and how its value is changed on the way, if it is."""

Explode: TypeAlias = Callable[[Any], dict[str, Any]]

_REMEMBERED = 10_000
"""Keys of one field whose names are kept; customers choose them, so there is no bound."""
_SHALLOW = 2 * MAX_DEPTH
"""Characters of which no text nests too deep: each level takes two brackets."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What one rule does to properties. Sources are fields, or `field.key` of a JSON text; most are globs.

    What is kept or dropped of a field is so of its keys. `rule` is what people call it.
    """

    rule: str
    add: tuple[str, ...]
    keep: tuple[str, ...] | None
    drop: tuple[str, ...]
    rename: tuple[tuple[str, str], ...]
    copies: Mapping[str, tuple[str, ...]]
    values: Mapping[str, Translated]

    def name(self, source: str, name: str | None) -> str | None:
        """The name of a source's property, from the one before it; None: it becomes none."""
        if name is None and matches(source, self.add):
            name = source
        field, _, key = source.partition(".")
        if name is None or matches(source, self.drop) or matches(field, self.drop):
            return None
        if self.keep is not None and not matches(source, self.keep) and not matches(field, self.keep):
            return None
        for glob, pattern in self.rename:
            if matches(source, (glob,)):
                name = _filled_in(pattern, field=key or field, property=name)
        return name

    def removes(self, field: str) -> bool:
        """Whether it keeps a field from being sent, at the top of the event too."""
        return matches(field, self.drop) or (self.keep is not None and not matches(field, self.keep))

    def copies_of(self, source: str) -> Iterator[str]:
        """The further properties of a source."""
        for glob, names in self.copies.items():
            if matches(source, (glob,)):
                yield from names

    def change_of(self, source: str) -> Change | None:
        """How it changes the values of a source: by the first table whose glob matches."""
        return next((table for glob, table in self.values.items() if matches(source, (glob,))), None)

    def reaches_into(self, field: str) -> bool:
        """Whether it may say something of the keys of that JSON text."""
        if self.keep is not None:
            return True
        globs = (*self.add, *self.drop, *(glob for glob, _ in self.rename), *self.copies, *self.values)
        return any(is_glob(each) or each == field or each.startswith(f"{field}.") for each in globs)


def _filled_in(pattern: str, **words: str) -> str:
    return re.sub(r"\{(field|property)\}", lambda match: words[match[1]], pattern)


@dataclass(frozen=True, slots=True)
class PropertyRules:
    """What becomes of fields as properties."""

    never: frozenset[str]
    """Identity and the like: no `add` brings them back."""
    dropped: frozenset[str]
    """Fields that are no property, for whatever reason: identity, lifted, exploded, left out."""
    renamed: Mapping[str, str]
    """Field -> property, where the names differ."""
    known: frozenset[str]
    """Fields that are known, whatever becomes of them."""
    unknown_fields: Literal["send", "drop"]
    """What to do with fields that are neither known nor dropped."""
    edits: tuple[Edit, ...] = ()
    private: PrivateFields = NOTHING_PRIVATE

    def targets(self, source: str, name: str | None = None) -> tuple[Target, ...]:
        """The properties that a field, or `field.key` of a JSON text, becomes.

        *name* is the one that the rules start from: by default, what the preset makes of the field.
        """
        is_private, change = self.private.find(source)
        if is_private and change is None:
            return ()
        name = self._by_preset(source) if name is None else name
        copies: list[str] = []
        for edit in self.edits:
            name = None if source in self.never else edit.name(source, name)
            copies += edit.copies_of(source)
            if not is_private:
                change = one_after_other(change, edit.change_of(source))
        if not is_private:
            change = one_after_other(self.private.within(source, is_known=source in self.known), change)
        names = copies if name is None else [name, *copies]
        return tuple((each, change) for each in names)

    def author(self, source: str) -> str | None:
        """The rule that had the last word on a source's properties; None: no rule says anything of it."""
        author, name = None, self._by_preset(source)
        for edit in self.edits:
            before, name = name, edit.name(source, name)
            if name != before or any(edit.copies_of(source)) or edit.change_of(source):
                author = edit.rule
        return author

    def reaches_into(self, field: str) -> bool:
        """Whether some rule may be about the keys of that JSON text."""
        return bool(self.private.rules) or any(edit.reaches_into(field) for edit in self.edits)

    def _by_preset(self, field: str) -> str | None:
        if field in self.dropped or (self.unknown_fields == "drop" and field not in self.known):
            return None
        return self.renamed.get(field, field)


def label(number: int, rule: Rule) -> str:
    """What a rule is called in words for people."""
    return f"rule {rule.rule!r}" if rule.rule else f"rule {number}"


class TypeRules:
    """Those of *rules* that are about *event_type*, in their order."""

    def __init__(
        self, rules: Iterable[Rule], event_type: str, private: PrivateFields, groups: Groups
    ) -> None:
        self._rules = [
            rule.model_copy(update={"rule": label(number, rule)})
            for number, rule in enumerate(rules, 1)
            if groups.select(rule.events, event_type)
        ]
        self._event_type = event_type
        self._private = private
        self._groups = groups

    def naming(self, title: Naming, preset_name: Naming) -> Naming:
        """What the events are called: the last rule that says so wins, and may build on those before."""
        name = preset_name
        for rule in self._rules:
            if rule.name is not None:
                words = {"title": title, "name_before": name, "event_type": Naming.of(self._event_type)}
                name = Naming.parse(rule.name, words)
        return Naming.of(*(self._public(part) for part in name.parts))

    def _public(self, part: str | FieldText) -> str | FieldText:
        """A field that must not travel is as good as null."""
        if isinstance(part, str):
            return part
        is_private, change = self._private.find(part.field)
        return part.default or "" if is_private and change is None else part

    @cached_property
    def parsed(self) -> dict[str, str]:
        """Field with JSON in a text -> prefix of the properties."""
        return {field: prefix for rule in self._rules for field, prefix in rule.parse.items()}

    @cached_property
    def fixed(self) -> dict[str, Any]:
        """Property -> its value in every event."""
        fixed = {name: value for rule in self._rules for name, value in rule.set_to.items()}
        return {name: value for name, value in fixed.items() if value is not None}

    @cached_property
    def lifted_groups(self) -> tuple[Mapping[str, str], ...]:
        """Groups of fields that go to the top of the event; none with a field that must not travel."""
        groups = self._groups
        if matches(self._event_type, groups.never_lifted):
            return ()
        names = dict.fromkeys(name for rule in self._rules for name in rule.lift)
        chosen = (groups.lift[name] for name in names)
        return tuple(group for group in chosen if not any(map(self.touches, group)))

    def touches(self, field: str) -> bool:
        """Whether a field can't go to the top of the event as it is: it is private, removed or changed."""
        return field in self._private or any(
            edit.removes(field) or edit.change_of(field) for edit in self.edits
        )

    @cached_property
    def edits(self) -> tuple[Edit, ...]:
        """What the rules do to properties; a rule that does nothing to them is left out."""
        return tuple(
            Edit(
                rule=rule.rule or "",
                add=rule.add,
                keep=rule.keep,
                drop=rule.drop,
                rename=tuple(rule.rename.items()),
                copies=rule.copy_to,
                values={field: Translated(table) for field, table in rule.values.items()},
            )
            for rule in self._rules
            if rule.add or rule.keep is not None or rule.drop or rule.rename or rule.copy_to or rule.values
        )


@dataclass(frozen=True, slots=True)
class Explosion:
    """A field with a JSON object as text: each key becomes a property with `prefix` before its name.

    `rules` is None where no rule is about its keys.
    """

    field: str
    prefix: str
    rules: PropertyRules | None = None


def exploder(explosion: Explosion, repairs: Counter[str]) -> Explode:
    """Make the function that takes a text apart; null values are left out, and null gives nothing.

    What is bad JSON, no object, or nested deeper than Amplitude takes, goes whole under the field's own name,
    as the text it is, and *repairs* counts it beside what else was mended.
    """
    field, prefix = explosion.field, explosion.prefix
    rules = None if explosion.rules is None else _Targets(explosion, explosion.rules)

    def explode(text: Any) -> dict[str, Any]:
        if text is None:
            return {}
        parsed, is_strict = read_json(text)
        if not isinstance(parsed, dict) or (len(text) > _SHALLOW and _is_too_deep(text, parsed)):
            return _whole(field, text, rules, repairs)
        if not is_strict or len(text) > MAX_TEXT:
            parsed = mend(parsed, repairs)
        if rules is None:
            return {prefix + key: value for key, value in parsed.items() if value is not None}
        return _ruled(parsed, rules)

    return explode


def _is_too_deep(text: str, parsed: dict[str, Any]) -> bool:
    # Counting brackets is cheap and never too low: nearly every text is spared the walk.
    return text.count("{") + text.count("[") > MAX_DEPTH < depth_of(parsed)


def _whole(field: str, text: Any, rules: _Targets | None, repairs: Counter[str]) -> dict[str, Any]:
    repairs["json_left_whole"] += 1
    value = mend_text(text, repairs) if isinstance(text, str) else text
    return {field: value} if rules is None else _ruled({None: value}, rules)


def _ruled(parsed: Mapping[Any, Any], rules: _Targets) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for key, value in parsed.items():
        if value is not None:
            for name, change in rules[key]:
                changed = value if change is None else change(value)
                if changed is not None:
                    properties[name] = changed
    return properties


class _Targets(dict[str | None, tuple[Target, ...]]):
    """Key -> its properties, asked of the rules once for each; None is the whole text."""

    def __init__(self, explosion: Explosion, rules: PropertyRules) -> None:
        super().__init__()
        self._explosion = explosion
        self._rules = rules

    def __missing__(self, key: str | None) -> tuple[Target, ...]:
        if len(self) >= _REMEMBERED:
            self.clear()
        field, prefix = self._explosion.field, self._explosion.prefix
        source, name = (field, field) if key is None else (f"{field}.{key}", prefix + key)
        targets = self[key] = self._rules.targets(source, name)
        return targets
