"""Single values: seconds to milliseconds, JSON in a text to properties."""

from __future__ import annotations

from typing import Any

import orjson

MAX_DEPTH = 40
"""How deep Amplitude lets event properties nest (amplitude.md, 1.4); orjson could not write 255 levels."""

END_OF_TIME = 253_402_300_800
"""The year 10000 in epoch seconds: Amplitude documents no bound and stores what it is sent."""

NUMERIC_KEYS = frozenset({"price", "quantity", "revenue"})
"""Keys at the top of an event that Amplitude takes as numbers; the others that fields go to are text."""

_NUMBER = (int, float)  # a tuple: `int | float` would be built anew for every record


def milliseconds(time: Any) -> int | None:
    """Turn epoch seconds into whole milliseconds; None for no number, or one outside 1970 to 9999."""
    if isinstance(time, bool) or not isinstance(time, _NUMBER):
        return None
    if not 0 <= time < END_OF_TIME:
        return None
    return round(time * 1000)


def fits(key: str, value: Any) -> bool:
    """Whether Amplitude takes *value* at the top of an event under *key*: numbers for price, else text."""
    if key in NUMERIC_KEYS:
        return isinstance(value, _NUMBER) and not isinstance(value, bool)
    return isinstance(value, str)


def explode(text: Any, prefix: str, field: str = "properties") -> dict[str, Any]:
    """Make a property of each key of a JSON object, under *prefix* and the key; null values are left out.

    Null gives nothing. What is bad JSON, no object, or nested deeper than Amplitude takes, goes whole under
    *field*, as the text it is.
    """
    if text is None:
        return {}
    parsed = _parse(text)
    if not isinstance(parsed, dict):
        return {field: text}
    return {prefix + key: value for key, value in parsed.items() if value is not None}


def _parse(text: Any) -> Any:
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    # Counting brackets is cheap and never too low: nearly every text is spared the walk.
    if len(text) > 2 * MAX_DEPTH and text.count("{") + text.count("[") > MAX_DEPTH < _depth(parsed):
        return None
    return parsed


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth
