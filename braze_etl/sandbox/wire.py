"""Bytes of HTTP: request bodies in, messages out, and connections that end badly on purpose."""

from __future__ import annotations

import socket
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message as Headers
from email.utils import formatdate
from http.client import responses
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from typing import Any

import orjson

from braze_etl.sandbox.amplitude.replies import RawReply, Reply, refusal
from braze_etl.sandbox.faults import Answer

_MOST_WIRE = 256_000_000
_GZIP = 16 + zlib.MAX_WBITS
_BODILESS = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Body:
    """A request body, uncompressed, its size on the wire, and the refusal if it could not be had.

    `in_step` is False when the connection can't be used for another request.
    """

    data: bytes
    wire: int
    refusal: Reply | None = None
    in_step: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """An answer as it goes out."""

    status: int
    payload: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, answer: Reply | RawReply | Answer) -> Message:
        """Render the body: bytes or a text as they are, nothing for None, anything else as JSON."""
        if isinstance(answer, RawReply):
            return cls(answer.status, answer.body, answer.headers)
        if answer.body is None or answer.status in _BODILESS:
            return cls(answer.status, b"", answer.headers)
        body, kind = answer.body, "text/plain" if isinstance(answer.body, str) else "application/json"
        payload = body.encode() if isinstance(body, str) else as_json(body)
        return cls(answer.status, payload, {"Content-Type": kind, **answer.headers})

    def dated(self) -> Message:
        """The same with the present time, as every server tells it (RFC 9110, 6.6.1)."""
        return replace(self, headers={"Date": formatdate(usegmt=True), **self.headers})

    def head(self, *, close: bool) -> bytes:
        """Render status line and headers; a header given by a script replaces ours whatever its case."""
        lines = {"content-length": f"Content-Length: {len(self.payload)}"}
        if close:
            lines["connection"] = "Connection: close"
        lines.update({name.lower(): f"{name}: {value}" for name, value in self.headers.items()})
        first = f"HTTP/1.1 {self.status} {responses.get(self.status, 'Unknown')}"
        text = "\r\n".join((first, *lines.values(), "", ""))
        return text.encode("latin-1", "replace")


def as_json(value: Any) -> bytes:
    """Render JSON, also what only a fault script holds: keys that are numbers."""
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def encoding_of(headers: Headers) -> str:
    """Return the Content-Encoding in lower case; empty for a plain body."""
    encoding = (headers.get("Content-Encoding") or "").strip().lower()
    return "" if encoding == "identity" else encoding


def read_body(source: BufferedIOBase, headers: Headers, most: int) -> Body:
    """Read a whole body, and inflate gzip to just over *most* bytes, which is enough to refuse it.

    Raises ConnectionError when the client breaks off in the middle. Not documented: what Amplitude says of a
    bad gzip stream (400 here), of another encoding (415) and of a body without a length (411).
    """
    length = headers.get("Content-Length")
    if length is None or not length.isdigit():
        return Body(b"", 0, refusal(411, "Length required"), in_step=False)
    if int(length) > _MOST_WIRE:
        return Body(b"", 0, refusal(413, "Payload too large"), in_step=False)
    data = source.read(int(length))
    if len(data) < int(length):
        raise ConnectionAbortedError("the client closed the connection within the body")
    encoding = encoding_of(headers)
    if not encoding:
        return Body(data, len(data))
    if encoding != "gzip":
        return Body(b"", len(data), refusal(415, f"Unsupported content encoding: {encoding}"))
    return _inflate(data, most)


def _inflate(data: bytes, most: int) -> Body:
    inflater = zlib.decompressobj(_GZIP)
    try:
        plain = inflater.decompress(data, most + 1)
    except zlib.error:
        return Body(b"", len(data), refusal(400, "Invalid gzip request body"))
    whole = inflater.eof and not inflater.unused_data
    if not whole and len(plain) <= most:
        return Body(b"", len(data), refusal(400, "Invalid gzip request body"))
    return Body(plain, len(data))


def send(handler: BaseHTTPRequestHandler, message: Message) -> None:
    """Send a whole message in one write."""
    payload = b"" if handler.command == "HEAD" else message.payload
    handler.wfile.write(message.dated().head(close=handler.close_connection) + payload)


def send_half(handler: BaseHTTPRequestHandler, message: Message) -> None:
    """Send a message that promises its whole body and holds half of it; the connection ends with it."""
    handler.close_connection = True
    handler.wfile.write(message.dated().head(close=False) + message.payload[: len(message.payload) // 2])


def send_stream(handler: BaseHTTPRequestHandler, content_type: str, chunks: Iterable[bytes]) -> None:
    """Send a body of unknown length, chunked."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
    handler.wfile.write(head.encode())
    for chunk in chunks:
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    handler.wfile.write(b"0\r\n\r\n")


def reset(handler: BaseHTTPRequestHandler) -> None:
    """End the connection with a TCP reset."""
    handler.close_connection = True
    # Lingering for no time makes close() send RST instead of FIN; the reader holds the socket open until it
    # is shut.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.rfile.close()
    handler.connection.close()
