"""What may befall the machines of a cluster: nothing is lost, and only what was in flight comes again.

Three rows run always; `make faults` has all of them. Each ends with ledger and quarantine as a run without
machines leaves them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import nothing_is_lost
from tests.faults.fleet import Fleet, open_fleet
from tests.faults.processes import session, wait_until, workers
from tests.workplace import Written, ended

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
    pytest.mark.xdist_group("dask"),
]
SLOW = "- do: {delay: 0.2}"


@pytest.fixture
def fleet(tmp_path: Path, s3_server: str) -> Iterator[Fleet]:
    with open_fleet(tmp_path, s3_server) as fleet:
        yield fleet


def all_is_as_without_machines(fleet: Fleet, written: Written, *, repeats: int) -> None:
    """Nothing is lost or foreign, at most so many events came again, and the books are as they have to be."""
    assert fleet.repeats <= repeats
    nothing_is_lost(fleet.place, written)
    books, set_aside = fleet.books(), fleet.set_aside()
    fleet.place.ledger.unlink()
    fleet.place.recover()
    fleet.configure(workers=2, quarantine={"uri": f"{fleet.bucket.uri}/another"})
    assert fleet.run().code == 3
    assert fleet.books() == books
    assert fleet.set_aside() == set_aside


def signal_machine(machine: subprocess.Popen[bytes], signum: int) -> None:
    """Send a signal to all processes of a machine."""
    os.killpg(machine.pid, signum)


def begin(
    fleet: Fleet, *environs: dict[str, str], processes: int = 1
) -> tuple[Written, subprocess.Popen[str]]:
    """Start a run on machines with these environments, and wait until it is in the middle."""
    written = fleet.export()
    fleet.add_machines(*(environs or ({}, {})), processes=processes)
    fleet.place.inject(SLOW)
    run = fleet.start()
    fleet.wait_for_events(1000)
    return written, run


@pytest.mark.parametrize(
    "signum",
    [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.heavy)],
    ids=["killed", "told to end"],
)
def test_a_machine_is_lost_and_its_tasks_go_to_the_other(fleet: Fleet, signum: int) -> None:
    written, run = begin(fleet)
    signal_machine(fleet.cluster.workers[0], signum)
    in_flight = fleet.in_flight()
    result = ended(run)
    assert result.code == 3, result
    assert "a machine was lost" in result.err
    all_is_as_without_machines(fleet, written, repeats=in_flight)


def test_the_scheduler_is_lost_and_the_next_run_goes_on(fleet: Fleet) -> None:
    written, run = begin(fleet)
    assert fleet.cluster.scheduler_process is not None
    fleet.cluster.scheduler_process.kill()
    result = ended(run)
    assert result.code == 1, result
    assert "the Dask scheduler at " in result.error["message"]
    machines = [machine.pid for machine in fleet.cluster.workers]
    wait_until(lambda: not any(map(session, machines)), "machines without a scheduler end")
    wait_until(fleet.is_quiet, "the last requests end")
    in_flight = fleet.in_flight()
    fleet.configure(workers=2)
    assert fleet.run().code == 3
    all_is_as_without_machines(fleet, written, repeats=in_flight)


OTHERS = {
    "another key": ({"AMPLITUDE_API_KEY": "f" * 32}, "another value for AMPLITUDE_API_KEY"),
    "no key": ({"AMPLITUDE_API_KEY": ""}, "its environment lacks AMPLITUDE_API_KEY"),
    "no rights": ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "it can't read the source"),
    "a strange number of processes": ({"BRAZE_ETL_PROCESSES": "many"}, "which is no number of processes"),
}


@pytest.mark.parametrize(
    "name",
    [name if name == "another key" else pytest.param(name, marks=pytest.mark.heavy) for name in OTHERS],
)
def test_a_machine_that_is_unfit_is_named_and_the_others_do_all(fleet: Fleet, name: str) -> None:
    environ, words = OTHERS[name]
    written = fleet.export()
    fleet.add_machines({}, environ)
    result = fleet.run()
    assert result.code == 3, result
    assert result.err.count("a machine is not fit for work") == 1
    assert words in result.err
    all_is_as_without_machines(fleet, written, repeats=0)


@pytest.mark.heavy
def test_a_process_of_a_machine_is_lost_and_the_machine_goes_on(fleet: Fleet) -> None:
    written, run = begin(fleet, {}, processes=2)
    (machine,) = fleet.cluster.workers
    os.kill(workers(machine.pid)[0], signal.SIGKILL)
    in_flight = fleet.in_flight()
    result = ended(run)
    assert result.code == 3, result
    assert "a worker process died" in result.err
    assert "SIGKILL, on the machine 127.0.0.1" in result.err
    all_is_as_without_machines(fleet, written, repeats=in_flight)


@pytest.mark.heavy
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to end"])
def test_the_command_is_gone_and_machines_stop_within_a_second_and_stay(fleet: Fleet, signum: int) -> None:
    written, run = begin(fleet)
    os.killpg(run.pid, signum)
    out, err = run.communicate(timeout=60)
    assert run.returncode == (-signum if signum == signal.SIGKILL else 143), (out, err)
    began = time.monotonic()
    machines = [machine.pid for machine in fleet.cluster.workers]
    wait_until(lambda: not any(map(workers, machines)), "the processes of machines end")
    assert time.monotonic() - began < 5
    wait_until(fleet.is_quiet, "the last requests end")
    in_flight = fleet.in_flight()
    assert fleet.run().code == 3
    all_is_as_without_machines(fleet, written, repeats=in_flight)
