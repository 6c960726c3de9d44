"""Globs over names, keys and values: `*` is any text and `?` any character; all else stands for itself.

Brackets too, unlike in a shell: Amplitude and Braze put them into names (`[Amplitude] Cohort`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_WILD = {"*": ".*", "?": "."}


@lru_cache(maxsize=4096)
def glob(pattern: str) -> re.Pattern[str]:
    """The pattern whose `fullmatch` tells what the glob matches; upper and lower case are two things."""
    return re.compile("".join(_WILD.get(each) or re.escape(each) for each in pattern), re.DOTALL)


def is_glob(text: str) -> bool:
    """Whether *text* may stand for more than itself."""
    return any(wild in text for wild in _WILD)


def matches(name: str, globs: Iterable[str]) -> bool:
    """Whether some glob matches."""
    return any(glob(each).fullmatch(name) for each in globs)


def selects(name: str, globs: Iterable[str]) -> bool:
    """Whether some glob matches and no `!glob` does; nothing but excludes selects all the rest."""
    wanted: list[str] = []
    unwanted: list[str] = []
    for each in globs:
        (unwanted if each.startswith("!") else wanted).append(each.removeprefix("!"))
    if not wanted:
        return bool(unwanted) and not matches(name, unwanted)
    return matches(name, wanted) and not matches(name, unwanted)
