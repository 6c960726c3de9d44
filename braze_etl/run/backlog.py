"""What is due and not delivered, kept as sums that shrink while a run settles files."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from braze_etl.checkpoint import Backlog, BacklogLine
from braze_etl.model import FileRef


class BacklogTally:
    """Adds what is discovered, takes away what is done; memory grows with hours and types, not with files."""

    def __init__(self) -> None:
        self._files: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._hours: Counter[datetime] = Counter()

    def discovered(self, ref: FileRef) -> None:
        """Count a file that is due."""
        self._add(ref, 1)

    def delivered(self, ref: FileRef) -> None:
        """Nothing of this file is owed any more."""
        self._add(ref, -1)

    def _add(self, ref: FileRef, sign: int) -> None:
        self._files[ref.event_type] += sign
        self._bytes[ref.event_type] += sign * ref.size
        self._hours[ref.hour] += sign
        if not self._hours[ref.hour]:
            del self._hours[ref.hour]

    def backlog(self) -> Backlog:
        """The sums, for the ledger and `status`."""
        lines = {
            event_type: BacklogLine(files, self._bytes[event_type])
            for event_type, files in sorted(self._files.items())
            if files
        }
        return Backlog(
            files=sum(line.files for line in lines.values()),
            bytes=sum(line.bytes for line in lines.values()),
            by_event_type=lines,
            oldest_hour=min(self._hours, default=None),
        )
