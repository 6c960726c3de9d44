"""The transport against a real socket: one script a server, one connection after the other."""

from __future__ import annotations

import gzip
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import gaierror
from ssl import PROTOCOL_TLS_SERVER, SSLCertVerificationError, SSLContext
from typing import Any

import pytest
import requests
import trustme
from requests.exceptions import ConnectionError, ConnectTimeout, SSLError  # noqa: A004 - the library's name
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, NameResolutionError, ReadTimeoutError
from urllib3.exceptions import SSLError as Urllib3SSLError

from braze_etl.clock import SystemClock
from braze_etl.delivery.http import HttpTransport, Kind, NoReply, Reply
from tests.delivery.conftest import KEY
from tests.hostile import NEVER_DONE, Manners, hostile

POOL: Any = HTTPConnectionPool("h")
Script = Callable[["Handler"], None]
BODY = b'{"api_key": "' + KEY.encode() + b'", "events": []}'


class Handler(BaseHTTPRequestHandler):
    """Reads the request, then does what the server's script says."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        self.content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(self)
        self.server.script(self)

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def reset(self) -> None:
        """Close so that the other side gets a reset, not an end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: Script = lambda handler: handler.answer(200, b'{"code": 200}')
        self.seen: list[Handler] = []
        self.release = threading.Event()
        self.scheme = "http"

    def handle_error(self, *_args: object) -> None:
        pass  # broken connections are the point

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_address[1]}/batch"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield one
        finally:
            one.release.set()
            one.shutdown()
            thread.join()


