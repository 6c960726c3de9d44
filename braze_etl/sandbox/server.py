"""The sandbox behind HTTP: the ingestion paths, and a few of its own to look inside.

===================  ==========================================================================
`POST /batch`        Amplitude's Batch API
`POST /2/httpapi`    its HTTP V2 API
`GET /stats`         counters as JSON: `Traffic.stats` and `Project.stats`
`GET /events`        what is held as NDJSON, in order of arrival; `?fields=a,b` cuts it down
`GET /healthz`       200 as soon as the server answers
`POST /reset`        forget everything; the fault script begins again
===================  ==========================================================================
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlsplit

from braze_etl.sandbox import wire
from braze_etl.sandbox.exchange import Exchange
from braze_etl.sandbox.faults import Faults
from braze_etl.sandbox.project import Project
from braze_etl.sandbox.reply import Reply, refusal
from braze_etl.sandbox.service import Service

_POLL = 0.05
_POSTS = frozenset({"/batch", "/2/httpapi", "/reset"})


class _Listener(ThreadingHTTPServer):
    """A thread for each connection; knows its connections, so that stopping ends them."""

    request_queue_size = 1024
    daemon_threads = True

    def __init__(self, address: tuple[str, int], service: Service) -> None:
        self.service = service
        self._connections: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # HTTPServer would ask the resolver for this machine's full name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        """Wake the threads that wait on idle or hanging clients."""
        for connection in tuple(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it ended by itself meanwhile

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show what is a mistake in the sandbox; clients that go away, or that were sent away, are none."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 1 << 16
    server: _Listener

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        if path == "/reset":
            self._reset()
        elif path in self._GETS:
            self._refuse_method()
        else:
            Exchange(self, path, self.server.service).run()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path in _POSTS:
            self._refuse_method()
        elif path in self._GETS:
            self._GETS[path](self)
        else:
            self._send(refusal(404, "Invalid request path"))

    def _refuse_method(self) -> None:
        path = urlsplit(self.path).path
        if path not in _POSTS and path not in self._GETS:
            self._send(refusal(404, "Invalid request path"), close=True)
            return
        allowed = {"Allow": "POST" if path in _POSTS else "GET"}
        self._send(Reply(405, {"code": 405, "error": "Method not allowed"}, allowed), close=True)

    def do_PUT(self) -> None:
        self._refuse_method()

    def do_PATCH(self) -> None:
        self._refuse_method()

    def do_DELETE(self) -> None:
        self._refuse_method()

    def do_HEAD(self) -> None:
        self._refuse_method()

    def do_OPTIONS(self) -> None:
        self._refuse_method()

    def _stats(self) -> None:
        self._send(Reply(200, self.server.service.stats()))

    def _healthz(self) -> None:
        self._send(Reply(200, {"status": "ok"}))

    def _events(self) -> None:
        wanted = parse_qs(urlsplit(self.path).query).get("fields", [""])[-1]
        fields = [name for name in wanted.split(",") if name]
        wire.send_stream(self, "application/x-ndjson", self.server.service.event_lines(fields))

    _GETS: ClassVar[Mapping[str, Callable[[_Handler], None]]] = {
        "/stats": _stats,
        "/events": _events,
        "/healthz": _healthz,
    }

    def _reset(self) -> None:
        length = self.headers.get("Content-Length") or ""
        if length.isdigit():
            self.rfile.read(int(length))
        self.server.service.reset()
        self._send(Reply(200, {"code": 200}))

    def _send(self, reply: Reply, *, close: bool = False) -> None:
        # A body that was not read would be taken for the next request.
        self.close_connection = self.close_connection or close
        wire.send(self, wire.Message.of(reply))

    def log_message(self, *_args: Any, **_kwargs: Any) -> None:
        """Stay silent: the counters say what happened."""


class SandboxServer:
    """A project on a port of this machine; port 0 takes a free one.

    As a context manager it serves in the background. The constructor binds the port and raises OSError if it
    can't.
    """

    def __init__(
        self, project: Project, host: str = "127.0.0.1", port: int = 0, faults: Faults | None = None
    ) -> None:
        self._service = Service(project, faults or Faults())
        self._listener = _Listener((host, port), self._service)
        self._serving = False
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://{self._listener.server_name}:{self._listener.server_port}"

    def stats(self) -> dict[str, Any]:
        """Return what `GET /stats` shows."""
        return self._service.stats()

    def start(self) -> Self:
        """Serve in a background thread."""
        self._serving = True
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(_POLL,), daemon=True)
        self._thread.start()
        return self

    def serve_forever(self) -> None:
        """Serve in this thread until another calls `stop`, or an exception (KeyboardInterrupt) ends it."""
        self._serving = True
        self._listener.serve_forever(_POLL)

    def stop(self) -> None:
        """End all connections and give the port back; may be called twice."""
        self._service.stopping.set()
        if self._serving:
            self._listener.shutdown()
        if self._thread is not None:
            self._thread.join()
        self._listener.server_close()
        self._listener.end_connections()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
