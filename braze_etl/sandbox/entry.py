"""The sandbox as a command runs it."""

from __future__ import annotations

from pathlib import Path

from braze_etl.sandbox.fault_file import load_faults
from braze_etl.sandbox.holding import Hold
from braze_etl.sandbox.project import Project
from braze_etl.sandbox.server import SandboxServer


def open_sandbox(
    *,
    host: str = "127.0.0.1",
    port: int = 8099,
    faults_file: str | Path | None = None,
    api_key: str | None = None,
    hold: Hold = "events",
) -> SandboxServer:
    """Bind a sandbox on the machine's clock; it answers once `start` or `serve_forever` is called.

    Raises `FaultFileError` for a bad fault script and OSError for a port that is taken.
    """
    faults = None if faults_file is None else load_faults(faults_file)
    return SandboxServer(Project(api_key=api_key, hold=hold), host, port, faults)
