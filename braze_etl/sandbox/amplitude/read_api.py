"""Amplitude's APIs for reading, over what the project holds (amplitude-read.md); no socket.

===========================================  =====================================================
`GET /api/2/export`                          hours of server_upload_time, as a zip
`GET /api/2/events/segmentation`             totals of an event type by day
`GET /api/2/events/list`                     event types; those that are dropped come as deleted
`GET /api/2/usersearch`, `useractivity`      one user, and its events
`GET /api/3/cohorts`, `/api/5/cohorts/...`   cohorts, and their download in three steps
===========================================  =====================================================
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Final
from zoneinfo import ZoneInfo

import orjson

from braze_etl.sandbox.amplitude.cohorts import LINK, Cohort, Cohorts
from braze_etl.sandbox.amplitude.export import HOUR, amplitude_id, exported, zipped
from braze_etl.sandbox.amplitude.rates import SlidingCounts
from braze_etl.sandbox.amplitude.replies import RawReply, Reply, read_refusal

if TYPE_CHECKING:
    from braze_etl.sandbox.amplitude.project import Project

_DAYS: Final = 365
_A_PAGE: Final = 1_000
_ZIP: Final = {"Content-Type": "application/zip"}
_BY_USER: Final = ("/api/2/usersearch", "/api/2/useractivity")


@dataclass(frozen=True, slots=True)
class Question:
    """A request: its path and query, `Authorization`, and the address that the client used."""

    path: str
    query: Mapping[str, str]
    authorization: str = ""
    base: str = ""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a project answers: *export_delay* in seconds; without a *secret_key* any pair of keys will do.

    With no delay, what is held is exported at once, whether its hour is over or not.
    """

    secret_key: str | None = None
    export_delay: float = 7_200.0
    time_zone: str = "UTC"
    cohorts: Sequence[Cohort] = ()


