"""Scripted faults over real HTTP: what the client sees, and what was ingested all the same."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
import requests

from braze_etl.sandbox.server import SandboxServer

MakeEvent = Callable[..., dict[str, Any]]
Serve = Callable[..., SandboxServer]
EVENT = {"user_id": "user-000001", "event_type": "opened", "insert_id": "a"}
BODY = orjson.dumps({"api_key": "key", "events": [EVENT]})


def post(
    server: SandboxServer, data: bytes = BODY, timeout: float = 10, encoding: str = ""
) -> requests.Response:
    return requests.post(
        server.url + "/batch",
        data=data,
        headers={"Content-Type": "application/json", "Content-Encoding": encoding},
        timeout=timeout,
        allow_redirects=False,
    )


def raw_answer(server: SandboxServer) -> bytes:
    """Send a good request by hand and return every byte of the answer; raises what the socket raises."""
    address = urlsplit(server.url)
    head = f"POST /batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}"
    answer = b""
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode() + BODY)
        while chunk := connection.recv(65_536):
            answer += chunk
    return answer


def test_a_scripted_answer_replaces_the_projects(serve: Serve) -> None:
    server = serve(
        script="- do: {reply: {status: 502, headers: {Retry-After: 120}, body: <html>bad gateway}}"
    )
    reply = post(server)
    assert (reply.status_code, reply.text, reply.headers["Retry-After"]) == (502, "<html>bad gateway", "120")
    assert server.stats()["events_held"] == 0
    assert server.stats()["requests"] == {"502": 1}


def test_a_scripted_body_may_be_json(serve: Serve) -> None:
    reply = post(serve(script="- do: {reply: {status: 200, body: {code: 429, error: slow down}}}"))
    assert (reply.status_code, reply.json()) == (200, {"code": 429, "error": "slow down"})


@pytest.mark.parametrize(
    ("do", "held"),
    [
        ("{reset: before_body}", 0),
        ("{reset: after_body}", 0),
        ("{reset: during_reply}", 1),
        ("{ingest_then: {reset: after_body}}", 1),
        ("{ingest_then: {reset: during_reply}}", 1),
    ],
)
def test_a_reset_is_a_real_one(do: str, held: int, serve: Serve) -> None:
    server = serve(script=f"- do: {do}")
    with pytest.raises(ConnectionResetError):
        raw_answer(server)
    assert server.stats()["requests"] == {"reset": 1}
    assert server.stats()["events_held"] == held


def test_a_client_sees_a_reset_as_a_failed_connection(serve: Serve) -> None:
    server = serve(script="- {when: {first: 1}, do: {reset: after_body}}")
    with pytest.raises(requests.ConnectionError):
        post(server)
    assert post(server).status_code == 200


def test_a_truncated_reply_ends_within_its_body(serve: Serve) -> None:
    server = serve(script="- do: {truncate_reply: true}")
    head, body = raw_answer(server).split(b"\r\n\r\n")
    promised = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert 0 < len(body) < promised
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        post(server)
    assert server.stats()["events_held"] == 1  # both were ingested, one is a duplicate
    assert server.stats()["requests"] == {"truncated": 2}


def test_a_lost_answer_leaves_the_events_in_and_a_repeat_is_a_duplicate(serve: Serve) -> None:
    server = serve(script="- {do: {ingest_then: {reply: {status: 504}}}, times: 1}")
    assert [post(server).status_code for _ in range(2)] == [504, 200]
    assert (server.stats()["events_held"], server.stats()["duplicates"]) == (1, 1)


def test_gzip_can_be_refused_and_the_plain_body_goes_through(serve: Serve) -> None:
    server = serve(script="- do: {refuse_gzip: true}")
    assert post(server, gzip.compress(BODY), encoding="gzip").status_code == 415
    assert server.stats()["events_held"] == 0
    assert post(server).status_code == 200


def test_a_redirect_names_its_place_and_ingests_nothing(serve: Serve) -> None:
    server = serve(script="- do: {redirect: 'http://127.0.0.1:1/batch'}")
    reply = post(server)
    assert (reply.status_code, reply.headers["Location"]) == (307, "http://127.0.0.1:1/batch")
    assert server.stats()["events_held"] == 0


def test_a_delay_comes_before_the_answer(serve: Serve) -> None:
    server = serve(script="- do: {delay: 0.2}")
    before = time.monotonic()
    assert post(server).status_code == 200
    assert time.monotonic() - before >= 0.2


def test_a_hanging_server_makes_the_client_give_up(serve: Serve) -> None:
    server = serve(script="- do: {hang: 60}")
    with pytest.raises(requests.ReadTimeout):
        post(server, timeout=0.1)
    assert server.stats()["events_held"] == 0


def test_after_hanging_the_connection_is_closed_without_an_answer(serve: Serve) -> None:
    server = serve(script="- do: {hang: 0.05}")
    assert raw_answer(server) == b""
    assert server.stats()["requests"] == {"hang": 1}


def test_rules_look_at_the_events_of_gzip_bodies_too(serve: Serve) -> None:
    server = serve(script="- {when: {insert_id: a}, do: {reply: {status: 503}}}")
    assert post(server, gzip.compress(BODY), encoding="gzip").status_code == 503
    assert post(server, gzip.compress(BODY.replace(b'"a"', b'"b"')), encoding="gzip").status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"events": 7}', b'{"events": [7]}'])
def test_rules_on_events_pass_over_bodies_without_any(body: bytes, serve: Serve) -> None:
    server = serve(script="- {when: {event_type: '*'}, do: {reply: {status: 503}}}")
    assert post(server, body).status_code == 400


def test_only_ingestion_meets_faults(serve: Serve) -> None:
    server = serve(script="- do: {reply: {status: 503}}")
    assert requests.get(server.url + "/stats", timeout=10).status_code == 200
    assert requests.post(server.url + "/reset", timeout=10).status_code == 200
