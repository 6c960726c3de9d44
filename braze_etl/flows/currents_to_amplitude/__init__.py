"""Braze events into Amplitude: Currents files in, Amplitude events out."""
