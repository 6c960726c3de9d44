"""What may stand behind `workers`, and in which words the rest is refused."""

from __future__ import annotations

from typing import Any

import pytest

from braze_etl.engine.executors.workers import Scheduler, parse_workers, scheduler_of


@pytest.mark.parametrize(("value", "workers"), [("auto", "auto"), (4, 4), ("4", 4), (" 256 ", 256)])
def test_processes_are_a_number_or_auto_and_have_no_scheduler(value: Any, workers: Any) -> None:
    assert parse_workers(value) == workers
    assert scheduler_of(parse_workers(value)) is None


@pytest.mark.parametrize(
    ("value", "scheduler", "address"),
    [
        ("dask://10.0.0.5:8786", Scheduler("10.0.0.5", 8786, tls=False), "tcp://10.0.0.5:8786"),
        ("dask+tls://braze-etl-scheduler:8786/", Scheduler("braze-etl-scheduler", 8786, tls=True), None),
        ("DASK+TLS://host:1", Scheduler("host", 1, tls=True), "tls://host:1"),
        ("dask://[::1]:8786", Scheduler("::1", 8786, tls=False), "tcp://[::1]:8786"),
    ],
)
def test_an_address_names_a_scheduler_of_dask(value: str, scheduler: Scheduler, address: str | None) -> None:
    assert scheduler_of(parse_workers(value)) == scheduler
    assert address is None or scheduler.address == address


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 is not in the range from 1 to 256"),
        ("257", "257 is not in the range from 1 to 256"),
        (True, "True names no workers; write auto, a number of processes, or the address"),
        ("many", "'many' names no workers; write auto"),
        ("scheduler:8786", "names no workers"),
        ("dask://scheduler", "lacks a port; write dask://scheduler:8786"),
        ("dask://:8786", "lacks a host; write dask://host:8786"),
        ("dask://scheduler:0", "lacks a port"),
        ("dask://scheduler:x", "can't be read; write dask://host:8786"),
        ("dask://a:8786,dask://b:8786", "can't be read"),
        ("tcp://scheduler:8786", "tcp:// leads to no scheduler of Dask; write dask://scheduler:8786"),
        ("tls://scheduler:8786", "write dask+tls://scheduler:8786"),
        ("ray://scheduler:8786", "ray:// leads to no scheduler of Dask; write auto, a number"),
        ("dask://scheduler:8786/path", "has more than a host and a port; write dask://scheduler:8786"),
        ("dask://scheduler:8786?a=b", "has more than a host and a port"),
        ("dask://two words:8786", "has more than a host and a port"),
    ],
)
def test_what_names_no_workers_is_refused_with_the_form_that_does(value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=r"^.") as caught:
        parse_workers(value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "address", ["dask://anna:s3cret@host:8786", "tcp://s3cret@host:1", "dask://a:s3cret@h:x"]
)
def test_a_password_in_the_address_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(ValueError, match="write dask") as caught:
        parse_workers(address)
    assert "s3cret" not in str(caught.value)
