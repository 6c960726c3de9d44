from __future__ import annotations

from pathlib import Path

import pytest

from braze_etl.commands.doctor import site as machine
from braze_etl.commands.doctor.site import Machine, existing


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for what the kernel would say; nothing is said yet."""
    monkeypatch.setattr(machine, "_MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "_MARKS", (tmp_path / ".dockerenv",))
    return tmp_path


def test_a_machine_of_its_own_is_no_container(kernel: Path) -> None:
    (kernel / "cgroup").write_text("0::/init.scope\n")
    assert Machine({}).container() == ""


def test_a_container_is_known_by_what_its_maker_leaves_in_it(kernel: Path) -> None:
    assert "KUBERNETES" in Machine({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}).container()
    (kernel / "cgroup").write_text("0::/kubepods/besteffort/pod1\n")
    assert "kubepods" in Machine({}).container()
    (kernel / ".dockerenv").touch()
    assert ".dockerenv" in Machine({}).container()


def test_the_nearest_mount_says_what_a_path_lies_on(kernel: Path) -> None:
    data = kernel / "my data"
    data.mkdir()
    escaped = str(data).replace(" ", "\\040")
    (kernel / "mounts").write_text(f"overlay / overlay rw 0 0\n/dev/sdb {escaped} ext4 rw 0 0\n")
    assert Machine({}).filesystem(data / "state/ledger.db") == "ext4"
    assert Machine({}).filesystem(kernel / "elsewhere") == "overlay"


def test_nothing_is_known_where_the_kernel_does_not_tell(kernel: Path) -> None:
    assert Machine({}).filesystem(kernel) == ""


def test_a_path_that_is_not_there_yet_is_judged_by_its_folder(tmp_path: Path) -> None:
    assert existing(tmp_path / "a/b/c") == tmp_path
    assert Machine({}).free(tmp_path / "a") > 0
