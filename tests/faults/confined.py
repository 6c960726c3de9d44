"""Commands in a process that may do less than this one: no file's mode stops root, disks are large."""

from __future__ import annotations

import json
import sys

_LAUNCHER = """
import ctypes, json, os, resource, sys
options = json.loads(sys.argv[1])
if options["file_size"] is not None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (options["file_size"], options["file_size"]))
if options["obey_modes"] and os.geteuid() == 0:
    libc = ctypes.CDLL(None)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: out of the bounding set
        libc.prctl(24, capability, 0, 0, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def confined(command: list[str], *, file_size: int | None = None, obey_modes: bool = False) -> list[str]:
    """The command (of this interpreter) with files of *file_size* bytes at most, or bound by file modes."""
    options = json.dumps({"file_size": file_size, "obey_modes": obey_modes})
    return [sys.executable, "-c", _LAUNCHER, options, *command[1:]]
