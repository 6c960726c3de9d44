"""Where Currents files are and what is in them: keys, listing, Avro blocks and records, event types."""
