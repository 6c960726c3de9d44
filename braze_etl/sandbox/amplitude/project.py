"""An Amplitude project as its ingestion shows it: bodies in, replies out, no socket, no clock of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import orjson

from braze_etl.sandbox.amplitude.event_store import Arrival, Drops, EventStore, Hold
from braze_etl.sandbox.amplitude.events import validate
from braze_etl.sandbox.amplitude.rates import Rates, load_of
from braze_etl.sandbox.amplitude.read_api import Question, ReadApi, ReadOptions
from braze_etl.sandbox.amplitude.replies import (
    EndpointLimits,
    Limits,
    RawReply,
    Reply,
    accepted,
    missing_field,
    refusal,
    silenced,
)

Lists: TypeAlias = Literal["all", "first"]
"""Whether a 400 names every bad event or the first of each field: both are documented (amplitude.md, 1.2)."""

_DEFAULT_LIMITS = Limits()
_NO_DROPS = Drops()
_READ_OPTIONS = ReadOptions()


@dataclass(frozen=True, slots=True)
class Request:
    """A request body with its envelope checked; the events are as they came."""

    api_key: Any
    events: list[dict[str, Any]]
    min_id_length: int
    client_upload_time: Any
    size: int


def read_request(body: bytes, endpoint: EndpointLimits, limits: Limits) -> Request | Reply:
    """Check size, JSON and the required keys (amplitude.md, 1.1-1.3), in this order.

    Not documented: what a body is told that is no object, an `events` that is no list, and a bad option; a
    single event that is no object refuses the request without an index list.
    """
    if len(body) > endpoint.max_bytes:
        return refusal(413, "Payload too large")
    if not body:
        return refusal(400, "Missing request body")
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError:
        return refusal(400, "Invalid JSON request body")
    return _open(envelope, len(body), limits)


def _open(envelope: Any, size: int, limits: Limits) -> Request | Reply:
    if type(envelope) is not dict:
        return refusal(400, "Invalid JSON request body")
    if not envelope.get("api_key"):
        return missing_field("api_key")
    refused = _events_refusal(envelope.get("events"), limits.max_events)
    if refused is not None:
        return refused
    shortest = _min_id_length(envelope.get("options"), limits.min_id_length)
    if shortest is None:
        return refusal(400, "Invalid options: min_id_length must be an integer of at least 1")
    uploaded = envelope.get("client_upload_time")
    return Request(envelope["api_key"], envelope["events"], shortest, uploaded, size)


def _events_refusal(events: Any, most: int) -> Reply | None:
    if events is None or events == []:
        return missing_field("events")
    if type(events) is not list:
        return refusal(400, "Invalid JSON request body")
    if len(events) > most:
        return refusal(413, "Payload too large")
    if any(type(event) is not dict for event in events):
        return refusal(400, "Invalid event JSON")
    return None


def _min_id_length(options: Any, default: int) -> int | None:
    if options is None:
        return default
    if type(options) is not dict:
        return None
    length = options.get("min_id_length", default)
    return length if type(length) is int and length >= 1 else None


class Project:
    """What Amplitude would hold of one project.

    *clock* gives seconds since the epoch. Without *api_key* any key is taken. The checks run in this order
    (not documented): envelope, key, event fields, silenced devices, rates and quota; the first that fails
    answers for the whole request and nothing of it is ingested. Not for several threads at once:
    `SandboxServer` locks. What `drops` says is answered 200 and not held; it may be changed at any time.
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
        drops: Drops = _NO_DROPS,
        reads: ReadOptions = _READ_OPTIONS,
    ) -> None:
        self.limits = limits
        self.drops = drops
        self.clock = clock
        self.api_key = api_key
        self._only_first = lists == "first"
        self._hold: Hold = hold
        self._silenced_devices = frozenset(silenced_devices)
        self._reads = reads
        self.reset()

    def reset(self) -> None:
        """Forget everything that was held and counted."""
        self.store = EventStore(self._hold, self.limits.dedup_window, self.limits.max_string)
        self._rates = Rates(self.limits)
        self._read_api = ReadApi(self, self._reads)
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
        if type(key) is str and self.api_key in {None, key}:
            return None
        return refusal(400, f"Invalid API key: {key}")

    def _events_refusal(self, request: Request) -> Reply | None:
        found = validate(request.events, request.min_id_length, self.limits)
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
        now = self.clock()
        load = load_of(request.events)
        refused = self._rates.refusal(endpoint, request.events, load, now)
        if refused is not None:
            return refused
        self._rates.add(endpoint, load, now)
        self.store.take(request.events, Arrival.of(now, request.client_upload_time), now, self.drops)
        self._ingested += len(request.events)
        return accepted(len(request.events), request.size, now)

    def read(self, question: Question, at_once: int = 1) -> Reply | RawReply:
        """Answer what is asked of Amplitude's APIs for reading; so many questions are under way."""
        return self._read_api.answer(question, at_once)

    def events(self) -> Iterator[dict[str, Any]]:
        """Go through what is held, in order of arrival.

        Whole events come with the server's `device_id`, `event_time`, `server_received_time` and
        `server_upload_time` (milliseconds); with `hold="ids"` each has `event_type` and `insert_id` only.
        """
        return iter(self.store.keeper)

    def stats(self) -> dict[str, Any]:
        """Count events: received in readable requests = refused + ingested (held, repeated, dropped)."""
        store = self.store
        return {
            "events_received": self._received,
            "events_ingested": self._ingested,
            "events_held": store.held,
            "duplicates": store.duplicates,
            "dropped": store.dropped.total(),
            "users": len(store.users),
            "by_event_type": dict(sorted(store.by_event_type.items())),
            "unknown_keys": dict(sorted(self._unknown.items())),
        }
