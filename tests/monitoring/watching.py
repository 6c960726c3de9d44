"""A service that watches, for tests of several rooms."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.serving import serving, url_of


@dataclass
class Watcher:
    """A webhook, a dead man's switch and a Pushgateway at once: what it was told, and how it answers."""

    url: str = ""
    status: int = 200
    heard: list[tuple[str, str, bytes]] = field(default_factory=list)

    def told(self, path: str) -> list[Any]:
        """The JSON that was posted there."""
        return [json.loads(body) for method, where, body in self.heard if (method, where) == ("POST", path)]

    def asked(self, path: str) -> int:
        """How often that path was asked for."""
        return sum((method, where) == ("GET", path) for method, where, _ in self.heard)


@contextmanager
def watching() -> Iterator[Watcher]:
    """Serve one, over real HTTP, for the length of the block."""
    found = Watcher()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            found.heard.append((self.command, self.path, self.rfile.read(size)))
            self.send_response(found.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815 - the names that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        found.url = url_of(server)
        yield found
