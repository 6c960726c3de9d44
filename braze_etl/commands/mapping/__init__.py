"""`braze-etl mapping`: the mapping in force, and the tracking plan that it amounts to."""
