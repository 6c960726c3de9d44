"""What may befall the machines of a cluster: nothing is lost, and only what was in flight comes again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import nothing_is_lost
from tests.faults.fleet import Fleet, open_fleet

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
    pytest.mark.xdist_group("dask"),
]
SLOW = "- do: {delay: 0.2}"


@pytest.fixture
def fleet(tmp_path: Path, s3_server: str) -> Iterator[Fleet]:
    with open_fleet(tmp_path, s3_server) as fleet:
        yield fleet


def as_processes_of_one_machine_do(fleet: Fleet) -> None:
    """Hold ledger and quarantine against those of a run of the same files on this machine alone."""
    books, set_aside = fleet.books(), fleet.set_aside()
    fleet.place.ledger.unlink()
    fleet.configure(workers=2, quarantine={"uri": f"{fleet.bucket.uri}/another"})
    with_processes = fleet.run()
    assert with_processes.code in (0, 3), with_processes
    assert fleet.books() == books
    assert fleet.set_aside() == set_aside


def test_machines_do_what_processes_do(fleet: Fleet) -> None:
    written = fleet.export(events=1500, awkward=0.02)
    fleet.add_machines({}, {})
    result = fleet.run()
    assert result.code == 3, result
    nothing_is_lost(fleet.place, written)
    assert fleet.place.amplitude.stats()["duplicates"] == 0
    as_processes_of_one_machine_do(fleet)
