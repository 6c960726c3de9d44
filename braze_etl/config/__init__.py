"""Typed settings from a YAML file and the environment."""

from braze_etl.clock import duration_text, parse_duration, parse_hour
from braze_etl.config.address import is_stand_in, leads_away_in_clear
from braze_etl.config.loading import Config, load_config
from braze_etl.config.mapping import (
    Choose,
    Example,
    LoopGuard,
    MappingSection,
    Privacy,
    Rule,
    Scalar,
    Selector,
    Time,
)
from braze_etl.config.model import Settings, StoreSection, WrittenStoreSection
from braze_etl.config.monitoring import Topic
from braze_etl.config.reading import dotted
from braze_etl.config.schema import json_schema
from braze_etl.config.values import parse_size

__all__ = [
    "Choose",
    "Config",
    "Example",
    "LoopGuard",
    "MappingSection",
    "Privacy",
    "Rule",
    "Scalar",
    "Selector",
    "Settings",
    "StoreSection",
    "Time",
    "Topic",
    "WrittenStoreSection",
    "dotted",
    "duration_text",
    "is_stand_in",
    "json_schema",
    "leads_away_in_clear",
    "load_config",
    "parse_duration",
    "parse_hour",
    "parse_size",
]
