"""The events that a refusal names: by index, by user, by device (amplitude.md, 1.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from braze_etl.delivery.decision import Aside, Hold, Lane, Sort, Throttled
from braze_etl.delivery.lanes import WINDOW, lanes_of
from braze_etl.delivery.reply import Reply
from braze_etl.model import Event, Reason

THROTTLE_SECONDS = 30.0
"""Amplitude's pause for a throttled user or device (amplitude.md, section 0)."""

QUOTA_SECONDS = 3 * 3600.0
"""The daily quota is a rolling 24 hours in buckets of one: an hour frees one bucket, often an empty one,
and each try before there is room costs a request. Three hours are a fair guess."""

_FAULT_LISTS = {
    "events_with_invalid_fields": "invalid",
    "events_with_missing_fields": "missing",
    "events_with_invalid_id_lengths": "invalid length of",
}


def named_events(reply: Reply, events: Sequence[Event]) -> Sort | None:
    """The events that a refusal names, or None if it names none of this request.

    Indexes out of range are ignored: a list of nothing else says no more than no list.
    """
    body = reply.body or {}
    aside = {**_faulty(reply, len(events)), **_silenced(reply, events)}
    lanes = _closed_lanes(body, reply.retry_after)
    throttled = _throttled(body, events, lanes)
    held = _held(reply, events, lanes, throttled)
    leave_open = {index: hold for index, hold in held.items() if index not in aside}
    if not aside and not leave_open:
        return None
    return Sort(aside, leave_open, lanes, throttled)


def _faulty(reply: Reply, size: int) -> dict[int, Aside]:
    """Events with a faulty field, each with the fields in Amplitude's words."""
    faults: dict[int, list[str]] = {}
    for key, word in _FAULT_LISTS.items():
        for field, indexes in _mapping((reply.body or {}).get(key)).items():
            for index in _indexes(indexes, size):
                faults.setdefault(index, []).append(f"{word} {field}")
    return {i: Aside(Reason.REJECTED, f"{reply.words} ({', '.join(said)})") for i, said in faults.items()}


def _silenced(reply: Reply, events: Sequence[Event]) -> dict[int, Aside]:
    body = reply.body or {}
    devices = {device for device in _sequence(body.get("silenced_devices")) if isinstance(device, str)}
    named = set(_indexes(body.get("silenced_events"), len(events)))
    named.update(i for i, event in enumerate(events) if devices and event.get("device_id") in devices)
    return {index: Aside(Reason.SILENCED, reply.words) for index in sorted(named)}


def _closed_lanes(body: Mapping[str, Any], wait: float | None) -> dict[Lane, Hold]:
    throttled = Hold(Reason.THROTTLED, THROTTLE_SECONDS if wait is None else wait)
    over_quota = Hold(Reason.DAILY_QUOTA, max(QUOTA_SECONDS, wait or 0.0))
    lanes: dict[Lane, Hold] = {}
    for key, noun in (("user_id", "users"), ("device_id", "devices")):
        # The quota comes second: who is in both lists waits for the longer.
        for name, hold in ((f"throttled_{noun}", throttled), (f"exceeded_daily_quota_{noun}", over_quota)):
            lanes.update({Lane(key, value): hold for value in _mapping(body.get(name))})
    return lanes


def _throttled(body: Mapping[str, Any], events: Sequence[Event], lanes: Mapping[Lane, Hold]) -> Throttled:
    """How full the lanes were, against the `eps_threshold` that the reply tells (amplitude.md, 1.2)."""
    shares = Counter(lane for event in events for lane in lanes_of(event) if lane in lanes) if lanes else {}
    threshold = body.get("eps_threshold")
    if not isinstance(threshold, int | float) or threshold <= 0:
        return Throttled(shares)
    return Throttled(shares, max(1, int(threshold * WINDOW.total_seconds())))


def _held(
    reply: Reply, events: Sequence[Event], lanes: Mapping[Lane, Hold], throttled: Throttled
) -> dict[int, Hold]:
    """The events that wait. Of a lane that is too full for any window, as many as one takes go on at once."""
    wait = Hold(Reason.THROTTLED, THROTTLE_SECONDS if reply.retry_after is None else reply.retry_after)
    held = dict.fromkeys(_indexes((reply.body or {}).get("throttled_events"), len(events)), wait)
    passing = Counter[Lane]()
    for index, event in enumerate(events) if lanes else ():
        named = [lane for lane in lanes_of(event) if lane in lanes]
        if named and all(_may_pass(lane, lanes, throttled, passing) for lane in named):
            passing.update(named)
            held.pop(index, None)
        elif named:
            held[index] = max((lanes[lane] for lane in named), key=lambda hold: hold.seconds)
    return held


def _may_pass(
    lane: Lane, lanes: Mapping[Lane, Hold], throttled: Throttled, passing: Mapping[Lane, int]
) -> bool:
    return lanes[lane].reason is Reason.THROTTLED and throttled.has_room(lane, passing[lane])


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _indexes(value: object, size: int) -> Iterator[int]:
    return (index for index in _sequence(value) if type(index) is int and 0 <= index < size)
