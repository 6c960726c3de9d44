"""The tracking plan that the mapping amounts to: written as Amplitude's CSV, compared with a project's.

`planned` makes the plan from the mapping and the catalogue; `read_theirs` reads a taxonomy as Amplitude's
Data section exports it, or events of the Export API; `compare` names every difference.
"""

from braze_etl.run.tracking.comparing import Comparison, PropertyDifferences, compare
from braze_etl.run.tracking.files import read_theirs
from braze_etl.run.tracking.likeness import Near
from braze_etl.run.tracking.plan import (
    PlannedEvent,
    PlannedProperty,
    TrackingPlan,
    known_types,
    named_types,
    planned,
    why_not,
)
from braze_etl.run.tracking.taxonomy import write_taxonomy
from braze_etl.run.tracking.theirs import Theirs

__all__ = [
    "Comparison",
    "Near",
    "PlannedEvent",
    "PlannedProperty",
    "PropertyDifferences",
    "Theirs",
    "TrackingPlan",
    "compare",
    "known_types",
    "named_types",
    "planned",
    "read_theirs",
    "why_not",
    "write_taxonomy",
]
