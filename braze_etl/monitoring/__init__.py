"""Who is told of a run: the run log, metrics, notices."""
