"""The ledger of files, and its lease: which files are done, failed or open, and which run is at work.

`open_ledger` gives a `Ledger`, the one port; behind it are SQLite (`sqlite://`) and memory, for tests and
rehearsals. The parent process of a run is the only writer.
"""

from braze_etl.checkpoint.facts import (
    Backlog,
    BacklogLine,
    KnownFile,
    LeaseHolder,
    LeaseOwner,
    LedgerIdentity,
    LedgerSummary,
    OpenFile,
    RunRecord,
)
from braze_etl.checkpoint.memory import MemoryLedger
from braze_etl.checkpoint.opening import open_ledger
from braze_etl.checkpoint.port import Ledger, LedgerMissingError
from braze_etl.checkpoint.sqlite import SqliteLedger

__all__ = [
    "Backlog",
    "BacklogLine",
    "KnownFile",
    "LeaseHolder",
    "LeaseOwner",
    "Ledger",
    "LedgerIdentity",
    "LedgerMissingError",
    "LedgerSummary",
    "MemoryLedger",
    "OpenFile",
    "RunRecord",
    "SqliteLedger",
    "open_ledger",
]
