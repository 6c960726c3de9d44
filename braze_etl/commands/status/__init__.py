"""`braze-etl status`: the 48-hour window, of one pipeline or of several."""
