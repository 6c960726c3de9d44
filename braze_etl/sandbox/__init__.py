"""A local stand-in for Amplitude's ingestion that enforces the documented rules; imports nothing of the job.

`Project` is what Amplitude would hold: it takes a request body and answers as amplitude.md (1.2-1.5) says,
without a socket and with a clock that is handed in. `SandboxServer` puts it behind HTTP on this machine.
`Faults` is a script of what goes wrong on the way: refusals, delays, resets, lost answers. Where the
documents are silent the docstrings say what was chosen, with the mark "not documented".
"""

from braze_etl.sandbox.entry import open_sandbox
from braze_etl.sandbox.fault_file import FaultFileError, load_faults, parse_faults
from braze_etl.sandbox.faults import Faults
from braze_etl.sandbox.limits import EndpointLimits, Limits
from braze_etl.sandbox.project import Project
from braze_etl.sandbox.reply import Reply
from braze_etl.sandbox.server import SandboxServer

__all__ = [
    "EndpointLimits",
    "FaultFileError",
    "Faults",
    "Limits",
    "Project",
    "Reply",
    "SandboxServer",
    "load_faults",
    "open_sandbox",
    "parse_faults",
]
