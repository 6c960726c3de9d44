"""From `workers` to an executor: what Dask can't carry is refused before anything is touched."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import dask
import pytest
import trustme
from pydantic import BaseModel, SecretStr

from braze_etl.config.unresolved import Unresolved
from braze_etl.engine.executors.local import WorkerPool
from braze_etl.engine.executors.opening import OpenExecutor, executor_opener
from braze_etl.engine.executors.workers import Scheduler
from braze_etl.engine.flow import Reach, WorkerParts, WorkerSpec
from braze_etl.errors import ConfigError

PLAIN = Scheduler("127.0.0.1", 8786, tls=False)
ENCRYPTED = Scheduler("127.0.0.1", 8786, tls=True)
WEEK = timedelta(days=7)


class Settings(BaseModel):
    key: SecretStr = SecretStr("")


def nothing_to_open() -> WorkerParts:
    raise NotImplementedError


def nothing_to_reach() -> Reach:
    raise NotImplementedError


def opener(
    scheduler: Scheduler | None, *, repeatable_for: timedelta | None = WEEK, key: str = "${KEY}"
) -> OpenExecutor:
    spec = WorkerSpec(nothing_to_open, nothing_to_reach, __name__)
    return executor_opener(
        scheduler, 2, spec, Unresolved(Settings, {"key": key}, ""), repeatable_for=repeatable_for
    )


def test_a_number_of_workers_is_processes_of_this_machine_whatever_is_written_in_the_settings() -> None:
    executor = opener(None, repeatable_for=timedelta(0), key="hunter2hunter2")()
    assert isinstance(executor, WorkerPool)
    assert executor.processes == 2
    executor.close()


def test_a_flow_whose_destination_takes_nothing_twice_is_not_carried_by_machines() -> None:
    assert opener(PLAIN)
    assert opener(PLAIN, repeatable_for=None)
    with pytest.raises(ConfigError, match="counts again when it is sent again") as refused:
        opener(PLAIN, repeatable_for=timedelta(0))
    assert refused.value.exit_code == 2


def test_a_secret_that_would_travel_is_refused_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"^key: a secret stands in the configuration"):
        opener(PLAIN, key="hunter2hunter2")


def test_certificates_that_are_not_configured_or_can_not_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        opener(ENCRYPTED)
    for name in ("CA_FILE", "CLIENT__CERT", "CLIENT__KEY"):
        assert f"DASK_DISTRIBUTED__COMM__TLS__{name}" in refused.value.message
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "me.pem", "me.key"))
    names = ("ca-file", "client.cert", "client.key")
    paths = zip(names, (ca, cert, key), strict=True)
    with dask.config.set({f"distributed.comm.tls.{name}": str(path) for name, path in paths}):
        with pytest.raises(ConfigError, match=r"TLS__CA_FILE.* can't be used: .*No such"):
            opener(ENCRYPTED)
        authority = trustme.CA()
        mine = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(str(ca))
        mine.cert_chain_pems[0].write_to_path(str(cert))
        mine.private_key_pem.write_to_path(str(key))
        assert opener(ENCRYPTED)


def test_without_the_extra_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError) as refused:
        opener(PLAIN)
    assert "pip install 'braze-etl[dask]'" in refused.value.remedy
