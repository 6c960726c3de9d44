"""Behavioral cohorts: listed, requested, asked for, downloaded (amplitude-read.md, 1).

Not documented, and chosen here: a job is done at its second look; a file asked for before is a 404, and so is
an unknown cohort; over a limit it is 429. The link of a large file lies on the stand-in itself: it refuses a
request with credentials, as S3 does.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from braze_etl.sandbox.amplitude.rates import SlidingCounts
from braze_etl.sandbox.amplitude.replies import Limits, RawReply, Reply, read_refusal

LINK: Final = "/cohort-files/"
_LINK_SECONDS: Final = 60
_REQUEST_SECONDS: Final = 7 * 86_400
_CSV: Final = {"Content-Type": "text/csv", "Content-Encoding": "gzip"}


@dataclass(frozen=True, slots=True)
class Cohort:
    """A cohort: members as rows of its file, `amplitude_id` and `user_id` first; more keys for the list."""

    id: str
    members: Sequence[Mapping[str, Any]] = ()
    listed: Mapping[str, Any] = field(default_factory=dict)

    def entry(self, now: float) -> dict[str, Any]:
        """As the list shows it; what `listed` says stands over the rest."""
        usual = {
            "appId": 0,
            "archived": False,
            "definition": {"countGroup": {"name": "User"}},
            "description": "",
            "finished": True,
            "hidden": False,
            "id": self.id,
            "lastComputed": int(now),
            "lastMod": int(now),
            "name": self.id,
            "owners": [],
            "published": True,
            "size": len(self.members),
            "type": "redshift",
        }
        return {**usual, **self.listed}

    def file(self) -> bytes:
        """Its file: CSV with every value quoted, gzip."""
        names = list(
            dict.fromkeys(["amplitude_id", "user_id", *(key for row in self.members for key in row)])
        )
        text = io.StringIO()
        writer = csv.DictWriter(text, names, restval="", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(self.members)
        return gzip.compress(text.getvalue().encode(), mtime=0)


def load_cohorts(path: Path) -> list[Cohort]:
    """Read a JSON list of cohorts: `id`, `members`, and whatever the list is to show of each.

    Raises ValueError, in words, and OSError.
    """
    given = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(given, list) or not all(isinstance(each, dict) and "id" in each for each in given):
        raise ValueError("it must be a list of objects, each with an id")
    own = ("id", "members")
    return [
        Cohort(str(each["id"]), each.get("members", ()), {k: v for k, v in each.items() if k not in own})
        for each in given
    ]


@dataclass
class _Job:
    cohort: Cohort
    begun: float
    looks: int = 0


class Cohorts:
    """The cohorts of a project, and the requests for them."""

    def __init__(self, cohorts: Sequence[Cohort], clock: Callable[[], float], limits: Limits) -> None:
        self.held = {cohort.id: cohort for cohort in cohorts}
        self._clock = clock
        self._limits = limits
        self._jobs: dict[str, _Job] = {}
        self._recent = SlidingCounts(600, 1)
        self._months: dict[str, int] = {}

    def list(self) -> Reply:
        """`GET /api/3/cohorts`."""
        return Reply(200, {"cohorts": [cohort.entry(self._clock()) for cohort in self.held.values()]})

    def request(self, name: str) -> Reply:
        """`GET /api/5/cohorts/request/ID`: begins a job, against both limits."""
        now = self._clock()
        month = f"{datetime.fromtimestamp(now, UTC):%Y-%m}"
        if name not in self.held:
            return read_refusal(404, "not_found", f"no cohort {name}")
        if self._recent.over({name: 1}, self._limits.cohort_requests, now):
            return read_refusal(429, "too_many_requests", "60 requests of a cohort in 10 minutes")
        if self._months.get(month, 0) >= self._limits.cohort_requests_a_month:
            return read_refusal(429, "too_many_requests", "the downloads of this month are used up")
        self._recent.add({name: 1}, now)
        self._months[month] = self._months.get(month, 0) + 1
        number = f"r{len(self._jobs) + 1}"
        self._jobs[number] = _Job(self.held[name], now)
        return Reply(202, {"request_id": number, "cohort_id": name})

    def status(self, number: str) -> Reply:
        """`GET /api/5/cohorts/request-status/REQUEST`."""
        job = self._job(number)
        if job is None:
            return read_refusal(404, "not_found", f"no request {number}")
        job.looks += 1
        done = job.looks > 1
        words = "JOB COMPLETED" if done else "JOB INPROGRESS"
        body = {"request_id": number, "cohort_id": job.cohort.id, "async_status": words}
        return Reply(200 if done else 202, body)

    def file(self, number: str, base: str) -> Reply | RawReply:
        """`GET /api/5/cohorts/request/REQUEST/file`; *base* is where the stand-in listens."""
        job = self._job(number)
        if job is None or job.looks < 2:
            return read_refusal(404, "not_found", f"no file of request {number}")
        if len(job.cohort.members) <= self._limits.inline_members:
            return RawReply(200, job.cohort.file(), _CSV)
        ends = int(self._clock()) + _LINK_SECONDS
        return RawReply(302, headers={"Location": f"{base}{LINK}{number}?expires={ends}"})

    def linked(self, number: str, expires: str, *, credentials: bool) -> RawReply:
        """The file behind a link."""
        if credentials:
            return RawReply(400, b"<Error><Code>InvalidArgument</Code></Error>")
        job = self._job(number)
        if job is None or not expires.isdigit() or self._clock() > int(expires):
            return RawReply(403, b"<Error><Code>AccessDenied</Code></Error>")
        return RawReply(200, job.cohort.file(), _CSV)

    def _job(self, number: str) -> _Job | None:
        job = self._jobs.get(number)
        return None if job is None or self._clock() - job.begun > _REQUEST_SECONDS else job
