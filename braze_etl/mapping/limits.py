"""What Amplitude can't take as it is, and what is sent instead (amplitude.md, 1.4)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sized
from math import isfinite
from typing import Any, Final

import orjson

from braze_etl.model import Event

REPAIRS: Final = {
    "text_cut": "a text beyond 1,024 characters was cut there",
    "json_left_whole": "a text that is no JSON object, or nests too deep, was sent as the text it is",
    "nul_removed": "NUL characters were taken out of a text",
    "surrogates_replaced": "halves of surrogate pairs became U+FFFD",
    "integer_as_text": "an integer beyond 2^53 was sent as text",
    "number_left_out": "NaN or infinity was left out",
    "device_id_left_out": "a device id that Amplitude refuses was left out beside a good user id",
}
"""What is counted of what is mended, by name."""
MAX_TEXT = 1024
"""Characters of a text."""
MAX_INTEGER = (1 << 53) - 1
"""The largest whole number that every reader of JSON keeps exactly; the smallest is its negative."""
MAX_DEPTH = 40
"""How deep event properties may nest; orjson could not write 255 levels."""
MAX_PROPERTIES = 1024
"""Amplitude's own libraries throw away an object with more keys."""

_SURROGATE_TO_MARK = dict.fromkeys(range(55296, 57344), 65533)

# orjson makes the nearest number of an integer beyond 64 bits, which takes 19 digits or more. Of so many in a
# row, each ninth character of the text has two: to look there costs a tenth of looking through the text.
_STEP = 9
_TWO_DIGITS = re.compile("[0-9][0-9]")
_MANY_DIGITS = re.compile("[0-9][0-9]{18}")


def fit(value: Any, repairs: Counter[str]) -> Any:
    """Give *value* with what Amplitude would change silently mended; the rest is for `mend_event`.

    For every value of every record: what takes a look at each character is not looked for.
    """
    kind = value.__class__
    if kind is str:
        return value if len(value) <= MAX_TEXT else cut(value, repairs)
    if kind is int:
        return value if -MAX_INTEGER <= value <= MAX_INTEGER else _integer(value, repairs)
    return mend(value, repairs) if kind is list else value


def mend_event(event: Event, repairs: Counter[str]) -> None:
    """Mend the texts and numbers of an event in its place, and count the repairs."""
    event |= {key: mend(value, repairs) for key, value in event.items()}


def mend(value: Any, repairs: Counter[str]) -> Any:
    """Give *value* as Amplitude takes it; None where nothing is left of it."""
    if isinstance(value, str):
        return mend_text(value, repairs)
    if isinstance(value, float):
        return _number(value, repairs)
    if isinstance(value, int) and not isinstance(value, bool):
        return _integer(value, repairs)
    if isinstance(value, list):
        return [mended for item in value if (mended := mend(item, repairs)) is not None or item is None]
    return _object(value, repairs) if isinstance(value, dict) else value


def mend_text(text: str, repairs: Counter[str]) -> str:
    """A text without what has no place in one, and not too long."""
    if "\0" in text:
        repairs["nul_removed"] += 1
        text = text.replace("\0", "")
    if not text.isascii() and not _is_encodable(text):
        repairs["surrogates_replaced"] += 1
        text = text.translate(_SURROGATE_TO_MARK)
    return cut(text, repairs)


def cut(text: str, repairs: Counter[str]) -> str:
    if len(text) <= MAX_TEXT:
        return text
    repairs["text_cut"] += 1
    return text[:MAX_TEXT]


def too_many(properties: Sized) -> str:
    return f"has {len(properties)} properties; Amplitude takes {MAX_PROPERTIES}"


def depth_of(value: Any) -> int:
    """How many levels of objects and lists *value* nests."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _number(value: float, repairs: Counter[str]) -> float | None:
    if isfinite(value):
        return value
    repairs["number_left_out"] += 1
    return None


def _integer(value: int, repairs: Counter[str]) -> int | str:
    if -MAX_INTEGER <= value <= MAX_INTEGER:
        return value
    repairs["integer_as_text"] += 1
    return str(value)


def _object(value: dict[str, Any], repairs: Counter[str]) -> dict[str, Any]:
    mended = {mend_text(key, repairs): (mend(each, repairs), each) for key, each in value.items()}
    return {key: new for key, (new, old) in mended.items() if new is not None or old is None}


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


def _integer_text(digits: str) -> int | str:
    """The number; of one that is too long to be a text of Amplitude's, the digits: `mend` cuts them."""
    return int(digits) if len(digits) <= MAX_TEXT else digits


_LOOSE = json.JSONDecoder(parse_int=_integer_text)
