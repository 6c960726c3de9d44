"""Requests within limits until each event has an outcome; whatever the service."""
