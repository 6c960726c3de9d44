from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from braze_etl.monitoring.exposition import CallError, Metric, exposition, ping, post_json, push, reach
from tests.monitoring.watching import Watcher

LEFT = Metric("job_left_seconds", "gauge", "Time left.")


def test_a_webhook_gets_json(watcher: Watcher) -> None:
    post_json(f"{watcher.url}/services/T0", {"text": "key refused"}, timeout=5)
    ((method, path, body),) = watcher.heard
    assert (method, path, json.loads(body)) == ("POST", "/services/T0", {"text": "key refused"})


def test_a_gateway_gets_the_metrics_in_place_of_those_before(watcher: Watcher) -> None:
    exposed = exposition([LEFT], {LEFT.name: {(): 7.0}}, pipeline="a/b")
    push(exposed, watcher.url, job="braze_etl", grouping={"pipeline": "a/b"}, timeout=5)
    ((method, path, body),) = watcher.heard
    assert (method, path) == ("PUT", "/metrics/job/braze_etl/pipeline@base64/YS9i")
    assert b'job_left_seconds{pipeline="a/b"} 7.0' in body


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_answer_that_is_no_success_is_told_without_the_address(watcher: Watcher, status: int) -> None:
    watcher.status = status
    with pytest.raises(CallError, match=f"127.0.0.1 answered with the status {status}") as caught:
        ping(f"{watcher.url}/s3cret", timeout=5)
    assert "s3cret" not in str(caught.value) + repr(caught.value.__cause__)
    assert len(watcher.heard) == 1


def test_a_server_that_drips_its_answer_holds_nobody() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n."
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as threads:
        call = threads.submit(ping, f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=5)
        connection, _ = server.accept()
        with connection:
            connection.sendall(head)
            assert call.result(timeout=5) is None  # while the other 99 bytes are still to come


def test_a_service_that_is_not_there_is_told_without_the_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(CallError, match="can't be reached: ConnectionError") as caught:
            post_json(f"http://127.0.0.1:{port}/s3cret", {}, timeout=5)
    assert "s3cret" not in caught.value.message


def test_a_way_is_tried_without_the_address_and_any_answer_will_do(watcher: Watcher) -> None:
    watcher.status = 404
    assert reach(f"{watcher.url.replace('//', '//anna:s3cret@')}/ping", timeout=5) == "127.0.0.1"
    assert watcher.heard == [("HEAD", "/", b"")]


def test_a_service_that_is_silent_does_not_hold_the_run() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(CallError, match="ReadTimeout"):
            ping(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1)


def test_an_address_that_is_none_is_an_error_too() -> None:
    with pytest.raises(CallError):
        ping("http://", timeout=1)
