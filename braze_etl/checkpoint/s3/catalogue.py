"""The catalogue of the older days: one object that says which object holds each of them.

The head names the days of late itself. A run within its look-back never reads the catalogue, however long
that is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from braze_etl.checkpoint.s3.head import CatalogueName, Head
from braze_etl.checkpoint.s3.objects import Objects

MOST_DAYS: Final = 24
"""That many days stand in the head before the older half moves into the catalogue."""


class Catalogue:
    """Reads the catalogue where it is needed, once for each version."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._stamp: str | None = None
        self._days: dict[str, str] = {}

    def stamp_of(self, head: Head, day: str) -> str | None:
        """The stamp of the object that holds *day*; None when there is none."""
        if day in head.days or head.catalogue is None or day > head.catalogue.through:
            return head.days.get(day)
        return self._older(head).get(day)

    def all_days(self, head: Head) -> dict[str, str]:
        """The stamps of all days, oldest first."""
        return dict(sorted((self._older(head) | dict(head.days)).items()))

    def trimmed(self, head: Head, stamp: str) -> Head:
        """Move the older half of the head's days into a new catalogue, if there are too many."""
        if len(head.days) <= MOST_DAYS:
            return head
        newest_first = sorted(head.days, reverse=True)
        kept, moved = newest_first[: MOST_DAYS // 2], newest_first[MOST_DAYS // 2 :]
        older = self._older(head) | {day: head.days[day] for day in moved}
        self._objects.put(f"catalogue/{stamp}", older)
        self._stamp, self._days = stamp, older
        days = {day: head.days[day] for day in kept}
        return replace(head, days=days, catalogue=CatalogueName(stamp, max(older)))

    def _older(self, head: Head) -> dict[str, str]:
        if head.catalogue is None:
            return {}
        if head.catalogue.stamp != self._stamp:
            self._days = self._objects.get(f"catalogue/{head.catalogue.stamp}")
            self._stamp = head.catalogue.stamp
        return self._days
