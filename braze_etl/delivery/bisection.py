"""Which item is at fault when a refusal names none.

The search halves the suspects: one request a level, for if the first half is accepted, the fault lies in the
other, and if not, the other half waits with all else that is not under suspicion. What waited is sent as one
request in the end. One item among n costs about log2(n) requests, one for the rest, and its confirmation.

The rule of evidence. A refusal without a name may come from a proxy that refuses everything, or for a
while. So an item is blamed only when it was refused, then *something else of its batch was accepted*, then
it was refused again, alone (twice, if the words are not the service's). Other batches are no evidence: they
may go another way, on a connection to a better proxy. Where nothing at all is accepted nobody is blamed:
that is a failure of the way, for which a run ends (see `BatchDelivery`), and the items stay open. The one
exception is a batch of one item: nothing is there to compare it with, so the service's own 400 has to come
five times, with back-offs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from braze_etl.delivery.destination import Refused

Ask: TypeAlias = Callable[[Sequence[int]], Refused | None]
"""Send these items; the refusal, or None when all of them are settled."""

_LONE_TRIES = 4
_BAD_REQUEST = 400


@dataclass(frozen=True, slots=True)
class _Suspect:
    """An item refused alone, when so many requests had been accepted."""

    index: int
    refusal: Refused
    accepted: int


def halves(indexes: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    """Cut *indexes* in two; the second part has one more of an odd number."""
    middle = len(indexes) // 2
    return indexes[:middle], indexes[middle:]


class Bisection:
    """One search. `accepted` counts the requests of this batch accepted so far; `pause(k)` is back-off k."""

    def __init__(self, ask: Ask, accepted: Callable[[], int], pause: Callable[[int], None]) -> None:
        self._ask = ask
        self._accepted = accepted
        self._pause = pause
        self._start = accepted()

    def run(self, indexes: Sequence[int], refusal: Refused) -> dict[int, str] | None:
        """The items at fault, each with the words of its refusal; *indexes* were just refused together.

        All others are settled on return. None: nothing was accepted, so nothing is known.
        """
        lone = len(indexes) == 1
        suspects = self._suspects(indexes, refusal)
        if suspects and not self._evidence():
            return self._lone(suspects[0]) if lone else None
        return {one.index: one.refusal.words for one in suspects if self._confirmed(one)}

    def _evidence(self) -> bool:
        return self._accepted() > self._start

    def _suspects(self, indexes: Sequence[int], refusal: Refused) -> list[_Suspect]:
        """Search again and again in what is left, unless nothing is accepted within two searches."""
        suspects: list[_Suspect] = []
        rest, answer = indexes, refusal
        searches_left = 2
        while rest and (searches_left or self._evidence()):
            searches_left = max(0, searches_left - 1)
            suspect, rest = self._search(rest, answer)
            suspects += [suspect] if suspect else []
            again = self._ask(rest) if rest else None
            if again is None:
                break
            answer = again
        return suspects

    def _search(self, group: Sequence[int], refusal: Refused) -> tuple[_Suspect | None, list[int]]:
        """Find one item at fault in *group*, which was refused; return it, and all that is not suspected."""
        cleared: list[int] = []
        answer: Refused | None = refusal
        for _ in range(math.ceil(math.log2(len(group)))):
            half, other = halves(group)
            if not half:
                break
            answer = self._ask(half)
            if answer is None:
                group = other
            else:
                group, cleared = half, [*other, *cleared]
        if answer is None:  # the last half was accepted: this item has not been asked alone
            answer = self._ask(group)
        suspect = _Suspect(group[0], answer, self._accepted()) if answer else None
        return suspect, cleared

    def _confirmed(self, suspect: _Suspect) -> bool:
        own = suspect.refusal.own_words
        bracketed = suspect.accepted > self._start
        confirmations = (not bracketed) + (not own)
        return all(self._refused_again(suspect, k, wait=not own) for k in range(1, confirmations + 1))

    def _lone(self, suspect: _Suspect) -> dict[int, str] | None:
        if not suspect.refusal.own_words or suspect.refusal.status != _BAD_REQUEST:
            return None
        sure = all(self._refused_again(suspect, k, wait=True) for k in range(1, _LONE_TRIES + 1))
        return {suspect.index: suspect.refusal.words} if sure else {}

    def _refused_again(self, suspect: _Suspect, attempt: int, *, wait: bool) -> bool:
        if wait:
            self._pause(attempt)
        return self._ask([suspect.index]) is not None
