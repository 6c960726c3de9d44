"""From a Currents record to an Amplitude event, as a plan made of data.

A `Mapping` is a preset (YAML in `presets/`) with the project's `MappingOptions`. It gives a `TypePlan` for
each Currents event type, plain data, and a plan is carried out by a `Mapper`, or by code generated from it.
A record becomes an event, or a `Verdict` with its reason; no record raises.
"""

from braze_etl.transform._lookup_layout import LookupColumns
from braze_etl.transform.choice import Choice, chooser, filter_first, text_of
from braze_etl.transform.examples import differences, outcome_of
from braze_etl.transform.exploding import Explosion, exploder
from braze_etl.transform.groups import expand_types
from braze_etl.transform.identity import IdentityRules, People, is_left_out
from braze_etl.transform.limits import MAX_INTEGER, MAX_PROPERTIES, MAX_TEXT, mend_event, too_many
from braze_etl.transform.lookup import LookupTable, is_sqlite
from braze_etl.transform.lookup_csv import build_table
from braze_etl.transform.mapper import Mapper, mapper_for
from braze_etl.transform.mapping import Mapping
from braze_etl.transform.naming import RESERVED, FieldText, Naming
from braze_etl.transform.options import MappingOptions
from braze_etl.transform.placeholders import PlaceholderRules
from braze_etl.transform.plan import TypePlan
from braze_etl.transform.suppression import Suppression
from braze_etl.transform.values import END_OF_TIME, NUMERIC_KEYS, milliseconds
from braze_etl.transform.vocabulary import mistakes, unknown_types

__all__ = [
    "END_OF_TIME",
    "MAX_INTEGER",
    "MAX_PROPERTIES",
    "MAX_TEXT",
    "NUMERIC_KEYS",
    "RESERVED",
    "Choice",
    "Explosion",
    "FieldText",
    "IdentityRules",
    "LookupColumns",
    "LookupTable",
    "Mapper",
    "Mapping",
    "MappingOptions",
    "Naming",
    "People",
    "PlaceholderRules",
    "Suppression",
    "TypePlan",
    "build_table",
    "chooser",
    "differences",
    "expand_types",
    "exploder",
    "filter_first",
    "is_left_out",
    "is_sqlite",
    "mapper_for",
    "mend_event",
    "milliseconds",
    "mistakes",
    "outcome_of",
    "text_of",
    "too_many",
    "unknown_types",
]
