"""What a verification was asked, and what it has found: as JSON, and as the note that the ledger keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from braze_etl.amplitude.export import AMPLITUDE
from braze_etl.clock import iso
from braze_etl.engine.report import RunReport
from braze_etl.flows.currents_to_amplitude.source import Scope
from braze_etl.flows.currents_to_amplitude.verification.comparison import Result, Tally
from braze_etl.flows.currents_to_amplitude.verification.counts import DayCount
from braze_etl.flows.currents_to_amplitude.verification.expected import NotComparable
from braze_etl.flows.currents_to_amplitude.verification.reasons import Likely

SETTLED_AFTER: Final = timedelta(hours=24)
MOST_BYTES: Final = 20_000_000_000
MISSING: Final = 6
_TYPES_NOTED: Final = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """What is verified: the hours of *scope*, or what the run *run_id* has settled.

    What was accepted *settle* ago is to be there. Of *export*, no more than *max_download* bytes are read.
    *list_to* is a file for all that is missing. A repair sends what is older than Amplitude's de-duplication
    only *beyond_dedup*.
    """

    scope: Scope | None = None
    run_id: str | None = None
    export: str = AMPLITUDE
    settle: timedelta = SETTLED_AFTER
    max_download: int = MOST_BYTES
    list_to: Path | None = None
    counts: bool = False
    """Whether daily totals are compared instead of events."""
    beyond_dedup: bool = False

    def concerns(self, hour: datetime | None) -> bool:
        """Whether files of that hour may be meant."""
        return self.scope is None or hour is None or hour in self.scope


@dataclass(slots=True)
class Verification:
    """What a verification has found, and what was repaired."""

    asked: Asked
    pipeline: str
    started_at: datetime
    result: Result = field(default_factory=Result)
    files: int = 0
    not_comparable: Counter[NotComparable] = field(default_factory=Counter)
    hours: list[datetime] = field(default_factory=list)
    """The hours of the export that were read."""
    downloaded: int = 0
    reasons: list[Likely] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)
    counts: list[DayCount] = field(default_factory=list)
    repair: RunReport | None = None
    left_alone: Counter[str] = field(default_factory=Counter)
    """Missing events that a repair does not send, by the reason."""
    finished_at: datetime | None = None

    @property
    def repaired(self) -> int:
        """Missing events that Amplitude has accepted now."""
        return self.repair.events.accepted if self.repair else 0

    @property
    def exit_code(self) -> int:
        """That of a repair that did not come to its end; else 6 while anything is missing."""
        if self.repair and self.repair.exit_code:
            return self.repair.exit_code
        return MISSING if self.result.total.missing > self.repaired else 0

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON values; no person is named."""
        error = self.repair.error if self.repair else None
        return {
            "exit_code": self.exit_code,
            **({"error": error.as_dict()} if error else {}),
            **self._facts(),
            "files": {"compared": self.files, "not_comparable": self.not_comparable.total()},
            "not_comparable": {reason.value: files for reason, files in self.not_comparable.most_common()},
            "hours": {
                "from": iso(self.hours[0]) if self.hours else None,
                "to": iso(self.hours[-1]) if self.hours else None,
                "count": len(self.hours),
            },
            "downloaded": self.downloaded,
            "total": asdict(self.result.total),
            "by_event_type": self._by(lambda key: key[0]),
            "by_amplitude_event_type": self._by(lambda key: key[1]),
            "foreign": dict(self.result.foreign.most_common()),
            "duplicates": self.result.duplicates,
            "reasons": [likely.as_dict() for likely in self.reasons],
            "missing": self.examples,
            "counts": [count.as_dict() for count in self.counts] if self.asked.counts else None,
            "repaired": self.repaired,
            "left_alone": dict(self.left_alone),
            "repair": self.repair and self.repair.as_dict(),
        }

    def note(self) -> dict[str, Any]:
        """What the ledger keeps of it, for `status`, `report` and metrics."""
        missing = Counter[str]()
        for (event_type, _), tally in self.result.tallies.items():
            missing[event_type] += tally.missing
        return {
            "exit_code": self.exit_code,
            **self._facts(),
            "total": asdict(self.result.total),
            "missing_by_event_type": dict((+missing).most_common(_TYPES_NOTED)),
            "foreign": self.result.foreign.total(),
            "not_comparable": self.not_comparable.total(),
            "repaired": self.repaired,
        }

    def _facts(self) -> dict[str, Any]:
        scope, end = self.asked.scope, self.finished_at
        return {
            "pipeline": self.pipeline,
            "from": iso(scope.since) if scope else None,
            "until": iso(scope.until) if scope and scope.until else None,
            "run_id": self.asked.run_id,
            "export": self.asked.export,
            "started_at": iso(self.started_at),
            "finished_at": iso(end) if end else None,
        }

    def _by(self, name_of: Callable[[tuple[str, str]], str]) -> dict[str, dict[str, int]]:
        tallies: dict[str, Tally] = {}
        for key, tally in sorted(self.result.tallies.items()):
            tallies.setdefault(name_of(key), Tally()).add(tally)
        return {name: asdict(tally) for name, tally in tallies.items()}
