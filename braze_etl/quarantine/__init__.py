"""What was set aside because it can't be sent as it is: filed with its position and reason, replayable.

The payload is not kept: a replay reads the record again from its source file, while that exists.
"""

from braze_etl.quarantine.entry import Entry
from braze_etl.quarantine.quarantine import Quarantine
from braze_etl.quarantine.selection import EVERYTHING, Selection

__all__ = ["EVERYTHING", "Entry", "Quarantine", "Selection"]
