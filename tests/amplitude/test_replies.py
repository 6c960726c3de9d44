"""The reply protocol as a table: answer and batch in, decision out (amplitude.md, 1.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from braze_etl.amplitude import replies
from braze_etl.delivery.destination import (
    Accepted,
    Body,
    Cause,
    Decision,
    Defer,
    DictItems,
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
from braze_etl.model import Event, Reason, Verdict
from tests.delivery.conftest import event, html, ok, reply, reset

THREE = [event(0), event(1, device_id="phone-1"), event(2, user_id="ann", device_id="phone-2")]
FAILURE, THROTTLED = Cause.FAILURE, Cause.THROTTLED
HOURS_3 = 3 * 3600.0


def decide(answer: Reply | NoReply, events: list[Event], *, gzip: bool = False) -> Decision:
    return replies.decide(answer, Body(b"", 0, gzip, DictItems(events)))


def rejected(words: str) -> Verdict:
    return Verdict(Reason.REJECTED, words)


def held(seconds: float = 30.0) -> Defer:
    return Defer(Reason.THROTTLED, seconds)


SILENCED = Verdict(Reason.SILENCED, "HTTP 400: Events silenced for device_id")
SLOW_DOWN = "Too many requests for some devices and users"
BAD = "Invalid field values on some events"

TABLE: dict[str, tuple[Reply | NoReply, Decision]] = {
    "200, all ingested": (ok(3), Accepted(3)),
    "200, fewer ingested": (ok(2), Accepted(2)),
    "200 without code": (Reply(200, {"events_ingested": 3}), Accepted(3)),
    "200 with an empty object": (Reply(200, {}), Accepted(None)),
    "200, ingested is no number": (Reply(200, {"events_ingested": "3"}), Accepted(None)),
    "200 that says 429": (
        Reply(200, {"code": 429, "error": SLOW_DOWN}),
        RetryAfter(f"HTTP 200: {SLOW_DOWN}", THROTTLED, 30.0),
    ),
    "200 that says 429 and names an event": (
        Reply(200, {"code": 429, "throttled_events": [1]}),
        Partial(deferred={1: held()}),
    ),
    "200 that says 500": (Reply(200, {"code": 500}), RetryAfter("HTTP 200", FAILURE)),
    "200 that says 413": (Reply(200, {"code": 413}), Split("HTTP 200")),
    "200 that says 400 with a list": (
        Reply(200, {"code": 400, "error": BAD, "events_with_invalid_fields": {"time": [0]}}),
        Partial({0: rejected(f"HTTP 200: {BAD} (invalid time)")}),
    ),
    "200 with a code that is no number": (Reply(200, {"code": "fine"}), Refused("HTTP 200", False, 200)),
    "200 that is HTML": (html(200), Refused("HTTP 200: <html>blocked</html>", False, 200)),
    "200 that is empty": (Reply(200), Refused("HTTP 200", False, 200)),
    "204": (Reply(204), Refused("HTTP 204", False, 204)),
    "400, an invalid field": (
        reply(400, error=BAD, events_with_invalid_fields={"time": [0, 2]}),
        Partial({i: rejected(f"HTTP 400: {BAD} (invalid time)") for i in (0, 2)}),
    ),
    "400, a missing field": (
        reply(400, error=BAD, events_with_missing_fields={"event_type": [1]}),
        Partial({1: rejected(f"HTTP 400: {BAD} (missing event_type)")}),
    ),
    "400, id lengths": (
        reply(
            400,
            error="Invalid id length for user_id or device_id",
            events_with_invalid_id_lengths={"user_id": [1]},
        ),
        Partial(
            {1: rejected("HTTP 400: Invalid id length for user_id or device_id (invalid length of user_id)")}
        ),
    ),
    "400, an event in several lists": (
        reply(
            400,
            error=BAD,
            events_with_invalid_fields={"time": [1], "price": [1]},
            events_with_missing_fields={"user_id": [1]},
        ),
        Partial({1: rejected(f"HTTP 400: {BAD} (invalid time, invalid price, missing user_id)")}),
    ),
    "400, some indexes out of range": (
        reply(400, error=BAD, events_with_invalid_fields={"time": [3, -1, 0, 2000, True, "1", None]}),
        Partial({0: rejected(f"HTTP 400: {BAD} (invalid time)")}),
    ),
    "400, all indexes out of range": (
        reply(400, error=BAD, events_with_invalid_fields={"time": [3]}),
        Refused(f"HTTP 400: {BAD}", True, 400),
    ),
    "400, lists of another shape": (
        reply(400, error=BAD, events_with_invalid_fields=[0], events_with_missing_fields={"time": 0}),
        Refused(f"HTTP 400: {BAD}", True, 400),
    ),
    "400, silenced by index": (
        reply(400, error="Events silenced for device_id", silenced_events=[1]),
        Partial({1: SILENCED}),
    ),
    "400, silenced by device": (
        reply(400, error="Events silenced for device_id", silenced_devices=["phone-2", "elsewhere"]),
        Partial({2: SILENCED}),
    ),
    "400, silenced and throttled": (
        reply(
            400,
            error="Events silenced for device_id",
            silenced_devices=["phone-1"],
            silenced_events=[1],
            throttled_devices={"phone-2": 1200},
            throttled_events=[1, 2],
        ),
        Partial({1: SILENCED}, {2: held()}, {ThrottleKey("device_id", "phone-2"): held()}),
    ),
    "400, nothing named": (
        reply(400, error="Invalid event JSON"),
        Refused("HTTP 400: Invalid event JSON", True, 400),
    ),
    "400, HTML": (html(400), Refused("HTTP 400: <html>blocked</html>", False, 400)),
    "400, JSON of a proxy": (Reply(400, {"message": "no"}), Refused("HTTP 400", False, 400)),
    "403 of a firewall": (
        reply(403, error="Forbidden"),
        Refused("HTTP 403: Forbidden", True, 403),
    ),
    "403, HTML": (html(403), Refused("HTTP 403: <html>blocked</html>", False, 403)),
    "408": (Reply(408), RetryAfter("HTTP 408", FAILURE)),
    "413": (reply(413, error="Payload too large"), Split("HTTP 413: Payload too large", own_words=True)),
    "413, HTML": (html(413), Split("HTTP 413: <html>blocked</html>")),
    "418": (Reply(418), Refused("HTTP 418", False, 418)),
    "429, throttled user": (
        reply(429, error=SLOW_DOWN, throttled_users={"ann": 1200}, throttled_events=[2]),
        Partial(deferred={2: held()}, keys={ThrottleKey("user_id", "ann"): held()}),
    ),
    "429, throttled device without indexes": (
        reply(429, error=SLOW_DOWN, throttled_devices={"phone-1": 1200}),
        Partial(deferred={1: held()}, keys={ThrottleKey("device_id", "phone-1"): held()}),
    ),
    "429, throttled events alone": (
        reply(429, error=SLOW_DOWN, throttled_events=[0, 1]),
        Partial(deferred={0: held(), 1: held()}),
    ),
    "429, throttled with Retry-After": (
        reply(429, retry_after=120.0, throttled_users={"ann": 1200}),
        Partial(deferred={2: held(120.0)}, keys={ThrottleKey("user_id", "ann"): held(120.0)}),
    ),
    "429, daily quota of a user": (
        reply(429, exceeded_daily_quota_users={"ann": 500_001}, throttled_events=[2]),
        Partial(
            deferred={2: Defer(Reason.DAILY_QUOTA, HOURS_3)},
            keys={ThrottleKey("user_id", "ann"): Defer(Reason.DAILY_QUOTA, HOURS_3)},
        ),
    ),
    "429, throttled device of a user over quota": (
        reply(429, exceeded_daily_quota_users={"ann": 500_001}, throttled_devices={"phone-2": 1200}),
        Partial(
            deferred={2: Defer(Reason.DAILY_QUOTA, HOURS_3)},
            keys={
                ThrottleKey("user_id", "ann"): Defer(Reason.DAILY_QUOTA, HOURS_3),
                ThrottleKey("device_id", "phone-2"): held(),
            },
        ),
    ),
    "429, ids of nobody here": (
        reply(429, error=SLOW_DOWN, throttled_users={"bob": 1200}, throttled_events=[7]),
        RetryAfter(f"HTTP 429: {SLOW_DOWN}", THROTTLED, 30.0),
    ),
    "429, empty lists": (
        reply(429, error=SLOW_DOWN, eps_threshold=1000, throttled_users={}, throttled_events=[]),
        RetryAfter(f"HTTP 429: {SLOW_DOWN}", THROTTLED, 30.0),
    ),
    "429, nothing but a code": (Reply(429, {"code": 429}), RetryAfter("HTTP 429", THROTTLED, 30.0)),
    "429, not JSON": (Reply(429), RetryAfter("HTTP 429", THROTTLED, 30.0)),
    "429, the whole project": (
        reply(429, error="Too many requests for project"),
        RetryAfter("HTTP 429: Too many requests for project", THROTTLED, 60.0),
    ),
    "429, Retry-After wins": (
        reply(429, error="Too many requests for project", retry_after=7.0),
        RetryAfter("HTTP 429: Too many requests for project", THROTTLED, 7.0),
    ),
    "500": (reply(500), RetryAfter("HTTP 500", FAILURE)),
    "502, HTML": (html(502), RetryAfter("HTTP 502: <html>blocked</html>", FAILURE)),
    "503 with Retry-After": (
        Reply(503, None, "", retry_after=9.0),
        RetryAfter("HTTP 503", FAILURE, 9.0),
    ),
    "504": (Reply(504), RetryAfter("HTTP 504", FAILURE)),
    "a reset": (reset(), RetryAfter("the connection broke", FAILURE)),
    "a time-out": (NoReply(Kind.TIMEOUT, "late"), RetryAfter("late", FAILURE)),
    "no such host": (NoReply(Kind.DNS, "who?"), RetryAfter("who?", FAILURE, overload=False)),
}


@pytest.mark.parametrize(("answer", "decision"), TABLE.values(), ids=TABLE.keys())
def test_an_answer_leads_to_its_decision(answer: Reply | NoReply, decision: Decision) -> None:
    if isinstance(decision, Partial):  # each of the three events is alone with its keys
        throttled = Throttled(dict.fromkeys(decision.keys, 1))
        all_throttled = isinstance(answer, Reply) and 429 in (answer.status, (answer.body or {}).get("code"))
        decision = replace(decision, throttled=throttled, for_throttling=all_throttled)
    assert decide(answer, THREE) == decision


STOPS: dict[str, tuple[Reply | NoReply, StopKind, str, int]] = {
    "wrong key": (reply(400, error="Invalid API key: abc"), StopKind.KEY, "amplitude.region", 0),
    "wrong key, other case": (reply(400, error="invalid api KEY"), StopKind.KEY, "amplitude.api_key", 0),
    "wrong key, plain text": (Reply(400, None, "Invalid API key"), StopKind.KEY, "amplitude.region", 0),
    "wrong key, 403": (reply(403, error="Invalid API key"), StopKind.KEY, "amplitude.region", 0),
    "wrong key, 200": (Reply(200, {"code": 400, "error": "Invalid API key"}), StopKind.KEY, "region", 0),
    "a field of the request": (reply(400, missing_field="api_key"), StopKind.REQUEST, "proxies", 0),
    "401": (reply(401), StopKind.KEY, "amplitude.api_key", 0),
    "407 of a proxy": (Reply(407), StopKind.KEY, "credentials of the proxy", 0),
    "404": (html(404), StopKind.ENDPOINT, "amplitude.endpoint", 3),
    "405": (Reply(405), StopKind.ENDPOINT, "amplitude.endpoint", 3),
    "a path that is none": (reply(400, error="Invalid request path"), StopKind.ENDPOINT, "endpoint", 3),
    "a redirect": (
        Reply(302, None, "", location="https://login.example.com/in?token=t"),
        StopKind.ENDPOINT,
        "redirects are not followed",
        3,
    ),
    "a certificate": (NoReply(Kind.TLS, "unverified"), StopKind.ENDPOINT, "REQUESTS_CA_BUNDLE", 3),
    "a bad URL": (NoReply(Kind.URL, "no URL"), StopKind.ENDPOINT, "amplitude.endpoint", 0),
}


@pytest.mark.parametrize(("answer", "kind", "remedy", "patience"), STOPS.values(), ids=STOPS.keys())
def test_what_no_retry_mends_stops_the_run_with_a_remedy(
    answer: Reply | NoReply, kind: StopKind, remedy: str, patience: int
) -> None:
    decision = decide(answer, THREE)
    assert isinstance(decision, Stop)
    assert (decision.kind, decision.patience) == (kind, patience)
    assert remedy in decision.remedy


def test_a_refused_key_is_not_quoted() -> None:
    decision = decide(reply(400, error="Invalid API key: abcdef"), THREE)
    assert isinstance(decision, Stop)
    assert "abcdef" not in decision.words + decision.remedy


def test_the_target_of_a_redirect_is_named_without_its_query() -> None:
    decision = decide(Reply(302, None, "", location="https://login.example.com/in?token=t"), THREE)
    assert isinstance(decision, Stop)
    assert "https://login.example.com/in" in decision.words
    assert "token" not in decision.words


GZIP: list[tuple[Reply, str]] = [
    (Reply(415), "gzip"),
    (Reply(400, None, "Unsupported content encoding"), "gzip"),
    (reply(400, error="gzip is not supported"), "gzip"),
    (reply(400, error="Invalid JSON request body"), "gzip, unless it was taken before"),
    (reply(400, error="Missing request body"), "gzip, unless it was taken before"),
    (html(400), "gzip, unless it was taken before"),
    (html(403), "something else"),
    (reply(400, error="Invalid event JSON"), "something else"),
]


@pytest.mark.parametrize(("answer", "fault"), GZIP)
def test_a_refusal_that_may_be_about_gzip_asks_for_a_plain_body(answer: Reply, fault: str) -> None:
    plain = decide(answer, THREE)
    assert isinstance(plain, Refused)
    if fault == "something else":
        assert decide(answer, THREE, gzip=True) == plain
    else:
        once_proven = None if fault == "gzip" else plain
        assert decide(answer, THREE, gzip=True) == Uncompressed(answer.words, once_proven)


def test_ids_that_come_twice_are_counted() -> None:
    assert decide(ok(4), [*THREE, event(0)]) == Accepted(4, repeated=1)


@pytest.mark.parametrize("events", [[], THREE[:1], THREE])
def test_a_named_decision_only_names_events_of_the_request(events: list[Event]) -> None:
    answer = reply(429, throttled_events=list(range(-2, 9)), silenced_events=list(range(5)))
    decision = decide(answer, events)
    named = [*decision.set_aside, *decision.deferred] if isinstance(decision, Partial) else []
    assert sorted(named) == list(range(len(events)))


def test_of_a_key_with_more_than_a_window_takes_as_many_go_on_at_once() -> None:
    events = [event(number, device_id="phone") for number in range(100)]
    answer = reply(429, eps_threshold=2, throttled_devices={"phone": 4}, throttled_events=list(range(100)))
    decision = decide(answer, events)
    assert isinstance(decision, Partial)
    assert sorted(decision.deferred) == list(range(60, 100))
    again = decide(answer, events[:60])
    assert isinstance(again, Partial)
    assert sorted(again.deferred) == list(range(60))
