"""A fast stand-in for Amplitude's Batch API: takes bodies, says 200, and proves afterwards what it got.

Nothing is parsed while a run is measured. A body is received straight into its own memory; ids are searched
for when `/ids` is asked. A request without events is a probe: it gets Amplitude's 400 and is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import resource
import sys
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

_ID = re.compile(rb'"insert_id"\s*:\s*"([^"]+)"')
_NO_EVENTS = re.compile(rb'"events"\s*:\s*\[\s*\]')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_GZIP = re.compile(rb"\r\ncontent-encoding:\s*gzip", re.IGNORECASE)
_LONGEST_PROBE = 1000
_HEAD_ROOM = 65_536
_TAKEN = b'{"code":200}'
_REFUSED = b'{"code":400,"error":"Missing request body","missing_field":"events"}'


@dataclass(slots=True)
class Held:
    """What arrived: bodies as they came, and when the first one began (`time.monotonic`, None: none did)."""

    bodies: list[tuple[bytearray, bool]] = field(default_factory=list)
    first: float | None = None
    most_at_once: int = 0

    def ids(self) -> Iterator[bytes]:
        """The insert_id of each event held, repeats included."""
        for body, zipped in self.bodies:
            yield from _ID.findall(plain(body, zipped=zipped))

    def facts(self) -> bytes:
        """Requests, bytes, the first one's time, requests in flight at most, CPU seconds of the sink."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        facts = {
            "requests": len(self.bodies),
            "bytes": sum(len(body) for body, _ in self.bodies),
            "first": self.first,
            "most_at_once": self.most_at_once,
            "cpu": usage.ru_utime + usage.ru_stime,
        }
        return json.dumps(facts).encode()


def plain(body: bytes | bytearray, *, zipped: bool) -> bytes | bytearray:
    """The body as JSON text."""
    return zlib.decompress(body, wbits=31) if zipped else body


class Connection(asyncio.BufferedProtocol):
    """One connection: a head, a body of known length, an answer, and again.

    A request must have a Content-Length, and the next one must wait for the answer.
    """

    def __init__(self, held: Held, latency: float) -> None:
        self._held = held
        self._latency = latency
        self._head = bytearray(_HEAD_ROOM)
        self._body: bytearray | None = None
        self._filled = 0
        self._zipped = False
        self._begun = 0.0
        self._transport: asyncio.Transport | None = None

    in_flight = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._head if self._body is None else self._body)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._body is None:
            self._read_head()
        if self._body is not None and self._filled == len(self._body):
            self._take(self._body)

    def _read_head(self) -> None:
        end = self._head.find(b"\r\n\r\n", 0, self._filled)
        if end < 0:
            return
        self._begun = time.monotonic()
        head, rest = bytes(self._head[:end]), self._head[end + 4 : self._filled]
        if head.startswith(b"GET "):
            self._tell(head.split(b" ", 2)[1])
            return
        length = _LENGTH.search(head)
        assert length is not None, "the sink takes bodies with a Content-Length only"
        self._zipped = _GZIP.search(head) is not None
        self._body = bytearray(int(length[1]))
        self._body[: len(rest)] = rest
        self._filled = len(rest)

    def _tell(self, path: bytes) -> None:
        self._filled = 0
        self._answer(200, b"\n".join(self._held.ids()) if path == b"/ids" else self._held.facts())

    def _take(self, body: bytearray) -> None:
        self._body, self._filled = None, 0
        if len(body) < _LONGEST_PROBE and _NO_EVENTS.search(plain(body, zipped=self._zipped)):
            self._answer(400, _REFUSED)
            return
        self._held.first = self._held.first or self._begun
        self._held.bodies.append((body, self._zipped))
        if not self._latency:
            self._answer(200, _TAKEN)
            return
        Connection.in_flight += 1
        self._held.most_at_once = max(self._held.most_at_once, Connection.in_flight)
        asyncio.get_running_loop().call_later(self._latency, self._answer_late)

    def _answer_late(self) -> None:
        Connection.in_flight -= 1
        self._answer(200, _TAKEN)

    def _answer(self, status: int, body: bytes) -> None:
        assert self._transport is not None
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def serve(latency: float) -> None:
    """Listen on a free port, print the URL, and serve until the process is ended."""
    held = Held()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(held, latency), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


def main() -> int:
    """Read `--latency SECONDS`, and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before an answer")
    asyncio.run(serve(parser.parse_args().latency))
    return 0


if __name__ == "__main__":
    sys.exit(main())
