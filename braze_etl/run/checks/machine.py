"""The machine that the job runs on, as far as checks ask about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_GROUPS = Path("/proc/1/cgroup")
_GROUP_WORDS = ("docker", "containerd", "kubepods", "libpod")


class Machine:
    """Facts that the kernel tells; tests put others in their place."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def container(self) -> str:
        """By what a container is known here; empty where it is none. A heuristic: none has to tell."""
        if self._environ.get("KUBERNETES_SERVICE_HOST"):
            return "KUBERNETES_SERVICE_HOST is set"
        for mark in _MARKS:
            if mark.exists():
                return f"{mark} is there"
        text = _text_of(_GROUPS)
        return next((f"/proc/1/cgroup names {word}" for word in _GROUP_WORDS if word in text), "")

    def filesystem(self, path: Path) -> str:
        """The file system that *path* lies on, or will: `ext4`, `overlay`, `tmpfs`; empty if unknown."""
        place = existing(path).resolve()
        mounts = [(target, kind) for target, kind in self._mounts() if place.is_relative_to(target)]
        # A later mount on the same place hides the earlier one.
        return max(enumerate(mounts), key=lambda each: (len(each[1][0]), each[0]))[1][1] if mounts else ""

    def free(self, path: Path) -> int:
        """Bytes that are free where *path* lies, or will."""
        return shutil.disk_usage(existing(path)).free

    def _mounts(self) -> Iterator[tuple[str, str]]:
        for line in _text_of(_MOUNTS).splitlines():
            _, target, kind, *_ = line.split(" ")
            yield target.replace("\\040", " "), kind


def existing(path: Path) -> Path:
    """The path, or the nearest folder above that is there."""
    path = path.expanduser().absolute()
    return next(each for each in (path, *path.parents) if each.exists())


def is_writable(path: Path) -> bool:
    """Whether this user may change a file that is there, or list a folder and make something in it."""
    return os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0))


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError:
        return ""
