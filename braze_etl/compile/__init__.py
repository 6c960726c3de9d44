"""The one room that knows both `currents` and `transform`: from an Avro file to Amplitude events."""
