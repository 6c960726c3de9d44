"""Events, bodies and a clock for the tests of the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
import pytest

from braze_etl.sandbox.amplitude.project import Project
from braze_etl.sandbox.amplitude.replies import Reply
from braze_etl.sandbox.faults import Faults, parse_faults
from braze_etl.sandbox.server import SandboxServer

MakeEvent: TypeAlias = Callable[..., dict[str, Any]]
Post: TypeAlias = Callable[..., Reply]
Serve: TypeAlias = Callable[..., SandboxServer]


@dataclass
class Now:
    """A clock that is set by hand, in seconds since the epoch."""

    seconds: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def make_event() -> MakeEvent:
    """Make a good event; keywords replace its keys, and None leaves one out."""

    def make(**keys: Any) -> dict[str, Any]:
        event = {"user_id": "user-000001", "event_type": "[Appboy] Email Opened", "time": 1_790_000_000_000}
        return {key: value for key, value in {**event, **keys}.items() if value is not None}

    return make


@pytest.fixture
def post() -> Post:
    """Hand events (and other keys of the envelope) to a project."""

    def send(project: Project, *events: Any, endpoint: str = "/batch", **envelope: Any) -> Reply:
        request = {"api_key": "key", "events": list(events), **envelope}
        return project.ingest(endpoint, orjson.dumps(request))

    return send


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that end with the test; `script` is the text of a fault file."""
    servers: list[SandboxServer] = []

    def start(project: Project | None = None, script: str = "") -> SandboxServer:
        faults = parse_faults(script) if script else Faults()
        servers.append(SandboxServer(project or Project(), faults=faults).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
