"""JSON in a text, as Braze's customers write it."""

from __future__ import annotations

import json
from typing import Any

import orjson


def read_json(text: Any) -> tuple[Any, bool]:
    """What is in a text, and whether that is strict JSON; else it may hold NaN, infinity, half pairs.

    None where it can't be read at all.
    """
    try:
        return orjson.loads(text), True
    except orjson.JSONDecodeError:
        return _read_loosely(text), False


def _read_loosely(text: Any) -> Any:
    """What Python's own reader makes of it."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
