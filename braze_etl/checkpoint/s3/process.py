"""Which process holds a lease, told apart from a later one that has the same number.

A process is known by its machine's name and boot, its number, and the moment of its start in ticks since that
boot (proc(5), /proc/pid/stat, field 22). In a container the name is that of the pod, which no two pods share.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_AFTER_NAME_STATE: Final = 0
_AFTER_NAME_START: Final = 19
_ENDED: Final = frozenset("ZXx")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process of some machine; `boot` and `start` are empty where the system does not tell them."""

    host: str
    boot: str
    pid: int
    start: str
    space: str = ""
    """Its namespace of process numbers: containers of one host each have their own."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that we run on, as far as it can tell processes apart."""

    host: str
    proc: Path = Path("/proc")

    @classmethod
    def here(cls) -> Machine:
        """The machine that this program runs on."""
        return cls(socket.gethostname())

    def me(self) -> ProcessId:
        """The process that we are."""
        pid = os.getpid()
        return ProcessId(self.host, self._boot(), pid, self._start(pid) or "", self._space())

    def knows_dead(self, process: ProcessId) -> bool:
        """Whether *process* ran here and does no more; False where that can't be known."""
        if (process.host, process.boot, process.space) != (self.host, self._boot(), self._space()):
            return False
        if process.start and (start := self._start(process.pid)) is not None:
            return start != process.start
        return not _exists(process.pid)

    def _boot(self) -> str:
        try:
            return (self.proc / "sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""

    def _space(self) -> str:
        try:
            return str((self.proc / "self/ns/pid").readlink())
        except OSError:
            return ""

    def _start(self, pid: int) -> str | None:
        """When the process began, empty when it has ended; None when it can't be seen, or is not there."""
        try:
            stat = (self.proc / str(pid) / "stat").read_text()
        except OSError:
            return None
        # The name, in brackets, may itself hold spaces and brackets.
        fields = stat.rpartition(")")[2].split()
        return "" if fields[_AFTER_NAME_STATE] in _ENDED else fields[_AFTER_NAME_START]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
