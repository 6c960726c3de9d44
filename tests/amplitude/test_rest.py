"""Asking Amplitude: keys, limits, and peers that do anything but answer."""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from braze_etl.amplitude import rest
from braze_etl.amplitude.rest import RestApi
from braze_etl.clock import ManualClock
from braze_etl.deadline import WATCH, Halt
from braze_etl.errors import AbandonedError, ConfigError, KeyRefusedError, ReadError
from tests.amplitude.exports import SECRET, Answer, ExportHandler, ExportServer, at, settings
from tests.delivery.conftest import KEY
from tests.hostile import NEVER_DONE, Manners, hostile
from tests.serving import serving, url_of

PATH = "/api/2/events/list"
NOW = at("2026-10-05T00")


def reply(status: int, content: bytes = b"", **headers: str) -> Answer:
    return lambda handler: handler.answer(status, content, **headers)


OK = reply(200, b'{"data": []}')


@pytest.fixture
def server() -> Iterator[ExportServer]:
    with serving(ExportServer({})) as one:
        one.always = OK
        yield one


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


def api(server: ExportServer, clock: ManualClock, **changes: object) -> RestApi:
    return RestApi(settings(url_of(server), **changes), clock)


def test_both_keys_go_along_as_basic_authentication(server: ExportServer, clock: ManualClock) -> None:
    assert api(server, clock).get(PATH, user="a&b") == {"data": []}
    assert server.headers[0]["Authorization"] == "Basic " + b64encode(f"{KEY}:{SECRET}".encode()).decode()
    assert server.paths == [f"{PATH}?user=a%26b"]


def test_a_read_endpoint_may_have_a_path_of_its_own(server: ExportServer, clock: ManualClock) -> None:
    RestApi(settings(url_of(server) + "/tenant/"), clock).get(PATH)
    assert server.paths == [f"/tenant{PATH}"]


@pytest.mark.parametrize(
    ("region", "url"),
    [("US", "https://amplitude.com/api/2/export"), ("EU", "https://analytics.eu.amplitude.com/api/2/export")],
)
def test_each_region_has_its_host(region: str, url: str) -> None:
    assert settings(region=region).read_url("/api/2/export") == url


@pytest.mark.parametrize("missing", ["api_key", "secret_key"])
def test_without_both_keys_nothing_is_asked(missing: str, clock: ManualClock) -> None:
    with pytest.raises(ConfigError, match=f"amplitude.{missing} is not set"):
        RestApi(settings(**{missing: ""}), clock)


@pytest.mark.parametrize("status", [401, 403])
def test_refused_keys_are_not_tried_again_and_never_shown(
    server: ExportServer, clock: ManualClock, status: int
) -> None:
    token = b64encode(f"{KEY}:{SECRET}".encode()).decode()
    body = f'{{"error": {{"type": "forbidden", "message": "{KEY}, {SECRET}, {token}"}}}}'
    server.script = [reply(status, body.encode())]
    with pytest.raises(KeyRefusedError) as caught:
        api(server, clock).get(PATH)
    shown = f"{caught.value} {caught.value.remedy} {caught.value.__context__!r}"
    assert "forbidden" in shown
    assert not [secret for secret in (KEY, SECRET, token) if secret in shown]
    assert "amplitude.region" in caught.value.remedy
    assert len(server.asked) == 1


def test_a_redirect_is_not_followed(server: ExportServer, clock: ManualClock) -> None:
    server.script = [reply(302, Location="https://login.example/?next=secret")]
    with pytest.raises(ReadError, match=r"points to https://login\.example/") as caught:
        api(server, clock).get(PATH)
    assert "next" not in caught.value.message
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "odd",
    [
        reply(500),
        reply(503, b"<html>down</html>"),
        reply(408),
        reply(200),
        reply(200, b"<html>Please log in</html>"),
        reply(200, b"[1, 2]"),
        lambda handler: handler.cut(b'{"data": []}'),
    ],
)
def test_what_may_pass_is_asked_again_and_has_an_end(
    server: ExportServer, clock: ManualClock, odd: Answer
) -> None:
    server.script = [odd] * (rest.ATTEMPTS - 1)
    assert api(server, clock).get(PATH) == {"data": []}
    server.script = [odd] * rest.ATTEMPTS
    with pytest.raises(ReadError, match="4 times in a row"):
        api(server, clock).get(PATH)
    assert len(server.asked) == 2 * rest.ATTEMPTS
    assert sum(clock.waits) == 84


def test_a_refused_request_is_told_in_amplitudes_words(server: ExportServer, clock: ManualClock) -> None:
    server.script = [reply(400, b'{"error": {"type": "bad", "metadata": {"details": "no such metric"}}}')]
    with pytest.raises(ReadError, match=r"refused the request \(HTTP 400: bad: no such metric\)"):
        api(server, clock).get(PATH)


def test_throttling_is_waited_for_within_bounds(server: ExportServer, clock: ManualClock) -> None:
    server.script = [reply(429, Retry_After="7"), reply(429), reply(429)]
    one = api(server, clock, give_up_after=timedelta(minutes=2))
    assert one.get(PATH) == {"data": []}
    assert sum(clock.waits) == 7 + 30 + 30
    server.always = reply(429, b'{"error": {"message": "cost of 5 minutes"}}')
    with pytest.raises(ReadError, match=r"throttled \(HTTP 429: cost of 5 minutes\), also after 120 s"):
        one.get(PATH)
    server.always = reply(429, Retry_After="3600")
    with pytest.raises(ReadError, match="also after 0 s"):
        one.get(PATH)


def test_a_stop_ends_every_wait(server: ExportServer, clock: ManualClock) -> None:
    server.always = reply(429)
    with (
        WATCH.obeying(lambda: Halt.YIELD if len(clock.waits) > 3 else Halt.NONE),
        pytest.raises(AbandonedError),
    ):
        api(server, clock).get(PATH)
    assert len(clock.waits) == 4


def test_a_stop_ends_a_request_that_is_under_way(server: ExportServer, clock: ManualClock) -> None:
    under_way, release = threading.Event(), threading.Event()

    def hang(handler: ExportHandler) -> None:
        under_way.set()
        release.wait(30)

    server.always = hang
    began = time.monotonic()
    with (
        WATCH.obeying(lambda: Halt.YIELD if under_way.is_set() else Halt.NONE),
        pytest.raises(AbandonedError),
    ):
        api(server, clock).get(PATH)
    release.set()
    assert time.monotonic() - began < 20


def test_at_most_two_questions_are_asked_at_once(server: ExportServer, clock: ManualClock) -> None:
    at_once, most, lock, pair = 0, 0, threading.Lock(), threading.Barrier(2, timeout=30)

    def count(handler: ExportHandler) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        pair.wait()
        with lock:
            at_once -= 1
        OK(handler)

    server.always = count
    one = api(server, clock)
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda _: one.get(PATH), range(6))) == [{"data": []}] * 6
    assert most == 2


@pytest.mark.parametrize("manners", NEVER_DONE, ids=lambda manners: manners.__name__)
def test_no_peer_holds_a_question_for_longer(
    manners: Manners, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "ANSWER_SECONDS", 0.3)
    monkeypatch.setattr(rest, "ATTEMPTS", 1)
    began = time.monotonic()
    with hostile(manners) as peer, pytest.raises(ReadError):
        RestApi(settings(peer.url), clock).get(PATH)
    assert time.monotonic() - began < 10
