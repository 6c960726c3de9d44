"""Amplitude's words: its settings, bodies, replies, and the probe of its key."""
