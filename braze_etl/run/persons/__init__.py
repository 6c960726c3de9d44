"""Single persons: lists and tables of them, ids that are busy, and how one is forgotten."""
