"""A cluster of Dask as its users start it: a scheduler and workers, each a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from braze_etl.engine.due import DueFile
from braze_etl.engine.executors.machines import DaskPool
from braze_etl.engine.executors.workers import Scheduler, scheduler_of
from braze_etl.engine.tasks import Task
from braze_etl.model import FileRef

ROOT = Path(__file__).parents[1]
_GUARD = 60.0
_LEAN = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false", "PYTHONPATH": str(ROOT)}


@dataclass
class DaskCluster:
    """A scheduler, and the workers that were started; *folder* is theirs."""

    folder: Path
    port: int = 0
    scheduler_process: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    environ: Mapping[str, str] = field(default_factory=dict)
    """That of all its processes; with certificates in it, they speak TLS."""

    @property
    def protocol(self) -> str:
        return "tls" if "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in self.environ else "tcp"

    @property
    def uri(self) -> str:
        """What `workers` says to use it."""
        return f"dask{'+tls' if self.protocol == 'tls' else ''}://127.0.0.1:{self.port}"

    @property
    def scheduler(self) -> Scheduler:
        found = scheduler_of(self.uri)
        assert found is not None
        return found

    def start(self) -> None:
        """Start the scheduler, and wait until it listens."""
        told = self.folder / "scheduler.json"
        self.scheduler_process = self._started(
            "scheduler",
            "--scheduler-file",
            str(told),
            "--port",
            "0",
            "--host",
            "127.0.0.1",
            "--protocol",
            self.protocol,
        )
        until = time.monotonic() + _GUARD
        while not told.exists() or not told.read_text().endswith("}"):
            if time.monotonic() > until or self.scheduler_process.poll() is not None:
                pytest.fail("the Dask scheduler did not start")
            time.sleep(0.02)
        self.port = int(told.read_text().partition("://127.0.0.1:")[2].partition('"')[0])

    def add_worker(
        self,
        environ: Mapping[str, str] = MappingProxyType({}),
        *,
        processes: int = 1,
        port: int = 0,
        via: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a machine of so many processes, which listens at *port*; it joins when it is up.

        It reaches the scheduler by the port *via*, which may be that of a proxy.
        """
        options = ["--nworkers", "1", "--nthreads", "4", "--no-nanny", "--memory-limit", "0"]
        worker = self._started(
            "worker",
            f"{self.protocol}://127.0.0.1:{via or self.port}",
            *options,
            "--worker-port",
            str(port),
            "--local-directory",
            str(self.folder),
            environ={"BRAZE_ETL_PROCESSES": str(processes), **environ},
        )
        self.workers.append(worker)
        return worker

    def await_workers(self, workers: int) -> None:
        """Wait until so many machines have joined."""
        from distributed import Client

        client: Any = Client
        with closing(client(self.scheduler.address, set_as_default=False)) as connected:
            connected.wait_for_workers(workers, timeout=_GUARD)

    def close(self) -> None:
        """End all of it; the processes that a worker has started end with it."""
        for process in [*self.workers, self.scheduler_process]:
            if process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(_GUARD)

    def _started(
        self, *arguments: str, environ: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments, "--no-dashboard"],
                cwd=self.folder,
                env={**os.environ, **_LEAN, **self.environ, **environ},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@contextmanager
def dask_at_work(
    folder: Path, machines: int = 0, environ: Mapping[str, str] = MappingProxyType({})
) -> Iterator[DaskCluster]:
    """A cluster with so many machines, for the length of the block; all processes of it have *environ*."""
    cluster = DaskCluster(folder, environ=environ)
    try:
        cluster.start()
        for _ in range(machines):
            cluster.add_worker()
        yield cluster
    finally:
        cluster.close()


def await_machines(pool: DaskPool, processes: int) -> None:
    """Wait until so many processes are ready; the first task that is refused makes the pool ask for them."""
    until = time.monotonic() + _GUARD
    ref = FileRef("a", "e1", 1, datetime(2026, 10, 1, tzinfo=UTC), "Open", datetime(2026, 10, 1, tzinfo=UTC))
    assert not pool.submit(Task(0, (DueFile(ref),)))
    while pool.ready < processes:
        assert not list(pool.poll(0.25))
        if time.monotonic() > until:
            pytest.fail(f"there are {pool.ready} processes on the machines, and not {processes}")


class Proxy:
    """Stands before a port: keeps all that passes in either direction, and may let nothing pass any more."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._open = threading.Event()
        self._open.set()
        self.passed = bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._doomed: frozenset[socket.socket] = frozenset()
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self) -> None:
        """Keep the connections, and let nothing pass from now on."""
        self._open.clear()

    def forget_later_ones(self) -> None:
        """Break each connection but the first when something passes again, as what stands between may do."""
        self._doomed = frozenset(self._sockets[2:])

    def close(self) -> None:
        """Break the connections."""
        self._listener.close()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._behind))
                self._sockets += [here, there]
                for source, target in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                if source in self._doomed:
                    target.shutdown(socket.SHUT_RDWR)
                    source.shutdown(socket.SHUT_RDWR)
                self.passed += data
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
