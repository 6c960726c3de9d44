"""What tests of several rooms share: a real S3 over HTTP (moto's server in its own process), a workplace."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import settings

from braze_etl.engine.executors.cores import usable_cores
from braze_etl.flows.currents_to_amplitude import reader
from braze_etl.model import FileRef
from tests.cluster import DaskCluster, dask_at_work
from tests.s3_server import Bucket, new_bucket, s3_at_work
from tests.workplace import Workplace, balanced, open_workplace

# A test starts the program hundreds of times: each start would compile all its modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Many runs generate the same readers: the same text is compiled once.
vars(reader)["compile"] = lru_cache(maxsize=1000)(compile)

# How long an example takes on a machine that others share is no property of what it tries.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

NOW = datetime(2026, 10, 3, 12, 30, tzinfo=UTC)
MakeRef: TypeAlias = Callable[..., FileRef]


def pytest_xdist_auto_num_workers() -> int:
    """One more than the cores, with `-n auto`: many tests wait for processes, signals and time-outs."""
    return usable_cores() + 1


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of an S3 server of this test session; the environment holds credentials it accepts."""
    with s3_at_work() as url:
        yield url


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A cluster of two machines of one process each; tests that ask for it are of the group `dask`."""
    with dask_at_work(tmp_path_factory.mktemp("dask"), machines=2) as cluster:
        yield cluster


@pytest.fixture
def bucket(s3_server: str) -> Bucket:
    """A fresh bucket on the S3 server, with `name`, `uri` and `endpoint_url`."""
    return new_bucket(s3_server)


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    """A folder with a configuration, and an Amplitude over HTTP that does nothing wrong."""
    with open_workplace(tmp_path) as place:
        yield place


@pytest.fixture
def balance() -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Checks that the books of a run report balance, and gives the report back."""
    return balanced


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def make_ref() -> MakeRef:
    """Makes files of hours before `NOW`."""

    def make(
        name: str, *, hours_ago: int = 1, etag: str = "e1", size: int = 1000, kind: str = "Open"
    ) -> FileRef:
        hour = (NOW - timedelta(hours=hours_ago)).replace(minute=0)
        return FileRef(name, etag, size, NOW, f"users.messages.email.{kind}", hour)

    return make
