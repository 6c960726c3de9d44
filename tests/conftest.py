"""What tests of several rooms share: a real S3 over HTTP (moto's server in its own process), a workplace."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import boto3
import pytest
from botocore.config import Config

from braze_etl.engine.executors.cores import usable_cores
from braze_etl.flows.currents_to_amplitude import reader
from braze_etl.model import FileRef
from tests.workplace import Workplace, balanced, open_workplace

_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}

# A test starts the program hundreds of times: each start would compile all its modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Many runs generate the same readers: the same text is compiled once.
vars(reader)["compile"] = lru_cache(maxsize=1000)(compile)

NOW = datetime(2026, 10, 3, 12, 30, tzinfo=UTC)
MakeRef: TypeAlias = Callable[..., FileRef]


def pytest_xdist_auto_num_workers() -> int:
    """One more than the cores, with `-n auto`: many tests wait for processes, signals and time-outs."""
    return usable_cores() + 1


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket: its name, its `s3://` URI, and the server's URL."""

    name: str
    uri: str
    endpoint_url: str


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server of this test session; the environment holds credentials it accepts."""
    port = _free_port()
    environment = {**os.environ, **_CREDENTIALS}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _CREDENTIALS.items():
            patch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/moto-api/", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(timeout=10)


@pytest.fixture
def bucket(s3_server: str) -> Bucket:
    """A fresh bucket on the S3 server, with `name`, `uri` and `endpoint_url`."""
    name = f"test-{uuid.uuid4().hex[:20]}"
    client = boto3.client("s3", endpoint_url=s3_server, config=Config(retries={"total_max_attempts": 2}))
    client.create_bucket(Bucket=name)
    return Bucket(name, f"s3://{name}", s3_server)


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    """A folder with a configuration, and an Amplitude over HTTP that does nothing wrong."""
    with open_workplace(tmp_path) as place:
        yield place


@pytest.fixture
def balance() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Checks that the books of a run report balance, and gives the report back."""
    return balanced


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def make_ref() -> MakeRef:
    """Makes files of hours before `NOW`."""

    def make(
        name: str, *, hours_ago: int = 1, etag: str = "e1", size: int = 1000, kind: str = "Open"
    ) -> FileRef:
        hour = (NOW - timedelta(hours=hours_ago)).replace(minute=0)
        return FileRef(name, etag, size, NOW, f"users.messages.email.{kind}", hour)

    return make


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if server.poll() is not None:
            pytest.fail(f"the S3 server ended with code {server.returncode} before it was ready")
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the S3 server did not answer at {url}")
