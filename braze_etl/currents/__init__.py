"""Where Currents files are and what is in them: keys, listing, Avro blocks and records, event types."""

from braze_etl.currents._float32 import shortest_float32
from braze_etl.currents._header import AvroHeader, Limits, read_header
from braze_etl.currents._roots import EventFolder, event_folders
from braze_etl.currents._schema import WriterSchema, writer_schema
from braze_etl.currents.catalogue import EventType, FieldType, load_catalogue
from braze_etl.currents.container import AvroFile, Block, Damage, read_block
from braze_etl.currents.keys import CurrentsKey, date_folder, parse_key
from braze_etl.currents.listing import Listing, Surroundings
from braze_etl.currents.records import DamagedBlock, RecordReader
from braze_etl.currents.selection import Selection

__all__ = [
    "AvroFile",
    "AvroHeader",
    "Block",
    "CurrentsKey",
    "Damage",
    "DamagedBlock",
    "EventFolder",
    "EventType",
    "FieldType",
    "Limits",
    "Listing",
    "RecordReader",
    "Selection",
    "Surroundings",
    "WriterSchema",
    "date_folder",
    "event_folders",
    "load_catalogue",
    "parse_key",
    "read_block",
    "read_header",
    "shortest_float32",
    "writer_schema",
]
