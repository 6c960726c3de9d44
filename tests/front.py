"""A server in front of S3 that passes requests on, so that a test can see, refuse or change them.

`Front` lets all through. `Strict` is what servers that only look like S3 have in common: each refuses
something that Amazon's take.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from tests.serving import url_of

_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True)
class Asked:
    """A request; the names of its headers in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


def refusal(status: int, code: str, message: str = "no") -> Reply:
    """An answer of S3's that says no."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply(status, (("Content-Type", "application/xml"),), body.encode())


class Front(ThreadingHTTPServer):
    """Speaks S3's protocol for the server at *behind*, and remembers what was asked of it."""

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urlsplit(behind).netloc
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return url_of(self)

    def answer(self, asked: Asked) -> Reply:
        """Answer a request: here, as the server behind does."""
        return self.pass_on(asked)

    def pass_on(self, asked: Asked) -> Reply:
        connection = http.client.HTTPConnection(self.behind, timeout=30)
        try:
            headers = {**asked.headers, "host": self.behind}
            connection.request(asked.method, asked.target, asked.body, headers)
            answer = connection.getresponse()
            passed = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
            return Reply(answer.status, passed, answer.read())
        finally:
            connection.close()


class Strict(Front):
    """Refuses what some servers do not know: a deletion of many without Content-MD5 (Ceph, and most that are
    older than the newer checksums), and any such checksum, trailer, optional attribute or expectation."""

    def answer(self, asked: Asked) -> Reply:
        if asked.method == "POST" and "content-md5" not in asked.headers:
            return refusal(400, "MissingContentMD5", "Missing required header for this request: Content-MD5")
        unknown = [name for name in asked.headers if name.startswith(_UNKNOWN)]
        if unknown or "aws-chunked" in asked.headers.get("content-encoding", ""):
            return refusal(501, "NotImplemented", f"A header implies what is not implemented: {unknown}")
        if "expect" in asked.headers:
            return refusal(417, "ExpectationFailed")
        return self.pass_on(asked)


class BareEtags(Strict):
    """Compares If-Match as it stands with an ETag that has no quotes, as Ceph did before its version 17.

    `quoted` is the answer to one in quotes. With `careless`, a condition of the other form is not looked at.
    """

    quoted = refusal(412, "PreconditionFailed")
    careless = False

    def answer(self, asked: Asked) -> Reply:
        etag = asked.headers.get("if-match", "")
        if not etag:
            return super().answer(asked)
        if etag.startswith('"'):
            return self.quoted
        others = {name: value for name, value in asked.headers.items() if name != "if-match"}
        match = {} if self.careless else {"if-match": f'"{etag}"'}
        return super().answer(replace(asked, headers=others | match))


_UNKNOWN = ("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer", "x-amz-optional", "x-amz-decoded")


class _Handler(BaseHTTPRequestHandler):
    server: Front
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer leaves as one packet; in two, each would wait for the other side
    disable_nagle_algorithm = True

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body)
        self.server.asked.append(asked)
        reply = self.server.answer(asked)
        self.send_response(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._do
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        pass
