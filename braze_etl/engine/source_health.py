"""Whether the source is the one that the ledger knows: under another prefix, each file is due once more.

What a listing finds is held against what was delivered before. A source that holds nothing any more, or
strangers alone, is refused until somebody says that it is meant (`run --accept-source`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from braze_etl.clock import duration_text, iso
from braze_etl.engine.due import HOURS_KEPT
from braze_etl.errors import SourceError, StoreError
from braze_etl.logs import get_logger
from braze_etl.model import FileRef
from braze_etl.state.ledger import Backlog, Ledger, LedgerSummary

UNFAMILIAR: Final = "unfamiliar_files"
NOTHING_SELECTED: Final = "nothing_selected"
WORDS: Final = (
    "none of the files of hours that were delivered before is known to the ledger: the source's keys lie "
    "under another prefix now, or it is another export; all of it would be sent "
    "again, and count twice after 7 days"
)
_ACCEPTED_NOTE: Final = "accepted_source"
_MANY: Final = 10
"""Fewer may have come late to a source in which else nothing happened."""
_LATE: Final = timedelta(hours=2)
_NAMED: Final = 10
_ACCEPT: Final = "If this source is meant, `braze-etl run --accept-source` goes on with it."
_FOLDER: Final = "Point source.uri at the folder that holds the dataexport. folders."
_log = get_logger(__name__)


class Surroundings(Protocol):
    """What lies around a listing that found nothing."""

    @property
    def holds_objects(self) -> bool: ...
    @property
    def integrations(self) -> Collection[str]: ...
    @property
    def event_types(self) -> Collection[str]: ...


class Listing(Protocol):
    """A listing of the files of hours from *since* on, oldest first, with its counters.

    `files` were given; `unsettled` are too young, `foreign` are none, of which `misnamed` look like one.
    `folders` of selected types were found, of which some are `empty` or `unordered`; `passed_over` are those
    that are not selected. `requests` is how often the store was asked.
    """

    since: datetime
    files: int
    unsettled: int
    foreign: int
    misnamed: int
    folders: int
    empty: int
    unordered: int
    passed_over: set[str]
    requests: int

    def __iter__(self) -> Iterator[FileRef]: ...
    def surroundings(self) -> Surroundings: ...


class Familiarity:
    """Counts what a listing finds in hours *before* that one, less the files that were left *waiting*."""

    def __init__(self, before: datetime | None, waiting: Backlog | None = None) -> None:
        self._before = before
        lines = waiting.by_hour if waiting else {}
        self._waiting = {hour: line.files for hour, line in lines.items()}
        # Of a long backlog, the first hour stands for all that are older than the second.
        self._whole_from = sorted(lines)[1] if len(lines) > HOURS_KEPT else None
        self._unknown: Counter[datetime] = Counter()
        self.known = 0

    @classmethod
    def of(cls, summary: LedgerSummary) -> Familiarity:
        """With nothing to expect of a ledger that has not delivered yet."""
        if summary.last_delivery is None or summary.last_listing is None:
            return cls(None)
        seen, backlog = summary.last_listing - _LATE, summary.backlog
        if backlog.oldest_hour and not backlog.by_hour:
            return cls(min(seen, backlog.oldest_hour))
        return cls(seen, backlog)

    def note(self, listed: Iterable[FileRef], known: Collection[str]) -> None:
        """Take in some files of the listing, and which keys of them the ledger knows."""
        if self._before is None:
            return
        for ref in listed:
            if ref.hour < self._before:
                if ref.key in known:
                    self.known += 1
                else:
                    self._unknown[self._line(ref.hour)] += 1

    def _line(self, hour: datetime) -> datetime:
        return min(self._waiting) if self._whole_from and hour < self._whole_from else hour

    @property
    def strangers(self) -> int:
        """How many such files there are, if none is known; 0 where the source is the old one."""
        unknown = sum(max(0, files - self._waiting.get(hour, 0)) for hour, files in self._unknown.items())
        return unknown if unknown >= _MANY and not self.known else 0


@dataclass(frozen=True)
class Judgement:
    """What a listing gives cause to look at, by name. After a `refusal`, nothing is to be sent."""

    warnings: Counter[str]
    refusal: SourceError | None = None
    accepted: SourceError | None = None
    """What would be a refusal, if nobody had accepted it."""


@dataclass(frozen=True)
class Recognition:
    """Judges listings of the source at *uri*; *accepted*: somebody says that it is the one that is meant."""

    ledger: Ledger
    uri: str
    accepted: bool = False

    def judge(
        self, listing: Listing, seen: Familiarity, *, complete: bool, covers_all: bool = True
    ) -> Judgement:
        """Hold a listing of all or a part of what is due against what the ledger knows; writes nothing."""
        nothing = complete and not (listing.files or listing.unsettled)
        there = _surroundings(listing) if nothing else None
        warnings = Counter({"misnamed_files": listing.misnamed, UNFAMILIAR: seen.strangers})
        warnings += Counter(empty_event_folders=listing.empty, unordered_folders=listing.unordered)
        if there is not None and (not listing.folders or listing.passed_over):
            warnings[NOTHING_SELECTED] = 1
            _report_what_is_there(self.uri, there)
        empty = there is not None and not there.holds_objects and not listing.passed_over
        trouble = _trouble(self.uri, seen, empty=empty) if covers_all else None
        if trouble is None or self.ledger.summary().last_delivery is None:
            return Judgement(+warnings)
        if self.accepted or self._agreed:
            return Judgement(+warnings, accepted=trouble)
        return Judgement(+warnings, refusal=trouble)

    def remember(self, judged: Judgement, seen: Familiarity) -> None:
        """Note what was accepted: that holds until the ledger meets a file that it knows."""
        if judged.accepted is not None:
            if not self._agreed:
                self.ledger.put_note(_ACCEPTED_NOTE, {"uri": self.uri})
            _log.warning("the source is accepted as it is", otherwise=judged.accepted.message)
        elif seen.known and self.ledger.get_note(_ACCEPTED_NOTE):
            self.ledger.put_note(_ACCEPTED_NOTE, {})

    @property
    def _agreed(self) -> bool:
        return bool(self.ledger.get_note(_ACCEPTED_NOTE).get("uri") == self.uri)


def _surroundings(listing: Listing) -> Surroundings | None:
    """What lies around a listing that found nothing; None where that can't be told."""
    with suppress(StoreError):
        return listing.surroundings()
    return None


