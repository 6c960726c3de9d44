"""What all connections share: the project behind its lock, the faults, the traffic."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from braze_etl.sandbox.faults import Faults
from braze_etl.sandbox.project import Project
from braze_etl.sandbox.reply import Reply
from braze_etl.sandbox.traffic import Traffic
from braze_etl.sandbox.wire import as_json

_LINES_A_CHUNK = 500


class Service:
    """A project and a fault script, for many threads."""

    def __init__(self, project: Project, faults: Faults) -> None:
        self.faults = faults
        self.traffic = Traffic()
        self.stopping = threading.Event()
        self._project = project
        self._lock = threading.Lock()

    def body_limit(self, path: str) -> int:
        """How many uncompressed bytes a body may have; the larger limit for an unknown path."""
        limits = self._project.limits
        own = limits.endpoints.get(path)
        return limits.batch.max_bytes if own is None else own.max_bytes

    def ingest(self, path: str, body: bytes) -> Reply:
        """Hand a body to the project."""
        with self._lock:
            return self._project.ingest(path, body)

    def stats(self) -> dict[str, Any]:
        """What the project and the traffic have counted, in one object."""
        with self._lock:
            return {**self.traffic.stats(), **self._project.stats()}

    def reset(self) -> None:
        """Be as just started: nothing held, nothing counted, the fault script at its beginning."""
        with self._lock:
            self._project.reset()
            self.traffic.reset()
            self.faults.restart()

    def event_lines(self, fields: Sequence[str] = ()) -> Iterator[bytes]:
        """Go through the held events as NDJSON, some hundred lines at a time; *fields* cuts them down."""
        with self._lock:
            events = self._project.events()
        while lines := [as_json(_only(event, fields)) for event in islice(events, _LINES_A_CHUNK)]:
            yield b"\n".join((*lines, b""))


def _only(event: dict[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {name: event[name] for name in fields if name in event} if fields else event
