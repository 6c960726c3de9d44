"""A command whose stderr, or all of whose output, is a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios

from tests.workplace import Workplace


def plain(text: str) -> str:
    """Text without the codes that move the cursor and choose colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")


def on_a_terminal(
    place: Workplace, *words: str, width: int = 100, stdout_too: bool = False
) -> tuple[int, str, str]:
    """Run a command whose stderr is a terminal: its exit code, its stdout, and what the terminal was told."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {**os.environ, "BRAZE_ETL_CONFIG": "config.yaml", "TERM": "xterm-256color"}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        environment.pop(name, None)
    with subprocess.Popen(
        place.command(*words),
        cwd=place.folder,
        env=environment,
        stdout=theirs if stdout_too else subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        told = b"".join(iter(lambda: _read(ours), b""))
        out = process.stdout.read().decode() if process.stdout else ""
    os.close(ours)
    return process.returncode, out, told.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # Linux says so when the other side is closed
        return b""
