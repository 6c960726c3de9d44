"""The YAML files of this room."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml


def read_yaml(name: str) -> Any:
    """Read `presets/<name>.yaml` as plain data."""
    text = resources.files("braze_etl.transform").joinpath("presets", f"{name}.yaml").read_bytes()
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 -- both are safe
