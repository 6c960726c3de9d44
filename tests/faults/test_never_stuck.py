"""No peer holds a run: SIGTERM and `--max-runtime` end it in time, in whatever phase it waits for whom."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests import hostile
from tests.faults.conftest import SMALL, deliver_all, nothing_is_lost
from tests.faults.processes import session, wait_until
from tests.front import Asked, Front, Reply
from tests.s3_server import Bucket
from tests.serving import serving
from tests.workplace import Result, Workplace, Written, balanced, ended

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

PROMISED = 1.0 + 2.0
"""Seconds: the request time-out of the configuration, plus two."""
MACHINE = 4.0
"""Seconds that a busy test machine may add: Python alone takes one to end there."""


class Stuck(Front):
    """Answers nothing to the requests that *holds* names, until it is free."""

    def __init__(self, behind: str, holds: Callable[[Asked], bool]) -> None:
        super().__init__(behind)
        self.holds = holds
        self.waiting = 0
        self.free = threading.Event()

    def answer(self, asked: Asked) -> Reply:
        if not self.free.is_set() and self.holds(asked):
            self.waiting += 1
            self.free.wait()
        return self.pass_on(asked)


def is_state(asked: Asked) -> bool:
    return "/state/" in asked.target


def stops_in_time(process: subprocess.Popen[str], code: int, signum: int = signal.SIGTERM) -> Result:
    """Signal the run; it ends as promised, and so does every process of it."""
    began = time.monotonic()
    os.kill(process.pid, signum)
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < PROMISED + MACHINE
    assert process.returncode == code, err
    assert "Traceback" not in err, err
    wait_until(lambda: not session(process.pid), "every process is gone")
    result = Result(process.returncode, out, err)
    assert result.json["exit_code"] == code
    if "files" in result.json:
        balanced(result.json)
    return result


@contextmanager
def stuck_s3(place: Workplace, bucket: Bucket, holds: Callable[[Asked], bool]) -> Iterator[Stuck]:
    """A configuration with all in S3, behind a server that is stuck."""
    client: Any = boto3.client("s3", endpoint_url=bucket.endpoint_url)
    for file in place.files():
        client.upload_file(str(file), bucket.name, f"in/{file.relative_to(place.source).as_posix()}")
    with serving(Stuck(bucket.endpoint_url, holds)) as front:
        source = {"uri": f"{bucket.uri}/in", "endpoint_url": front.url, "start_at": "2026-10-01"}
        place.configure(
            source=source,
            amplitude={**SMALL, "give_up_after": "1h"},
            state={"uri": f"{bucket.uri}/state"},
            quarantine={"uri": f"{bucket.uri}/quarantine"},
            workers=1,
        )
        try:
            yield front
        finally:
            front.free.set()


SIGTERM, TIME_IS_OVER = 143, 4
PHASES: dict[str, tuple[int, Callable[[Workplace, Asked], bool]]] = {
    "opening the ledger": (SIGTERM, lambda _, asked: is_state(asked)),
    "listing": (TIME_IS_OVER, lambda _, asked: "list-type" in asked.target and "prefix=in" in asked.target),
    "reading": (SIGTERM, lambda _, asked: asked.method == "GET" and ".avro" in asked.target),
    "settling": (SIGTERM, lambda place, asked: is_state(asked) and any(place.project.events())),
}
"""What ends a run in which phase, by its exit code, and the requests that are not answered in it."""


def test_a_silent_store_does_not_keep_a_run_from_stopping_in_any_phase(
    place: Workplace, bucket: Bucket
) -> None:
    written = place.export(events=120, hours=1, duplicates=0)
    with stuck_s3(place, bucket, lambda asked: False) as front:
        for code, holds in PHASES.values():
            front.waiting, front.holds = 0, partial(holds, place)
            if code == SIGTERM:
                process = place.start("run", "--output", "json")
                wait_until(lambda: front.waiting > 0, "S3 is silent")
                stops_in_time(process, code)
            else:
                time_is_over_in_time(place, front)
        front.free.set()
        deliver_all(place)
        nothing_is_lost(place, written)


def time_is_over_in_time(place: Workplace, front: Stuck) -> None:
    process = place.start("run", "--output", "json", "--max-runtime", "6s")
    # A busy machine may not have come to it by then; it ends no later for that.
    wait_until(lambda: front.waiting > 0 or process.poll() is not None, "S3 is silent")
    began = time.monotonic()
    result = ended(process)
    assert time.monotonic() - began < 6.0 + PROMISED + MACHINE
    assert result.code == TIME_IS_OVER, result.err
    assert "s3:" in result.err or not front.waiting
    assert balanced(result.json)["events"]["accepted"] == 0


def after_the_probe(manners: hostile.Manners) -> hostile.Manners:
    """Answer the first request as Amplitude does one without events, and be hostile from then on."""

    def probed(peer: hostile.HostilePeer, connection: socket.socket) -> None:
        if peer.met > 1:
            manners(peer, connection)
            return
        hostile.read_request(connection)
        body = b'{"code": 400, "error": "Missing events"}'
        connection.sendall(
            b"HTTP/1.1 400 Bad\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    return probed


AMPLITUDES: dict[str, tuple[hostile.Manners, int]] = {
    "answer to the probe": (hostile.drips_headers, 1),
    "upload that is not read": (after_the_probe(hostile.reads_a_byte_a_time), 2),
    "body of a reply": (after_the_probe(hostile.drips_body), 2),
}
"""How it drips, from which connection on."""


def test_neither_a_dripping_amplitude_nor_who_watches_keeps_a_run_from_stopping(place: Workplace) -> None:
    written: Written = place.export(events=300, hours=1, duplicates=0)
    for manners, connections in AMPLITUDES.values():
        with hostile.hostile(manners) as peer:
            place.configure(amplitude={**SMALL, "endpoint": peer.url, "give_up_after": "1h"}, workers=1)
            process = place.start("run", "--output", "json")
            wait_until(lambda: peer.met >= connections, "Amplitude drips")  # noqa: B023 - called here
            result = stops_in_time(process, 130, signal.SIGINT)
            assert result.json["events"]["accepted"] == 0
    with hostile.hostile(hostile.drips_headers) as peer:
        place.configure(amplitude=SMALL, workers=1, notify={"dead_man": peer.url, "timeout": "30s"})
        process = place.start("run", "--output", "json")
        wait_until(lambda: peer.met > 0, "a service that watches drips")
        result = stops_in_time(process, 143)
        assert result.json["files"]["remaining"] == 0
    nothing_is_lost(place, written)


NAMES_HANG = """
import ctypes, socket, sys
def hang(*_args, **_more):
    sys.stderr.write("resolving\\n")
    sys.stderr.flush()
    while True:
        ctypes.CDLL(None).sleep(100)
