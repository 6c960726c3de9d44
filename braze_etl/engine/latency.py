"""How old files and records are when they are accepted: histograms that add up over runs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from braze_etl.model import FileSettlement, FileState

BOUNDS: Final = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0, 172800.0, 604800.0)
"""Seconds; those of 24 and 48 hours are the defaults of `window.warn_at` and `window.objective`."""


@dataclass(slots=True)
class Histogram:
    """How often a value lay at or below each bound, and the sum of all values."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    """One for each bound, not cumulative, and one for what is above the last."""
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value that was seen so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def add(self, other: Histogram) -> None:
        """Add what *other*, of the same bounds, has seen."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def buckets(self) -> list[tuple[str, float]]:
        """The cumulative counts by upper bound, the last of which is `+Inf`."""
        below, buckets = 0, list[tuple[str, float]]()
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            below += count
            buckets.append((bound, below))
        return buckets

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them with the same bounds."""
        return {"counts": self.counts, "total": round(self.total, 3)}

    @classmethod
    def from_dict(cls, bounds: tuple[float, ...], value: Mapping[str, Any]) -> Self:
        """Read what `as_dict` gave; what was kept with other bounds begins anew."""
        counts = list(value.get("counts", ()))
        return cls(bounds, counts, value["total"]) if len(counts) == len(bounds) + 1 else cls(bounds)


def _histogram() -> Histogram:
    return Histogram(BOUNDS)


@dataclass(slots=True)
class Latency:
    """Two ages at the moment of acceptance, in seconds.

    `file` is that of a file since its modification, once for each file that is done with a record accepted.
    `event` is that of the `date=` hour since its beginning, once for each record accepted: an hour too much
    at most, as in the window.
    """

    file: Histogram = field(default_factory=_histogram)
    event: Histogram = field(default_factory=_histogram)

    def note(self, files: Iterable[FileSettlement], now: datetime) -> None:
        """Count files whose settlement has just come in; what nothing was accepted of has no latency."""
        for file in files:
            if not file.accepted:
                continue
            self.event.observe(max(0.0, (now - file.ref.hour).total_seconds()), file.accepted)
            if file.state is FileState.DONE:
                self.file.observe(max(0.0, (now - file.ref.modified).total_seconds()))

    def add(self, other: Latency) -> None:
        """Add what *other* has seen."""
        self.file.add(other.file)
        self.event.add(other.event)

    def as_facts(self) -> dict[str, Any]:
        """The means for the run report, in seconds; null where nothing was accepted."""
        return {
            "files": sum(self.file.counts),
            "file_to_accepted": _mean(self.file),
            "records": sum(self.event.counts),
            "hour_to_accepted": _mean(self.event),
        }

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, which `from_dict` reads."""
        return {"file": self.file.as_dict(), "event": self.event.as_dict()}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Latency:
        """Read what `as_dict` gave."""
        return cls(*(Histogram.from_dict(BOUNDS, value.get(name, {})) for name in ("file", "event")))


def _mean(seen: Histogram) -> float | None:
    count = sum(seen.counts)
    return round(seen.total / count, 1) if count else None
