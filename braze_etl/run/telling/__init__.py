"""Who is told of a pass: the log, metrics, and whoever is to be woken."""
