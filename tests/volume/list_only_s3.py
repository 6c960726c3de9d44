"""An S3 that only lists: a bucket of a million keys that nobody had to write.

`python -m tests.volume.list_only_s3` prints its URL and serves until it is ended. `GET /requests` tells how
many lists were asked for.
"""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import overload
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

TYPES = 100
HOURS = 10_000
LAST = datetime(2026, 10, 31, 23, tzinfo=UTC)
_FOLDER = "dataexport.prod-01.S3.integration.0123456789abcdef01234567"
_PAGE = 1000


class Keys(Sequence[str]):
    """One file for each event type and hour, in the order of S3; a key is made when it is looked at."""

    def __len__(self) -> int:
        return TYPES * HOURS

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        of_type, hour = divmod(index, HOURS)
        date = LAST - timedelta(hours=HOURS - 1 - hour)
        below = f"event_type=users.messages.t{of_type:03}.Send/date={date:%Y-%m-%d-%H}/version=1/prod-01"
        return f"currents/{_FOLDER}/{below}/{_FOLDER}+0+{hour:010}.avro"


KEYS = Keys()


def page(prefix: str, after: str, delimiter: str) -> tuple[list[str], list[str], str]:
    """Keys and common prefixes of one page, and behind which key the next begins (empty: there is none)."""
    keys: list[str] = []
    prefixes: list[str] = []
    place = bisect_left(KEYS, max(prefix, after + "\0" if after else ""))
    while place < len(KEYS) and KEYS[place].startswith(prefix):
        if len(keys) + len(prefixes) == _PAGE:
            return keys, prefixes, (keys or prefixes)[-1] + ("" if keys else "\U0010ffff")
        key = KEYS[place]
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        if found:
            prefixes.append(f"{prefix}{head}/")
            place = bisect_left(KEYS, prefixes[-1] + "\U0010ffff")
        else:
            keys.append(key)
            place += 1
    return keys, prefixes, ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if self.path == "/requests":
            self._answer(200, str(self.server.lists).encode())
        elif "list-type" in asked:
            self.server.lists += 1
            self._answer(200, "".join(_listing({name: value[0] for name, value in asked.items()})).encode())
        else:
            self._answer(501, b"<Error><Code>NotImplemented</Code></Error>")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


def _listing(asked: dict[str, str]) -> Iterator[str]:
    after = asked.get("continuation-token") or asked.get("start-after", "")
    keys, prefixes, more = page(asked.get("prefix", ""), after, asked.get("delimiter", ""))
    yield "<ListBucketResult><Name>acme</Name>"
    yield f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>"
    if more:
        yield f"<NextContinuationToken>{escape(more)}</NextContinuationToken>"
    for key in keys:
        yield f"<Contents><Key>{escape(key)}</Key><LastModified>2026-10-31T12:00:00.000Z</LastModified>"
        yield "<ETag>0123456789abcdef</ETag><Size>4000</Size><StorageClass>STANDARD</StorageClass></Contents>"
    for prefix in prefixes:
        yield f"<CommonPrefixes><Prefix>{escape(prefix)}</Prefix></CommonPrefixes>"
    yield "</ListBucketResult>"


class Server(ThreadingHTTPServer):
    daemon_threads = True
    lists = 0


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Handler) as server:
        sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
        sys.stdout.flush()
        server.serve_forever()
