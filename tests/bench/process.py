"""A command as a whole process, measured: wall time, CPU with that of its children, peak memory."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BYTECODE = Path(__file__).parents[2] / ".bench/bytecode"
_LOOK_EVERY = 0.05
_SET_CHILD_SUBREAPER = 36  # prctl(2)


class BenchError(Exception):
    """The benchmark can't go on: a command failed, or events are missing."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command took, in seconds, and the peak of its largest process in MB.

    `started` is a `time.monotonic`, which is the same for every process of the machine.
    """

    started: float
    wall: float
    cpu: float
    peak_mb: float


class _Memory:
    """Looks at a process and all below it until told to stop; the kernel keeps each one's peak itself."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._over = threading.Event()
        self._most_kb = 0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> float:
        """The largest peak, in MB of 1024 KB."""
        self._over.set()
        self._thread.join()
        return self._most_kb / 1024

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_EVERY):
            self._most_kb = max(self._most_kb, *map(peak_kb, family(self._pid)))


def run(command: Sequence[str], *, cwd: Path, environ: Mapping[str, str] | None = None) -> Ran:
    """Run *command* in *cwd* to its end. Raises `BenchError` with its last words when it fails."""
    _adopt_orphans()
    log = cwd / "output.log"
    with log.open("wb") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=_environment(environ or {}),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        memory = _Memory(process.pid)
        try:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.monotonic() - started
        finally:
            peak = memory.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime + _cpu_of_orphans(process.pid)
    if process.returncode:
        words = log.read_text(errors="replace")[-2000:]
        raise BenchError(f"{' '.join(command)}\nended with exit code {process.returncode}:\n{words}")
    return Ran(started, wall, cpu, peak)


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    """This process's, with one place for everybody's compiled modules: who has some already has no start."""
    common = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**common, "PYTHONPYCACHEPREFIX": str(_BYTECODE), **own}


def _adopt_orphans() -> None:
    """Have what a child leaves behind become a child of this process, so that its CPU can be asked for."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this process can't adopt the orphans of its children")


def _cpu_of_orphans(group: int) -> float:
    """CPU of what the ended leader of *group* did not wait for: a fork server, and with it the workers."""
    total = 0.0
    while True:
        try:
            _, _, usage = os.wait4(-group, 0)
        except ChildProcessError:
            return total
        total += usage.ru_utime + usage.ru_stime


def family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:  # it has ended since
            continue
        for child in children:
            yield from family(int(child))


def peak_kb(pid: int) -> int:
    """The most memory a process had resident so far; 0 when it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


@contextmanager
def background(command: Sequence[str], *, cwd: Path) -> Iterator[str]:
    """Run *command* for the length of the block; gives the first line that it prints."""
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
