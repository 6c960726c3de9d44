"""`braze-etl report`: runs summed up, as JSON or as a page that needs no network."""
