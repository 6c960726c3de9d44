"""Rounds of a run that is killed at a random moment, and a run at once: nothing may be lost.

`make soak ROUNDS=1000` runs it for long; `test_kill_loop` runs a few rounds. A round is a fresh export, with
its ledger in SQLite or in S3, one or two kills of the parent, a worker, the fork server or the whole group,
and runs until nothing is left. In every tenth round of `make soak`, machines do the work, and one of them,
one of its processes, the scheduler or the parent is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

from braze_etl.clock import SystemClock
from braze_etl.flows.currents_to_amplitude.settings import load_config
from braze_etl.state.ledger import LedgerMissingError, SettledFile
from braze_etl.state.opening import open_ledger
from tests.faults.fleet import Fleet, open_fleet
from tests.faults.processes import fork_server, kill, session, wait_until, workers
from tests.s3_server import new_bucket, s3_at_work
from tests.workplace import Workplace, Written, ended, open_workplace

_EVENTS = 1200
_BATCH = 100
_VICTIMS = ("parent", "worker", "fork server", "group")
_VICTIMS_OF_MACHINES = ("parent", "machine", "process of a machine", "scheduler")
_EVENTS_OF_MACHINES = 6000
"""Before a kill, at most; each machine has several tasks of them."""
_WITH_MACHINES = 10
"""Of so many rounds, one has machines: to bring them up takes as long as the others."""
_MOST_RUNS = 6


@dataclass
class Tally:
    """What the rounds came to: events that never arrived, and events that Amplitude saw a second time."""

    rounds: int = 0
    in_s3: int = 0
    with_machines: int = 0
    kills: int = 0
    losses: int = 0
    repeats: int = 0
    most_repeats: int = 0
    events: int = 0

    def __str__(self) -> str:
        return (
            f"rounds={self.rounds} in_s3={self.in_s3} with_machines={self.with_machines} kills={self.kills} "
            f"events={self.events} losses={self.losses} repeats={self.repeats} "
            f"most_repeats_in_a_round={self.most_repeats}"
        )


def kill_loop(rounds: int, seed: int, s3_url: str) -> Tally:
    """Do that many rounds; an `AssertionError` names the seed of a round in which a promise was broken.

    The S3 server at *s3_url* keeps the ledger of about every second one.
    """
    tally = Tally()
    for number in range(rounds):
        name = f"round {seed}/{number}"
        try:
            with tempfile.TemporaryDirectory() as folder, open_workplace(Path(folder)) as place:
                rng = Random(name)
                state = _in_s3(s3_url) if rng.random() < 0.5 else {}
                _round(place, rng, tally, state)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    return tally


def machine_round(seed: int, s3_url: str) -> Tally:
    """One round on two machines; the `AssertionError` is that of `kill_loop`."""
    name, tally = f"round with machines {seed}", Tally(with_machines=1, kills=1)
    rng = Random(name)
    victim = rng.choice(_VICTIMS_OF_MACHINES)
    try:
        with tempfile.TemporaryDirectory() as folder, open_fleet(Path(folder), s3_url) as fleet:
            written = fleet.export(awkward=0.02)
            fleet.add_machines({}, {})
            fleet.place.inject(f"- do: {{delay: {rng.choice([0, 0.01, 0.05])}}}")
            allowed = _one_kill_of(fleet, rng, victim)
            if victim == "machine":
                fleet.add_machines({})
            if victim == "scheduler":
                fleet.configure(workers=2)
            codes = [fleet.run().code for _ in range(2)]
            assert codes[1] == 0, f"after two runs that nobody killed there is work left: {codes}"
            _count_accepted(fleet.place, written, tally, allowed)
    except AssertionError as error:
        raise AssertionError(f"{name}, the {victim} killed: {error}") from error
    return tally


def _one_kill_of(fleet: Fleet, rng: Random, victim: str) -> int:
    """Kill one of a run on machines, wait for its end, and return how many events were in flight."""
    run, goal = fleet.start(), rng.randrange(_EVENTS_OF_MACHINES)
    wait_until(lambda: fleet.held >= goal or run.poll() is not None, "the run advances or ends")
    machine = rng.choice(fleet.cluster.workers)
    scheduler = fleet.cluster.scheduler_process
    assert scheduler is not None
    if victim == "machine":
        os.killpg(machine.pid, signal.SIGKILL)
    elif victim == "process of a machine":
        for pid in workers(machine.pid)[:1]:
            kill(pid)
    else:
        kill(scheduler.pid if victim == "scheduler" else run.pid)
    in_flight = fleet.in_flight()
    result = ended(run)
    assert "Traceback" not in result.err, result
    assert result.code in (0, 3, 1, -signal.SIGKILL), result
    wait_until(
        lambda: not any(workers(each.pid) for each in fleet.cluster.workers), "machines have ended work"
    )
    wait_until(fleet.is_quiet, "the last requests end")
    return max(in_flight, fleet.in_flight())


def _in_s3(url: str) -> dict[str, str]:
    return {"uri": f"{new_bucket(url).uri}/state", "endpoint_url": url}


def _round(place: Workplace, rng: Random, tally: Tally, state: dict[str, str]) -> None:
    written = place.export(
        events=_EVENTS, hours=2, duplicates=0, awkward=0.02, seed=rng.randrange(10**6), records_per_file=60
    )
    place.configure(amplitude={"max_events": _BATCH, "timeout": "5s"}, workers=2, state=state)
    place.inject(f"- do: {{delay: {rng.choice([0, 0.01, 0.05])}}}")
    allowed = 0
    for _ in range(rng.choice([1, 1, 2])):
        allowed += _one_kill(place, rng)
        tally.kills += 1
    tally.in_s3 += bool(state)
    _finish(place)
    _count(place, written, tally, allowed)


def _one_kill(place: Workplace, rng: Random) -> int:
    """Kill a run at a random moment, and return how many events were in flight: sent, and not settled."""
    before, settled = place.amplitude.stats()["events_received"], _settled(place)
    process = place.start("run", "--output", "json")
    goal = before + rng.randrange(_EVENTS)
    wait_until(
        lambda: place.amplitude.stats()["events_received"] >= goal or process.poll() is not None,
        "the run advances or ends",
    )
    time.sleep(rng.uniform(0.0, 0.05))  # the moment, not the outcome, is left to chance
    _strike(process, rng.choice(_VICTIMS))
    wait_until(lambda: not session(process.pid), "the workers notice that their parent is gone")
    wait_until(lambda: place.amplitude.stats()["in_flight"] == 0, "the last requests end")
    sent: int = place.amplitude.stats()["events_received"] - before
    return sent - (_settled(place) - settled)


def _settled(place: Workplace) -> int:
    """How many accepted events the ledger knows."""
    settings = load_config(place.folder / "config.yaml").settings
    uri, access = settings.state.uri, settings.state.access()
    if uri.startswith("sqlite"):
        uri = f"sqlite:///{place.ledger}"
    try:
        ledger = open_ledger(uri, settings.identity, clock=SystemClock(), read_only=True, access=access)
    except LedgerMissingError:
        return 0  # killed before it was made
    with closing(ledger):
        files = ledger.contents().files
        return sum(file.known.tally.accepted for file in files if isinstance(file, SettledFile))


def _strike(process: subprocess.Popen[str], victim: str) -> None:
    if process.poll() is None and victim == "group":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "parent":
        kill(process.pid)
    elif victim == "fork server" and (server := fork_server(process.pid)):
        kill(server)
    else:
        for pid in workers(process.pid)[:1]:
            kill(pid)
    out, err = process.communicate()
    assert "Traceback" not in err, err
    assert process.returncode in (0, 3, 1, -signal.SIGKILL), (victim, process.returncode, out)


def _finish(place: Workplace) -> None:
    for _ in range(_MOST_RUNS):
        if place.do("run", "--output", "json").code in (0, 3):
            return
    raise AssertionError(f"after {_MOST_RUNS} runs that nobody killed there is work left")


def _count(place: Workplace, written: Written, tally: Tally, allowed: int) -> None:
    _count_accepted(place, written, tally, allowed)
    status = place.do("status", "--output", "json")
    assert not status.json["window"]["at_risk"], status
    assert status.code == (5 if status.json["source"]["stale"] else 0), status  # the export is of one date
    assert status.json["backlog"]["files"] == status.json["deferred"] == 0


def _count_accepted(place: Workplace, written: Written, tally: Tally, allowed: int) -> None:
    held, expected = place.accepted_ids(), written.must_arrive()
    stats = place.amplitude.stats()
    tally.rounds += 1
    tally.events += len(expected)
    tally.losses += len(set(expected) - set(held))
    tally.repeats += stats["duplicates"]
    tally.most_repeats = max(tally.most_repeats, stats["duplicates"])
    assert held == expected, f"{len(set(expected) - set(held))} events are lost"
    assert stats["duplicates"] <= allowed


def main() -> int:
    """`python -m tests.faults.kill_loop ROUNDS [SEED]`: figures on stdout, exit 1 for a broken promise."""
    rounds = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    tally = Tally()
    with s3_at_work() as url:
        for number in range(rounds):
            try:
                of_round = seed * 1_000_000 + number
                machines = (number + 1) % _WITH_MACHINES == 0
                one = machine_round(of_round, url) if machines else kill_loop(1, of_round, url)
            except AssertionError as error:
                sys.stdout.write(f"{error}\n{tally}\n")
                return 1
            tally = _sum(tally, one)
            if (number + 1) % 10 == 0 or number + 1 == rounds:
                sys.stdout.write(f"{tally}\n")
                sys.stdout.flush()
    return 0


def _sum(left: Tally, right: Tally) -> Tally:
    return Tally(
        left.rounds + right.rounds,
        left.in_s3 + right.in_s3,
        left.with_machines + right.with_machines,
        left.kills + right.kills,
        left.losses + right.losses,
        left.repeats + right.repeats,
        max(left.most_repeats, right.most_repeats),
        left.events + right.events,
    )


if __name__ == "__main__":
    sys.exit(main())
