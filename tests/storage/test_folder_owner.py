"""What root makes belongs to the owner of the folder; other users' files are their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from braze_etl.storage.folder import FolderStore, make_file, make_folder

JOB, GROUP = 12345, 54321


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, int]]:
    """What is given away, by its path below a folder that belongs to the job's user."""
    given: dict[str, tuple[int, int]] = {}
    real = Path.stat

    def of_the_job(path: Path, **how: bool) -> os.stat_result:
        found = list(real(path, **how))
        return os.stat_result([*found[:4], JOB, GROUP, *found[6:]])

    def give(descriptor: int, user: int, group: int) -> None:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        given[str(place.relative_to(tmp_path))] = user, group

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", give)
    monkeypatch.setattr("braze_etl.storage.folder.Path.stat", of_the_job)
    return given


def test_an_object_that_root_puts_belongs_to_the_owner_of_the_folder_and_so_do_its_folders(
    tmp_path: Path, given: dict[str, tuple[int, int]]
) -> None:
    FolderStore(tmp_path, must_exist=False).put("quarantine/2026-10-01/entries.jsonl", b"{}")
    folders = [name for name in given if "braze-etl-tmp" not in name]
    assert folders == ["quarantine", "quarantine/2026-10-01"]
    assert len(given) == 3
    assert set(given.values()) == {(JOB, GROUP)}


def test_a_file_that_is_there_stays_what_it_is(tmp_path: Path, given: dict[str, tuple[int, int]]) -> None:
    make_file(tmp_path / "lock")
    (tmp_path / "lock").write_bytes(b"held")
    make_file(tmp_path / "lock")
    make_folder(tmp_path)
    assert list(given) == ["lock"]
    assert (tmp_path / "lock").read_bytes() == b"held"


def test_what_can_not_be_given_away_is_written_all_the_same(
    tmp_path: Path, given: dict[str, tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    FolderStore(tmp_path).put("folder/key", b"content")
    assert (tmp_path / "folder/key").read_bytes() == b"content"
    assert not given


def test_another_user_gives_nothing_away(
    tmp_path: Path, given: dict[str, tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: JOB)
    FolderStore(tmp_path).put("folder/key", b"content")
    assert not given
