"""How many cores this process may use: its affinity mask, and the CPU quota of its container.

A container sees all cores of its host; what it may use of them is in its control group (cgroup), or in one of
those around it: the smallest quota counts (Linux: cgroup-v2, `cpu.max`; cgroup-v1, `cpu.cfs_quota_us`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def usable_cores(root: Path = _ROOT) -> int:
    """The whole cores that this process can keep busy, at least 1; a quota of 1.5 is 2, the second at half.

    *root* is the file system that `proc` and `sys` are read from.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cpu_quota(root: Path = _ROOT) -> float | None:
    """The CPU quota of this process in cores; None where there is none, or no telling."""
    return min(_quotas(root), default=None)


def _quotas(root: Path) -> Iterator[float]:
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        for mount, read in _mounts(root / "sys/fs/cgroup", controllers):
            for folder in _around(mount, path):
                quota = read(folder)
                if quota is not None:
                    yield quota


def _mounts(mounted: Path, controllers: str) -> list[tuple[Path, Callable[[Path], float | None]]]:
    """Where the hierarchy with those controllers is mounted by convention, and how its quota is read."""
    if not controllers:
        return [(mounted, _second), (mounted / "unified", _second)]
    if "cpu" in controllers.split(","):
        return [(mounted / name, _first) for name in {controllers, "cpu"}]
    return []


def _around(mount: Path, path: str) -> Iterator[Path]:
    """The group's folder and those around it; in a container, often only the outermost of them is there."""
    inner = PurePosixPath(path.lstrip("/"))
    if ".." not in inner.parts:  # else it lies outside of what this process can see
        yield mount / inner
        yield from (mount / outer for outer in inner.parents if outer != inner)
    else:
        yield mount


def _second(folder: Path) -> float | None:
    quota, period = [*_text(folder / "cpu.max").split(), "", ""][:2]
    return _cores(quota, period)


def _first(folder: Path) -> float | None:
    return _cores(_text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip())


def _cores(quota: str, period: str) -> float | None:
    """Both in microseconds. No quota is `max` in the second version, -1 in the first."""
    if not (quota.isdecimal() and period.isdecimal()) or int(period) == 0:
        return None
    return int(quota) / int(period)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
