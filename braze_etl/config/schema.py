"""The JSON Schema of the configuration, for editors."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from braze_etl.clock import duration_text
from braze_etl.config.model import Settings


def json_schema() -> dict[str, Any]:
    """Every section and key: types, bounds, descriptions, and defaults as a configuration writes them."""
    schema = Settings.model_json_schema(schema_generator=_AsWritten)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


class _AsWritten(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """Durations in the notation of the configuration, which is not that of ISO 8601."""
        return super().encode_default(duration_text(dft) if isinstance(dft, timedelta) else dft)
