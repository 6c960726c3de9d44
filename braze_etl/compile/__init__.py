"""The one room that knows both `currents` and `transform`: from an Avro file to Amplitude events."""

from braze_etl.compile.reader import EventReader, MappedBlock

__all__ = ["EventReader", "MappedBlock"]
