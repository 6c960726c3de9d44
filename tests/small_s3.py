"""A small S3 over real HTTP: the files of a folder, and whatever a server can do wrong with them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tests.serving import serving, url_of

BUCKET = "acme"


@dataclass(frozen=True)
class Asked:
    """A request: the facts of its query, the key (empty for a listing), and its headers in lower case."""

    query: dict[str, str]
    key: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """A status, headers, and a body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def but(self, body: bytes | None = None, status: int | None = None, **headers: str | None) -> Answer:
        """Another body, status or headers (with `_` for `-`; None takes one away)."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        left = {name: value for name, value in {**self.headers, **named}.items() if value is not None}
        return replace(
            self, status=status or self.status, headers=left, body=self.body if body is None else body
        )


LOGIN = b"<html><head><title>Sign in</title></head><body>Who are you?</body></html>"
Twist = Callable[[Asked, Answer], Answer]


def denied(_: Asked, answer: Answer) -> Answer:
    """No right to do that."""
    return refused(answer, "AccessDenied", 403)


def refused(answer: Answer, code: str, status: int) -> Answer:
    """S3's words for a refusal."""
    body = f"<Error><Code>{code}</Code><Message>{code} it is</Message></Error>".encode()
    return Answer(status, {"Content-Type": "application/xml"}, body)


@dataclass
class SmallS3:
    """The server; what it does wrong can be changed at any time.

    `ignores` are parameters of a listing that it leaves out, `order` is that of its listings, `page` the most
    keys of one, of which so many come `again` on the next. `on_list` and `on_get` change an answer.
    """

    root: Path
    url: str = ""
    page: int = 1000
    again: int = 0
    etags: bool = True
    ignores: frozenset[str] = frozenset()
    order: Callable[[list[str]], list[str]] = sorted
    on_list: Twist = lambda _, answer: answer
    on_get: Twist = lambda _, answer: answer
    asked: list[Asked] = field(default_factory=list)

    def behave(self) -> None:
        """Do nothing wrong any more."""
        good = SmallS3(self.root)
        self.page, self.etags, self.ignores, self.order = good.page, good.etags, good.ignores, good.order
        self.on_list, self.on_get, self.again = good.on_list, good.on_get, good.again

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.key:
            return self.on_get(asked, self._object(asked))
        return self.on_list(asked, self._listing(asked))

    def _listing(self, asked: Asked) -> Answer:
        wanted = {name: value for name, value in asked.query.items() if name not in self.ignores}
        prefix, delimiter = wanted.get("prefix", ""), wanted.get("delimiter", "")
        keys = [str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()]
        keys = [key for key in keys if key.startswith(prefix) and key > wanted.get("start-after", "")]
        entries = self.order(list({_entry(key, prefix, delimiter) for key in keys}))
        begin = max(0, int(wanted.get("continuation-token", "0")) - self.again)
        more = len(entries) > begin + self.page
        parts = [f"<Name>{BUCKET}</Name><IsTruncated>{str(more).lower()}</IsTruncated>"]
        parts.append("<EncodingType>url</EncodingType>")
        if more:
            parts.append(f"<NextContinuationToken>{begin + self.page}</NextContinuationToken>")
        parts += map(self._entry, entries[begin : begin + self.page])
        body = f"<ListBucketResult>{''.join(parts)}</ListBucketResult>"
        return Answer(200, {"Content-Type": "application/xml"}, body.encode())

    def _entry(self, key: str) -> str:
        if key.endswith("/"):
            return f"<CommonPrefixes><Prefix>{quote(key)}</Prefix></CommonPrefixes>"
        stat = (self.root / key).stat()
        modified = datetime.fromtimestamp(int(stat.st_mtime), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        etag = f"<ETag>&quot;{self._etag(key)}&quot;</ETag>" if self.etags else ""
        facts = (
            f"<Key>{quote(key)}</Key><LastModified>{modified}</LastModified>{etag}<Size>{stat.st_size}</Size>"
        )
        return f"<Contents>{facts}</Contents>"

    def _object(self, asked: Asked) -> Answer:
        path = self.root / asked.key
        if not path.is_file():
            return refused(Answer(0, {}, b""), "NoSuchKey", 404)
        data, etag = path.read_bytes(), f'"{self._etag(asked.key)}"'
        if asked.headers.get("if-match", etag) != etag:
            return refused(Answer(0, {}, b""), "PreconditionFailed", 412)
        headers = {"Last-Modified": formatdate(int(path.stat().st_mtime), usegmt=True)}
        if self.etags:
            headers["ETag"] = etag
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.headers.get("range", ""))
        if found is None:
            return Answer(200, headers, data)
        first, last = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return Answer(206, headers, data[first : last + 1])

    def _etag(self, key: str) -> str:
        return hashlib.md5((self.root / key).read_bytes()).hexdigest()


def _entry(key: str, prefix: str, delimiter: str) -> str:
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return key if end < 0 else key[: end + 1]


@contextmanager
def small_s3(root: Path) -> Iterator[SmallS3]:
    """Serve the files of a folder for the length of the block."""
    found = SmallS3(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            key = unquote(parts.path).removeprefix(f"/{BUCKET}").lstrip("/")
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = found.answer(Asked(dict(parse_qsl(parts.query)), key, headers))
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        found.url = url_of(server)
        yield found
