"""The processes of a run, as the operating system shows them, and waiting for what can be observed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

_GUARD = 60.0
_GLANCE = 0.01


def wait_until(happened: Callable[[], bool], what: str) -> None:
    """Look until *happened*; the time limit is a guard, not a part of the test."""
    guard = time.monotonic() + _GUARD
    while not happened():
        if time.monotonic() > guard:
            pytest.fail(f"it never happened that {what}")
        time.sleep(_GLANCE)


def session(leader: int) -> dict[int, int]:
    """The living processes that a command started, itself among them: parent by process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (facts := _stat(folder)) is not None:
            state, parent, of_session = facts
            if of_session == leader and state != "Z":
                found[int(folder.name)] = parent
    return found


def fork_server(leader: int) -> int | None:
    """The process from which the workers of a run are forked."""
    parents = session(leader)
    servers = [pid for pid in parents if parents[pid] == leader and b"forkserver" in _command_line(pid)]
    return servers[0] if servers else None


def workers(leader: int) -> list[int]:
    """The worker processes of a run."""
    server = fork_server(leader)
    return [pid for pid, parent in session(leader).items() if server is not None and parent == server]


def started_by(leader: int, program: str) -> int:
    """The one process of that program among those that a command started."""
    (pid,) = (pid for pid in session(leader) if _command_line(pid).split(b"\0")[0] == program.encode())
    return pid


def kill(pid: int) -> None:
    """SIGKILL; one that is gone already is fine."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _stat(folder: Path) -> tuple[str, int, int] | None:
    try:
        # The name in brackets may hold anything; what follows it are state, parent, group, session.
        state, parent, _, of_session = folder.joinpath("stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return None
    return state, int(parent), int(of_session)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
