"""A cluster of Dask as its users start it: a scheduler and workers, each a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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

    @property
    def uri(self) -> str:
        """What `workers` says to use it."""
        return f"dask://127.0.0.1:{self.port}"

    @property
    def scheduler(self) -> Scheduler:
        found = scheduler_of(self.uri)
        assert found is not None
        return found

    def start(self, environ: Mapping[str, str]) -> None:
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
            environ=environ,
        )
        until = time.monotonic() + _GUARD
        while not told.exists() or not told.read_text().endswith("}"):
            if time.monotonic() > until or self.scheduler_process.poll() is not None:
                pytest.fail("the Dask scheduler did not start")
            time.sleep(0.02)
        self.port = int(told.read_text().partition("tcp://127.0.0.1:")[2].partition('"')[0])

    def add_worker(
        self, environ: Mapping[str, str] = MappingProxyType({}), *, processes: int = 1, port: int = 0
    ) -> subprocess.Popen[bytes]:
        """Start a machine of so many processes, which listens there; it joins when it is up."""
        options = ["--nworkers", "1", "--nthreads", "4", "--no-nanny", "--memory-limit", "0"]
        worker = self._started(
            "worker",
            f"tcp://127.0.0.1:{self.port}",
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

    def _started(self, *arguments: str, environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{arguments[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments, "--no-dashboard"],
                cwd=self.folder,
                env={**os.environ, **_LEAN, **environ},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@contextmanager
def dask_at_work(
    folder: Path, machines: int = 0, environ: Mapping[str, str] = MappingProxyType({})
) -> Iterator[DaskCluster]:
    """A cluster with so many machines, for the length of the block; *environ* is the scheduler's."""
    cluster = DaskCluster(folder)
    try:
        cluster.start(environ)
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
