"""Records with odd values in them, the same ones every time."""

from __future__ import annotations

import random
from typing import Any

from fixtures.generate import described_types, sample_record

ODD_TEXTS = [
    "",
    "null",
    "abc",
    "[REDACTED]",
    "ANONYMOUS",
    "Größe",
    "日本",
    "\N{KELVIN SIGN}ind",
    "x" * 1100,
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "f1234abc",
    "12345qwert",
    "a-filler-events",
    "Test Campaign 1",
    "campaign_name",
    "TIMEZONE",
    '{"a": 1, "b": null}',
    "{bad",
    "[1]",
    "x" * 63,
    "x" * 64,
    "x" * 8191,
    "x" * 8192,
]
ODD_FLOATS = [0.0, -0.0, -1.5, 19.99, 3.4e38, 1e-45, float("nan"), float("inf")]
ODD_NUMBERS = [0, -1, 63, 64, -64, -65, 8191, 8192, 2**31 - 1, -(2**31)]


def varied(event_type: str, seed: int) -> dict[str, Any]:
    """A believable record with some of its fields replaced by odd values, or by null."""
    rng = random.Random(f"{event_type}{seed}")
    record = sample_record(event_type, seed)
    for name, kind in described_types()[event_type].fields.items():
        if rng.random() < 0.75:
            continue
        if kind.nullable and rng.random() < 0.5:
            record[name] = None
        elif kind.avro == "string":
            record[name] = rng.choice([*ODD_TEXTS, name, name.upper()])
        elif kind.avro == "float":
            record[name] = rng.choice(ODD_FLOATS)
        elif kind.avro in ("int", "long"):
            record[name] = rng.choice(ODD_NUMBERS)
    return record
