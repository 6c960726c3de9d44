"""The cores that `workers: auto` means, from the files a kernel shows to a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from braze_etl.engine.executors.cores import cpu_quota, usable_cores


def machine(root: Path, cgroup: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": cgroup, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(8)), raising=False)


V2, V1 = "0::/pod/job\n", "9:cpuset:/\n4:cpu,cpuacct:/pod/job\n0::/\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "quota"),
    [
        (V2, {"sys/fs/cgroup/pod/job/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2.0),
        (V2, {"sys/fs/cgroup/pod/job/cpu.max": "max 100000\n"}, None),
        # The pod around the container may be narrower than the container.
        (
            V2,
            {
                "sys/fs/cgroup/pod/job/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/pod/cpu.max": "100000 100000\n",
            },
            1.0,
        ),
        (
            V1,
            {
                "sys/fs/cgroup/cpu,cpuacct/pod/job/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu,cpuacct/pod/job/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        # Without a namespace of its own, the path is the host's, and the mount begins at the container's.
        (
            "4:cpu,cpuacct:/docker/1234\n",
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            0.5,
        ),
        (
            V1,
            {
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        ("0::/../../other\n", {"sys/fs/cgroup/cpu.max": "250000 100000\n"}, 2.5),
        ("nonsense\n", {}, None),
        (V2, {"sys/fs/cgroup/pod/job/cpu.max": "what is this"}, None),
    ],
)
def test_the_quota_is_the_smallest_of_the_groups_around_the_process(
    tmp_path: Path, cgroup: str, files: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(machine(tmp_path, cgroup, files)) == quota


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(
    ("given", "cores"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("10000 100000", 1),
        ("max 100000", 8),
        ("1600000 100000", 8),
    ],
)
def test_a_quota_narrows_the_cores_and_leaves_at_least_one(tmp_path: Path, given: str, cores: int) -> None:
    assert usable_cores(machine(tmp_path, "0::/\n", {"sys/fs/cgroup/cpu.max": given})) == cores


@pytest.mark.usefixtures("eight_cores")
def test_without_control_groups_the_affinity_mask_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 8
