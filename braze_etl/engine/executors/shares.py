"""Over how many processes the limits of a service are split, told so that they never exceed the whole.

Members are what takes a share: a process, or a machine with several. Each confirms a share once it keeps to
it, with nothing beyond it in flight any more.

1. A member that becomes ready counts from then on, and has no share yet: it begins nothing.
2. All that have a share are told the new number. One that may do less from now on goes on with what it has in
   flight, and confirms when that is within its new share.
3. Only when all of them have confirmed the number does a new member get its share. Whenever that is, so many
   processes as the number says have a share at most, and none of them a larger one.
4. A member that is gone has nothing in flight that we could know of. The others are told at once, and grow.

Confirmations are counted, for a number may be told again while an earlier one is still on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

from braze_etl.engine.tasks import Share


@dataclass(slots=True)
class _Member:
    tell: Callable[[Share], None]
    processes: int
    told: int = 0
    unconfirmed: int = 0


class Shares:
    """Who has which share. *given*: the number comes from above (see `give`), 0 until it does."""

    def __init__(self, *, given: bool = False) -> None:
        self._given = 0 if given else None
        self._members: dict[Hashable, _Member] = {}

    def join(self, member: Hashable, tell: Callable[[Share], None], *, processes: int = 1) -> None:
        """*member* is ready, with so many processes; *tell* sends it a share."""
        self._members[member] = _Member(tell, processes)
        self._spread()

    def leave(self, member: Hashable) -> None:
        """*member* is gone, if it was one."""
        if self._members.pop(member, None):
            self._spread()

    def confirm(self, member: Hashable) -> None:
        """*member* keeps to the share that it was told; it says so once for each that it is told."""
        if found := self._members.get(member):
            found.unconfirmed -= 1
            self._spread()

    def give(self, share: Share) -> None:
        """Take over the number that holds for more than these members."""
        self._given = share.processes
        self._spread()

    @property
    def confirmed(self) -> int:
        """The number that every member keeps to; 0 while one does not."""
        number = self._number()
        kept = all(each.told == number and not each.unconfirmed for each in self._members.values())
        return number if kept else 0

    def _number(self) -> int:
        if self._given is not None:
            return self._given
        return sum(each.processes for each in self._members.values())

    def _spread(self) -> None:
        number = self._number()
        sharing = [each for each in self._members.values() if each.told]
        self._tell([each for each in sharing if each.told != number], number)
        if number and not any(each.unconfirmed for each in sharing):
            self._tell([each for each in self._members.values() if not each.told], number)

    @staticmethod
    def _tell(members: list[_Member], number: int) -> None:
        for each in members:
            each.told = number
            each.unconfirmed += 1
            each.tell(Share(number))
