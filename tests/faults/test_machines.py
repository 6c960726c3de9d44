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
from typing import Any

import pytest
import trustme

from braze_etl.sandbox.amplitude.replies import Reply
from tests.cluster import Proxy
from tests.faults.conftest import Picky, nothing_is_lost
from tests.faults.fleet import ENVIRON, Fleet, open_fleet
from tests.faults.processes import kill, session, wait_until, workers
from tests.workplace import KEY, Written, ended

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
    pytest.mark.timeout(400),
]
SLOW = "- do: {delay: 0.2}"


_FAST = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "2s"}
"""A scheduler that takes a silent machine for gone after 5 seconds: less, Dask does not take."""
_TWO_TASKS = 5000
"""The events of two tasks, and more: what a machine may work off that nobody hears of any more."""


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


@pytest.mark.heavy
def test_a_file_that_kills_is_set_aside_and_the_others_arrive(fleet: Fleet) -> None:
    written = fleet.export(events=4000)
    deadly = next(record for record in written.records if record["id"] == written.must_arrive()[150])
    fleet.add_machines({})

    def kill_who_sends_it(events: list[dict[str, Any]]) -> Reply | None:
        if any(event["insert_id"] == deadly["id"] for event in events):
            for pid in workers(fleet.cluster.workers[0].pid):
                kill(pid)
            return Reply(503, {"code": 503})
        return None

    fleet.place.become(Picky(kill_who_sends_it))
    result = fleet.run()
    assert result.code == 3, result
    assert result.json["reasons"]["unreadable_file"] == 1
    others = set(written.must_arrive(written.where(lambda record: record["key"] != deadly["key"])))
    accepted = set(fleet.place.accepted_ids())  # batches of the file that went before the deadly one, too
    assert others <= accepted
    assert accepted - others <= set(written.must_arrive()) - {deadly["id"]}


@pytest.fixture
def hasty_fleet(tmp_path: Path, s3_server: str) -> Iterator[Fleet]:
    with open_fleet(tmp_path, s3_server, _FAST) as fleet:
        yield fleet


@pytest.mark.heavy
def test_a_machine_stands_still_and_goes_on_when_it_was_given_up(hasty_fleet: Fleet) -> None:
    fleet = hasty_fleet
    written, run = begin(fleet)
    machine = fleet.cluster.workers[0]
    signal_machine(machine, signal.SIGSTOP)
    in_flight = fleet.in_flight()
    result = ended(run)
    assert result.code == 3, result
    assert "a machine was lost" in result.err
    signal_machine(machine, signal.SIGCONT)
    wait_until(lambda: not workers(machine.pid), "it notices that it was given up")
    wait_until(fleet.is_quiet, "the last requests end")
    all_is_as_without_machines(fleet, written, repeats=in_flight + _TWO_TASKS)


@pytest.mark.heavy
def test_a_machine_is_cut_off_from_the_scheduler_alone(hasty_fleet: Fleet) -> None:
    fleet = hasty_fleet
    written = fleet.export()
    proxy = Proxy(fleet.cluster.port)
    fleet.cluster.add_worker(ENVIRON, via=proxy.port)
    fleet.add_machines({})
    fleet.place.inject(SLOW)
    run = fleet.start()
    fleet.wait_for_events(1000)
    proxy.stall()
    in_flight = fleet.in_flight()
    result = ended(run)
    assert result.code == 3, result
    assert "a machine was lost" in result.err
    wait_until(fleet.is_quiet, "the machine has worked off what it held")
    proxy.close()
    wait_until(lambda: not session(fleet.cluster.workers[0].pid), "it ends when the connection breaks")
    all_is_as_without_machines(fleet, written, repeats=in_flight + _TWO_TASKS)


def test_nothing_secret_is_on_the_wire(fleet: Fleet) -> None:
    salt = "5up3r-s41t-0f-th15-pr0j3ct"
    written = fleet.export(events=400, records_per_file=200)
    proxy = Proxy(fleet.cluster.port)
    environ = {"SALT": salt, "AWS_SECRET_ACCESS_KEY": "aws5ecretaws5ecret"}
    privacy = {"hash": ["email_address"], "salt": "${SALT}"}
    fleet.configure(workers=f"dask://127.0.0.1:{proxy.port}", mapping={"privacy": privacy})
    fleet.cluster.add_worker({**ENVIRON, **environ}, via=proxy.port)
    result = fleet.run(environ=environ)
    assert result.code == 3, result
    nothing_is_lost(fleet.place, written)
    people = {event["user_id"] for event in fleet.place.project.events() if event.get("user_id")}
    assert len(proxy.passed) > 10_000
    assert people
    shown = [
        text
        for text in [KEY, salt, environ["AWS_SECRET_ACCESS_KEY"], *people]
        if text.encode() in proxy.passed
    ]
    assert shown == []
    proxy.close()


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """The variables of Dask by which all processes of a cluster have one certificate of a private CA."""
    authority = trustme.CA()
    mine = authority.issue_cert("127.0.0.1")
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(str(ca))
    mine.cert_chain_pems[0].write_to_path(str(cert))
    mine.private_key_pem.write_to_path(str(key))
    prefix = "DASK_DISTRIBUTED__COMM__"
    pairs = {f"{prefix}TLS__{role}__CERT": str(cert) for role in ("SCHEDULER", "WORKER", "CLIENT")}
    pairs |= {f"{prefix}TLS__{role}__KEY": str(key) for role in ("SCHEDULER", "WORKER", "CLIENT")}
    return {f"{prefix}TLS__CA_FILE": str(ca), f"{prefix}REQUIRE_ENCRYPTION": "true", **pairs}


@pytest.mark.heavy
def test_machines_are_reached_over_tls_and_not_without(
    tmp_path: Path, s3_server: str, certificates: dict[str, str]
) -> None:
    with open_fleet(tmp_path, s3_server, certificates) as fleet:
        written = fleet.export(events=400)
        fleet.add_machines({})
        without = ended(fleet.start())
        assert without.code == 2, without
        assert "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in without.error["message"]
        fleet.configure(workers=f"dask://127.0.0.1:{fleet.cluster.port}")
        plain = ended(fleet.start())
        assert plain.code == 1, plain
        assert "no Dask scheduler answers at tcp://127.0.0.1" in plain.error["message"]
        fleet.configure()
        result = fleet.run(environ=certificates)
        assert result.code == 3, result
        nothing_is_lost(fleet.place, written)
