"""The sandbox behind HTTP: the paths of Amplitude, and a few of its own to look inside.

===================  ==========================================================================
`POST /batch`        Amplitude's Batch API
`POST /2/httpapi`    its HTTP V2 API
`GET /api/...`       its APIs for reading (`amplitude.read_api`)
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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from socketserver import TCPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlsplit

import orjson

from braze_etl.sandbox import wire
from braze_etl.sandbox.amplitude.event_store import Drops, Hold
from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.read_api import Question, ReadApi, ReadOptions
from braze_etl.sandbox.amplitude.replies import RawReply, Reply, refusal
from braze_etl.sandbox.faults import (
    Action,
    Answer,
    Fault,
    Faults,
    Hang,
    IngestThen,
    Proceed,
    Redirect,
    RefuseGzip,
    RequestFacts,
    Reset,
    TruncateReply,
    load_faults,
)
from braze_etl.sandbox.wire import as_json

_LINES_A_CHUNK = 500

_NO_FAULT = Fault(Proceed())
_NO_DROPS = Drops()
_READ_OPTIONS = ReadOptions()

_POSTS = frozenset({"/batch", "/2/httpapi", "/reset"})


def open_sandbox(
    *,
    host: str = "127.0.0.1",
    port: int = 8099,
    faults_file: str | Path | None = None,
    api_key: str | None = None,
    hold: Hold = "events",
    drops: Drops = _NO_DROPS,
    reads: ReadOptions = _READ_OPTIONS,
) -> SandboxServer:
    """Bind a sandbox on the machine's clock; it answers once `start` or `serve_forever` is called.

    Raises `FaultFileError` for a bad fault script and OSError for a port that is taken.
    """
    faults = None if faults_file is None else load_faults(faults_file)
    project = Project(api_key=api_key, hold=hold, drops=drops, reads=reads)
    return SandboxServer(project, host, port, faults)


class SandboxServer(ThreadingHTTPServer):
    """A project on a port of this machine; port 0 takes a free one. A thread for each connection.

    As a context manager it serves in the background. The constructor binds the port and raises OSError if it
    can't.
    """

    request_queue_size = 1024
    daemon_threads = True

    def __init__(
        self, project: Project, host: str = "127.0.0.1", port: int = 0, faults: Faults | None = None
    ) -> None:
        self.project = project
        self.faults = faults or Faults()
        self.traffic = Traffic()
        self.reads = Traffic()
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._serving = False
        self._thread: threading.Thread | None = None
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http://{self.server_name}:{self.server_port}"

    def body_limit(self, path: str) -> int:
        """How many uncompressed bytes a body may have; the larger limit for an unknown path."""
        limits = self.project.limits
        return limits.endpoints.get(path, limits.batch).max_bytes

    def ingest(self, path: str, body: bytes) -> Reply:
        """Hand a body to the project."""
        with self._lock:
            return self.project.ingest(path, body)

    def read(self, question: Question) -> Reply | RawReply:
        """Hand a question to the project."""
        with self._lock:
            return self.project.read(question, self.reads.open)

    def stats(self) -> dict[str, Any]:
        """What the project and the traffic have counted, in one object, as `GET /stats` shows it."""
        with self._lock:
            reads = self.reads.stats()["requests"]
            return {**self.traffic.stats(), "reads": reads, **self.project.stats()}

    def reset(self) -> None:
        """Be as just started: nothing held, nothing counted, the fault script at its beginning."""
        with self._lock:
            self.project.reset()
            self.traffic.reset()
            self.reads.reset()
            self.faults.restart()

    def event_lines(self, fields: Sequence[str] = ()) -> Iterator[bytes]:
        """Go through the held events as NDJSON, some hundred lines at a time; *fields* cuts them down."""
        with self._lock:
            events = self.project.events()
        while lines := [as_json(_only(event, fields)) for event in islice(events, _LINES_A_CHUNK)]:
            yield b"\n".join((*lines, b""))

    def start(self) -> Self:
        """Serve in a background thread."""
        self._serving = True
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)
        self._thread.start()
        return self

    def serve_forever(self, poll_interval: float = 0.05) -> None:
        """Serve in this thread until another calls `stop`, or an exception (KeyboardInterrupt) ends it."""
        self._serving = True
        super().serve_forever(poll_interval)

    def stop(self) -> None:
        """End all connections and give the port back; may be called twice."""
        self.stopping.set()
        if self._serving:
            self.shutdown()
        if self._thread is not None:
            self._thread.join()
        self.server_close()
        for connection in tuple(self._connections):  # threads that wait on idle or hanging clients
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it ended by itself meanwhile

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show what is a mistake in the sandbox; clients that go away, or that were sent away, are none."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = 1 << 16
    server: SandboxServer

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        if path == "/reset":
            self._reset()
        elif path in self._GETS:
            self._refuse_method()
        else:
            Ingestion(self, path, self.server).run()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path in self._GETS:
            self._GETS[path](self)
        elif path in _POSTS:
            self._refuse_method()
        elif ReadApi.knows(path):
            Reading(self, path, self.server).run()
        else:
            self._send(refusal(404, "Invalid request path"))

    def _refuse_method(self) -> None:
        path = urlsplit(self.path).path
        if path not in _POSTS and path not in self._GETS:
            self._send(refusal(404, "Invalid request path"), close=True)
            return
        allowed = {"Allow": "POST" if path in _POSTS else "GET"}
        self._send(Reply(405, {"code": 405, "error": "Method not allowed"}, allowed), close=True)

    do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _refuse_method  # noqa: N815 - names of the base

    def _stats(self) -> None:
        self._send(Reply(200, self.server.stats()))

    def _healthz(self) -> None:
        self._send(Reply(200, {"status": "ok"}))

    def _events(self) -> None:
        wanted = parse_qs(urlsplit(self.path).query).get("fields", [""])[-1]
        fields = [name for name in wanted.split(",") if name]
        wire.send_stream(self, "application/x-ndjson", self.server.event_lines(fields))

    _GETS: ClassVar[Mapping[str, Callable[[_Handler], None]]] = {
        "/stats": _stats,
        "/events": _events,
        "/healthz": _healthz,
    }

    def _reset(self) -> None:
        length = self.headers.get("Content-Length") or ""
        if length.isdigit():
            self.rfile.read(int(length))
        self.server.reset()
        self._send(Reply(200, {"code": 200}))

    def _send(self, reply: Reply, *, close: bool = False) -> None:
        # A body that was not read would be taken for the next request.
        self.close_connection = self.close_connection or close
        wire.send(self, wire.Message.of(reply))

    def log_message(self, *_args: Any, **_kwargs: Any) -> None:
        """Stay silent: the counters say what happened."""


class Ingestion:
    """A request to an ingestion path on its connection. The body is read once, and only when it is wanted."""

    def __init__(self, handler: BaseHTTPRequestHandler, path: str, server: SandboxServer) -> None:
        self._handler = handler
        self._path = path
        self._server = server
        self._traffic = server.traffic

    def run(self) -> None:
        """Answer, or do what the fault script says; a client that goes away is counted and let go."""
        with self._traffic.open_request():
            try:
                self._apply(self._server.faults.next(self._facts()) or _NO_FAULT)
            except ConnectionError:
                self._traffic.count_outcome("broken_off")
                self._handler.close_connection = True

    def _facts(self) -> RequestFacts:
        gzip = wire.encoding_of(self._handler.headers) == "gzip"
        return RequestFacts(self._path, gzip, self._events)

    @cached_property
    def _body(self) -> wire.Body:
        body = wire.read_body(self._handler.rfile, self._handler.headers, self._server.body_limit(self._path))
        self._traffic.count_body(len(body.data), body.wire)
        if not body.in_step:
            self._handler.close_connection = True
        return body

    def _events(self) -> Sequence[Any]:
        """The request's events as far as they can be read; a bad body has none."""
        try:
            events = orjson.loads(self._body.data)["events"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return ()
        return events if isinstance(events, list) else ()

    def _apply(self, fault: Fault) -> None:
        if fault.action == Reset("before_body"):
            self._pause(fault.delay)
            self._reset()
            return
        # Whatever else happens, the body is read first: a client in the middle of sending would see another
        # fault.
        _ = self._body
        self._pause(fault.delay)
        self._act(fault.action)

    def _act(self, action: Action) -> None:
        match action:
            case Proceed():
                self._send(self._carry_out())
            case Answer():
                self._send(action)
            case Redirect(url):
                self._send(Answer(307, {"Location": url}, ""))
            case RefuseGzip():
                self._send(refusal(415, "Unsupported content encoding: gzip"))
            case Hang(seconds):
                self._hang(seconds)
            case TruncateReply():
                self._traffic.count_outcome("truncated")
                wire.send_half(self._handler, wire.Message.of(self._carry_out()))
            case Reset(moment):
                self._reset(with_half=self._carry_out() if moment == "during_reply" else None)
            case IngestThen(fault):
                self._lose_answer(self._carry_out(), fault)

    def _lose_answer(self, reply: Reply | RawReply, fault: Answer | Reset) -> None:
        if isinstance(fault, Answer):
            self._send(fault)
        else:
            self._reset(with_half=reply if fault.moment == "during_reply" else None)

    def _carry_out(self) -> Reply | RawReply:
        if self._body.refusal is not None:
            return self._body.refusal
        if self._handler.headers.get_content_type() != "application/json":
            # The header is documented as required, the answer to its absence is not.
            return refusal(400, "Invalid request: Content-Type must be application/json")
        return self._server.ingest(self._path, self._body.data)

    def _send(self, answer: Reply | RawReply | Answer) -> None:
        # Counted before it is sent, so that a client which asks for the counters next finds itself among
        # them.
        self._traffic.count_outcome(str(answer.status))
        wire.send(self._handler, wire.Message.of(answer))

    def _reset(self, with_half: Reply | RawReply | None = None) -> None:
        self._traffic.count_outcome("reset")
        if with_half is not None:
            wire.send_half(self._handler, wire.Message.of(with_half))
        wire.reset(self._handler)

    def _hang(self, seconds: float) -> None:
        self._traffic.count_outcome("hang")
        self._pause(seconds)
        self._handler.close_connection = True

    def _pause(self, seconds: float) -> None:
        if seconds:
            self._server.stopping.wait(seconds)


class Reading(Ingestion):
    """A question to one of the APIs for reading: no body comes with it, and nothing is ingested."""

    _body = wire.Body(b"", 0)

    def __init__(self, handler: BaseHTTPRequestHandler, path: str, server: SandboxServer) -> None:
        super().__init__(handler, path, server)
        self._traffic = server.reads

    def _carry_out(self) -> Reply | RawReply:
        headers = self._handler.headers
        query = parse_qs(urlsplit(self._handler.path).query)
        question = Question(
            self._path,
            {name: values[-1] for name, values in query.items()},
            headers.get("Authorization") or "",
            f"http://{headers.get('Host') or ''}",
        )
        return self._server.read(question)


def _only(event: dict[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {name: event[name] for name in fields if name in event} if fields else event


class Traffic:
    """Counters of requests to the ingestion paths, or of those that read; shared by all connections."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self.reset()

    def reset(self) -> None:
        """Begin again; what is open stays open."""
        with self._lock:
            self._outcomes: Counter[str] = Counter()
            self._raw = 0
            self._wire = 0
            self._most_open = self._open

    @contextmanager
    def open_request(self) -> Iterator[None]:
        """Count a request as in flight for the length of the block."""
        with self._lock:
            self._open += 1
            self._most_open = max(self._most_open, self._open)
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1

    @property
    def open(self) -> int:
        """How many requests are in flight."""
        return self._open

    def count_body(self, raw: int, wire: int) -> None:
        """Add a body's bytes, uncompressed and as received."""
        with self._lock:
            self._raw += raw
            self._wire += wire

    def count_outcome(self, outcome: str) -> None:
        """Add a request by the status it was answered with, or by what happened to it instead."""
        with self._lock:
            self._outcomes[outcome] += 1

    def stats(self) -> dict[str, Any]:
        """Return the counters; `requests` are by status or, without one, by what happened.

        That is `reset`, `truncated`, `hang`, or `broken_off` for a client that went away.
        """
        with self._lock:
            return {
                "requests": dict(sorted(self._outcomes.items())),
                "bytes_raw": self._raw,
                "bytes_wire": self._wire,
                "in_flight": self._open,
                "in_flight_max": self._most_open,
            }
