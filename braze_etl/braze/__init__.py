"""Braze's words: what its Currents files are called, and what is in them."""
