"""A real S3 over HTTP: moto's server in a process of its own, and fresh buckets on it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import boto3
import pytest
from botocore.config import Config

_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket: its name, its `s3://` URI, and the server's URL."""

    name: str
    uri: str
    endpoint_url: str


@contextmanager
def s3_at_work() -> Iterator[str]:
    """The URL of a server; the environment holds credentials it accepts as long as it runs."""
    port = free_port()
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


def new_bucket(url: str) -> Bucket:
    """Make a bucket on the server at *url*."""
    name = f"test-{uuid.uuid4().hex[:20]}"
    client = boto3.client("s3", endpoint_url=url, config=Config(retries={"total_max_attempts": 2}))
    client.create_bucket(Bucket=name)
    return Bucket(name, f"s3://{name}", url)


def free_port() -> int:
    """A port that nobody listens at."""
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
