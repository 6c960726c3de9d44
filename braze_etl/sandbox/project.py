"""An Amplitude project as its ingestion shows it: bodies in, replies out, no socket, no clock of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import Any, Literal, TypeAlias

from braze_etl.sandbox.findings import examine
from braze_etl.sandbox.holding import Arrival, Hold, Holding
from braze_etl.sandbox.limits import Limits
from braze_etl.sandbox.rates import Rates, load_of
from braze_etl.sandbox.reply import Reply, accepted, refusal, silenced
from braze_etl.sandbox.request import Request, read_request

Lists: TypeAlias = Literal["all", "first"]
"""Whether a 400 names every bad event or the first of each field: both are documented (amplitude.md, 1.2)."""

_DEFAULT_LIMITS = Limits()


class Project:
    """What Amplitude would hold of one project.

    *clock* gives seconds since the epoch. Without *api_key* any key is taken. The checks run in this order
    (not documented): envelope, key, event fields, silenced devices, rates and quota; the first that fails
    answers for the whole request and nothing of it is ingested. Not for several threads at once:
    `SandboxServer` locks.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        api_key: str | None = None,
        limits: Limits = _DEFAULT_LIMITS,
        lists: Lists = "all",
        hold: Hold = "events",
        silenced_devices: Collection[str] = (),
    ) -> None:
        self.limits = limits
        self._clock = clock
        self._api_key = api_key
        self._only_first = lists == "first"
        self._hold: Hold = hold
        self._silenced_devices = frozenset(silenced_devices)
        self.reset()

    def reset(self) -> None:
        """Forget everything that was held and counted."""
        self._holding = Holding(self._hold, self.limits.dedup_window, self.limits.max_string)
        self._rates = Rates(self.limits)
        self._unknown: Counter[str] = Counter()
        self._received = 0
        self._ingested = 0

    def ingest(self, endpoint: str, body: bytes) -> Reply:
        """Answer one uncompressed request body sent to the path *endpoint* (`/batch` or `/2/httpapi`).

        `events_ingested` counts duplicates too: whether Amplitude's does is not documented.
        """
        limits = self.limits.endpoints.get(endpoint)
        if limits is None:
            return refusal(404, "Invalid request path")
        request = read_request(body, limits, self.limits)
        if isinstance(request, Reply):
            return request
        self._received += len(request.events)
        refused = self._key_refusal(request) or self._events_refusal(request)
        if refused is None:
            refused = self._silenced_refusal(request, limits.eps)
        return refused or self._take(endpoint, request)

    def _key_refusal(self, request: Request) -> Reply | None:
        key = request.api_key
        if type(key) is str and self._api_key in {None, key}:
            return None
        return refusal(400, f"Invalid API key: {key}")

    def _events_refusal(self, request: Request) -> Reply | None:
        found = examine(request.events, request.min_id_length, self.limits)
        self._unknown.update(found.unknown)
        return found.refusal(only_first=self._only_first)

    def _silenced_refusal(self, request: Request, eps: int) -> Reply | None:
        blocked = self._silenced_devices
        if not blocked:
            return None
        listed = [index for index, event in enumerate(request.events) if event.get("device_id") in blocked]
        if not listed:
            return None
        devices = dict.fromkeys(str(request.events[index]["device_id"]) for index in listed)
        return silenced(list(devices), listed, eps)

    def _take(self, endpoint: str, request: Request) -> Reply:
        now = self._clock()
        load = load_of(request.events)
        refused = self._rates.refusal(endpoint, request.events, load, now)
        if refused is not None:
            return refused
        self._rates.add(endpoint, load, now)
        self._holding.take(request.events, Arrival.of(now, request.client_upload_time), now)
        self._ingested += len(request.events)
        return accepted(len(request.events), request.size, now)

    def events(self) -> Iterator[dict[str, Any]]:
        """Go through what is held, in order of arrival.

        Whole events come with the server's `device_id`, `event_time`, `server_received_time` and
        `server_upload_time` (milliseconds); with `hold="ids"` each has `event_type` and `insert_id` only.
        """
        return iter(self._holding.keeper)

    def stats(self) -> dict[str, Any]:
        """Count events: received in readable requests = refused + ingested, ingested = held + duplicates."""
        holding = self._holding
        return {
            "events_received": self._received,
            "events_ingested": self._ingested,
            "events_held": holding.held,
            "duplicates": holding.duplicates,
            "users": len(holding.users),
            "by_event_type": dict(sorted(holding.by_event_type.items())),
            "unknown_keys": dict(sorted(self._unknown.items())),
        }
