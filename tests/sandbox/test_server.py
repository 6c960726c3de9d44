"""The sandbox over real HTTP: routes, bodies, connections."""

from __future__ import annotations

import gzip
import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
import requests

from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.replies import EndpointLimits, Limits
from braze_etl.sandbox.server import SandboxServer

MakeEvent = Callable[..., dict[str, Any]]
Serve = Callable[..., SandboxServer]
JSON = {"Content-Type": "application/json"}


def body_of(*events: dict[str, Any]) -> bytes:
    return orjson.dumps({"api_key": "key", "events": events})


def post(server: SandboxServer, data: bytes, path: str = "/batch", **headers: str) -> requests.Response:
    return requests.post(server.url + path, data=data, headers={**JSON, **headers}, timeout=10)


def get(server: SandboxServer, path: str) -> requests.Response:
    return requests.get(server.url + path, timeout=10)


@pytest.mark.parametrize("path", ["/batch", "/2/httpapi", "/batch?debug=1"])
def test_events_are_ingested_and_can_be_read_back(path: str, serve: Serve, make_event: MakeEvent) -> None:
    server = serve()
    reply = post(server, body_of(make_event(insert_id="a"), make_event(insert_id="b")), path)
    assert (reply.status_code, reply.json()["events_ingested"]) == (200, 2)
    lines = get(server, "/events").text.splitlines()
    assert [orjson.loads(line)["insert_id"] for line in lines] == ["a", "b"]
    assert orjson.loads(lines[0])["server_upload_time"] == reply.json()["server_upload_time"]


def test_events_can_be_cut_down_to_fields(serve: Serve, make_event: MakeEvent) -> None:
    server = serve()
    post(server, body_of(make_event(insert_id="a"), make_event()))
    reply = get(server, "/events?fields=insert_id,event_type")
    assert reply.headers["Content-Type"] == "application/x-ndjson"
    assert reply.text.splitlines() == [
        '{"insert_id":"a","event_type":"[Appboy] Email Opened"}',
        '{"event_type":"[Appboy] Email Opened"}',
    ]


def test_more_events_than_a_chunk_holds_come_in_order(serve: Serve, make_event: MakeEvent) -> None:
    server = serve(Project(hold="ids"))
    post(server, body_of(*(make_event(insert_id=str(number)) for number in range(1_201))))
    lines = get(server, "/events").text.splitlines()
    assert [int(orjson.loads(line)["insert_id"]) for line in lines] == list(range(1_201))
    assert get(serve(), "/events").text == ""


def test_gzip_is_inflated_and_both_sizes_are_counted(serve: Serve, make_event: MakeEvent) -> None:
    server = serve()
    raw = body_of(*[make_event()] * 50)
    packed = gzip.compress(raw)
    assert post(server, packed, **{"Content-Encoding": "gzip"}).json()["payload_size_bytes"] == len(raw)
    stats = get(server, "/stats").json()
    assert (stats["bytes_raw"], stats["bytes_wire"]) == (len(raw), len(packed))


def test_a_gzip_body_is_measured_uncompressed(serve: Serve) -> None:
    limits = Limits(batch=EndpointLimits(max_bytes=1_000, eps=10))
    server = serve(Project(limits=limits))
    assert post(server, gzip.compress(bytes(5_000)), **{"Content-Encoding": "gzip"}).status_code == 413


def test_bad_gzip_is_refused_and_the_connection_lives_on(serve: Serve, make_event: MakeEvent) -> None:
    server = serve()
    with requests.Session() as session:
        headers = {**JSON, "Content-Encoding": "gzip"}
        assert session.post(server.url + "/batch", data=b"no", headers=headers, timeout=10).status_code == 400
        sent = session.post(server.url + "/batch", data=body_of(make_event()), headers=JSON, timeout=10)
        assert sent.status_code == 200


def test_the_content_type_is_required(serve: Serve, make_event: MakeEvent) -> None:
    reply = requests.post(serve().url + "/batch", data=body_of(make_event()), timeout=10)
    assert (reply.status_code, reply.json()["error"]) == (
        400,
        "Invalid request: Content-Type must be application/json",
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 404),
        ("POST", "/batch/", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/nothing", 404),
        ("GET", "/batch", 405),
        ("PUT", "/batch", 405),
        ("PATCH", "/2/httpapi", 405),
        ("DELETE", "/events", 405),
        ("OPTIONS", "/batch", 405),
        ("HEAD", "/batch", 405),
        ("POST", "/stats", 405),
        ("GET", "/reset", 405),
    ],
)
def test_wrong_paths_and_methods_are_refused_as_json(
    method: str, path: str, status: int, serve: Serve
) -> None:
    server = serve()
    reply = requests.request(method, server.url + path, data=b"{}", headers=JSON, timeout=10)
    assert reply.status_code == status
    if method != "HEAD":
        assert reply.json()["code"] == status
        assert status == 405 or reply.json()["error"] == "Invalid request path"


