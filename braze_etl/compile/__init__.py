"""The one room that knows both `currents` and `transform`: from an Avro file to Amplitude events.

For each writer schema under a plan a function is generated that decodes and maps at once. fastavro reads what
the generator does not cover and what the function raises on; the outcomes are the same either way.
"""

from braze_etl.compile.cache import generated_source
from braze_etl.compile.drift import CATALOGUE_DATE, FIELD_KINDS, Drift, FieldDrift, UnknownType
from braze_etl.compile.ranged import read_records
from braze_etl.compile.reader import Decoder, EventReader, MappedBlock

__all__ = [
    "CATALOGUE_DATE",
    "FIELD_KINDS",
    "Decoder",
    "Drift",
    "EventReader",
    "FieldDrift",
    "MappedBlock",
    "UnknownType",
    "generated_source",
    "read_records",
]
