"""Giving entries of the quarantine up, while no run is at work."""

from __future__ import annotations

import os
import secrets
import socket
from collections import Counter
from contextlib import closing

from braze_etl.checkpoint import LeaseOwner
from braze_etl.clock import Clock
from braze_etl.config import Settings
from braze_etl.model import ReasonCounts
from braze_etl.quarantine import Selection
from braze_etl.run.assembly import open_quarantine, open_state


def drop_entries(settings: Settings, where: Selection, clock: Clock) -> ReasonCounts:
    """Remove the entries that *where* means, and return how many there were.

    The books of their files stay: those records are quarantined for good. `LeaseHeldError` while a run is at
    work, for the holder of the lease alone writes to the quarantine.
    """
    owner = LeaseOwner(f"drop-{secrets.token_hex(3)}", socket.gethostname(), os.getpid(), "quarantine drop")
    quarantine = open_quarantine(settings)
    with closing(open_state(settings, clock)) as ledger, ledger.lease(owner):
        dropped = Counter((entry.event_type, entry.reason) for entry in quarantine.entries(where))
        if dropped:
            quarantine.remove(where)
        return dropped
