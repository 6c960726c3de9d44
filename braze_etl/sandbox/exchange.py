"""One POST from its headers to its end: read, suffer a fault or not, answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from http.server import BaseHTTPRequestHandler
from typing import Any

import orjson

from braze_etl.sandbox import wire
from braze_etl.sandbox.faults import (
    Action,
    Answer,
    Fault,
    Hang,
    IngestThen,
    Proceed,
    Redirect,
    RefuseGzip,
    RequestFacts,
    Reset,
    TruncateReply,
)
from braze_etl.sandbox.reply import Reply, refusal
from braze_etl.sandbox.service import Service

_NO_FAULT = Fault(Proceed())


class Exchange:
    """A request to an ingestion path on its connection. The body is read once, and only when it is wanted."""

    def __init__(self, handler: BaseHTTPRequestHandler, path: str, service: Service) -> None:
        self._handler = handler
        self._path = path
        self._service = service

    def run(self) -> None:
        """Answer, or do what the fault script says; a client that goes away is counted and let go."""
        with self._service.traffic.open_request():
            try:
                self._suffer(self._service.faults.next(self._facts()) or _NO_FAULT)
            except ConnectionError:
                self._service.traffic.count_outcome("broken_off")
                self._handler.close_connection = True

    def _facts(self) -> RequestFacts:
        gzip = wire.encoding_of(self._handler.headers) == "gzip"
        return RequestFacts(self._path, gzip, self._events)

    @cached_property
    def _body(self) -> wire.Body:
        body = wire.read_body(
            self._handler.rfile, self._handler.headers, self._service.body_limit(self._path)
        )
        self._service.traffic.count_body(len(body.data), body.wire)
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

    def _suffer(self, fault: Fault) -> None:
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
                self._send(self._ingest())
            case Answer():
                self._send(action)
            case Redirect(url):
                self._send(Answer(307, {"Location": url}, ""))
            case RefuseGzip():
                self._send(refusal(415, "Unsupported content encoding: gzip"))
            case Hang(seconds):
                self._hang(seconds)
            case TruncateReply():
                self._service.traffic.count_outcome("truncated")
                wire.send_half(self._handler, wire.Message.of(self._ingest()))
            case Reset(moment):
                self._reset(with_half=self._ingest() if moment == "during_reply" else None)
            case IngestThen(fault):
                self._lose_answer(self._ingest(), fault)

    def _lose_answer(self, reply: Reply, fault: Answer | Reset) -> None:
        if isinstance(fault, Answer):
            self._send(fault)
        else:
            self._reset(with_half=reply if fault.moment == "during_reply" else None)

    def _ingest(self) -> Reply:
        if self._body.refusal is not None:
            return self._body.refusal
        if self._handler.headers.get_content_type() != "application/json":
            # The header is documented as required, the answer to its absence is not.
            return refusal(400, "Invalid request: Content-Type must be application/json")
        return self._service.ingest(self._path, self._body.data)

    def _send(self, answer: Reply | Answer) -> None:
        # Counted before it is sent, so that a client which asks for the counters next finds itself among
        # them.
        self._service.traffic.count_outcome(str(answer.status))
        wire.send(self._handler, wire.Message.of(answer))

    def _reset(self, with_half: Reply | None = None) -> None:
        self._service.traffic.count_outcome("reset")
        if with_half is not None:
            wire.send_half(self._handler, wire.Message.of(with_half))
        wire.reset(self._handler)

    def _hang(self, seconds: float) -> None:
        self._service.traffic.count_outcome("hang")
        self._pause(seconds)
        self._handler.close_connection = True

    def _pause(self, seconds: float) -> None:
        if seconds:
            self._service.stopping.wait(seconds)
