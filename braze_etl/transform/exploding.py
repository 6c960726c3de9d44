"""JSON in a text, taken apart into properties."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from braze_etl.transform.json_text import read_json
from braze_etl.transform.limits import MAX_DEPTH, MAX_TEXT, depth_of, mend, mend_text
from braze_etl.transform.privacy import Change

Explode: TypeAlias = Callable[[Any], dict[str, Any]]

_REMEMBERED = 10_000
"""Keys of one field whose names are kept; customers choose them, so there is no bound."""
_SHALLOW = 2 * MAX_DEPTH
"""Characters of which no text nests too deep: each level takes two brackets."""


class KeyRules(Protocol):
    """What becomes of the keys of a JSON text, where rules name some of them."""

    def targets(self, source: str, name: str) -> tuple[tuple[str, Change | None], ...]:
        """The properties that `field.key` becomes, if not just *name*, and how its value is changed."""
        ...


@dataclass(frozen=True, slots=True)
class Explosion:
    """A field with a JSON object as text: each key becomes a property with `prefix` before its name.

    `rules` is None where no rule is about its keys.
    """

    field: str
    prefix: str
    rules: KeyRules | None = None


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


class _Targets(dict["str | None", tuple[tuple[str, "Change | None"], ...]]):
    """Key -> its properties, asked of the rules once for each; None is the whole text."""

    def __init__(self, explosion: Explosion, rules: KeyRules) -> None:
        super().__init__()
        self._explosion = explosion
        self._rules = rules

    def __missing__(self, key: str | None) -> tuple[tuple[str, Change | None], ...]:
        if len(self) >= _REMEMBERED:
            self.clear()
        field, prefix = self._explosion.field, self._explosion.prefix
        targets = self[key] = (
            self._rules.targets(field, field)
            if key is None
            else self._rules.targets(f"{field}.{key}", prefix + key)
        )
        return targets
