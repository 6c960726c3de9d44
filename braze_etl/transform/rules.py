"""The rules of a mapping as they concern one event type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from braze_etl.config import Rule
from braze_etl.globs import matches
from braze_etl.transform.groups import Groups
from braze_etl.transform.naming import FieldText, Naming
from braze_etl.transform.privacy import PrivateFields, Translated
from braze_etl.transform.properties import Edit


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
