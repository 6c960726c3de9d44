"""What was set aside because it can't be sent as it is: filed with its position and reason, replayable.

The payload is kept only where the configuration says so, and for a limited time: a replay reads the record
again from its source file, while that exists.
"""

from braze_etl.quarantine.entry import Entry, entry_id
from braze_etl.quarantine.erasure import Found, Traces
from braze_etl.quarantine.quarantine import PAYLOAD_TTL, Quarantine
from braze_etl.quarantine.selection import EVERYTHING, Selection

__all__ = [
    "EVERYTHING",
    "PAYLOAD_TTL",
    "Entry",
    "Found",
    "Quarantine",
    "Selection",
    "Traces",
    "entry_id",
]
