"""Braze's words."""
