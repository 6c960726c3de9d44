"""Amplitude's reply protocol (amplitude.md, 1.3) as one pure function from an answer to a decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from braze_etl.amplitude.settings import NAMES, WINDOW
from braze_etl.delivery.destination import (
    Accepted,
    Body,
    Cause,
    Decision,
    Defer,
    Item,
    Items,
    Partial,
    RetryAfter,
    Stop,
    StopKind,
    Throttled,
    ThrottleKey,
)
from braze_etl.delivery.http import NoReply, Reply
from braze_etl.delivery.statuses import (
    BAD_REQUEST,
    THROTTLED,
    by_status,
    elsewhere,
    refusal,
    without_reply,
)
from braze_etl.model import Reason, Verdict

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


def named_events(reply: Reply, events: Items, *, for_throttling: bool = False) -> Partial | None:
    """The events that a refusal names, or None if it names none of this request.

    Indexes out of range are ignored: a list of nothing else says no more than no list.
    """
    body = reply.body or {}
    aside = {**_faulty(reply, len(events)), **_silenced(reply, events)}
    keys = _deferred_keys(body, reply.retry_after)
    throttled = _throttled_ids(body, events, keys)
    held = _held(reply, events, keys, throttled)
    deferred = {index: defer for index, defer in held.items() if index not in aside}
    if not aside and not deferred:
        return None
    return Partial(aside, deferred, keys, throttled, for_throttling)


def _faulty(reply: Reply, size: int) -> dict[int, Verdict]:
    """Events with a faulty field, each with the fields in Amplitude's words."""
    faults: dict[int, list[str]] = {}
    for key, word in _FAULT_LISTS.items():
        for field, indexes in _mapping((reply.body or {}).get(key)).items():
            for index in _indexes(indexes, size):
                faults.setdefault(index, []).append(f"{word} {field}")
    return {i: Verdict(Reason.REJECTED, f"{reply.words} ({', '.join(said)})") for i, said in faults.items()}


def _silenced(reply: Reply, events: Items) -> dict[int, Verdict]:
    body = reply.body or {}
    devices = {device for device in _sequence(body.get("silenced_devices")) if isinstance(device, str)}
    named = set(_indexes(body.get("silenced_events"), len(events)))
    named.update(i for i, event in enumerate(events) if devices and event.get("device_id") in devices)
    return {index: Verdict(Reason.SILENCED, reply.words) for index in sorted(named)}


def _deferred_keys(body: Mapping[str, Any], wait: float | None) -> dict[ThrottleKey, Defer]:
    throttled = Defer(Reason.THROTTLED, THROTTLE_SECONDS if wait is None else wait)
    over_quota = Defer(Reason.DAILY_QUOTA, max(QUOTA_SECONDS, wait or 0.0))
    keys: dict[ThrottleKey, Defer] = {}
    for field, noun in (("user_id", "users"), ("device_id", "devices")):
        # The quota comes second: who is in both lists waits for the longer.
        for name, defer in ((f"throttled_{noun}", throttled), (f"exceeded_daily_quota_{noun}", over_quota)):
            keys.update({ThrottleKey(field, value): defer for value in _mapping(body.get(name))})
    return keys


def _throttled_ids(body: Mapping[str, Any], events: Items, keys: Mapping[ThrottleKey, Defer]) -> Throttled:
    """How full the keys were, against the `eps_threshold` that the reply tells (amplitude.md, 1.2)."""
    shares = Counter(key for event in events for key in throttle_keys(event) if key in keys) if keys else {}
    threshold = body.get("eps_threshold")
    if not isinstance(threshold, int | float) or threshold <= 0:
        return Throttled(shares)
    return Throttled(shares, max(1, int(threshold * WINDOW)))


def _held(
    reply: Reply, events: Items, keys: Mapping[ThrottleKey, Defer], throttled: Throttled
) -> dict[int, Defer]:
    """The events that wait. Of a key that is too full for any window, as many as one takes go on at once."""
    wait = Defer(Reason.THROTTLED, THROTTLE_SECONDS if reply.retry_after is None else reply.retry_after)
    held = dict.fromkeys(_indexes((reply.body or {}).get("throttled_events"), len(events)), wait)
    passing = Counter[ThrottleKey]()
    for index, event in enumerate(events) if keys else ():
        named = [key for key in throttle_keys(event) if key in keys]
        if named and all(_may_pass(key, keys, throttled, passing) for key in named):
            passing.update(named)
            held.pop(index, None)
        elif named:
            held[index] = max((keys[key] for key in named), key=lambda defer: defer.seconds)
    return held


