"""Amplitude's reply protocol (amplitude.md, 1.3) as one pure function from an answer to a decision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from braze_etl.delivery.destination import (
    Accepted,
    Cause,
    Decision,
    Defer,
    Partial,
    Refused,
    RetryAfter,
    Split,
    Stop,
    StopKind,
    Throttled,
    ThrottleKey,
    Uncompressed,
)
from braze_etl.delivery.http import Kind, NoReply, Reply
from braze_etl.delivery.throttles import WINDOW, throttle_keys
from braze_etl.model import Event, Reason, Verdict

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


def named_events(reply: Reply, events: Sequence[Event]) -> Partial | None:
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
    return Partial(aside, deferred, keys, throttled)


def _faulty(reply: Reply, size: int) -> dict[int, Verdict]:
    """Events with a faulty field, each with the fields in Amplitude's words."""
    faults: dict[int, list[str]] = {}
    for key, word in _FAULT_LISTS.items():
        for field, indexes in _mapping((reply.body or {}).get(key)).items():
            for index in _indexes(indexes, size):
                faults.setdefault(index, []).append(f"{word} {field}")
    return {i: Verdict(Reason.REJECTED, f"{reply.words} ({', '.join(said)})") for i, said in faults.items()}


def _silenced(reply: Reply, events: Sequence[Event]) -> dict[int, Verdict]:
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


def _throttled_ids(
    body: Mapping[str, Any], events: Sequence[Event], keys: Mapping[ThrottleKey, Defer]
) -> Throttled:
    """How full the keys were, against the `eps_threshold` that the reply tells (amplitude.md, 1.2)."""
    shares = Counter(key for event in events for key in throttle_keys(event) if key in keys) if keys else {}
    threshold = body.get("eps_threshold")
    if not isinstance(threshold, int | float) or threshold <= 0:
        return Throttled(shares)
    return Throttled(shares, max(1, int(threshold * WINDOW.total_seconds())))


def _held(
    reply: Reply, events: Sequence[Event], keys: Mapping[ThrottleKey, Defer], throttled: Throttled
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

_PATIENCE = 3
_BAD_REQUEST = 400
_UNSUPPORTED = 415
_REDIRECTS = range(300, 400)
_SERVER_ERRORS = range(500, 600)


class Compression(Enum):
    """How the request was encoded, and whether a compressed one was ever accepted here."""

    OFF = "off"
    UNPROVEN = "unproven"
    PROVEN = "proven"


def decide(
    answer: Reply | NoReply, events: Sequence[Event], compression: Compression = Compression.OFF
) -> Decision:
    """What is to be done about *answer*, which a request with *events* got."""
    if isinstance(answer, NoReply):
        return _without_reply(answer)
    if _says_invalid_key(answer):
        return _INVALID_KEY
    meaning = answer.meaning
    if meaning in _REDIRECTS:
        return _elsewhere(answer)
    if meaning in _SERVER_ERRORS:
        return RetryAfter(answer.words, Cause.FAILURE, answer.retry_after)
    rule = _RULES.get(meaning)
    return rule(answer, events, compression) if rule else _refused(answer, events, compression)


def _accepted(reply: Reply, _events: Sequence[Event], _compression: Compression) -> Decision:
    ingested = (reply.body or {}).get("events_ingested")
    return Accepted(ingested if type(ingested) is int else None)


def _bad_request(reply: Reply, events: Sequence[Event], compression: Compression) -> Decision:
    missing = (reply.body or {}).get("missing_field")
    if missing:
        return Stop(
            StopKind.REQUEST,
            f"Amplitude misses `{missing}` in the request.",
            "Something between here and Amplitude changes requests: check `amplitude.endpoint` and proxies.",
        )
    if "invalid request path" in reply.error.lower():
        return _elsewhere(reply)
    return named_events(reply, events) or _refused(reply, events, compression)


def _throttled(reply: Reply, events: Sequence[Event], _compression: Compression) -> Decision:
    named = named_events(reply, events)
    if named:
        return named
    usual = PROJECT_SECONDS if "project" in reply.error.lower() else THROTTLE_SECONDS
    seconds = usual if reply.retry_after is None else reply.retry_after
    return RetryAfter(reply.words, Cause.THROTTLED, seconds)


def _too_large(reply: Reply, _events: Sequence[Event], _compression: Compression) -> Decision:
    return Split(reply.words, reply.own_words)


def _timed_out(reply: Reply, _events: Sequence[Event], _compression: Compression) -> Decision:
    return RetryAfter(reply.words, Cause.FAILURE, reply.retry_after)


def _unauthorized(reply: Reply, _events: Sequence[Event], _compression: Compression) -> Decision:
    return Stop(
        StopKind.KEY,
        f"The request was not authorized ({reply.words}).",
        "Check `amplitude.api_key`, `amplitude.endpoint` and the credentials of the proxy.",
    )


def _not_here(reply: Reply, _events: Sequence[Event], _compression: Compression) -> Decision:
    return _elsewhere(reply)


def _refused(reply: Reply, _events: Sequence[Event], compression: Compression) -> Decision:
    if compression is not Compression.OFF and _blames_encoding(reply, compression):
        return Uncompressed(reply.words)
    return Refused(reply.words, reply.own_words, reply.status)


_RULES: dict[int, Callable[[Reply, Sequence[Event], Compression], Decision]] = {
    200: _accepted,
    400: _bad_request,
    401: _unauthorized,
    404: _not_here,
    405: _not_here,
    407: _unauthorized,
    408: _timed_out,
    410: _not_here,
    413: _too_large,
    429: _throttled,
}

_INVALID_KEY = Stop(
    StopKind.KEY,
    "Amplitude refused the API key.",
    "Check `amplitude.api_key`, and `amplitude.region`: the key works only in its project's region.",
)


def _says_invalid_key(reply: Reply) -> bool:
    # As the SDKs do: anywhere in the text, in any case. A success may quote anything.
    return reply.meaning in (400, 401, 403) and "invalid api key" in (reply.error or reply.text).lower()


def _blames_encoding(reply: Reply, compression: Compression) -> bool:
    """Whether a refusal may be about gzip: it says so, or nothing compressed ever got through here."""
    said = (reply.error or reply.text).lower()
    if reply.meaning == _UNSUPPORTED or any(word in said for word in ("encoding", "gzip", "compress")):
        return True
    unread = not reply.own_words or "request body" in said
    return compression is Compression.UNPROVEN and reply.meaning == _BAD_REQUEST and unread


def _elsewhere(reply: Reply) -> Stop:
    target = f", and points to {reply.location.partition('?')[0]}" if reply.location else ""
    return Stop(
        StopKind.ENDPOINT,
        f"There is no ingestion endpoint at this URL ({reply.words}{target}).",
        "Check `amplitude.region` and `amplitude.endpoint`; redirects are not followed.",
        patience=_PATIENCE,
    )


def _without_reply(answer: NoReply) -> Decision:
    if answer.kind is Kind.TLS:
        return Stop(
            StopKind.ENDPOINT,
            answer.words,
            "If a proxy signs with its own CA, name its bundle in REQUESTS_CA_BUNDLE.",
            patience=_PATIENCE,
        )
    if answer.kind is Kind.URL:
        return Stop(StopKind.ENDPOINT, answer.words, "Check `amplitude.endpoint`.")
    return RetryAfter(answer.words, Cause.FAILURE, overload=answer.kind is not Kind.DNS)
