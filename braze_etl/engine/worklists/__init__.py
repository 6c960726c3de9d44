"""Where due files come from."""
