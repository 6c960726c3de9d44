"""`braze-etl explain`: one record of the source, found, and what became of it."""
