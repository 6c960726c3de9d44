"""A preset with a project's options: the mapping in force, and its plan for each event type."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from typing import Any

import orjson

from braze_etl.model import Reason
from braze_etl.transform.options import MappingOptions
from braze_etl.transform.plan import TypePlan
from braze_etl.transform.preset import Preset, TypeEntry, load_preset


class Mapping:
    """Plans by event type. Picklable, so that worker processes get the same mapping."""

    def __init__(self, preset: Preset, options: MappingOptions, fingerprint: str) -> None:
        self.options = options
        self.fingerprint = fingerprint
        """SHA-256 over the preset's data and the options, as hex digits: equal for equal outcomes."""
        self._preset = preset
        self._identity = replace(
            preset.identity, min_length=options.min_id_length, anonymous=options.anonymous
        )
        self._placeholders = preset.test_events if options.test_events == "filter" else None
        self._plans: dict[str, TypePlan] = {}

    @classmethod
    def load(cls, options: MappingOptions) -> Mapping:
        """Load the preset that *options* name; `ConfigError` when there is none of that name."""
        preset, data = load_preset(options.preset)
        return cls(preset, options, _fingerprint(data, options))

    @property
    def event_types(self) -> tuple[str, ...]:
        """The types that the preset lists, sorted."""
        return tuple(sorted({**self._preset.documented, **self._preset.undocumented}))

    def plan(self, event_type: str) -> TypePlan:
        """Give the plan for a Currents event type, listed or never seen before; made once."""
        plan = self._plans.get(event_type)
        if plan is None:
            plan = self._plans[event_type] = self._make(event_type)
        return plan

    def _make(self, event_type: str) -> TypePlan:
        preset, listed = self._preset, self._preset.entry(event_type)
        entry = listed or TypeEntry()
        title, name_field = self._title(event_type, entry)
        dropped = self._dropped(entry).union([name_field] if name_field else [])
        return TypePlan(
            event_type=event_type,
            listed=listed is not None,
            documented=event_type in preset.documented,
            title=title,
            name_field=name_field,
            withheld=self._withheld(event_type, listed),
            constants=preset.constants,
            lifted=entry.lift,
            advertising_ids=preset.advertising_ids,
            exploded=entry.explode,
            renamed=preset.rename,
            dropped=dropped,
            fields=preset.known_fields(entry) - dropped,
            unknown_fields=self.options.unknown_fields,
            identity=self._identity,
            placeholders=self._placeholders,
        )

    def _dropped(self, entry: TypeEntry) -> frozenset[str]:
        preset = self._preset
        common = preset.drop - preset.named_fields(entry)
        return preset.never_properties.union(common, entry.drop, entry.lift, entry.explode)

    def _title(self, event_type: str, entry: TypeEntry) -> tuple[str, str | None]:
        title = self._preset.prefix + (entry.title or self._preset.titles.title(event_type))
        fixed, brace, field = title.partition("{")
        # Only the preset's own titles have a place for a field; a type's name may hold any character.
        return (fixed, field.rstrip("}")) if brace and entry.title else (title, None)

    def _withheld(self, event_type: str, listed: TypeEntry | None) -> Reason | None:
        if _matches(event_type, self.options.send):
            return None
        if _matches(event_type, self._preset.withheld):
            return Reason.NOT_IN_NATIVE
        held = listed is None and self.options.unknown_types == "hold"
        return Reason.HELD if held else None


def _matches(event_type: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(event_type, glob) for glob in globs)


def _fingerprint(data: Any, options: MappingOptions) -> str:
    text = orjson.dumps([data, asdict(options)], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()
