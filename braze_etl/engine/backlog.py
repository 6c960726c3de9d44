"""What is due and not delivered, kept as sums that shrink while a run settles files."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from braze_etl.model import FileRef
from braze_etl.state.ledger import Backlog, BacklogLine

HOURS_KEPT: Final = 240
"""Hours that keep a sum of their own: ten days, about 9 kB in the ledger. Older ones are one sum."""

_K = TypeVar("_K", bound=Hashable)


class _Sums(Generic[_K]):
    """Files and bytes by some key; what has no files has no line."""

    def __init__(self) -> None:
        self._sums: dict[_K, tuple[int, int]] = {}

    def add(self, key: _K, files: int, size: int) -> None:
        of_key = self._sums.get(key, (0, 0))
        total = (of_key[0] + files, of_key[1] + size)
        if total[0]:
            self._sums[key] = total
        else:
            self._sums.pop(key, None)

    def __iter__(self) -> Iterator[_K]:
        return iter(self._sums)

    def line(self, key: _K) -> BacklogLine:
        return BacklogLine(*self._sums[key])


class BacklogTally:
    """Adds what is discovered, takes away what is done; memory grows with hours and types, not with files."""

    def __init__(self) -> None:
        self._types = _Sums[str]()
        self._hours = _Sums[datetime]()

    def discovered(self, ref: FileRef) -> None:
        """Count a file that is due."""
        self._add(ref, 1)

    def delivered(self, ref: FileRef) -> None:
        """Nothing of this file is owed any more."""
        self._add(ref, -1)

    def _add(self, ref: FileRef, sign: int) -> None:
        self._types.add(ref.event_type, sign, sign * ref.size)
        self._hours.add(ref.hour, sign, sign * ref.size)

    def older_than(self, moment: datetime) -> int:
        """How many of the files belong to hours before that moment."""
        return sum(self._hours.line(hour).files for hour in self._hours if hour < moment)

    def backlog(self) -> Backlog:
        """The sums, for the ledger and `status`."""
        lines = {event_type: self._types.line(event_type) for event_type in sorted(self._types)}
        return Backlog(
            files=sum(line.files for line in lines.values()),
            bytes=sum(line.bytes for line in lines.values()),
            by_event_type=lines,
            oldest_hour=min(self._hours, default=None),
            by_hour=self._by_hour(),
        )

    def _by_hour(self) -> dict[datetime, BacklogLine]:
        kept = sorted(heapq.nlargest(HOURS_KEPT, self._hours))
        lines = {hour: self._hours.line(hour) for hour in kept}
        older = set(self._hours).difference(kept)
        if not older:
            return lines
        of_older = [self._hours.line(hour) for hour in older]
        files, size = sum(line.files for line in of_older), sum(line.bytes for line in of_older)
        return {min(older): BacklogLine(files, size), **lines}


_AGES: Final = (("under_6h", 6), ("6h_to_24h", 24), ("24h_to_48h", 48))
"""Names of ages, and the hours that they end at; the default window warns at 24 and is missed at 48."""
OLDEST_AGE: Final = "over_48h"


def by_age(backlog: Backlog, now: datetime) -> dict[str, BacklogLine]:
    """Sum up a backlog by the age that its `date=` hours have *now*; every age is named."""
    sums = {name: BacklogLine() for name in (*(name for name, _ in _AGES), OLDEST_AGE)}
    for hour, line in backlog.by_hour.items():
        age = (now - hour) / timedelta(hours=1)
        name = next((name for name, end in _AGES if age < end), OLDEST_AGE)
        sums[name] = BacklogLine(sums[name].files + line.files, sums[name].bytes + line.bytes)
    return sums
