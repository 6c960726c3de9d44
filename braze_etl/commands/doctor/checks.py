"""Everything that a pipeline needs, as small checks: each looks at one thing, and knows the remedy.

They read, with two exceptions: an object `probe/...` below the prefixes of state and quarantine, where these
are in S3, which is removed again; and `SEND_TEST`, which is made only when it is asked for.
"""

from __future__ import annotations

from typing import Final

from braze_etl.commands.doctor import amplitude, ledger, monitoring, setup, source, stores
from braze_etl.commands.doctor import source as records
from braze_etl.commands.doctor import stores as lifecycle

CHECKS: Final = (
    *setup.CHECKS,
    *source.CHECKS,
    *records.RECORD_CHECKS,
    *stores.CHECKS,
    *lifecycle.LIFECYCLE_CHECKS,
    *ledger.CHECKS,
    *amplitude.CHECKS,
    *monitoring.CHECKS,
)
