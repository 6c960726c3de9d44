"""The fork server: the process that worker processes are forked from, with all that they import in it.

Forking the parent itself would copy its threads' locks. This module imports next to nothing, so that a
command can start the server first, and both processes import at the same time.

The server is our own, not the one that `multiprocessing` keeps for everybody: a program that uses this
package may have that one with other modules. What else belongs to the program is left alone, too:

- A worker does not import its `__main__`: a script without a guard would be carried out again in each.
- The start method stays unset, if it was.
- Workers start also in a daemonic process, as some schedulers have: they end with the pipe to their parent.
"""

# ruff: noqa: SLF001 - `multiprocessing` has no public way to any of this

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import context, forkserver, resource_tracker, spawn
from multiprocessing.context import BaseContext
from types import FunctionType, SimpleNamespace
from typing import Any, cast

from braze_etl.errors import UsageError

_IS_THERE = "forkserver" in multiprocessing.get_all_start_methods()
_environ: dict[str, str] = {}
"""The environment that the server was started with, and all that it starts."""
_server: Any = forkserver.ForkServer()
_users = 0
_lock = threading.RLock()
"""Of `_users`; a collection in this very thread may end a pipeline, which releases the server."""


def worker_context() -> BaseContext:
    """The way in which workers are started here."""
    return _OwnServer() if _IS_THERE else multiprocessing.get_context("spawn")


def start_fork_server(module: str) -> None:
    """Start it with *module* imported, unless it runs already (or this system has none).

    It is deaf to SIGTERM, which a scheduler may send to the whole process group: that would end the server,
    and with it all that is known of the workers. What is blocked here stays blocked in what is started here.

    Raises `UsageError` if the folder for temporary files does not take its socket.
    """
    if not _IS_THERE:
        return
    _environ.update({} if _environ else os.environ)
    _server.set_forkserver_preload([module])
    resource_tracker.ensure_running()  # which would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with _method_left_open():
            _server.ensure_running()
    except OSError as error:
        raise UsageError(
            f"no worker process can be started: the folder for temporary files takes no socket: {error}",
            remedy="Set TMPDIR to a folder that can be written, with a path of at most 70 characters.",
        ) from None
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def keep_fork_server() -> None:
    """Say that it is wanted, until `release_fork_server` is called as often."""
    global _users  # noqa: PLW0603 - there is one server a process
    with _lock:
        _users += 1


def release_fork_server() -> None:
    """End the server when nobody wants it any more; the next worker would start another."""
    global _users  # noqa: PLW0603 - there is one server a process
    with _lock:
        _users -= 1
        if _users == 0 and _server._forkserver_pid is not None:
            with suppress(OSError):  # it may have been killed
                os.kill(_server._forkserver_pid, signal.SIGKILL)
                _server._stop()
            _begin_anew()


def changed_environ() -> dict[str, str | None]:
    """What this process has changed in its environment since it started the server; None: removed.

    A process of this machine has the environment of whoever wants it, also where an older server forks it.
    """
    changed: dict[str, str | None] = dict.fromkeys(_environ.keys() - os.environ.keys())
    return changed | dict(os.environ.items() - _environ.items()) if _environ else {}


def _begin_anew() -> None:
    """Know of no server: it has ended, or is that of the process that this one was forked from."""
    global _server  # noqa: PLW0603 - there is one server a process
    _server = forkserver.ForkServer()
    _environ.clear()


def _in_child() -> None:
    global _lock  # noqa: PLW0603 - see `_begin_anew`
    _lock = threading.RLock()
    _begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


@contextmanager
def _method_left_open() -> Iterator[None]:
    """To start a process sets the start method of the whole program, unless it was set: undo that."""
    before = cast("str | None", multiprocessing.get_start_method(allow_none=True))
    try:
        yield
    finally:
        if before is None:
            multiprocessing.set_start_method(None, force=True)


def _preparation(name: str) -> dict[str, Any]:
    """What a process is told at its start, without the caller's `__main__`."""
    data = spawn.get_preparation_data(name)
    return {key: value for key, value in data.items() if not key.startswith("init_main_")}


def _launched(process: Any) -> Any:
    """Start a process, as `popen_forkserver` does, from our own server."""
    from multiprocessing import popen_forkserver

    ours = {
        **vars(popen_forkserver),
        "spawn": SimpleNamespace(get_preparation_data=_preparation),
        "forkserver": SimpleNamespace(
            connect_to_new_process=_server.connect_to_new_process, read_signed=forkserver.read_signed
        ),
    }
    popen: Any = popen_forkserver.Popen
    launch = FunctionType(popen._launch.__code__, ours)
    return type("Popen", (popen,), {"_launch": launch})(process)


class _OwnProcess(context.ForkServerProcess if _IS_THERE else context.SpawnProcess):  # type: ignore[misc]
    _Popen = staticmethod(_launched)

    def start(self) -> None:
        config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
        daemon = config.pop("daemon", None)
        try:
            with _method_left_open():
                super().start()
        finally:
            if daemon is not None:
                config["daemon"] = daemon


class _OwnServer(context.ForkServerContext if _IS_THERE else context.SpawnContext):  # type: ignore[misc]
    Process = _OwnProcess
