"""What a project decides about its mapping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class MappingOptions:
    """The `mapping` section of the configuration, and Amplitude's `min_id_length`, in characters.

    `send` holds globs of event types that are sent although the preset withholds or does not list them.
    """

    preset: str = "native"
    unknown_types: Literal["send", "hold"] = "send"
    unknown_fields: Literal["send", "drop"] = "send"
    send: tuple[str, ...] = ()
    test_events: Literal["filter", "send"] = "filter"
    anonymous: Literal["device", "braze_id"] = "device"
    min_id_length: int = 5
