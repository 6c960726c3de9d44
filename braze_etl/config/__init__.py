"""Typed settings from a YAML file and the environment."""
