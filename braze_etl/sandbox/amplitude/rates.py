"""Rates of users and devices, the daily quota, and the rate of the project (amplitude.md, 1.2 and 1.3).

Not documented, and chosen here: only events that were ingested count, so a refused request does not push its
ids further out; user_id and device_id are counted apart, each endpoint counts its own rates, and the daily
quota is common to both endpoints. Every event of an id over its limit is listed, not only the excess. A
request that holds more events of one id than a whole window allows is refused whenever it comes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from braze_etl.sandbox.amplitude.replies import EndpointLimits, Limits, Reply, refusal

_DAY, _HOUR = 86_400, 3_600


class SlidingCounts:
    """Counts by id over the last *span* seconds: an event counts until its bucket has left the span."""

    def __init__(self, span: int, bucket: int) -> None:
        self._bucket = bucket
        self._buckets_held = span // bucket
        self._totals: Counter[str] = Counter()
        self._buckets: deque[tuple[int, Counter[str]]] = deque()

    def over(self, coming: Mapping[str, int], most: int, now: float) -> dict[str, int]:
        """Return the ids that what is coming would lift over *most*, with the total each would reach."""
        self._expire(now)
        totals = self._totals
        return {
            name: total for name, count in coming.items() if (total := count + totals.get(name, 0)) > most
        }

    def add(self, coming: Mapping[str, int], now: float) -> None:
        """Count what was ingested at *now*, in seconds."""
        number = int(now // self._bucket)
        if not self._buckets or self._buckets[-1][0] != number:
            self._buckets.append((number, Counter()))
        self._buckets[-1][1].update(coming)
        self._totals.update(coming)

    def _expire(self, now: float) -> None:
        oldest = int(now // self._bucket) - self._buckets_held
        while self._buckets and self._buckets[0][0] <= oldest:
            for name, count in self._buckets.popleft()[1].items():
                left = self._totals[name] - count
                if left:
                    self._totals[name] = left
                else:
                    del self._totals[name]


@dataclass(frozen=True, slots=True)
class Load:
    """How many events of a request belong to each user_id and device_id, and to the project."""

    users: Counter[str]
    devices: Counter[str]
    events: int


def load_of(events: Sequence[Mapping[str, Any]]) -> Load:
    """Count a request's ids; an event without device_id counts for its user alone."""
    users = Counter([event["user_id"] for event in events if event.get("user_id") is not None])
    devices = Counter([event["device_id"] for event in events if event.get("device_id") is not None])
    return Load(users, devices, len(events))


class _EndpointRates:
    def __init__(self, own: EndpointLimits, window: int) -> None:
        self.own = own
        self._window = window
        self._users = SlidingCounts(window, 1)
        self._devices = SlidingCounts(window, 1)
        self._project = SlidingCounts(1, 1)

    def project_over(self, load: Load, now: float) -> bool:
        most = self.own.project_eps
        return most is not None and bool(self._project.over({"": load.events}, most, now))

    def over(self, load: Load, now: float) -> tuple[dict[str, int], dict[str, int]]:
        most = self.own.eps * self._window
        return self._as_eps(self._users.over(load.users, most, now)), self._as_eps(
            self._devices.over(load.devices, most, now)
        )

    def _as_eps(self, totals: dict[str, int]) -> dict[str, int]:
        # Rounded up, so that what is over the threshold also reads as over the threshold.
        return {name: -(-total // self._window) for name, total in totals.items()}

    def add(self, load: Load, now: float) -> None:
        self._users.add(load.users, now)
        self._devices.add(load.devices, now)
        self._project.add({"": load.events}, now)


class Rates:
    """Who may send how much; memory grows with the ids of the last 24 hours."""

    def __init__(self, limits: Limits) -> None:
        self._quota = limits.daily_quota
        self._day_users = SlidingCounts(_DAY, _HOUR)
        self._day_devices = SlidingCounts(_DAY, _HOUR)
        self._endpoints = {
            path: _EndpointRates(own, limits.rate_window) for path, own in limits.endpoints.items()
        }

    def refusal(self, path: str, events: Sequence[Mapping[str, Any]], load: Load, now: float) -> Reply | None:
        """Build the 429, or None if every id is within its limits.

        For a project over its rate the body holds no names: its text is not documented.
        """
        rates = self._endpoints[path]
        if rates.project_over(load, now):
            return refusal(429, "Too many requests", eps_threshold=rates.own.project_eps)
        users, devices = rates.over(load, now)
        day_users = self._day_users.over(load.users, self._quota, now)
        day_devices = self._day_devices.over(load.devices, self._quota, now)
        if not (users or devices or day_users or day_devices):
            return None
        listed = _events_of(events, users.keys() | day_users.keys(), devices.keys() | day_devices.keys())
        return refusal(
            429,
            "Too many requests for some devices and users",
            eps_threshold=rates.own.eps,
            throttled_users=users,
            throttled_devices=devices,
            throttled_events=listed,
            exceeded_daily_quota_users=day_users,
            exceeded_daily_quota_devices=day_devices,
        )

    def add(self, path: str, load: Load, now: float) -> None:
        """Count a request that was ingested."""
        self._endpoints[path].add(load, now)
        self._day_users.add(load.users, now)
        self._day_devices.add(load.devices, now)


def _events_of(events: Sequence[Mapping[str, Any]], users: set[str], devices: set[str]) -> list[int]:
    return [
        index
        for index, event in enumerate(events)
        if event.get("user_id") in users or event.get("device_id") in devices
    ]
