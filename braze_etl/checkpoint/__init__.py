"""The ledger of files, and its lease: which files are done, failed or open, and which run is at work.

`open_ledger` gives a `Ledger`, the one port; behind it are SQLite (`sqlite://`), S3 (`s3://`) and memory, for
tests and rehearsals. The parent process of a run is the only writer.
"""

from braze_etl.checkpoint._rules import never_create
from braze_etl.checkpoint.copying import Copied, copy_ledger
from braze_etl.checkpoint.facts import (
    Backlog,
    BacklogLine,
    KnownFile,
    LeaseHolder,
    LeaseOwner,
    LedgerContents,
    LedgerIdentity,
    LedgerSummary,
    OpenFile,
    RunRecord,
    SettledFile,
)
from braze_etl.checkpoint.memory import MemoryLedger
from braze_etl.checkpoint.opening import find_identity, open_ledger
from braze_etl.checkpoint.port import Ledger, LedgerMissingError, Notes
from braze_etl.checkpoint.s3 import S3Ledger
from braze_etl.checkpoint.sqlite import SqliteLedger

__all__ = [
    "Backlog",
    "BacklogLine",
    "Copied",
    "KnownFile",
    "LeaseHolder",
    "LeaseOwner",
    "Ledger",
    "LedgerContents",
    "LedgerIdentity",
    "LedgerMissingError",
    "LedgerSummary",
    "MemoryLedger",
    "Notes",
    "OpenFile",
    "RunRecord",
    "S3Ledger",
    "SettledFile",
    "SqliteLedger",
    "copy_ledger",
    "find_identity",
    "never_create",
    "open_ledger",
]
