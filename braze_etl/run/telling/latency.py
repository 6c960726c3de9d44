"""How long data takes: from a file's arrival, and from the hour of its events, to their acceptance.

Measured by the file, when its task is settled, so that it costs nothing for an event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from braze_etl.model import FileSettlement, FileState
from braze_etl.telemetry import Histogram

BOUNDS: Final = (60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14400.0, 28800.0, 86400.0, 172800.0, 604800.0)
"""Seconds; those of 24 and 48 hours are the defaults of `window.warn_at` and `window.objective`."""


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
