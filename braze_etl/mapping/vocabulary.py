"""The validation of a mapping: words that nobody knows, each with the nearest one, and the author's tests."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeAlias

from braze_etl.braze.currents.catalogue import load_catalogue
from braze_etl.globs import glob, is_glob, matches
from braze_etl.mapping.choice import CUSTOM_EVENT
from braze_etl.mapping.groups import PII, Groups
from braze_etl.mapping.mapper import mapper_for
from braze_etl.mapping.mapping import EventMapping
from braze_etl.mapping.names import RESERVED, Naming
from braze_etl.mapping.presets import Preset, load_preset
from braze_etl.mapping.rules import label
from braze_etl.mapping.settings import Example, MappingSection, Rule, Selector
from braze_etl.model import Event, Outcome, Reason, Record, Verdict

Found: TypeAlias = Iterator[tuple[tuple[str | int, ...], str]]
"""Mistakes: the path below the mapping section, and words that begin with whose they are."""

_BRACES = re.compile(r"[{}]")
_PATTERN = re.compile(r"\{(?:field|property)\}")
_NAME_WORDS = {"title", "name_before", "event_type"}
_EVENT_KEYS = {
    *("user_id", "device_id", "event_type", "time", "insert_id", "library", "event_properties"),
    *("price", "productId", "adid", "idfa", "platform", "os_version", "device_model"),
    *("location_lat", "location_lng"),
}
"""What an event of ours may have at its top."""
_NEVER_HASHED = ("id", "time", "user_id")
_NEVER_DROPPED = (*_NEVER_HASHED, "external_user_id", "device_id")

_FILLED_IN = {
    "id": "11111111-2222-4333-8444-555555555555",
    "user_id": "64d2f0c1a2b3c4d5e6f70819",
    "external_user_id": "customer-0001",
}
_TIME = 1_790_000_000


def mistakes(section: MappingSection) -> Found:
    """Find the words that stand for nothing, and the parts that can't be meant."""
    checker = _Checker(section)
    for kind, selectors in (("include", section.choose.include), ("exclude", section.choose.exclude)):
        for number, selector in enumerate(selectors):
            yield from checker.selector(("choose", kind, number), selector)
    for number, rule in enumerate(section.rules):
        yield from checker.rule(("rules", number), rule)
    yield from checker.privacy()
    for number, name in enumerate(section.fields):
        if is_glob(name):
            yield ("fields", number), f"fields takes names, and {name} is a glob"
    for number, example in enumerate(section.tests):
        yield from checker.example(("tests", number), example)


def known_types(mapping: EventMapping) -> list[str]:
    """The Currents types of the catalogue and of the preset, and those that the mapping names, sorted."""
    return sorted({*load_catalogue(), *mapping.event_types, *mapping.named_types})


