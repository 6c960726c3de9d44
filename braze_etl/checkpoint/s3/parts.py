"""The parts of a ledger in S3, made for one set of objects."""

from __future__ import annotations

from dataclasses import dataclass

from braze_etl.checkpoint.s3.catalogue import Catalogue
from braze_etl.checkpoint.s3.days import Days
from braze_etl.checkpoint.s3.heads import Heads
from braze_etl.checkpoint.s3.journal import Journal
from braze_etl.checkpoint.s3.notes import Notes
from braze_etl.checkpoint.s3.objects import Objects
from braze_etl.checkpoint.s3.opens import Opens
from braze_etl.checkpoint.s3.runs import Runs


@dataclass(frozen=True, slots=True)
class Parts:
    """Each knows one kind of object, and keeps in memory what it last read of it."""

    objects: Objects
    heads: Heads
    journal: Journal
    catalogue: Catalogue
    days: Days
    opens: Opens
    runs: Runs
    notes: Notes

    @classmethod
    def of(cls, objects: Objects, heads: Heads) -> Parts:
        """Make the parts."""
        journal, catalogue = Journal(objects), Catalogue(objects)
        days, opens = Days(objects, journal, catalogue), Opens(objects, journal)
        return cls(objects, heads, journal, catalogue, days, opens, Runs(objects), Notes(objects))
