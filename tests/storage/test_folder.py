from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from braze_etl.errors import AccessDeniedError, SourceGoneError, StoreError
from braze_etl.storage.folder import FolderStore


def _keys(store: FolderStore, prefix: str = "") -> list[str]:
    return [item.key for page in store.pages(prefix) for item in page.objects]


def test_a_missing_folder_is_told_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no folder") as caught:
        list(FolderStore(tmp_path / "nowhere").pages())
    assert "create it" in caught.value.remedy
    assert "a bucket is s3://" in caught.value.remedy


def test_a_folder_that_need_not_exist_is_empty_until_the_first_put(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "later" / "folder", must_exist=False)
    assert _keys(store) == []
    store.put("key", b"")
    assert _keys(store) == ["key"]


def test_what_is_put_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    FolderStore(tmp_path).put("private/key", b"personal data")
    assert stat.S_IMODE((tmp_path / "private/key").stat().st_mode) == 0o600


def test_a_failed_put_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path)
    store.put("key", b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left"):
        store.put("key", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert (tmp_path / "key").read_bytes() == b"old"


def test_what_a_crash_left_half_written_is_no_object(tmp_path: Path) -> None:
    (tmp_path / ".braze-etl-tmp-abc").write_bytes(b"half")
    (tmp_path / ".hidden").write_bytes(b"")
    assert _keys(FolderStore(tmp_path)) == [".hidden"]


def test_linked_folders_are_followed_and_loops_end(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"")
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub/file").write_bytes(b"")
    (root / "linked").symlink_to(outside)
    (root / "sub/up").symlink_to(root)
    (outside / "back").symlink_to(root / "sub")
    (root / "broken").symlink_to(tmp_path / "nowhere")
    (root / "itself").symlink_to(root / "itself")
    found = _keys(FolderStore(root))
    assert {"linked/file", "sub/file"} <= set(found)
    assert len(found) < 20


def test_a_file_without_rights_is_that_files_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_bytes(b"")

    def denied(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(io, "FileIO", denied)  # the tests may run as root, whom no mode stops
    with pytest.raises(AccessDeniedError, match="Permission denied"):
        FolderStore(tmp_path).open("key")


def test_a_folder_without_rights_stops_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(StoreError, match="can't be listed: Permission denied"):
        list(FolderStore(tmp_path).pages())


@pytest.mark.parametrize("key", ["../x", "a/../../x", "/etc/passwd", "a//b", "./a", "", "a\0b"])
def test_no_key_leaves_the_folder(tmp_path: Path, key: str) -> None:
    with pytest.raises(StoreError, match="no path below"):
        FolderStore(tmp_path).put(key, b"")
    assert list(FolderStore(tmp_path).pages("../")) == []


def test_only_the_folders_that_can_hold_the_prefix_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/x/1", "a/y/1", "b/x/1"):
        FolderStore(tmp_path).put(name, b"")
    read: list[str] = []
    scandir = os.scandir

    def watched(path: Path) -> object:
        read.append(str(path.relative_to(tmp_path)))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", watched)
    pages = FolderStore(tmp_path).pages("a/", start_after="a/x0")
    assert [item.key for page in pages for item in page.objects] == ["a/y/1"]
    assert read == ["a", "a/y"]


def test_a_folder_is_no_object(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceGoneError):
        FolderStore(tmp_path).open("folder")


def test_the_etag_changes_with_the_content(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("key", b"one")
    (before,) = next(store.pages()).objects
    store.put("key", b"two")
    os.utime(tmp_path / "key", ns=(1, 1))
    (after,) = next(store.pages()).objects
    assert before.etag != after.etag == "3-1"


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        ("q/2026-10-01/entries.jsonl", "entries.jsonl can't be read"),
        ("q/2026-10-01", "2026-10-01 can't be written to"),
        ("q", "q can't be written to"),
    ],
)
def test_a_file_or_a_folder_that_is_out_of_reach_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str, words: str
) -> None:
    store = FolderStore(tmp_path)
    store.put("q/2026-10-01/entries.jsonl", b"{}")
    store.check_access("q/")
    # The tests may run as root, whom no mode stops.
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) != tmp_path / refused)
    with pytest.raises(AccessDeniedError, match=words):
        store.check_access("q/")


def test_of_a_folder_that_is_not_there_the_one_above_has_to_be_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path / "a/b", must_exist=False)
    store.check_access()
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(os, "access", lambda path, use: use == os.R_OK or Path(path) != tmp_path)
    with pytest.raises(AccessDeniedError, match="can't be written to"):
        store.check_access()


def test_what_a_crash_of_another_user_left_half_written_keeps_nobody_from_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".braze-etl-tmp-abc").write_bytes(b"half")
    monkeypatch.setattr(os, "access", lambda path, _: Path(path) == tmp_path)
    FolderStore(tmp_path).check_access()
