from __future__ import annotations

from datetime import timedelta

import pytest

from braze_etl.delivery.http import Reply, read_reply, retry_after
from tests.delivery.conftest import KEY, NOON


def read(raw: bytes, status: int = 400, **headers: str) -> Reply:
    return read_reply(status, headers, raw, now=NOON, secret=KEY)


def test_the_key_is_blotted_out_of_what_may_be_quoted() -> None:
    answer = read(b'{"code": 400, "error": "Invalid API key: ' + KEY.encode() + b'"}')
    assert answer.error == "Invalid API key: ***"
    assert KEY not in repr(answer)


def test_a_long_page_is_quoted_in_one_short_line() -> None:
    answer = read(b"<html>\n  <p>" + b"x " * 5000)
    assert answer.body is None
    assert len(answer.text) == 200
    assert "\n" not in answer.text


@pytest.mark.parametrize("raw", [b"", b"[]", b'"ok"', b"null", b"{", b"\xff\xfe", b'{"a": 1} trailing'])
def test_what_is_no_json_object_has_no_body(raw: bytes) -> None:
    assert read(raw).body is None


def test_a_short_secret_is_no_reason_to_garble_words() -> None:
    answer = read_reply(400, {}, b'{"error": "a key"}', now=NOON, secret="k")
    assert answer.error == "a key"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("Mon, 05 Oct 2026 12:00:30 GMT", 30.0),
        ("Mon, 05 Oct 2026 11:00:00 GMT", 0.0),
        ("Mon, 05 Oct 2026 12:00:30 -0000", 30.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOON) == seconds


def test_retry_after_counts_from_the_arrival() -> None:
    assert retry_after("Mon, 05 Oct 2026 12:00:30 GMT", NOON + timedelta(seconds=20)) == 10.0


def test_of_a_json_object_only_the_error_is_quoted_for_its_lists_may_name_people() -> None:
    body = b'{"code": 400, "silenced_devices": ["device-of-anna"]'
    assert read(body + b"}").words == "HTTP 400"
    assert read(body + b', "error": "Silenced"}').words == "HTTP 400: Silenced"
    assert read(b"<html>too large</html>", 413).words == "HTTP 413: <html>too large</html>"