@pytest.fixture
def private(server: Server, tmp_path: Path) -> Path:
    """Have *server* speak TLS with a certificate of a private CA, whose bundle this is."""
    authority = trustme.CA()
    context = SSLContext(PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.scheme = "https"
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    return bundle


def send(url: str, body: bytes = BODY, *, zipped: bool = False, timeout: float = 5.0) -> Reply | NoReply:
    transport = HttpTransport(url, SystemClock(), timeout=timeout, secret=KEY)
    try:
        return transport.send(body, gzip=zipped)
    finally:
        transport.close()


def test_a_reply_comes_with_status_body_and_its_wait(server: Server) -> None:
    server.script = lambda handler: handler.answer(429, b'{"code": 429, "error": "slow"}', Retry_After="7")
    answer = send(server.url)
    assert isinstance(answer, Reply)
    assert answer.status == 429
    assert answer.body == {"code": 429, "error": "slow"}
    assert answer.retry_after == 7.0


def test_the_request_is_json_without_credentials_of_the_machine(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    send(server.url)
    (seen,) = server.seen
    assert seen.content == BODY
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.headers["Content-Encoding"] is None
    assert seen.headers["Authorization"] is None


@pytest.mark.parametrize(
    "name", ["CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PYTHONHTTPSVERIFY", "SSL_CERT_FILE"]
)
@pytest.mark.parametrize("value", ["", "0", "false"])
@pytest.mark.usefixtures("private")
def test_no_variable_that_was_left_behind_switches_the_check_of_certificates_off(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    answer = send(server.url)
    assert isinstance(answer, NoReply)
    assert server.seen == []


def test_a_private_authority_is_trusted_when_its_bundle_is_named(
    server: Server, private: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert send(server.url) == NoReply(Kind.TLS, f"the certificate of {server.url} can't be verified")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(private))
    assert isinstance(send(server.url), Reply)


def test_a_compressed_body_says_so(server: Server) -> None:
    send(server.url, gzip.compress(BODY), zipped=True)
    (seen,) = server.seen
    assert seen.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(seen.content) == BODY


def test_one_connection_serves_many_requests(server: Server) -> None:
    transport = HttpTransport(server.url, SystemClock(), timeout=20.0)
    for _ in range(3):
        transport.send(BODY, gzip=False)
    transport.close()
    assert len({seen.client_address for seen in server.seen}) == 1


def test_a_page_is_a_reply_without_a_body(server: Server) -> None:
    server.script = lambda handler: handler.answer(502, b"<html>Bad   gateway</html>")
    answer = send(server.url)
    assert isinstance(answer, Reply)
    assert answer == Reply(502, None, "<html>Bad gateway</html>", date=answer.date)


def test_a_redirect_is_not_followed(server: Server) -> None:
    server.script = lambda handler: handler.answer(307, Location=server.url)
    answer = send(server.url)
    assert isinstance(answer, Reply)
    assert (answer.status, answer.location) == (307, server.url)
    assert len(server.seen) == 1


def test_the_key_in_a_reply_is_blotted_out(server: Server) -> None:
    server.script = lambda handler: handler.answer(
        400, b'{"error": "Invalid API key: ' + KEY.encode() + b'"}'
    )
    assert KEY not in repr(send(server.url))


def test_a_reply_without_end_is_cut_off(server: Server) -> None:
    server.script = lambda handler: handler.answer(200, b'{"a": "' + b"x" * 9_000_000 + b'"}')
    answer = send(server.url)
    assert isinstance(answer, Reply)
    assert answer.body is None


def half_a_reply(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100")
    handler.end_headers()
    handler.wfile.write(b'{"code": 200')
    handler.wfile.flush()


def reset_within(handler: Handler) -> None:
    half_a_reply(handler)
    handler.reset()


def close_within(handler: Handler) -> None:
    half_a_reply(handler)
    handler.close_connection = True


def garbage(handler: Handler) -> None:
    handler.wfile.write(b"not http at all\r\n\r\n")
    handler.close_connection = True


def broken_encoding(handler: Handler) -> None:
    handler.answer(200, b"no gzip", Content_Encoding="gzip")


@pytest.mark.parametrize(
    "script",
    [Handler.reset, reset_within, close_within, garbage, broken_encoding],
    ids=lambda one: one.__name__,
)
def test_a_broken_connection_is_no_reply(server: Server, script: Script) -> None:
    server.script = script
    answer = send(server.url)
    assert isinstance(answer, NoReply)
    assert answer.kind is Kind.RESET


def test_a_reset_before_the_request_was_read_is_no_reply() -> None:
    class Slam(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.close()

    with socketserver.TCPServer(("127.0.0.1", 0), Slam) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        answer = send(f"http://127.0.0.1:{server.server_address[1]}/batch", b"x" * 5_000_000)
        thread.join()
    assert isinstance(answer, NoReply)
    assert answer.kind in (Kind.RESET, Kind.REFUSED)  # the reset may come before connect() is back


def silent(handler: Handler) -> None:
    handler.server.release.wait(30)


def silent_within(handler: Handler) -> None:
    half_a_reply(handler)
    handler.server.release.wait(30)


@pytest.mark.parametrize("script", [silent, silent_within])
def test_silence_is_a_time_out(server: Server, script: Script) -> None:
    server.script = script
    answer = send(server.url, timeout=0.2)
    assert isinstance(answer, NoReply)
    assert answer.kind is Kind.TIMEOUT


@pytest.mark.parametrize("manners", NEVER_DONE, ids=lambda one: one.__name__)
def test_a_peer_that_is_never_done_is_a_time_out(manners: Manners) -> None:
    with hostile(manners) as peer:
        answer = send(peer.url, b"x" * 10_000_000, timeout=0.3)
    assert answer == NoReply(Kind.TIMEOUT, f"{peer.url} did not answer in time")


def test_nobody_listening_is_refused_and_the_words_name_the_url_alone() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        answer = send(f"http://ann:pass@127.0.0.1:{port}/batch?token=t")
    assert isinstance(answer, NoReply)
    assert answer.kind is Kind.REFUSED
    assert f"http://127.0.0.1:{port}/batch" in answer.words
    assert not {"pass", "token", KEY} & set(answer.words.replace("/", " ").split())


@pytest.mark.parametrize(
    "url", ["no-scheme/batch", "ftp://host/batch", "http:///batch", "http://h:port/batch"]
)
def test_a_url_that_is_none_is_told_apart(url: str) -> None:
    answer = send(url)
    assert isinstance(answer, NoReply)
    assert answer.kind is Kind.URL


def test_a_proxy_that_is_not_there_is_told_apart(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        for name in ("http_proxy", "no_proxy", "NO_PROXY", "HTTP_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused.getsockname()[1]}")
        answer = send("http://amplitude.invalid/batch")
    assert isinstance(answer, NoReply)
    assert answer.kind is Kind.PROXY


def test_plain_http_behind_https_is_a_broken_connection(server: Server) -> None:
    answer = send(server.url.replace("http:", "https:"))
    assert isinstance(answer, NoReply)
    assert answer.kind is Kind.RESET


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (SSLError(MaxRetryError(POOL, "/", Urllib3SSLError(SSLCertVerificationError("expired")))), Kind.TLS),
        (SSLError(MaxRetryError(POOL, "/", Urllib3SSLError("EOF occurred"))), Kind.RESET),
        (ConnectTimeout(MaxRetryError(POOL, "/", ConnectTimeoutError(POOL, "late"))), Kind.TIMEOUT),
        (ConnectionError(ReadTimeoutError(POOL, "/", "late")), Kind.TIMEOUT),
        (ConnectionError(MaxRetryError(POOL, "/", NameResolutionError("h", POOL, gaierror()))), Kind.DNS),
    ],
)
def test_what_requests_raises_is_told_apart(error: requests.RequestException, kind: Kind) -> None:
    class Broken(requests.Session):
        def post(self, *_args: Any, **_kwargs: Any) -> requests.Response:
            raise error

    transport = HttpTransport("http://localhost:8099/batch", SystemClock(), timeout=20.0)
    transport._local.session = Broken()
    answer = transport.send(BODY, gzip=False)
    assert isinstance(answer, NoReply)
    assert answer.kind is kind
