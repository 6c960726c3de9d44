"""Typed settings from a YAML file and the environment."""

from braze_etl.config.loading import Config, load_config
from braze_etl.config.model import Settings, StoreSection, WrittenStoreSection
from braze_etl.config.values import duration_text, parse_duration, parse_hour, parse_size

__all__ = [
    "Config",
    "Settings",
    "StoreSection",
    "WrittenStoreSection",
    "duration_text",
    "load_config",
    "parse_duration",
    "parse_hour",
    "parse_size",
]
