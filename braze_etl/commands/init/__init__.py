"""`braze-etl init`: a look at a source, and the configuration that follows from it."""
