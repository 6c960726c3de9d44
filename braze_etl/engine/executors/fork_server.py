"""The fork server: the process that worker processes are forked from, with all that they import in it.

Forking the parent itself would copy its threads' locks. This module imports next to nothing, so that a
command can start the server first, and both processes import at the same time.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext

from braze_etl.errors import UsageError

_IS_THERE = "forkserver" in multiprocessing.get_all_start_methods()
_environ: dict[str, str] = {}
"""The environment that the server was started with, and all that it starts."""


def worker_context() -> BaseContext:
    """The way in which workers are started here."""
    return multiprocessing.get_context("forkserver" if _IS_THERE else "spawn")


def start_fork_server(module: str) -> None:
    """Start it with *module* imported, unless it runs already (or this system has none).

    It is deaf to SIGTERM, which a scheduler may send to the whole process group: that would end the server,
    and with it all that is known of the workers. What is blocked here stays blocked in what is started here.

    Raises `UsageError` if the folder for temporary files does not take its socket.
    """
    if not _IS_THERE:
        return
    _environ.update({} if _environ else os.environ)
    multiprocessing.set_forkserver_preload([module])
    resource_tracker.ensure_running()  # which would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        forkserver.ensure_running()
    except OSError as error:
        raise UsageError(
            f"no worker process can be started: the folder for temporary files takes no socket: {error}",
            remedy="Set TMPDIR to a folder that can be written, with a path of at most 70 characters.",
        ) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def changed_environ() -> dict[str, str | None]:
    """What this process has changed in its environment since it started the server; None: removed."""
    changed: dict[str, str | None] = dict.fromkeys(_environ.keys() - os.environ.keys())
    return changed | dict(os.environ.items() - _environ.items()) if _environ else {}
