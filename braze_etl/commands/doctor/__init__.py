"""`braze-etl doctor`: everything that a pipeline needs, as small checks; each knows the remedy."""