def _trouble(uri: str, seen: Familiarity, *, empty: bool) -> SourceError | None:
    if files := seen.strangers:
        return SourceError(
            f"Nothing is sent of the {files:,} files that are due in {uri}: {WORDS}.",
            remedy="Name the old place in source.uri, or select what was selected before; `plan` shows "
            f"what is due. {_ACCEPT}",
        )
    if empty:
        return SourceError(
            f"There is no Currents file below {uri}, and this ledger has delivered from its source before.",
            remedy=f"Correct source.uri, or see who emptied it. {_ACCEPT}",
        )
    return None


def _report_what_is_there(uri: str, there: Surroundings) -> None:
    if not there.event_types:
        _log.warning("there is no event type below source.uri", source=uri, remedy=_FOLDER)
        return
    _log.warning(
        "nothing of what lies below source.uri is selected",
        source=uri,
        integrations=sorted(there.integrations)[:_NAMED],
        event_types=sorted(there.event_types)[:_NAMED],
        remedy="Correct source.integrations or source.event_types.",
    )


_SOURCE_NOTE: Final = "source"
_REMEDY: Final = (
    "See in Braze whether the Current is on and its credentials hold, and whether source.uri, "
    "source.integrations and source.event_types still name what it writes."
)


@dataclass(frozen=True, slots=True)
class Freshness:
    """`newest_hour` is None where no file was ever found, and `listed` is whether anybody has looked."""

    stale_after: timedelta
    newest_hour: datetime | None = None
    listed: bool = False

    @classmethod
    def read(cls, ledger: Ledger, stale_after: timedelta) -> Freshness:
        """What the ledger remembers; one of an older release has not looked yet."""
        fact = ledger.get_note(_SOURCE_NOTE)
        hour = fact.get("newest_hour")
        return cls(stale_after, datetime.fromisoformat(hour) if hour else None, listed=bool(fact))

    @property
    def stale_at(self) -> datetime | None:
        """From when on it is stale, if nothing newer comes."""
        return self.newest_hour + self.stale_after if self.newest_hour else None

    def is_stale(self, now: datetime) -> bool:
        """Whether the source has gone quiet, or has never said anything."""
        return self.listed if self.stale_at is None else now >= self.stale_at

    def seeing(self, newest_hour: datetime | None) -> Freshness:
        """The same after another look at the source."""
        hours = [hour for hour in (self.newest_hour, newest_hour) if hour is not None]
        return replace(self, newest_hour=max(hours, default=None), listed=True)

    def words(self, now: datetime) -> str:
        """The newest hour with its age."""
        if self.newest_hour is None:
            return "no file was found yet" if self.listed else "not known yet"
        return f"{iso(self.newest_hour)} ({(now - self.newest_hour) / timedelta(hours=1):.1f} hours ago)"

    def trouble(self, now: datetime) -> str:
        """What is wrong, for people; empty where nothing is."""
        if not self.is_stale(now):
            return ""
        limit = duration_text(self.stale_after)
        return f"newest hour of the source: {self.words(now)}; the limit is {limit}. {_REMEDY}"

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """The `source` object of reports."""
        return {
            "newest_hour": iso(self.newest_hour) if self.newest_hour else None,
            "stale_after_hours": self.stale_after / timedelta(hours=1),
            "stale": self.is_stale(now),
        }


def note_newest_hour(ledger: Ledger, uri: str, found: datetime | None) -> None:
    """Remember what a complete listing of the source at *uri* found; what is quiet keeps its newest hour."""
    fact = ledger.get_note(_SOURCE_NOTE)
    hours = [iso(found)] if found else []
    if fact.get("uri") == uri and fact.get("newest_hour"):
        hours.append(fact["newest_hour"])
    now_known = {"uri": uri, "newest_hour": max(hours, default=None)}
    if now_known != fact:  # in S3 a note costs a request
        ledger.put_note(_SOURCE_NOTE, now_known)


def report_silence(freshness: Freshness, now: datetime) -> None:
    """Write to the log that the source is quiet, if it is."""
    if freshness.is_stale(now):
        _log.warning("the source is quiet", newest_hour=freshness.words(now), remedy=_REMEDY)