def test_the_server_says_that_it_is_there(serve: Serve) -> None:
    assert get(serve(), "/healthz").json() == {"status": "ok"}


def test_a_connection_is_kept_for_the_next_request(serve: Serve, make_event: MakeEvent) -> None:
    address = urlsplit(serve().url)
    body = body_of(make_event())
    request = (
        b"POST /batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        answers = connection.makefile("rb")
        for _ in range(3):
            connection.sendall(request % len(body) + body)
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            head = iter(answers.readline, b"\r\n")
            length = next(int(line.split(b":")[1]) for line in head if line.startswith(b"Content-Length"))
            list(iter(answers.readline, b"\r\n"))  # the rest of the headers
            assert orjson.loads(answers.read(length))["code"] == 200


def test_stats_count_answers_by_status(serve: Serve, make_event: MakeEvent) -> None:
    server = serve()
    for body in (body_of(make_event()), body_of(make_event(time="x")), b"{"):
        post(server, body)
    stats = get(server, "/stats").json()
    assert stats["requests"] == {"200": 1, "400": 2}
    assert (stats["events_received"], stats["events_held"]) == (2, 1)
    assert stats == {**server.stats(), "in_flight": stats["in_flight"]}


def test_requests_in_flight_are_counted_at_their_most(serve: Serve, make_event: MakeEvent) -> None:
    arrived = threading.Barrier(4, timeout=10)

    class MeetingFaults:
        """Holds requests until all of them are there."""

        def next(self, _facts: Any) -> None:
            arrived.wait()

    server = serve()
    server.faults = MeetingFaults()  # type: ignore[assignment]  # a stand-in for a script
    senders = [threading.Thread(target=post, args=(server, body_of(make_event()))) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert server.stats()["in_flight_max"] == 4


def test_many_clients_at_once_lose_nothing(serve: Serve, make_event: MakeEvent) -> None:
    server = serve(script="- {when: {every: 5}, do: {ingest_then: {reply: {status: 503}}}}")

    def send(name: str) -> list[int]:
        with requests.Session() as session:
            bodies = (body_of(make_event(insert_id=f"{name}-{number}")) for number in range(10))
            sent = [
                session.post(server.url + "/batch", data=body, headers=JSON, timeout=10) for body in bodies
            ]
            return [reply.status_code for reply in sent]

    with ThreadPoolExecutor(8) as clients:
        statuses = Counter(chain.from_iterable(clients.map(send, "abcdefgh")))
    assert statuses == {200: 64, 503: 16}
    assert server.stats()["events_held"] == 80


def test_a_client_that_breaks_off_leaves_nothing_behind(serve: Serve) -> None:
    server = serve()
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(b"POST /batch HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert server.stats()["requests"] == {"broken_off": 1}


def test_reset_forgets_everything_and_restarts_the_script(serve: Serve, make_event: MakeEvent) -> None:
    server = serve(script="- {when: {request: 1}, do: {reply: {status: 503}}}")
    assert [post(server, body_of(make_event())).status_code for _ in range(2)] == [503, 200]
    assert requests.post(server.url + "/reset", timeout=10).json() == {"code": 200}
    assert server.stats()["events_received"] == 0
    assert server.stats()["requests"] == {}
    assert post(server, body_of(make_event())).status_code == 503


def test_a_stopped_server_refuses_connections_and_ends_idle_ones(serve: Serve) -> None:
    server = serve()
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(10) == b"HTTP/1.1 2"
        server.stop()
        while idle.recv(1_000):
            pass  # the rest of the answer; then the end of the connection
    with pytest.raises(requests.ConnectionError):
        get(server, "/healthz")
    server.stop()


def test_a_server_that_never_served_can_be_stopped() -> None:
    SandboxServer(Project()).stop()


def test_a_port_in_use_is_an_error(serve: Serve) -> None:
    port = urlsplit(serve().url).port
    assert port is not None
    with pytest.raises(OSError, match="in use"):
        SandboxServer(Project(), port=port)


def test_serve_forever_serves_in_the_calling_thread(make_event: MakeEvent) -> None:
    server = SandboxServer(Project())
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    assert post(server, body_of(make_event())).status_code == 200
    server.stop()
    thread.join(timeout=10)
    assert not thread.is_alive()
