"""The quarantine on the stores that people use."""

from __future__ import annotations

from pathlib import Path

import pytest

from braze_etl.quarantine.entry import Entry
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.storage.opening import open_store
from braze_etl.storage.settings import StoreAccess
from tests.quarantine.conftest import NOON, aside
from tests.s3_server import Bucket


@pytest.fixture(params=["folder", "s3"])
def on_a_real_store(request: pytest.FixtureRequest, tmp_path: Path) -> Quarantine:
    if request.param == "folder":
        return Quarantine(*open_store(str(tmp_path / "state" / "quarantine"), must_exist=False))
    bucket: Bucket = request.getfixturevalue("bucket")
    access = StoreAccess(endpoint_url=bucket.endpoint_url)
    return Quarantine(*open_store(f"{bucket.uri}/state/quarantine", access=access, must_exist=False))


def test_entries_are_filed_listed_and_removed(on_a_real_store: Quarantine) -> None:
    quarantine = on_a_real_store
    assert (quarantine.depth(), list(quarantine.entries())) == (0, [])
    assert quarantine.file("run-1", NOON, [aside(number) for number in range(5)]) == 5
    first = Entry.of(aside(0), "run-1", NOON)
    assert quarantine.get(first.id[:8]) == first
    assert quarantine.remove([first.id]) == 1
    assert quarantine.depth() == len(list(quarantine.entries())) == 4


def test_what_was_set_aside_is_for_the_owners_eyes(tmp_path: Path) -> None:
    Quarantine(*open_store(str(tmp_path), must_exist=False)).file("run-1", NOON, [aside(1)])
    (segment,) = tmp_path.rglob("*.jsonl")
    assert segment.stat().st_mode & 0o777 == 0o600
