"""What a writer schema declares, in the words of the catalogue: `string`, `int?`, `array<null|string>`."""

from __future__ import annotations

import json
from typing import Any


def declared_fields(schema_json: bytes) -> dict[str, str]:
    """Give the fields of a valid record schema with their types; `?` behind a type: it may be null."""
    return {field["name"]: type_text(field["type"]) for field in json.loads(schema_json)["fields"]}


def type_text(schema: Any) -> str:
    """Spell an Avro type; a remark beside a primitive type counts for nothing, a logical type is named."""
    if isinstance(schema, list):
        others = [text for text in map(type_text, schema) if text != "null"]
        return "|".join(others) + "?" * (len(others) < len(schema)) if others else "null"
    if not isinstance(schema, dict):
        return str(schema)
    kind = schema["type"]
    if kind == "array":
        return f"array<{_items(schema['items'])}>"
    if kind == "map":
        return f"map<{_items(schema['values'])}>"
    logical = schema.get("logicalType")
    return type_text(kind) + (f"({logical})" if logical else "")


def _items(schema: Any) -> str:
    return "|".join(map(type_text, schema)) if isinstance(schema, list) else type_text(schema)