socket.getaddrinfo = hang
from braze_etl.__main__ import main
main()
"""


def test_a_name_that_is_never_resolved_does_not_keep_a_run_from_stopping(place: Workplace) -> None:
    place.export(events=60, hours=1)
    place.configure(amplitude={**SMALL, "endpoint": "https://amplitude.invalid"}, workers=1)
    command = [sys.executable, "-c", NAMES_HANG, "run", "--output", "json"]
    process = place.start(command=command)
    assert process.stderr is not None
    while "resolving" not in (line := process.stderr.readline()):
        assert line, "it ended before it asked for a name"
    result = stops_in_time(process, 143)
    assert result.json["files"]["remaining"] > 0


def test_a_signal_before_anything_has_begun_ends_it_with_its_code(place: Workplace) -> None:
    process = place.start("run", "--output", "json")
    _wait_for_a_handler(process.pid)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143, err
    assert "Traceback" not in err


def test_a_look_at_a_silent_store_ends_with_ctrl_c(place: Workplace, bucket: Bucket) -> None:
    place.export(events=60, hours=1)
    holds = partial(PHASES["listing"][1], place)
    with stuck_s3(place, bucket, holds) as front:
        process = place.start("init", "--source", f"{bucket.uri}/in", AWS_ENDPOINT_URL_S3=front.url)
        wait_until(lambda: front.waiting > 0, "S3 is silent")
        began = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert time.monotonic() - began < MACHINE
        assert process.returncode == 130, err


def _wait_for_a_handler(pid: int) -> None:
    """Wait until the command line catches SIGTERM: the interpreter alone does not."""
    bit = 1 << (signal.SIGTERM - 1)
    wait_until(lambda: bool(_caught(pid) & bit), "SIGTERM is caught")


def _caught(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1], 16) for line in lines if line.startswith("SigCgt")), 0)
