from __future__ import annotations

import io
import re
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError
from urllib3.exceptions import ProtocolError

from braze_etl.errors import FileUnavailableError, SourceGoneError
from braze_etl.storage.s3 import S3Store
from braze_etl.storage.s3_body import MAX_RESUMES, ResumingBody
from braze_etl.storage.settings import StoreAccess

CONTENT = bytes(range(256)) * 2000
ETAG = '"abc"'

Reply = Callable[[str], tuple[bytes, bytes]]


class FaultyServer:
    """Answers each request on a connection of its own, and closes it however little was sent.

    `answer` gets the request's text; `requests` are the texts so far.
    """

    def __init__(self) -> None:
        self.answer: Reply = lambda request: (b"HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n", b"")
        self.requests: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                request = self._request(connection)
                self.requests.append(request)
                head, body = self.answer(request)
                connection.sendall(head + body)

    @staticmethod
    def _request(connection: socket.socket) -> str:
        text = b""
        while b"\r\n\r\n" not in text:
            data = connection.recv(65536)
            if not data:
                break
            text += data
        return text.decode("latin-1")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    faulty = FaultyServer()
    yield faulty
    faulty.close()


def _range(request: str) -> tuple[int, int]:
    found = re.search(r"range: bytes=(\d+)-(\d*)", request, re.IGNORECASE)
    if found is None:
        return 0, len(CONTENT)
    return int(found[1]), int(found[2]) + 1 if found[2] else len(CONTENT)


def _breaks_after(sent: int) -> Reply:
    """Promise all that is left of the object, send *sent* bytes of it, and close."""

    def answer(request: str) -> tuple[bytes, bytes]:
        start, end = _range(request)
        head = (
            f"HTTP/1.1 206 Partial Content\r\nContent-Length: {end - start}\r\nETag: {ETAG}\r\n"
            f"Connection: close\r\n\r\n"
        )
        return head.encode(), CONTENT[start : min(end, start + sent)]

    return answer


def test_a_body_that_breaks_off_is_resumed_from_the_byte_it_reached(server: FaultyServer) -> None:
    server.answer = _breaks_after(200_000)
    store = S3Store("bucket", StoreAccess(endpoint_url=server.url))
    with store.open("key") as stream:
        assert stream.read() == CONTENT
    assert [_range(request)[0] for request in server.requests] == [0, 200_000, 400_000]


@pytest.mark.parametrize(
    "failure",
    [
        ReadTimeoutError(endpoint_url="https://s3.example"),
        ResponseStreamingError(error="reset"),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
        ConnectionResetError(104, "Connection reset by peer"),
        ProtocolError("Connection broken"),
    ],
)
def test_whatever_breaks_a_connection_it_is_resumed(failure: Exception) -> None:
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 1000:
                raise failure
            return super().read(min(size or 0, 1000))

    asked: list[tuple[int, int]] = []

    def get(offset: int, length: int) -> Breaking:
        asked.append((offset, length))
        return Breaking(CONTENT[offset : offset + length])

    body = ResumingBody(Breaking(CONTENT[:2500]), offset=0, length=2500, get=get, name="s3://bucket/key")
    with io.BufferedReader(body) as stream:
        assert stream.read() == CONTENT[:2500]
    assert asked == [(1000, 1500), (2000, 500)]


def test_a_resumed_read_asks_for_the_same_object(server: FaultyServer) -> None:
    server.answer = _breaks_after(300_000)
    with S3Store("bucket", StoreAccess(endpoint_url=server.url)).open("key") as stream:
        stream.read()
    assert f"if-match: {ETAG}" in server.requests[1].lower()


def test_a_resumed_range_ends_where_the_range_ended(server: FaultyServer) -> None:
    server.answer = _breaks_after(100)
    store = S3Store("bucket", StoreAccess(endpoint_url=server.url))
    with store.open("key", offset=1000, length=250) as stream:
        assert stream.read() == CONTENT[1000:1250]
    assert [_range(request) for request in server.requests] == [(1000, 1250), (1100, 1250), (1200, 1250)]


def test_a_body_that_breaks_off_again_and_again_is_given_up(server: FaultyServer) -> None:
    server.answer = _breaks_after(10)
    store = S3Store("bucket", StoreAccess(endpoint_url=server.url))
    with store.open("key") as stream, pytest.raises(FileUnavailableError, match="broke off 9 times"):
        stream.read()
    assert len(server.requests) == MAX_RESUMES + 1


def test_an_object_that_was_replaced_meanwhile_is_gone(server: FaultyServer) -> None:

    def answer(request: str) -> tuple[bytes, bytes]:
        if "if-match" in request.lower():
            body = b"<Error><Code>PreconditionFailed</Code><Message>no</Message></Error>"
            head = f"HTTP/1.1 412 Precondition Failed\r\nContent-Length: {len(body)}\r\n\r\n"
            return head.encode(), body
        return _breaks_after(100)(request)

    server.answer = answer
    with S3Store("bucket", StoreAccess(endpoint_url=server.url)).open("key") as stream:
        assert stream.read(50) == CONTENT[:50]
        with pytest.raises(SourceGoneError, match="replaced"):
            stream.read()
