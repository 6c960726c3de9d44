"""Batches, requests, replies and decisions: Amplitude's words live here."""
