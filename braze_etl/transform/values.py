"""Single values: seconds to milliseconds, and what fits at the top of an event."""

from __future__ import annotations

from typing import Any

from braze_etl.transform.limits import MAX_INTEGER

END_OF_TIME = 253_402_300_800
"""The year 10000 in epoch seconds: Amplitude documents no bound and stores what it is sent."""

NUMERIC_KEYS = frozenset({"price", "quantity", "revenue", "location_lat", "location_lng"})
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
        is_number = isinstance(value, _NUMBER) and not isinstance(value, bool)
        return is_number and (isinstance(value, float) or -MAX_INTEGER <= value <= MAX_INTEGER)
    return isinstance(value, str)
