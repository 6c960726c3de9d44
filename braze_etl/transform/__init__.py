"""From a Currents record to an Amplitude event, as a plan made of data."""
