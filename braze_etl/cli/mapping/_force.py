"""The mapping in force: that of the configuration, or without one the defaults."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from braze_etl.cli._options import checked_config

if TYPE_CHECKING:
    from braze_etl.transform import Mapping


def mapping_in_force(config_path: Path | None) -> tuple[Mapping, Callable[[str], bool]]:
    """Load it, and with it whether the source has files of an event type."""
    from braze_etl.run.assembly import load_mapping, selection
    from braze_etl.transform import Mapping, MappingOptions

    if config_path is None:
        return Mapping.load(MappingOptions()), lambda _: True
    settings = checked_config(config_path).require("mapping", "source.event_types")
    return load_mapping(settings), selection(settings).matches_event_type
