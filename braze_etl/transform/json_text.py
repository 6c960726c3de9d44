"""JSON in a text, as Braze's customers write it."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from braze_etl.transform.limits import MAX_TEXT

# orjson makes the nearest number of an integer beyond 64 bits, which takes 19 digits or more. Of so many in a
# row, each ninth character of the text has two: to look there costs a tenth of looking through the text.
_STEP = 9
_TWO_DIGITS = re.compile("[0-9][0-9]")
_MANY_DIGITS = re.compile("[0-9][0-9]{18}")


def read_json(text: Any) -> tuple[Any, bool]:
    """What is in a text, and whether Amplitude can take it as it is, apart from its length and depth.

    Else it may hold NaN, infinity, half pairs, and integers of any length. None: it can't be read at all.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return _read_loosely(text), False
    if _TWO_DIGITS.search(text[::_STEP]) and _MANY_DIGITS.search(text):
        return _read_loosely(text), False
    return value, True


def _read_loosely(text: Any) -> Any:
    """What Python's own reader makes of it."""
    try:
        return _LOOSE.decode(text)
    except (ValueError, TypeError, RecursionError):
        return None


def _integer(digits: str) -> int | str:
    """The number; of one that is too long to be a text of Amplitude's, the digits: `mend` cuts them."""
    return int(digits) if len(digits) <= MAX_TEXT else digits


_LOOSE = json.JSONDecoder(parse_int=_integer)
