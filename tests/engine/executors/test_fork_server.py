"""The fork server of a process: who keeps it; what workers start from it is in test_local and contracts/."""

from __future__ import annotations

import threading

from braze_etl.engine.executors import fork_server
from braze_etl.engine.executors.fork_server import keep_fork_server, release_fork_server


def test_a_user_whom_the_collector_ends_is_released_also_by_a_thread_that_keeps_or_releases() -> None:
    released = threading.Event()

    def keep() -> None:
        with fork_server._lock:  # here a collection may begin
            keep_fork_server()
            release_fork_server()
        released.set()

    keep_fork_server()
    threading.Thread(target=keep, daemon=True).start()
    assert released.wait(10)
    release_fork_server()
