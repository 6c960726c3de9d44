"""Whether the source is the one that the ledger knows: under another prefix, each file is due once more."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

from braze_etl.checkpoint import LedgerSummary
from braze_etl.model import FileRef
from braze_etl.telemetry import get_logger

UNFAMILIAR: Final = "unfamiliar_files"
WORDS: Final = (
    "none of the files of hours that were delivered before is known to the ledger: if the source's keys lie "
    "under another prefix now, all of it is sent again, and counts twice after 7 days"
)
_MANY: Final = 10
"""Fewer may have come late to a source in which else nothing happened."""
_LATE: Final = timedelta(hours=2)
_log = get_logger(__name__)


class Familiarity:
    """Counts what a listing finds in hours *before* that one, of which nothing was left undelivered."""

    def __init__(self, before: datetime | None) -> None:
        self._before = before
        self._known = 0
        self._unknown = 0

    @classmethod
    def of(cls, summary: LedgerSummary) -> Familiarity:
        """With nothing to expect of a ledger that has not delivered yet."""
        if summary.last_delivery is None or summary.last_listing is None:
            return cls(None)
        seen = summary.last_listing - _LATE
        return cls(min(seen, summary.backlog.oldest_hour or seen))

    def note(self, listed: Iterable[FileRef], known: Collection[str]) -> None:
        """Take in some files of the listing, and which keys of them the ledger knows."""
        if self._before is None:
            return
        for ref in listed:
            if ref.hour < self._before:
                self._known += ref.key in known
                self._unknown += ref.key not in known

    @property
    def strangers(self) -> int:
        """How many such files there are, if none is known; 0 where the source is the old one."""
        return self._unknown if self._unknown >= _MANY and not self._known else 0

    def tell(self) -> None:
        """Write it to the log."""
        if self.strangers:
            _log.warning(
                WORDS,
                files=self.strangers,
                remedy="stop it if that is so; name the old prefix in source.uri, or begin a new ledger",
            )
