"""The deadline of an exchange: with a clock by hand where it decides, with real peers where it cuts."""

from __future__ import annotations

import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from braze_etl.clock import ManualClock
from braze_etl.deadline import CutOffError, Exchange, Halt, Watch, watched_session
from tests import hostile
from tests.faults.processes import wait_until
from tests.hostile import NEVER_DONE, Manners

SOON = 10.0
"""Seconds that a busy machine may take to notice 0.3 s; the time-out of the socket is 30 s."""


class Connection:
    """What a connection is for an exchange."""

    def __init__(self) -> None:
        self.shut_for: list[Exchange] = []

    def shut(self, exchange: Exchange) -> None:
        self.shut_for.append(exchange)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 10, 5, 12, tzinfo=UTC))


@pytest.fixture
def watch(clock: ManualClock) -> Watch:
    watch = Watch(clock)
    watch._thread = threading.Thread()  # the test looks itself
    return watch


def exchange(watch: Watch, *, gives_way: bool = False) -> tuple[Exchange, Connection]:
    one, connection = Exchange(gives_way=gives_way, most=100, watch=watch), Connection()
    one.joined(connection)  # type: ignore[arg-type]  # it has what is asked of it
    return one, connection


def test_an_exchange_has_its_time_and_is_cut_off_after_it(watch: Watch, clock: ManualClock) -> None:
    one, connection = exchange(watch)

    def wait() -> None:
        with one.within(20):
            clock.advance(19.9)
            watch.cut_overdue()
            assert connection.shut_for == []
            clock.advance(0.1)
            watch.cut_overdue()
            raise OSError  # as whoever waited for the connection would

    with pytest.raises(CutOffError, match="not over after 20 s") as caught:
        wait()
    assert connection.shut_for == [one]
    assert not caught.value.stopped


def test_what_came_after_the_cut_is_no_answer(watch: Watch, clock: ManualClock) -> None:
    one, _ = exchange(watch)

    def read_too_late() -> None:
        with one.within(20):
            clock.advance(20)
            watch.cut_overdue()

    for _ in range(2):  # it is over for good
        with pytest.raises(CutOffError, match="not over after 20 s"):
            read_too_late()


def test_each_piece_has_its_own_time(watch: Watch, clock: ManualClock) -> None:
    one, connection = exchange(watch)
    for _ in range(10):
        with one.within(20):
            clock.advance(19)
            watch.cut_overdue()
        clock.advance(100)  # whoever reads may take long
        watch.cut_overdue()
    assert connection.shut_for == []


@pytest.mark.parametrize(
    ("halt", "gives_way", "is_cut"),
    [(Halt.YIELD, True, True), (Halt.YIELD, False, False), (Halt.ALL, True, True), (Halt.ALL, False, True)],
)
def test_a_stop_cuts_off_at_once_what_gives_way_and_at_last_the_rest(
    watch: Watch, halt: Halt, *, gives_way: bool, is_cut: bool
) -> None:
    one, connection = exchange(watch, gives_way=gives_way)
    now = Halt.NONE

    def work(exchange: Exchange) -> None:
        nonlocal now
        with exchange.within(20):
            now = halt
            watch.cut_overdue()

    with watch.obeying(lambda: now):
        for each in (one, exchange(watch, gives_way=gives_way)[0]):  # the second one does not even begin
            if is_cut:
                with pytest.raises(CutOffError, match="has to stop"):
                    work(each)
            else:
                work(each)
    assert bool(connection.shut_for) is is_cut
    work(exchange(watch, gives_way=gives_way)[0])


def ask(url: str, *, most: int = 1_000_000) -> requests.Response:
    with Exchange(most=most).within(0.3), watched_session() as session:
        return session.post(url, data=b"x" * 10_000_000, timeout=30, allow_redirects=False)


@pytest.mark.parametrize("manners", NEVER_DONE, ids=lambda one: one.__name__)
def test_no_peer_holds_an_exchange_for_longer(manners: Manners) -> None:
    with hostile.hostile(manners) as peer:
        began = time.monotonic()
        with pytest.raises(CutOffError, match="not over after"):
            ask(peer.url)
        assert time.monotonic() - began < SOON
        assert peer.met == 1


def test_a_handshake_that_drips_is_cut_off_too() -> None:
    def drips_hello(peer: hostile.HostilePeer, connection: socket.socket) -> None:
        connection.recv(65536)
        peer.drip(connection, b"\x16\x03\x03\x40\x00" + b"\x02" * 16_000)

    with hostile.hostile(drips_hello) as peer, pytest.raises(CutOffError, match="not over after"):
        ask(peer.url.replace("http:", "https:"))


def test_a_proxy_that_drips_is_cut_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with hostile.hostile(hostile.drips_headers) as peer:
        monkeypatch.setenv("https_proxy", peer.url)
        with pytest.raises(CutOffError, match="not over after"):
            ask("https://amplitude.invalid")


@pytest.mark.parametrize("manners", [hostile.body_without_end, hostile.chunk_without_end])
def test_an_answer_without_end_is_cut_off_at_its_bound(manners: Manners) -> None:
    cut = (CutOffError, requests.RequestException)  # urllib3 itself knows a bound for the lines of chunks
    with hostile.hostile(manners) as peer, pytest.raises(cut, match=r"longer than 3000000 bytes|exceeded"):
        ask(peer.url, most=3_000_000)


def test_a_connection_is_kept_for_the_next_exchange_and_closed_without_a_rest() -> None:
    def polite(peer: hostile.HostilePeer, connection: socket.socket) -> None:
        while not peer.over.is_set():
            hostile.read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    before = open_files()
    with hostile.hostile(polite) as peer:
        with watched_session() as session:
            for _ in range(3):
                with Exchange(most=100).within(20):
                    assert session.get(peer.url).text == "{}"
        assert peer.met == 1
        peer.close()
        wait_until(lambda: open_files() <= before, "every descriptor is closed")


def open_files() -> int:
    """How many descriptors this process has open, where the system tells."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0
