"""The processes of a run and their memory, as Linux shows them."""

from __future__ import annotations

from pathlib import Path


def family(pid: int) -> list[int]:
    """A process and all below it."""
    members = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:
            continue
        for child in children:
            members += family(int(child))
    return members


def peak_kb(pid: int) -> int:
    """The most memory a process had resident so far."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
