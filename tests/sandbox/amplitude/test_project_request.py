"""The envelope of a request: amplitude.md, 1.1 to 1.3."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from braze_etl.sandbox.amplitude.project import Request, read_request
from braze_etl.sandbox.amplitude.replies import EndpointLimits, Limits, Reply

ENDPOINT = EndpointLimits(max_bytes=1_000, eps=30)
GOOD = {"api_key": "key", "events": [{"event_type": "x"}]}


def read(body: bytes | dict[str, Any], limits: Limits | None = None) -> Request | Reply:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return read_request(raw, ENDPOINT, limits or Limits(max_events=3))


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"", 400, "Missing request body"),
        (b"{", 400, "Invalid JSON request body"),
        (b'{"a": NaN}', 400, "Invalid JSON request body"),
        (b"\xff", 400, "Invalid JSON request body"),
        (b"[]", 400, "Invalid JSON request body"),
        (b"[" * 2_000, 413, "Payload too large"),
        ({**GOOD, "events": "none"}, 400, "Invalid JSON request body"),
        ({**GOOD, "events": [{}] * 4}, 413, "Payload too large"),
        ({**GOOD, "events": [{}, 7]}, 400, "Invalid event JSON"),
    ],
)
def test_a_broken_envelope_is_refused(body: bytes | dict[str, Any], status: int, error: str) -> None:
    reply = read(body)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (status, {"code": status, "error": error})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"events": [{}]}, "api_key"),
        ({"api_key": "", "events": [{}]}, "api_key"),
        ({"api_key": "key"}, "events"),
        ({"api_key": "key", "events": None}, "events"),
        ({"api_key": "key", "events": []}, "events"),
    ],
)
def test_a_missing_field_is_named(body: dict[str, Any], field: str) -> None:
    reply = read(body)
    assert isinstance(reply, Reply)
    assert reply.body == {"code": 400, "error": "Request missing required field", "missing_field": field}


def test_a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() -> None:
    body = orjson.dumps(GOOD)
    fits = b" " * (ENDPOINT.max_bytes - len(body)) + body
    assert isinstance(read(fits), Request)
    reply = read(fits + b" ")
    assert isinstance(reply, Reply)
    assert reply.status == 413


def test_as_many_events_as_allowed_pass() -> None:
    assert isinstance(read({**GOOD, "events": [{}] * 3}), Request)


def test_min_id_length_comes_from_the_options() -> None:
    plain, asked = read(GOOD), read({**GOOD, "options": {"min_id_length": 1}})
    assert isinstance(plain, Request)
    assert isinstance(asked, Request)
    assert (plain.min_id_length, asked.min_id_length) == (5, 1)


@pytest.mark.parametrize("options", [[], "x", {"min_id_length": 0}, {"min_id_length": "3"}])
def test_bad_options_are_refused(options: Any) -> None:
    reply = read({**GOOD, "options": options})
    assert isinstance(reply, Reply)
    assert reply.status == 400


def test_the_documented_limits_are_the_default() -> None:
    limits = Limits()
    assert limits.endpoints["/batch"] == EndpointLimits(max_bytes=20_000_000, eps=1000)
    assert limits.endpoints["/2/httpapi"] == EndpointLimits(max_bytes=1_000_000, eps=30)
    assert (limits.max_events, limits.daily_quota, limits.min_id_length) == (2000, 500_000, 5)
