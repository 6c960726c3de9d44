"""From a Currents record to an Amplitude event, as a plan made of data.

A `Mapping` is a preset (YAML in `presets/`) with the project's `MappingOptions`. It gives a `TypePlan` for
each Currents event type, plain data, and a plan is carried out by a `Mapper`, or by code generated from it.
A record becomes an event, or a `Verdict` with its reason; no record raises.
"""

from braze_etl.transform.identity import IdentityRules, is_left_out
from braze_etl.transform.mapper import Mapper, mapper_for
from braze_etl.transform.mapping import Mapping
from braze_etl.transform.options import MappingOptions
from braze_etl.transform.placeholders import PlaceholderRules
from braze_etl.transform.plan import TypePlan
from braze_etl.transform.values import END_OF_TIME, NUMERIC_KEYS, explode, milliseconds

__all__ = [
    "END_OF_TIME",
    "NUMERIC_KEYS",
    "IdentityRules",
    "Mapper",
    "Mapping",
    "MappingOptions",
    "PlaceholderRules",
    "TypePlan",
    "explode",
    "is_left_out",
    "mapper_for",
    "milliseconds",
]
