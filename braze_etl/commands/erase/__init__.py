"""`braze-etl erase`: what is kept of a person, removed, with a receipt."""
