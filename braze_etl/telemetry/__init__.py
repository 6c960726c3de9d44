"""Logs for people and machines."""
