"""What the server saw of HTTP: answers, bytes, and how many requests were open at once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Traffic:
    """Counters of POSTs to the ingestion paths; shared by all connections."""

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