class ReadApi:
    """Answers questions about a project. Like it, not for several threads at once."""

    def __init__(self, project: Project, options: ReadOptions) -> None:
        self._project = project
        self._options = options
        self._zone = UTC if options.time_zone == "UTC" else ZoneInfo(options.time_zone)
        self._cohorts = Cohorts(options.cohorts, project.clock, project.limits)
        self._costs = SlidingCounts(300, 1)
        self._by_user = SlidingCounts(3_600, 60)
        self._days: tuple[int, Counter[tuple[date, str]]] = (-1, Counter())

    @staticmethod
    def knows(path: str) -> bool:
        """Whether *path* is one of Amplitude's for reading."""
        return path.startswith(("/api/", LINK))

    def answer(self, question: Question, at_once: int = 1) -> Reply | RawReply:
        """Answer one of so many questions that are asked *at_once*."""
        path = question.path
        if path.startswith(LINK):
            number, ends = path.removeprefix(LINK), question.query.get("expires", "")
            return self._cohorts.linked(number, ends, credentials=bool(question.authorization))
        refused = self._refusal(question, at_once)
        if refused is not None:
            return refused
        route = self._ROUTES.get(path)
        return route(self, question) if route is not None else self._of_cohorts(question)

    def _refusal(self, question: Question, at_once: int) -> Reply | None:
        """Refuse wrong keys (403, as others have seen it) and too many questions; the order is a choice."""
        if not question.authorization.startswith("Basic "):
            return read_refusal(401, "unauthorized", "no credentials")
        key, secret = self._project.api_key, self._options.secret_key
        expected = "Basic " + b64encode(f"{key}:{secret}".encode()).decode()
        if key is not None and secret is not None and question.authorization != expected:
            return read_refusal(403, "forbidden", "wrong API key or secret key")
        limits, by_user = self._project.limits, question.path in _BY_USER
        if at_once > (2 if by_user else 1) * limits.reads_at_once:
            return read_refusal(429, "too_many_requests", "exceeded concurrent limit")
        if by_user and not self._take(self._by_user, 1, limits.user_reads_an_hour):
            return read_refusal(429, "too_many_requests", "exceeded hourly limit")
        return None

    def _take(self, counts: SlidingCounts, cost: int, most: int) -> bool:
        now = self._project.clock()
        if counts.over({"": cost}, most, now):
            return False
        counts.add({"": cost}, now)
        return True

    def _export(self, question: Question) -> Reply | RawReply:
        try:
            start, end = (_hour(question.query.get(name, "")) for name in ("start", "end"))
        except ValueError:
            return read_refusal(400, "bad_request", "start and end are hours as YYYYMMDDTHH")
        if not start <= end < start + _DAYS * 24 * HOUR:
            return read_refusal(400, "bad_request", "end must be 0 to 365 days after start")
        delay = self._options.export_delay
        if delay:
            loaded = int((self._project.clock() - delay) * 1000) // HOUR * HOUR
            end = min(end, loaded - HOUR)
        events = self._project.store.keeper.between(start, end + HOUR)
        first = next(events, None)
        if first is None:
            return read_refusal(404, "not_found", "Raw data files were not found.")
        content = zipped(chain((first,), events))
        if len(content) > self._project.limits.export_bytes:
            return read_refusal(400, "bad_request", "the size of the exported data is above the limit")
        return RawReply(200, content, _ZIP)

    def _segmentation(self, question: Question) -> Reply:
        query = question.query
        try:
            name = orjson.loads(query.get("e", ""))["event_type"]
            first, last = (datetime.strptime(query.get(each, ""), "%Y%m%d") for each in ("start", "end"))  # noqa: DTZ007 - days
        except (ValueError, KeyError, TypeError):
            return read_refusal(400, "bad_request", "e is an event, start and end are days as YYYYMMDD")
        if query.get("m") != "totals" or query.get("i", "1") != "1" or last < first:
            return read_refusal(400, "bad_request", "the stand-in knows daily totals alone")
        days = [(first + timedelta(days=index)).date() for index in range((last - first).days + 1)]
        if not self._take(self._costs, len(days), self._project.limits.segmentation_cost):
            return read_refusal(429, "too_many_requests", "exceeded rate limit of cost in 5 minutes")
        totals = self._daily()
        series = [totals[day, name] for day in days]
        data = {
            "series": [series],
            "seriesLabels": [0],
            "seriesCollapsed": [[{"setId": "", "value": sum(series)}]],
            "xValues": [day.isoformat() for day in days],
        }
        return Reply(200, {"data": data})

    def _daily(self) -> Counter[tuple[date, str]]:
        """Events by their day in the project's time zone and type; counted anew when there are more."""
        held = self._project.store.held
        if self._days[0] != held:
            counted = Counter(
                (datetime.fromtimestamp(event["event_time"] / 1000, self._zone).date(), event["event_type"])
                for event in self._everything()
            )
            self._days = held, counted
        return self._days[1]

    def _everything(self) -> Iterable[dict[str, Any]]:
        for event in self._project.store.keeper.between(0, 1 << 62):
            yield {"event_time": event["server_upload_time"], **event}

    def _event_types(self, _question: Question) -> Reply:
        store = self._project.store
        names = {**store.by_event_type, **dict.fromkeys(store.dropped, 0)}
        blocked = self._project.drops.event_types
        entries = [
            {
                "value": name,
                "name": name,
                "display": name,
                "totals": total,
                "deleted": name in blocked,
                "hidden": False,
                "non_active": False,
            }
            for name, total in sorted(names.items())
        ]
        return Reply(200, {"data": entries})

    def _search(self, question: Question) -> Reply:
        asked = question.query.get("user", "")
        found = dict[int, dict[str, Any]]()
        for event in self._everything():
            number, user = amplitude_id(event), event.get("user_id")
            if asked in (str(number), event.get("device_id")) or (
                asked and str(user or "").startswith(asked)
            ):
                seen = f"{datetime.fromtimestamp(event['event_time'] / 1000, UTC):%Y-%m-%d}"
                found[number] = {"user_id": user, "amplitude_id": number, "country": None, "last_seen": seen}
        return Reply(200, {"matches": list(found.values()), "type": "match_user_or_device_id"})

    def _activity(self, question: Question) -> Reply:
        query = question.query
        try:
            number, offset = int(query.get("user", "")), int(query.get("offset", "0"))
            limit = min(int(query.get("limit", _A_PAGE)), _A_PAGE)
        except ValueError:
            return read_refusal(400, "bad_request", "user is an Amplitude ID, offset and limit are numbers")
        events = [event for event in self._everything() if amplitude_id(event) == number]
        if not events:
            return read_refusal(404, "not_found", f"no user {number}")
        events.sort(key=itemgetter("event_time"), reverse=query.get("direction") != "earliest")
        user: dict[str, Any] = {
            "user_id": events[0].get("user_id"),
            "canonical_amplitude_id": number,
            "merged_amplitude_ids": [],
            "device_ids": sorted({str(event.get("device_id")) for event in events}),
            "num_events": len(events),
            "properties": {},
        }
        page = [exported(event) for event in events[offset : offset + limit]]
        return Reply(200, {"userData": user, "events": page})

    def _of_cohorts(self, question: Question) -> Reply | RawReply:
        match question.path.strip("/").split("/"):
            case ["api", "3", "cohorts"]:
                return self._cohorts.list()
            case ["api", "5", "cohorts", "request", name]:
                return self._cohorts.request(name)
            case ["api", "5", "cohorts", "request-status", number]:
                return self._cohorts.status(number)
            case ["api", "5", "cohorts", "request", number, "file"]:
                return self._cohorts.file(number, question.base)
        return read_refusal(404, "not_found", "Invalid request path")

    _ROUTES: ClassVar[Mapping[str, Callable[[ReadApi, Question], Reply | RawReply]]] = {
        "/api/2/export": _export,
        "/api/2/events/segmentation": _segmentation,
        "/api/2/events/list": _event_types,
        "/api/2/usersearch": _search,
        "/api/2/useractivity": _activity,
    }


def _hour(text: str) -> int:
    """The hour in milliseconds; ValueError for anything else."""
    moment = datetime.strptime(text, "%Y%m%dT%H").replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1000
