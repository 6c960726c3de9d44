"""S3 that takes its time: a call ends and says which one it was; a stop gives it up at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from braze_etl.deadline import TICK, WATCH, Halt
from braze_etl.errors import AbandonedError, FileUnavailableError, StoreError, TooSlowError
from braze_etl.storage import s3_body as _s3_body
from braze_etl.storage import s3_errors as _s3_errors
from braze_etl.storage.s3 import S3Store
from braze_etl.storage.settings import StoreAccess
from tests import hostile
from tests.hostile import NEVER_DONE, Manners

SOON = 10.0
CALLS: dict[str, tuple[Callable[[S3Store], object], str]] = {
    "list": (lambda store: list(store.pages("p/")), r"s3:ListBucket on s3://bucket/p/"),
    "put": (lambda store: store.put("k", b"x" * 10_000_000), r"s3:PutObject on s3://bucket/k"),
    "get": (
        lambda store: store.open("k").read(),
        r"s3:GetObject on s3://bucket/k|more of s3://bucket/k",
    ),
    "lifetime": (lambda store: store.lifetime(), r"s3:GetLifecycleConfiguration on s3://bucket"),
}

MATRIX = [
    *(("list", manners) for manners in NEVER_DONE),
    *(("put", manners) for manners in (hostile.silent_after_100_continue, hostile.reads_a_byte_a_time)),
    *(("get", manners) for manners in (hostile.silent, hostile.drips_headers, hostile.drips_body)),
    ("lifetime", hostile.silent),
]


@pytest.fixture(autouse=True)
def impatient(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits in tenths of a second; *s3_server* brings credentials."""
    monkeypatch.setattr(_s3_errors, "PATIENCE", 0.4)
    monkeypatch.setattr(_s3_errors, "_SLOWEST", 1e9)
    monkeypatch.setattr(_s3_body, "PATIENCE", 0.4)
    monkeypatch.setattr(_s3_body, "PIECE_SECONDS", 0.2)


def store(peer: hostile.HostilePeer, *, gives_way: bool = False) -> S3Store:
    one = S3Store("bucket", StoreAccess(peer.url, "us-east-1"), gives_way=gives_way)
    assert one._client  # takes a moment to make
    return one


@pytest.mark.parametrize("call", ["list", "put", "get"])
def test_a_server_that_only_redirects_is_told_of(call: str) -> None:
    ask, _ = CALLS[call]
    with hostile.hostile(hostile.redirects) as peer:
        one = store(peer)
        with pytest.raises((StoreError, FileUnavailableError), match=r"s3://bucket.*: 307"):
            ask(one)


@pytest.mark.parametrize(("call", "manners"), MATRIX, ids=lambda one: getattr(one, "__name__", one))
def test_a_call_ends_whatever_the_server_does_and_the_words_name_it(call: str, manners: Manners) -> None:
    ask, words = CALLS[call]
    with hostile.hostile(manners) as peer:
        one = store(peer)
        began = time.monotonic()
        with pytest.raises((StoreError, TooSlowError), match=words):
            ask(one)
        assert time.monotonic() - began < SOON


@pytest.mark.parametrize("manners", [hostile.silent, hostile.drips_headers, hostile.drips_body])
def test_a_stop_ends_what_gives_way_at_once_and_without_another_attempt(
    manners: Manners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_s3_errors, "PATIENCE", 60.0)
    monkeypatch.setattr(_s3_body, "PIECE_SECONDS", 60.0)
    stop = threading.Event()
    with hostile.hostile(manners) as peer, WATCH.obeying(lambda: Halt.YIELD if stop.is_set() else Halt.NONE):
        one = store(peer, gives_way=True)
        threading.Timer(0.3, stop.set).start()
        began = time.monotonic()
        with pytest.raises(AbandonedError, match=r"s3:GetObject on s3://bucket/k .*has to stop"):
            one.open("k").read()
        assert time.monotonic() - began < 0.3 + TICK + SOON
        assert peer.met == 1


def test_a_slow_piece_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_once(peer: hostile.HostilePeer, connection: socket.socket) -> None:
        if peer.met == 1:
            hostile.drips_body(peer, connection)
            return
        head = hostile.read_request(connection)
        assert b"bytes=0-499999" in head
        connection.sendall(b'HTTP/1.1 206 OK\r\nETag: "e"\r\nContent-Length: 500000\r\n\r\n' + b"y" * 500_000)

    monkeypatch.setattr(_s3_errors, "PATIENCE", 60.0)
    monkeypatch.setattr(_s3_body, "PATIENCE", 60.0)
    with hostile.hostile(slow_once) as peer:
        assert store(peer).open("k").read() == b"y" * 500_000
