"""Names that are nearly the same, and in what they differ."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

_PREFIX = re.compile(r"^(?:\[[^\]]*\]\s*)+")
_WORD = re.compile(r"[^\W_]+")
_ALIKE: Final = 0.7
"""How much of two words must agree for one to be a spelling of the other: Receive, Received."""


@dataclass(frozen=True, slots=True)
class Near:
    """A name of ours and one of theirs that may mean the same, and what makes the difference."""

    ours: str
    theirs: str
    differs_in: str

    def as_dict(self) -> dict[str, str]:
        """As JSON values."""
        return {"ours": self.ours, "theirs": self.theirs, "differs_in": self.differs_in}


def nearest(ours: Iterable[str], theirs: Iterable[str]) -> list[Near]:
    """For each of our names, the one of theirs that is nearest to it, if one is near at all."""
    candidates = sorted(theirs)
    found = []
    for name in sorted(ours):
        near = [(rank, other, words) for other in candidates for rank, words in _difference(name, other)]
        if near:
            _, other, words = min(near)
            found.append(Near(name, other, words))
    return found


def _difference(ours: str, theirs: str) -> list[tuple[int, str]]:
    """The difference with its rank, the smallest first; empty where names have little in common."""
    if ours.casefold() == theirs.casefold():
        return [(0, "upper and lower case")]
    if _letters(ours) == _letters(theirs):
        return [(1, "spaces and punctuation")]
    own, other = _PREFIX.sub("", ours), _PREFIX.sub("", theirs)
    if _letters(own) == _letters(other):
        return [(2, "the prefix")]
    return _in_one_word(_WORD.findall(own), _WORD.findall(other))


def _letters(name: str) -> str:
    return "".join(_WORD.findall(name)).casefold()


def _in_one_word(ours: list[str], theirs: list[str]) -> list[tuple[int, str]]:
    changes = [
        (ours[begin:end], theirs[start:stop])
        for tag, begin, end, start, stop in _matcher(ours, theirs).get_opcodes()
        if tag != "equal"
    ]
    match changes:
        case [([own], [])] if theirs:
            return [(4, f"the word {own!r}, which they do not have")]
        case [([], [other])] if ours:
            return [(4, f"the word {other!r}, which we do not have")]
        case [([own], [other])] if SequenceMatcher(None, own, other).ratio() >= _ALIKE:
            return [(3, f"{own!r}, which they spell {other!r}")]
    return []


def _matcher(ours: list[str], theirs: list[str]) -> SequenceMatcher[str]:
    return SequenceMatcher(
        None, [word.casefold() for word in ours], [word.casefold() for word in theirs], autojunk=False
    )