def unknown_types(section: MappingSection, names: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Find event types and groups that nobody knows among *names*."""
    for path, words in _Checker(section).types((), "", names):
        yield int(path[0]), words.removeprefix(": ")


class _Checker:
    """Knows the words of one mapping: the preset's, and those that the mapping brings in itself."""

    def __init__(self, section: MappingSection) -> None:
        self._section = section

    # Each is made when a mapping first needs it: every command starts with a check, most of next to nothing.
    @cached_property
    def _preset(self) -> Preset:
        return load_preset(self._section.preset)

    @cached_property
    def _groups(self) -> Groups:
        return self._preset.groups

    @cached_property
    def _types(self) -> set[str]:
        return {*self._preset.event_types, *(name for name in self._section.send if not is_glob(name))}

    @cached_property
    def _fields(self) -> set[str]:
        return {*self._preset.all_words, *self._section.fields}

    def selector(self, path: tuple[str | int, ...], selector: Selector) -> Found:
        yield from self.types((*path, "events"), "choose", selector.events)
        yield from self.fields((*path, "where"), "choose", selector.where)

    def rule(self, path: tuple[str | int, ...], rule: Rule) -> Found:
        """One of the rules."""
        whose = label(int(path[-1]) + 1, rule)
        yield from self.types((*path, "events"), whose, rule.events)
        for key, names in (
            ("parse", rule.parse),
            ("add", rule.add),
            ("keep", rule.keep or ()),
            ("drop", rule.drop),
            ("rename", rule.rename),
            ("copy", rule.copy_to),
            ("values", rule.values),
        ):
            yield from self.fields((*path, key), whose, names)
        for field in filter(is_glob, rule.parse):
            yield (*path, "parse", field), f"{whose}: parse takes the names of fields, and {field} is a glob"
        for field, pattern in rule.rename.items():
            if _BRACES.search(_PATTERN.sub("", pattern)):
                yield (*path, "rename", field), f"{whose}: {pattern!r} knows {{field}} and {{property}} only"
        if rule.name is not None:
            yield from self._name((*path, "name"), whose, rule)

    def privacy(self) -> Found:
        privacy = self._section.privacy
        for key, names in (("drop", privacy.drop), ("hash", privacy.hash)):
            yield from self.fields(("privacy", key), "privacy", [name for name in names if name != PII])
        for name in privacy.drop:
            for field in filter(glob(name).fullmatch, _NEVER_DROPPED):
                words = f"privacy: {_told(field, name)} can't be under drop"
                yield ("privacy", "drop"), f"{words}: no event can do without it, see identity and suppress"
        if self._is_nameless():
            words = "privacy: name can't be under drop: all custom events would be one; name them by a rule"
            yield ("privacy", "drop"), words
        for name in _NEVER_HASHED:
            if name in privacy.hash:
                words = f"privacy: {name} can't be under hash: it is no property, and not sent as it is"
                yield ("privacy", "hash"), words
        if privacy.hash and not privacy.salt.get_secret_value():
            yield (
                ("privacy", "hash"),
                "privacy: hash needs a salt from the environment, such as salt: ${BRAZE_ETL_SALT}",
            )

    def _is_nameless(self) -> bool:
        """Whether custom events lose what tells them from each other."""
        if self._section.preset != "native" or not matches("name", self._section.privacy.drop):
            return False
        named = (rule for rule in self._section.rules if rule.name is not None)
        return not any(self._groups.select(rule.events, CUSTOM_EVENT) for rule in named)

    def example(self, path: tuple[str | int, ...], example: Example) -> Found:
        yield from self.types((*path, "event_type"), "tests", (example.event_type,))
        yield from self.fields((*path, "record"), "tests", example.record)
        for key in example.event or {}:
            if key not in _EVENT_KEYS:
                yield (*path, "event", key), f"tests: no event has the key {key}{_nearest(key, _EVENT_KEYS)}"
        if example.not_sent is not None:
            yield from _reason((*path, "not_sent"), example.not_sent)

    def types(self, path: tuple[str | int, ...], whose: str, names: Iterable[str]) -> Found:
        """Event types, which may begin with `!`; a glob may also mean what is still to come."""
        for number, name in enumerate(each.removeprefix("!") for each in names):
            if not is_glob(name) and name not in self._types and name not in self._groups.event_types:
                near = _nearest(name, [*self._types, *self._groups.event_types])
                yield (*path, number), f"{whose}: there is no event type {name}{near}"

    def fields(self, path: tuple[str | int, ...], whose: str, names: Iterable[str]) -> Found:
        """Fields, or `field.key` of a JSON text."""
        for number, name in enumerate(names):
            root = name.partition(".")[0]
            place = name if isinstance(names, Mapping) else number
            if name.startswith("!"):
                yield (
                    (*path, place),
                    f"{whose}: {name} excludes nothing here: only event types and values can",
                )
            elif not is_glob(name) and root not in self._fields:
                near = _nearest(root, self._fields)
                yield (*path, place), f"{whose}: there is no field {root}{near}"

    def _name(self, path: tuple[str | int, ...], whose: str, rule: Rule) -> Found:
        pattern = rule.name or ""
        naming = Naming.parse(pattern)
        texts = "".join(part for part in naming.parts if isinstance(part, str))
        if _BRACES.search(texts):
            yield path, f"{whose}: a brace is open in {pattern!r}; write {{field:-text}}"
        for part in naming.fields:
            if part.field in _NAME_WORDS:
                continue
            if part.field not in self._fields:
                near = _nearest(part.field, [*self._fields, *_NAME_WORDS])
                yield path, f"{whose}: there is no field {part.field}{near}"
            elif part.default is None and not self._always_has(part.field, rule):
                yield (
                    path,
                    f"{whose}: {part.field} may be null; say what stands for it then: {{{part.field}:-none}}",
                )
        if not naming.fields and pattern in RESERVED | {""}:
            yield path, f"{whose}: Amplitude refuses events that are called {pattern!r}"

    def _always_has(self, field: str, rule: Rule) -> bool:
        return field == "name" and set(self._groups.expand_types(rule.events)) == {CUSTOM_EVENT}


def _told(field: str, name: str) -> str:
    return field if field == name else f"{field}, which {name} matches,"


def _reason(path: tuple[str | int, ...], name: str) -> Found:
    reasons = [reason.value for reason in Reason if reason.outcome is not Outcome.DEFERRED]
    if name not in reasons:
        yield path, f"tests: there is no reason {name}{_nearest(name, reasons)}"


def _nearest(word: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0)
    return f"; the nearest is {near[0]}" if near else ""


def outcome_of(example: Example, mapping: EventMapping) -> Event | Verdict:
    """Map the record of an example; what every record has and this one is not given is filled in."""
    record: Record = {**_FILLED_IN, "time": _TIME, **example.record}
    time = record["time"]
    horizon = time if isinstance(time, int | float) else _TIME
    return mapper_for(mapping.plan(example.event_type))(record, horizon)


def differences(example: Example, mapping: EventMapping) -> list[str]:
    """Say where the outcome is not the one that the example states; empty when it is.

    Of an event, the keys that are stated are compared, and of `event_properties` the properties that are.
    """
    outcome = outcome_of(example, mapping)
    if isinstance(outcome, Verdict):
        if example.not_sent == outcome.reason.value:
            return []
        return [f"not sent: {outcome.reason.value} ({outcome.detail})"]
    if example.event is None:
        return [f"sent as {outcome['event_type']!r}, and must not be: {example.not_sent}"]
    return list(_compared(example.event, outcome))


def _compared(stated: dict[str, Any], event: Event) -> Iterator[str]:
    for key, value in stated.items():
        if key == "event_properties" and isinstance(value, dict):
            properties = event["event_properties"]
            yield from (
                _said(name, properties.get(name), want)
                for name, want in value.items()
                if properties.get(name) != want
            )
        elif event.get(key) != value:
            yield _said(key, event.get(key), value)


def _said(name: str, found: Any, wanted: Any) -> str:
    return f"{name} is {found!r}, and must be {wanted!r}"
