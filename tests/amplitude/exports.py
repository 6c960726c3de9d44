"""Exported events, packed as Amplitude packs them, and an Export API that answers by a script."""

from __future__ import annotations

import gzip
import io
import threading
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import orjson

from braze_etl.amplitude.settings import Amplitude
from tests.delivery.conftest import KEY

SECRET = "fedcba9876543210fedcba9876543210"
Event: TypeAlias = dict[str, Any]
Answer: TypeAlias = Callable[["ExportHandler"], None]


def settings(url: str | None = None, **changes: Any) -> Amplitude:
    """A section that reads from *url*."""
    values = {"region": "US", "api_key": KEY, "secret_key": SECRET, "read_endpoint": url}
    return Amplitude.model_validate({**values, **changes})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def exported(number: int, hour: datetime, **changes: Any) -> Event:
    """One event that Amplitude took in *hour*."""
    moment = hour + timedelta(seconds=number % 3600)
    event = {
        "$insert_id": f"id-{number}",
        "event_type": "[Appboy] Email Opened",
        "library": "Braze",
        "user_id": f"user-{number}",
        "server_upload_time": f"{moment:%Y-%m-%d %H:%M:%S}.123000",
        "event_properties": {"text": "a line\nand [another], {odd}"},
    }
    return {**event, **changes}


def packed(events: Iterable[Event]) -> bytes:
    """A file or member: gzip of JSON lines."""
    return gzip.compress(b"".join(orjson.dumps(event) + b"\n" for event in events), 1, mtime=0)


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.mkdir("187520")
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def name_of(hour: datetime, part: int) -> str:
    """As Amplitude names it: the hour without a leading zero."""
    return f"187520/187520_{hour:%Y-%m-%d}_{hour.hour}#{part}.json.gz"


class ExportHandler(BaseHTTPRequestHandler):
    """A request for a span of hours: it answers as the server's script says, or with the zip."""

    protocol_version = "HTTP/1.1"
    server: ExportServer

    def do_GET(self) -> None:
        query = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.span = query.get("start", ""), query.get("end", "")
        self.hours = [
            hour for hour in self.server.held if self.span[0] <= f"{hour:%Y%m%dT%H}" <= self.span[1]
        ]
        with self.server.lock:
            self.server.asked.append(self.span)
            self.server.paths.append(self.path)
            self.server.headers.append(dict(self.headers))
            script = self.server.script.pop(0) if self.server.script else self.server.always
        script(self)

    def give(self, zipped_hours: bytes | None = None) -> None:
        """The zip of the hours, or 404."""
        if not self.hours:
            self.answer(404, b"Raw data files were not found.")
        else:
            self.answer(200, zipped_hours or self.zip(), Content_Type="application/zip")

    def zip(self, compression: int = zipfile.ZIP_STORED) -> bytes:
        members = {
            name_of(hour, part): packed(events)
            for hour in self.hours
            for part, events in enumerate(self.server.held[hour])
        }
        return zipped(members, compression)

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def cut(self, content: bytes) -> None:
        """Promise all of it, and send half."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


class ExportServer(ThreadingHTTPServer):
    """Holds parts of events by their hour. `script` answers the next requests, `always` all others."""

    daemon_threads = True

    def __init__(self, held: dict[datetime, Sequence[Sequence[Event]]]) -> None:
        super().__init__(("127.0.0.1", 0), ExportHandler)
        self.held = held
        self.script: list[Answer] = []
        self.always: Answer = ExportHandler.give
        self.asked: list[tuple[str, str]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.lock = threading.Lock()

    def handle_error(self, *_: object) -> None:
        pass  # broken connections are the point
