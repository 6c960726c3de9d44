"""`braze-etl plan`: what a run would do, and what has to be confirmed before."""
