from __future__ import annotations

import os

import pytest

from braze_etl.storage.s3_client import make_client
from braze_etl.storage.settings import StoreAccess

HERE = StoreAccess(endpoint_url="http://127.0.0.1:9", region="us-east-1")


def test_a_process_has_one_client_for_each_access() -> None:
    client = make_client(HERE, 16)
    assert make_client(StoreAccess(endpoint_url="http://127.0.0.1:9", region="us-east-1"), 16) is client
    assert make_client(StoreAccess(endpoint_url="http://127.0.0.1:9", region="eu-west-1"), 16) is not client


def test_a_client_waits_for_as_many_connections_as_asked_and_tries_again_by_the_standard_rules() -> None:
    config = make_client(HERE, 7).meta.config
    assert config.max_pool_connections == 7  # type: ignore[attr-defined]  # the stubs leave options out
    assert config.retries["mode"] == "standard"  # type: ignore[attr-defined]  # the same


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_child_makes_a_client_of_its_own() -> None:
    client = make_client(HERE, 16)
    child = os.fork()
    if not child:
        os._exit(make_client(HERE, 16) is client)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert make_client(HERE, 16) is client
