"""Braze Currents files in, Amplitude events out, with books that balance."""

__version__ = "0.1.0"
