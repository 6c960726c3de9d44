"""A server in front of S3 that lets through what the policies allow, and remembers which rights were used."""

from __future__ import annotations

import http.client
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.deploy.policies import Grant, Need, allowed

_DENIED = b"<Error><Code>AccessDenied</Code><Message>no identity-based policy allows it</Message></Error>"
_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


class Gatekeeper(ThreadingHTTPServer):
    """Speaks S3's protocol for the server at *behind*; `used` and `refused` are rights."""

    daemon_threads = True

    def __init__(self, behind: str, given: Sequence[Grant]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urlsplit(behind).netloc
        self.given = given
        self.used: set[Need] = set()
        self.refused: set[Need] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        """Judge a request, and pass it on if it may be."""
        if not self._may(needs(method, target, headers, body)):
            return Reply(403, (("Content-Type", "application/xml"),), _DENIED)
        reply = self._pass_on(method, target, headers, body)
        if reply.status == 404 and method == "GET" and not self._may_know(target):
            return Reply(403, (("Content-Type", "application/xml"),), _DENIED)
        sealed = dict(reply.headers).get("x-amz-server-side-encryption-aws-kms-key-id")
        if method == "GET" and sealed and not self._may([Need("kms:Decrypt", sealed)]):
            return Reply(403, (("Content-Type", "application/xml"),), _DENIED)
        return reply

    def _may(self, asked: Sequence[Need]) -> bool:
        missing = {need for need in asked if not allowed(need, self.given)}
        self.refused |= missing
        self.used |= set(asked)
        return not missing

    def _may_know(self, target: str) -> bool:
        """S3 says 404 to those who may list, and 403 to all others; such a request carries no prefix."""
        bucket = urlsplit(target).path.lstrip("/").partition("/")[0]
        return allowed(Need("s3:ListBucket", _arn(bucket)), self.given)

    def _pass_on(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Reply:
        connection = http.client.HTTPConnection(self.behind, timeout=30)
        try:
            connection.request(method, target, body, {**headers, "Host": self.behind})
            answer = connection.getresponse()
            passed = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
            return Reply(answer.status, passed, answer.read())
        finally:
            connection.close()


@contextmanager
def gatekeeper(behind: str, given: Sequence[Grant]) -> Iterator[Gatekeeper]:
    """A gatekeeper that is up for the length of the block."""
    with Gatekeeper(behind, given) as gate:
        thread = threading.Thread(target=gate.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield gate
        finally:
            gate.shutdown()
            thread.join()


def needs(method: str, target: str, headers: dict[str, str], body: bytes) -> list[Need]:
    """The rights that S3 asks for (Service Authorization Reference, "Actions for Amazon S3")."""
    url = urlsplit(target)
    bucket, _, key = unquote(url.path).lstrip("/").partition("/")
    query = parse_qs(url.query, keep_blank_values=True)
    of_bucket, of_object = _arn(bucket), _arn(f"{bucket}/{key}")
    match method, bool(key):
        case "GET", False if "list-type" in query:
            return [Need("s3:ListBucket", of_bucket, query.get("prefix", [None])[0])]
        case "GET", False if "lifecycle" in query:
            return [Need("s3:GetLifecycleConfiguration", of_bucket)]
        case "POST", False if "delete" in query:
            return [Need("s3:DeleteObject", _arn(f"{bucket}/{each}")) for each in _deleted(body)]
        case "GET", True if not query:
            return [Need("s3:GetObject", of_object)]
        case "PUT", True if not query:
            return [Need("s3:PutObject", of_object), *_of_writing(of_object, headers)]
    raise AssertionError(f"no policy speaks of {method} {target}")


def _of_writing(of_object: str, headers: dict[str, str]) -> Iterator[Need]:
    lower = {name.lower(): value for name, value in headers.items()}
    if "if-match" in lower:
        yield Need("s3:GetObject", of_object)
    if lower.get("x-amz-server-side-encryption") == "aws:kms":
        yield Need("kms:GenerateDataKey", lower["x-amz-server-side-encryption-aws-kms-key-id"])


def _deleted(body: bytes) -> list[str]:
    return [str(element.text) for element in ET.fromstring(body).iter() if element.tag.endswith("Key")]


def _arn(what: str) -> str:
    return f"arn:aws:s3:::{what}"


class _Handler(BaseHTTPRequestHandler):
    server: Gatekeeper
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer leaves as one packet; in two, each would wait for the other side
    disable_nagle_algorithm = True

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        del self.headers["Expect"]  # it was met here
        reply = self.server.answer(self.command, self.path, dict(self.headers), body)
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def handle_expect_100(self) -> bool:
        going_on = super().handle_expect_100()
        self.wfile.flush()  # the body comes when this has arrived
        return going_on

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._do
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass
