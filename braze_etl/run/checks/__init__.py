"""Everything that a pipeline needs, as small checks: each looks at one thing, and knows the remedy.

They read, with two exceptions: an object `probe/...` below the prefixes of state and quarantine, where these
are in S3, which is removed again; and `SEND_TEST`, which is made only when it is asked for.
"""

from typing import Final

from braze_etl.run.checks import amplitude, ledger, lifecycle, monitoring, records, setup, source, stores
from braze_etl.run.checks.amplitude import SEND_TEST, TEST_EVENT
from braze_etl.run.checks.finding import Check, Examined, Finding, Status, examine
from braze_etl.run.checks.machine import Machine
from braze_etl.run.checks.site import Site

CHECKS: Final = (
    *setup.CHECKS,
    *source.CHECKS,
    *records.CHECKS,
    *stores.CHECKS,
    *lifecycle.CHECKS,
    *ledger.CHECKS,
    *amplitude.CHECKS,
    *monitoring.CHECKS,
)

__all__ = [
    "CHECKS",
    "SEND_TEST",
    "TEST_EVENT",
    "Check",
    "Examined",
    "Finding",
    "Machine",
    "Site",
    "Status",
    "examine",
]
