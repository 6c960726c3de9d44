"""`doctor` over a real scheduler of Dask and real machines, of which not all are fit."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from braze_etl.commands.doctor.check import Finding, Status
from braze_etl.commands.doctor.site import Site
from braze_etl.engine.executors import dask
from tests.cluster import DaskCluster, dask_at_work
from tests.commands.doctor.conftest import MakeSite, in_s3, look, upload
from tests.s3_server import Bucket, free_port
from tests.workplace import KEY, Workplace

pytestmark = pytest.mark.xdist_group("dask")
Look: TypeAlias = Callable[..., Finding]

_NAMES = ("source.list", "machines.ready", "machines.scheduler", "machines.fit", "machines.processes")
_VARIABLE = {"AMPLITUDE_API_KEY": KEY}


@pytest.fixture(scope="module")
def cluster(s3_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """Two machines, of which the second does not know the key; the S3 server's credentials are in both."""
    assert s3_server
    with dask_at_work(tmp_path_factory.mktemp("dask")) as cluster:
        cluster.add_worker(_VARIABLE, processes=3)
        cluster.add_worker()
        cluster.await_workers(2)
        yield cluster


@pytest.fixture
def site(
    make_site: MakeSite, workplace: Workplace, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Site]:
    """Makes the site of a pipeline whose files other machines reach."""
    for name, value in _VARIABLE.items():
        monkeypatch.setenv(name, value)

    def made(workers: str, **amplitude: Any) -> Site:
        workplace.export(events=50, hours=1, event_types=("users.messages.email.*",))
        sections = {**in_s3(bucket), "source": {**upload(workplace, bucket), "start_at": "2026-10-01"}}
        return make_site(
            environ=_VARIABLE,
            workers=workers,
            amplitude={"api_key": "${AMPLITUDE_API_KEY}", **amplitude},
            **sections,
        )

    return made


def test_each_machine_is_asked_and_one_without_the_key_is_named_with_what_it_lacks(
    site: Callable[..., Site], cluster: DaskCluster, workplace: Workplace
) -> None:
    here = site(cluster.uri)
    assert look(here, *_NAMES[:3]).seen.startswith(f"tcp://127.0.0.1:{cluster.port} answers: Dask 20")
    found = look(here, *_NAMES[:4])
    assert found.status is Status.WARN
    assert "1 of 2 machines would get no work: 127.0.0.1:" in found.seen
    assert "its environment lacks AMPLITUDE_API_KEY" in found.seen
    assert "environment" in found.remedy
    assert look(here, *_NAMES) == Finding(Status.OK, "3 processes on 1 machine")
    assert list(workplace.project.events()) == []


def test_processes_beyond_the_requests_in_flight_are_told(
    site: Callable[..., Site], cluster: DaskCluster
) -> None:
    found = look(site(cluster.uri, concurrency=2), *_NAMES)
    assert found.status is Status.WARN
    assert "amplitude.concurrency allows 2 requests in flight: 1 would have no work" in found.seen
    assert "amplitude.concurrency to 3" in found.remedy


@pytest.mark.parametrize("listens", [True, False], ids=["says nothing", "is not there"])
def test_a_scheduler_that_does_not_answer_is_told_in_its_time(
    site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, listens: bool
) -> None:
    monkeypatch.setattr(dask, "CONNECT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if listens else free_port()
        found = look(site(f"dask://127.0.0.1:{port}"), *_NAMES[:3])
    assert found.status is Status.FAIL
    assert f"no Dask scheduler answers at tcp://127.0.0.1:{port}" in found.seen
    assert "port" in found.remedy


def test_a_secret_that_would_travel_is_refused_before_anybody_is_asked(
    site: Callable[..., Site],
) -> None:
    found = look(site("dask://127.0.0.1:1", api_key=KEY), *_NAMES[:2])
    assert found.status is Status.FAIL
    assert "amplitude.api_key" in found.seen
    assert KEY not in found.seen


def test_tls_without_certificates_names_the_variables_of_dask(site: Callable[..., Site]) -> None:
    found = look(site("dask+tls://127.0.0.1:1"), *_NAMES[:2])
    assert found.status is Status.FAIL
    assert "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in found.seen


def test_without_an_address_nobody_hears_of_machines(workplace: Workplace) -> None:
    workplace.source.mkdir()
    alone = workplace.do("doctor", "--output", "json")
    assert not [each for each in alone.json["checks"] if each["check"].startswith("machines.")]
    asked = workplace.do("doctor", "--workers", "dask://127.0.0.1:1", "--output", "json")
    (ready,) = [each for each in asked.json["checks"] if each["check"] == "machines.ready"]
    assert "export is a place of this machine alone" in ready["seen"]
    assert json.loads(asked.out)["exit_code"] == 1
