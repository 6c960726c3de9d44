"""What Amplitude's Dashboard REST API tells: totals by day, event types, one user (amplitude-read.md, 4).

Answers are read tolerantly: what is missing of an entry is as if it said nothing. Without the part that was
asked for, an answer is `ReadError`; so is every other refusal of `RestApi`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import orjson

from braze_etl.amplitude.rest import RestApi
from braze_etl.clock import Clock
from braze_etl.errors import ReadError

COST: Final = 800
"""Of the 1,000 that a project may spend in `COST_SECONDS`: a query of one event type costs 1 a day (4.1)."""
COST_SECONDS: Final = 300.0

_A_PAGE: Final = 500


class DailyTotals:
    """Counts events by type and day; waits so that others can ask, too."""

    def __init__(self, api: RestApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._spent: deque[tuple[float, int]] = deque()

    def of(self, event_type: str, first: date, last: date) -> dict[date, int]:
        """Events of a type on each day from *first* to *last*, by event time in the project's time zone.

        At most 365 days. A day that the answer leaves out has none.
        """
        days = (last - first).days + 1
        self._spend(days)
        answer = self._api.get(
            "/api/2/events/segmentation",
            e=orjson.dumps({"event_type": event_type}).decode(),
            m="totals",
            i=1,
            start=f"{first:%Y%m%d}",
            end=f"{last:%Y%m%d}",
        )
        data: Any = answer.get("data")
        try:
            counted = dict(zip(map(_day, data["xValues"]), map(int, data["series"][0]), strict=True))
        except (LookupError, TypeError, ValueError):
            raise _other_form("daily totals") from None
        return {date.fromordinal(day): counted.get(day, 0) for day in _ordinals(first, days)}

    def _spend(self, cost: int) -> None:
        while self._spent:
            began, _ = self._spent[0]
            age = self._clock.monotonic() - began
            if age >= COST_SECONDS:
                self._spent.popleft()
            elif sum(each for _, each in self._spent) + cost > COST:
                self._api.pause(COST_SECONDS - age)
            else:
                break
        self._spent.append((self._clock.monotonic(), cost))


def _ordinals(first: date, days: int) -> range:
    return range(first.toordinal(), first.toordinal() + days)


def _day(text: str) -> int:
    return date.fromisoformat(text[:10]).toordinal()


@dataclass(frozen=True, slots=True)
class EventType:
    """What Amplitude knows of an event type; `total` is this week's. Hidden ones may not be listed (4.2)."""

    name: str
    total: int
    deleted: bool
    hidden: bool
    inactive: bool


def event_types(api: RestApi) -> dict[str, EventType]:
    """The event types that Amplitude has seen and lists, by name."""
    found = {}
    for entry in _entries(api.get("/api/2/events/list"), "data", "event types"):
        name = entry.get("value") or entry.get("name")
        if isinstance(name, str):
            total = entry.get("totals")
            found[name] = EventType(
                name,
                int(total) if isinstance(total, int | float) else 0,
                deleted=bool(entry.get("deleted")),
                hidden=bool(entry.get("hidden")),
                inactive=bool(entry.get("non_active")),
            )
    return found


def find_user(api: RestApi, user: str) -> int | None:
    """The Amplitude ID of exactly this user id, or device id; the search also finds prefixes (4.3)."""
    matches = _entries(api.get("/api/2/usersearch", user=user), "matches", "users")
    exact = [each for each in matches if each.get("user_id") == user]
    by_device = [each for each in matches if not str(each.get("user_id") or "").startswith(user)]
    numbers = (match.get("amplitude_id") for match in (*exact, *by_device))
    # It finds who has this number as Amplitude ID, too.
    return next((number for number in numbers if isinstance(number, int) and str(number) != user), None)


def activity(api: RestApi, amplitude_id: int, *, most: int = 10_000) -> Iterator[dict[str, Any]]:
    """The events of one user, the latest first, *most* of them at the most: hardly later than they were sent.

    Each page counts against 360 an hour (4.3). Whether events show their insert id is not documented: see
    `insert_id_of`.
    """
    given = 0
    while given < most:
        page = _entries(
            api.get("/api/2/useractivity", user=amplitude_id, offset=given, limit=_A_PAGE), "events", "events"
        )
        yield from page
        given += len(page)  # it may be more than were asked for: sessions stay whole
        if len(page) < _A_PAGE:
            return


def insert_id_of(event: dict[str, Any]) -> str | None:
    """The insert id of an event of a user's activity; None where Amplitude does not show it."""
    found = event.get("$insert_id") or event.get("insert_id")
    return found if isinstance(found, str) else None


def _entries(answer: dict[str, Any], name: str, what: str) -> list[dict[str, Any]]:
    entries = answer.get(name)
    if not isinstance(entries, list):
        raise _other_form(what)
    return [entry for entry in entries if isinstance(entry, dict)]


def _other_form(what: str) -> ReadError:
    return ReadError(
        f"Amplitude answered in another form than is documented for {what}",
        remedy="Check `amplitude.read_endpoint`; where it is Amplitude's own, tell the developers.",
    )