def _may_pass(
    key: ThrottleKey,
    keys: Mapping[ThrottleKey, Defer],
    throttled: Throttled,
    passing: Mapping[ThrottleKey, int],
) -> bool:
    return keys[key].reason is Reason.THROTTLED and throttled.has_room(key, passing[key])


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _indexes(value: object, size: int) -> Iterator[int]:
    return (index for index in _sequence(value) if type(index) is int and 0 <= index < size)


PROJECT_SECONDS = 60.0
"""Amplitude's pause when the whole project is throttled (amplitude.md, 1.2)."""

_OK = 200
_KEY_REFUSALS = (400, 401, 403)
_INVALID_KEY = Stop(
    StopKind.KEY,
    "Amplitude refused the API key.",
    "Check `amplitude.api_key`, and `amplitude.region`: the key works only in its project's region.",
)


def decide(answer: Reply | NoReply, body: Body) -> Decision:
    """What is to be done about *answer*, which *body* got."""
    if isinstance(answer, NoReply):
        return without_reply(answer, NAMES)
    if _says_invalid_key(answer):
        return _INVALID_KEY
    status = meaning_of(answer)
    rule = _RULES.get(status)
    if rule is not None:
        return rule(answer, body)
    return by_status(status, answer, body, NAMES, own_words=is_own(answer))


def meaning_of(reply: Reply) -> int:
    """The status that counts: a 429 in either place, else the body's `code` within a 200, else HTTP's.

    Amplitude has been seen to answer 200 with another `code` in the body (amplitude.md, section 0).
    A 200 whose body is no JSON object, or whose `code` is no number, means nothing: 0.
    """
    if reply.body is None:
        return 0 if reply.status == _OK else reply.status
    code = reply.body.get("code", _OK)
    if THROTTLED in (reply.status, code):
        return THROTTLED
    if reply.status != _OK:
        return reply.status
    return int(code) if isinstance(code, int | float) and not isinstance(code, bool) else 0


def is_own(reply: Reply) -> bool:
    """Whether it has the form of Amplitude's refusals, and so is not a proxy's."""
    return bool(reply.error) and isinstance((reply.body or {}).get("code"), int)


def throttle_keys(event: Item) -> list[ThrottleKey]:
    """What Amplitude counts an event by: its user and its device."""
    named = ((field, event.get(field)) for field in ("user_id", "device_id"))
    return [ThrottleKey(field, value) for field, value in named if isinstance(value, str)]


def _accepted(reply: Reply, body: Body) -> Decision:
    ingested = (reply.body or {}).get("events_ingested")
    repeated = len(body.items) - len({event.get("insert_id") for event in body.items})
    return Accepted(ingested if type(ingested) is int else None, repeated)


def _bad_request(reply: Reply, body: Body) -> Decision:
    missing = (reply.body or {}).get("missing_field")
    if missing:
        return Stop(
            StopKind.REQUEST,
            f"Amplitude misses `{missing}` in the request.",
            "Something between here and Amplitude changes requests: check `amplitude.endpoint` and proxies.",
        )
    said = reply.error.lower()
    if "invalid request path" in said:
        return elsewhere(reply, NAMES)
    unread = "request body" in said
    return named_events(reply, body.items) or refusal(
        BAD_REQUEST, reply, body, own_words=is_own(reply), unread=unread
    )


def _throttled(reply: Reply, body: Body) -> Decision:
    named = named_events(reply, body.items, for_throttling=True)
    if named:
        return named
    usual = PROJECT_SECONDS if "project" in reply.error.lower() else THROTTLE_SECONDS
    seconds = usual if reply.retry_after is None else reply.retry_after
    return RetryAfter(reply.words, Cause.THROTTLED, seconds)


_RULES: dict[int, Callable[[Reply, Body], Decision]] = {
    _OK: _accepted,
    BAD_REQUEST: _bad_request,
    THROTTLED: _throttled,
}


def _says_invalid_key(reply: Reply) -> bool:
    # As the SDKs do: anywhere in the text, in any case. A success may quote anything.
    return meaning_of(reply) in _KEY_REFUSALS and "invalid api key" in (reply.error or reply.text).lower()
